//! What a route says of itself beside its path: parameters, body, answers and error codes. The description of the API is
//! made from it, and `route` holds each error against it. It must never decide how a request is answered. Written in the
//! tables of routes, beside the handlers.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::http::error_code::ErrorCode;
use crate::http::error_code::ErrorCode as Code;

/// The most answers of one route that are no errors.
const MAX_ANSWERS: usize = 3;

/// How a type is described.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What a route says of itself. Without an id it is no part of the API: a page, or a test.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RouteDescription {
    /// `operationId`: what generated clients call it.
    pub id: &'static str,
    /// In one line.
    pub summary: &'static str,
    /// What the line does not say.
    pub details: &'static str,
    /// Parameters of the query.
    pub query: &'static [Parameter],
    /// The type of the body.
    pub body: Option<SchemaOf>,
    /// What it answers when nothing is wrong.
    pub answers: [Option<Answer>; MAX_ANSWERS],
    /// Codes that do not follow from the rest.
    pub errors: &'static [ErrorCode],
    /// How it asks Stripe.
    pub stripe: AsksStripe,
    /// Where what it answers leads.
    pub links: &'static [Link],
}

/// An answer that is no error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// HTTP status.
    pub status: u16,
    /// When it is given.
    pub meaning: &'static str,
    /// Its media type.
    pub media: &'static str,
    /// Its type.
    pub schema: SchemaOf,
}

/// Whether and how a route asks Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum AsksStripe {
    /// It does not.
    #[default]
    Never,
    /// It reads, and may pass on Stripe's refusal.
    Reads,
    /// It has something done; an `Idempotency-Key` may be sent.
    Acts,
    /// It moves money; an `Idempotency-Key` must be sent.
    Pays,
}

/// A call that takes up something of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// `operationId` of that call.
    pub to: &'static str,
    /// Its parameter.
    pub parameter: &'static str,
    /// Where its value stands, as OpenAPI writes it: `$response.body#/id`.
    pub value: &'static str,
}

/// A parameter of a query or a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it means, with its unit.
    pub meaning: &'static str,
    /// What it may be.
    pub kind: ParameterKind,
    /// A value, as it is written in a URL.
    pub example: &'static str,
    /// Whether it must be there.
    pub required: bool,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ParameterKind {
    /// Any text.
    Text,
    /// 1 to so many visible ASCII characters; what surrounds them is ignored.
    Visible(u32),
    /// A text of 1 to so many characters, none of them a control character.
    Id(u32),
    /// A whole number within these bounds.
    Whole(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
}

impl Parameter {
    /// One that may be left out.
    pub(crate) const fn new(
        name: &'static str,
        kind: ParameterKind,
        example: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self { name, meaning, kind, example, required: false }
    }

    /// The same, that must be there.
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// Codes of every route: what any request can meet.
pub(crate) const ANY: &[ErrorCode] = &[
    Code::RequestMalformed,
    Code::BodyTruncated,
    Code::RequestTimeout,
    Code::LengthRequired,
    Code::BodyTooLarge,
    Code::ExpectationFailed,
    Code::HeadTooLarge,
    Code::InternalError,
    Code::DatabaseUnavailable,
    Code::TooManyConnections,
    Code::TooManyBodies,
    Code::NoAnswer,
    Code::Stopping,
];
const TOKENS: &[ErrorCode] = &[Code::TokenNotConfigured, Code::TokenMissing, Code::TokenInvalid];
const BODY: &[ErrorCode] = &[Code::BodyInvalid, Code::ParameterInvalid, Code::ParameterUnknown, Code::ParameterMissing];
const STRIPE: &[ErrorCode] = &[
    Code::ResourceMissing,
    Code::RateLimit,
    Code::StripeKeyRefused,
    Code::StripeUnreachable,
    Code::StripeNotConfigured,
    Code::Busy,
    Code::ParameterInvalid,
];
const KEYS: &[ErrorCode] =
    &[Code::HeaderRepeated, Code::IdempotencyKeyInvalid, Code::IdempotencyKeyReused, Code::RequestInProgress];

impl RouteDescription {
    /// Every code that this route may answer with. `has_segments`: its path has parameters; `is_open`: it needs no token.
    pub(crate) fn codes(&self, has_segments: bool, is_open: bool) -> Vec<ErrorCode> {
        let given = |codes: &'static [ErrorCode], is_given: bool| if is_given { codes } else { &[] };
        let acts = matches!(self.stripe, AsksStripe::Acts | AsksStripe::Pays);
        let groups = [
            ANY,
            given(TOKENS, !is_open),
            given(&[Code::PathInvalid], has_segments),
            given(&[Code::ParameterInvalid], !self.query.is_empty()),
            given(BODY, self.body.is_some()),
            given(STRIPE, self.stripe != AsksStripe::Never),
            given(KEYS, acts),
            given(&[Code::IdempotencyKeyMissing], self.stripe == AsksStripe::Pays),
            self.errors,
        ];
        let mut codes = groups.concat();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    pub(super) const fn with_answer(mut self, answer: Answer) -> Self {
        let mut place = 0;
        while self.answers[place].is_some() {
            place += 1;
        }
        self.answers[place] = Some(answer);
        self
    }
}

/// An answer of a type, as JSON.
pub(super) const fn json_answer<T: JsonSchema>(status: u16, meaning: &'static str) -> Answer {
    Answer { status, meaning, media: "application/json", schema: schema_of::<T> }
}

/// An answer as text.
pub(super) const fn text_answer(status: u16, meaning: &'static str) -> Answer {
    Answer { status, meaning, media: "text/plain", schema: schema_of::<String> }
}

/// The type of a body.
pub(super) const fn body_of<T: JsonSchema>() -> SchemaOf {
    schema_of::<T>
}
