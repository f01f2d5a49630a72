//! Every code of an error that tilld answers with, once: its word, its status and what it means. Stripe's own codes are
//! not among them; they are passed on. A word is never changed: programs compare it. Used by every handler, and by the
//! description of the API.

/// Makes the enum, the list of all, and what each stands for from one list.
macro_rules! error_codes {
    ($($code:ident = $status:literal $word:literal: $meaning:literal;)*) => {
        /// What went wrong, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $(#[doc = $meaning] $code,)* }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The word in an answer.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $word,)* }
            }

            /// The status of the answer.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$code => $status,)* }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$code => $meaning,)* }
            }
        }
    };
}

error_codes! {
    // Of any request.
    RequestMalformed = 400 "request_malformed": "The request is not HTTP/1.1 as RFC 9112 has it.";
    BodyTruncated = 400 "body_truncated": "The connection ended before the body did.";
    PathInvalid = 400 "path_invalid": "A segment of the path is not UTF-8 after decoding.";
    HeaderRepeated = 400 "header_repeated": "A header that counts once was sent more than once.";
    NotFound = 404 "not_found": "There is no such path.";
    MethodNotAllowed = 405 "method_not_allowed": "The path has no such method; the header Allow names those that it has.";
    RequestTimeout = 408 "request_timeout": "The request did not arrive completely in time.";
    LengthRequired = 411 "length_required": "The request does not say how long its body is.";
    BodyTooLarge = 413 "body_too_large": "The body is larger than limits.body_bytes.";
    ExpectationFailed = 417 "expectation_failed": "The header Expect asks for something other than 100-continue.";
    HeadTooLarge = 431 "head_too_large": "The request line and the headers are too long.";
    InternalError = 500 "internal_error": "tilld failed to answer; its log has the cause.";
    DatabaseUnavailable = 503 "database_unavailable": "The database does not answer now; try again.";
    TooManyConnections = 503 "too_many_connections": "All connections are in use; try again.";
    TooManyBodies = 503 "too_many_bodies": "Too many large bodies are arriving at once; try again.";
    NoAnswer = 503 "no_answer": "The request was not answered in time; try again.";
    Stopping = 503 "stopping": "tilld is being stopped; try again.";
    // Of whoever calls.
    TokenNotConfigured = 401 "token_not_configured": "No token is configured that could open this call.";
    TokenMissing = 401 "token_missing": "The request has no token: send it as `Authorization: Bearer <token>`.";
    TokenInvalid = 401 "token_invalid": "The token is not the configured one.";
    // Of parameters.
    BodyInvalid = 400 "body_invalid": "The body is not a JSON object.";
    ParameterMissing = 400 "parameter_missing": "A parameter is missing; `param` names it.";
    ParameterInvalid = 400 "parameter_invalid": "A parameter has a value that it cannot have; `param` names it.";
    ParameterUnknown = 400 "parameter_unknown": "The body has a field that is no parameter of this call.";
    MetadataReserved = 400 "metadata_reserved": "The metadata set a key that names a user, which tilld sets itself.";
    UnknownPrice = 400 "unknown_price": "The price belongs to no [[plan]]: it would be paid for and give nothing.";
    IdempotencyKeyMissing = 400 "idempotency_key_missing": "Money moves, so the header Idempotency-Key is required.";
    IdempotencyKeyInvalid = 400 "idempotency_key_invalid": "Idempotency-Key must be 1 to 255 visible ASCII characters.";
    // Of what a call is about.
    UserNotFound = 404 "user_not_found": "There is no such user; PUT /api/v1/users/{user_id} makes one.";
    SubscriptionNotFound = 404 "subscription_not_found": "The user has no subscription, or only ended ones.";
    CustomerNotFound = 404 "customer_not_found": "The user has no Stripe customer yet, or Stripe does not know it.";
    CustomerNotLinked = 404 "customer_not_linked": "The customer is not linked to this user.";
    ResourceMissing = 404 "resource_missing": "Stripe knows no such object.";
    EventNotFound = 404 "event_not_found": "There is no such event in the log.";
    DeadLetterNotFound = 404 "dead_letter_not_found": "There is no dead letter of this event.";
    OutboxRowNotFound = 404 "outbox_row_not_found": "There is no such row in the outbox.";
    OutboxRowBusy = 409 "outbox_row_busy": "The row is being delivered now: wait for its result.";
    OutboxRowEnded = 409 "outbox_row_ended": "The row was delivered or discarded before.";
    OutboxRowRepeatsItself = 409 "outbox_row_repeats_itself": "The row is a call to Stripe, which tilld repeats by itself.";
    CustomerTaken = 409 "customer_taken": "The customer is linked to another user; `\"force\": true` links it to this one.";
    CustomerDeleted = 409 "customer_deleted": "The customer was deleted at Stripe: link another one.";
    CustomerShared = 409 "customer_shared": "The customer who pays belongs to another user, whose cards a portal would show.";
    LinkedByReference = 409 "linked_by_reference": "Only a client_reference_id links the subscription to the user, which gives access and nothing else; PUT …/customer confirms it.";
    AlreadySubscribed = 409 "already_subscribed": "The user has a subscription; `way_out` says what to do instead, `\"allow_second\": true` buys another.";
    TrialUsed = 409 "trial_used": "The user has had a trial; `\"allow_repeat_trial\": true` gives another.";
    CheckoutCompleted = 409 "checkout_completed": "The user has completed an open session meanwhile; the same request again buys this as well.";
    SubscriptionWithoutItems = 409 "subscription_without_items": "No item of the subscription is known, so no price can be changed.";
    SubscriptionNotPaused = 409 "subscription_not_paused": "The subscription is not paused, and neither is its collection.";
    ScheduleAttached = 409 "schedule_attached": "A subscription schedule manages the subscription, and Stripe accepts no direct change.";
    IdempotencyKeyReused = 409 "idempotency_key_reused": "The key was sent before, with another request.";
    RequestInProgress = 409 "request_in_progress": "Another request of this key or this user is in hand; try again.";
    // Of Stripe.
    RateLimit = 429 "rate_limit": "Stripe has had too many requests; try again later.";
    StripeKeyRefused = 502 "stripe_key_refused": "Stripe refuses stripe.api_key, or it is of another account; `tilld check` says why.";
    StripeUnreachable = 502 "stripe_unreachable": "Stripe could not be reached; nothing was done, try again.";
    StripeNotConfigured = 503 "stripe_not_configured": "stripe.api_key is not configured, so Stripe cannot be asked.";
    Busy = 503 "busy": "Too many requests wait for Stripe; nothing was done, try again.";
    // Of webhooks, on the public listener.
    SignatureMissing = 400 "signature_missing": "The webhook has no Stripe-Signature.";
    SignatureMalformed = 400 "signature_malformed": "Its Stripe-Signature cannot be read.";
    SignatureStale = 400 "signature_stale": "It was signed longer ago than the tolerance allows.";
    SignatureFuture = 400 "signature_future": "It was signed further ahead than the tolerance allows: a clock is wrong.";
    SignatureMismatch = 400 "signature_mismatch": "None of the configured secrets signed it.";
    InvalidPayload = 400 "invalid_payload": "The body is signed, and is no event.";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_codes_share_a_word_and_each_says_what_it_means() {
        let mut words: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            assert!(code.meaning().ends_with('.') && (400..600).contains(&code.status()), "{code}");
        }
    }
}
