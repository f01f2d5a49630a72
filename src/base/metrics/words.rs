//! The closed sets of words that stand in labels: one enum for each label whose values we make ourselves. A label must never
//! take a word from outside: what is not in the set is `other`. Called by `metrics` and by whoever counts.

use strum::VariantArray;

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum WebhookOutcome {
    /// Authentic, new, on disk.
    Accepted,
    /// Authentic, and known already.
    Duplicate,
    /// Another event under a known id.
    Conflicting,
    /// No signature.
    SignatureMissing,
    /// Not a signature.
    SignatureMalformed,
    /// Signed too long ago.
    SignatureStale,
    /// Signed in the future.
    SignatureFuture,
    /// Signed with another secret, or changed on the way.
    SignatureMismatch,
    /// Signed, and not a JSON event.
    InvalidPayload,
    /// Signed, and sent to a path without an endpoint.
    UnknownPath,
    /// It could not be stored; Stripe sends it again.
    DatabaseUnavailable,
    /// Anything else.
    Other,
}

impl WebhookOutcome {
    /// The outcome that a code of an error stands for.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        of_word(code).unwrap_or(Self::Other)
    }
}

/// What became of an attempt to project an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum EventOutcome {
    /// Its facts are in the typed tables.
    Processed,
    /// Its object is in the mirror, and no more.
    Mirrored,
    /// There was nothing to take from it.
    Ignored,
    /// It failed and is tried again.
    Retried,
    /// It failed and was given up.
    Dead,
}

/// What a payment intent came to, as an event said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum PaymentStatus {
    /// `payment_intent.succeeded`.
    Succeeded,
    /// `payment_intent.payment_failed`: one attempt failed.
    Failed,
    /// `payment_intent.canceled`.
    Canceled,
}

impl PaymentStatus {
    /// What events of a type say of a payment.
    #[must_use]
    pub(super) fn of_event(event_type: &str) -> Option<Self> {
        match event_type {
            "payment_intent.succeeded" => Some(Self::Succeeded),
            "payment_intent.payment_failed" => Some(Self::Failed),
            "payment_intent.canceled" => Some(Self::Canceled),
            _ => None,
        }
    }
}

/// The kinds of rows of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryKind {
    /// A mail.
    Mail,
    /// An event for an endpoint.
    Webhook,
    /// An object that is fetched from Stripe.
    StripeCall,
}

/// What became of an attempt to perform a row of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryResult {
    /// The receiver took it.
    Delivered,
    /// There was no reason to send it any more.
    Skipped,
    /// It failed and is tried again.
    Failed,
    /// It failed in its last attempt, or was refused for good.
    GivenUp,
}

/// What became of a call to Stripe, its repetitions included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CallOutcome {
    /// Stripe did it, or answered.
    Done,
    /// Stripe refused it: a declined card, a wrong parameter, a missing permission.
    Refused,
    /// Stripe, or our own limit, let no more calls through.
    RateLimited,
    /// It did not reach Stripe.
    Unreached,
    /// Stripe failed, or its answer could not be read; nothing was done.
    Failed,
    /// It may have been done; the recovery finds out.
    InDoubt,
}

/// The files of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DatabaseFileKind {
    /// The database.
    Main,
    /// The write-ahead log beside it.
    Wal,
}

/// The variant of a word.
fn of_word<W: VariantArray + Copy + Into<&'static str>>(word: &str) -> Option<W> {
    W::VARIANTS.iter().copied().find(|known| Into::<&'static str>::into(*known) == word)
}
