-- Invoices, payments, and what went wrong with them. Amounts are integers in minor units.

CREATE TABLE stripe_invoices (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_invoice_id        TEXT NOT NULL UNIQUE,              -- in_…
    stripe_customer_id       TEXT,                              -- cus_…; NULL for a guest
    stripe_subscription_id   TEXT,                              -- sub_…; NULL for a one-off invoice
    user_id                  TEXT REFERENCES users (id),        -- the user it belongs to, as its subscription does if it has one
    linked_by                TEXT,                              -- why: said, metadata, customer or reference; NULL: it is nobody's
    last_named               TEXT,                              -- where its metadata name nobody now: the newest event that named a user: created, event, user
    stripe_payment_intent_id TEXT,                              -- pi_…, where the event's API version tells it
    stripe_charge_id         TEXT,                              -- ch_…, where it is paid without an intent
    number                   TEXT,                              -- printed number; NULL for drafts
    status                   TEXT,                              -- draft, open, paid, uncollectible, void
    billing_reason           TEXT,                              -- why it was made
    collection_method        TEXT,                              -- charge_automatically or send_invoice
    currency                 TEXT,                              -- ISO 4217 code in lower case
    amount_due               INTEGER,                           -- minor units
    amount_paid              INTEGER,                           -- minor units
    amount_remaining         INTEGER,                           -- minor units
    total                    INTEGER,                           -- minor units
    attempt_count            INTEGER,                           -- Stripe's count of payment attempts
    next_payment_attempt     INTEGER,                           -- unix seconds; NULL: none planned
    due_date                 INTEGER,                           -- unix seconds
    period_start             INTEGER,                           -- earliest start of its lines, unix seconds
    period_end               INTEGER,                           -- latest end of its lines, unix seconds
    hosted_invoice_url       TEXT,                              -- bearer link: never logged
    invoice_pdf              TEXT,                              -- bearer link: never logged
    created                  INTEGER,                           -- made at Stripe, unix seconds
    finalized_at             INTEGER,                           -- unix seconds
    paid_at                  INTEGER,                           -- unix seconds
    voided_at                INTEGER,                           -- unix seconds
    marked_uncollectible_at  INTEGER,                           -- unix seconds
    metadata                 TEXT NOT NULL DEFAULT '{}',        -- JSON object
    deleted                  INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)), -- 1: a deleted draft
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created            INTEGER NOT NULL,                  -- created of the event it rests on
    event_id                 TEXT NOT NULL                      -- that event
) STRICT;
CREATE INDEX stripe_invoices_customer ON stripe_invoices (stripe_customer_id, created);
CREATE INDEX stripe_invoices_user ON stripe_invoices (user_id, created) WHERE user_id IS NOT NULL;
CREATE INDEX stripe_invoices_subscription ON stripe_invoices (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX stripe_invoices_payment_intent ON stripe_invoices (stripe_payment_intent_id) WHERE stripe_payment_intent_id IS NOT NULL;

CREATE TABLE stripe_payment_intents (
    id                    INTEGER PRIMARY KEY,                  -- row number
    stripe_intent_id      TEXT NOT NULL UNIQUE,                 -- pi_…
    user_id               TEXT REFERENCES users (id),           -- the user it belongs to, as its subscription does if it has one
    linked_by             TEXT,                                 -- why: said, metadata, customer or reference; NULL: it is nobody's
    last_named            TEXT,                                 -- where its metadata name nobody now: the newest event that named a user: created, event, user
    stripe_customer_id    TEXT,                                 -- cus_…; NULL for a guest
    stripe_invoice_id     TEXT,                                 -- in_…, where the event's API version tells it
    stripe_charge_id      TEXT,                                 -- newest charge
    amount_cents          INTEGER NOT NULL,                     -- minor units of its currency
    amount_received_cents INTEGER,                              -- minor units
    currency              TEXT NOT NULL,                        -- ISO 4217 code in lower case
    status                TEXT NOT NULL,                        -- as Stripe said it
    payment_method_type   TEXT,                                 -- card, sepa_debit, …
    idempotency_key       TEXT,                                 -- key of the request that made it
    error_code            TEXT,                                 -- decline code, else code, of its present error
    error_message         TEXT,                                 -- message of its present error
    failed_at             INTEGER,                              -- newest failure ever heard of, unix seconds
    failure_code          TEXT,                                 -- decline code, else code, of that failure
    failure_event_id      TEXT,                                 -- the event that told it
    cancellation_reason   TEXT,                                 -- duplicate, abandoned, void_invoice, …
    metadata              TEXT NOT NULL DEFAULT '{}',           -- JSON object
    created               INTEGER,                              -- made at Stripe, unix seconds
    livemode              INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created         INTEGER NOT NULL,                     -- created of the event it rests on
    event_id              TEXT NOT NULL                         -- that event
) STRICT;
CREATE INDEX stripe_payment_intents_user ON stripe_payment_intents (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX stripe_payment_intents_customer ON stripe_payment_intents (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX stripe_payment_intents_invoice ON stripe_payment_intents (stripe_invoice_id) WHERE stripe_invoice_id IS NOT NULL;

CREATE TABLE stripe_invoice_payments (
    id                        INTEGER PRIMARY KEY,              -- row number
    stripe_invoice_payment_id TEXT NOT NULL UNIQUE,             -- inpay_…
    stripe_invoice_id         TEXT NOT NULL,                    -- in_…
    stripe_payment_intent_id  TEXT,                             -- pi_…, where it is paid by one
    stripe_charge_id          TEXT,                             -- ch_…, where it is paid by a bare charge
    is_default                INTEGER NOT NULL CHECK (is_default IN (0, 1)), -- 1: the invoice's own payment
    status                    TEXT,                             -- open, paid, canceled
    livemode                  INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created             INTEGER NOT NULL,                 -- created of the event it rests on
    event_id                  TEXT NOT NULL                     -- that event
) STRICT;
CREATE INDEX stripe_invoice_payments_invoice ON stripe_invoice_payments (stripe_invoice_id);
CREATE INDEX stripe_invoice_payments_intent ON stripe_invoice_payments (stripe_payment_intent_id) WHERE stripe_payment_intent_id IS NOT NULL;

CREATE TABLE stripe_charges (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_charge_id         TEXT NOT NULL UNIQUE,              -- ch_… or py_…
    stripe_customer_id       TEXT,                              -- cus_…; NULL for a guest
    stripe_payment_intent_id TEXT,                              -- pi_…
    amount_cents             INTEGER NOT NULL,                  -- minor units
    amount_refunded_cents    INTEGER NOT NULL,                  -- minor units, all refunds together, without those that failed or were canceled
    refunded                 INTEGER NOT NULL CHECK (refunded IN (0, 1)), -- 1: refunded in full
    disputed                 INTEGER NOT NULL CHECK (disputed IN (0, 1)), -- 1: ever disputed
    currency                 TEXT NOT NULL,                     -- ISO 4217 code in lower case
    status                   TEXT NOT NULL,                     -- succeeded, pending, failed
    failure_code             TEXT,                              -- why it failed
    created                  INTEGER,                           -- made at Stripe, unix seconds
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created            INTEGER NOT NULL,                  -- created of the event it rests on
    event_id                 TEXT NOT NULL                      -- that event
) STRICT;
CREATE INDEX stripe_charges_customer ON stripe_charges (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;

CREATE TABLE stripe_refunds (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_refund_id         TEXT NOT NULL UNIQUE,              -- re_… or pyr_…
    stripe_charge_id         TEXT,                              -- ch_… that it takes from
    stripe_payment_intent_id TEXT,                              -- pi_…
    amount_cents             INTEGER NOT NULL,                  -- minor units
    currency                 TEXT,                              -- ISO 4217 code in lower case
    status                   TEXT NOT NULL,                     -- pending, requires_action, succeeded, failed, canceled; the last two took nothing in the end
    reason                   TEXT,                              -- why it was made
    failure_reason           TEXT,                              -- why it failed
    created                  INTEGER,                           -- made at Stripe, unix seconds
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created            INTEGER NOT NULL,                  -- created of the event it rests on
    event_id                 TEXT NOT NULL                      -- that event
) STRICT;
CREATE INDEX stripe_refunds_charge ON stripe_refunds (stripe_charge_id) WHERE stripe_charge_id IS NOT NULL;

CREATE TABLE stripe_disputes (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_dispute_id        TEXT NOT NULL UNIQUE,              -- dp_… or du_…
    stripe_charge_id         TEXT,                              -- ch_…
    stripe_payment_intent_id TEXT,                              -- pi_…
    amount_cents             INTEGER NOT NULL,                  -- minor units
    currency                 TEXT NOT NULL,                     -- ISO 4217 code in lower case
    reason                   TEXT,                              -- an open set
    status                   TEXT NOT NULL,                     -- an open set; unknown means open
    evidence_due_by          INTEGER,                           -- unix seconds
    created                  INTEGER,                           -- made at Stripe, unix seconds
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created            INTEGER NOT NULL,                  -- created of the event it rests on
    event_id                 TEXT NOT NULL                      -- that event
) STRICT;

CREATE TABLE stripe_checkout_sessions (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_session_id        TEXT NOT NULL UNIQUE,              -- cs_…
    client_reference_id      TEXT,                              -- whatever the maker of the link or the holder of its URL wrote
    stripe_customer_id       TEXT,                              -- cus_…; NULL for a guest
    stripe_subscription_id   TEXT,                              -- sub_…, once complete
    stripe_payment_intent_id TEXT,                              -- pi_…, in payment mode
    stripe_invoice_id        TEXT,                              -- in_…, where it made one
    mode                     TEXT,                              -- payment, setup, subscription
    status                   TEXT,                              -- open, complete, expired
    payment_status           TEXT,                              -- paid, unpaid, no_payment_required
    amount_total             INTEGER,                           -- minor units
    currency                 TEXT,                              -- ISO 4217 code in lower case
    metadata                 TEXT NOT NULL DEFAULT '{}',        -- JSON object
    created                  INTEGER,                           -- made at Stripe, unix seconds
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created            INTEGER NOT NULL,                  -- created of the event it rests on
    event_id                 TEXT NOT NULL                      -- that event
) STRICT;
CREATE INDEX stripe_checkout_sessions_customer ON stripe_checkout_sessions (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX stripe_checkout_sessions_subscription ON stripe_checkout_sessions (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX stripe_checkout_sessions_payment_intent ON stripe_checkout_sessions (stripe_payment_intent_id) WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX stripe_checkout_sessions_invoice ON stripe_checkout_sessions (stripe_invoice_id) WHERE stripe_invoice_id IS NOT NULL;

CREATE TABLE payment_failures (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_invoice_id        TEXT NOT NULL UNIQUE,              -- one case per invoice
    stripe_subscription_id   TEXT,                              -- sub_…
    stripe_customer_id       TEXT,                              -- cus_…
    stripe_payment_intent_id TEXT,                              -- pi_…, where known
    amount_due               INTEGER,                           -- minor units, at the newest failure
    currency                 TEXT,                              -- ISO 4217 code in lower case
    attempt_count            INTEGER NOT NULL,                  -- Stripe's count, at the newest failure
    failure_reason           TEXT,                              -- decline or error code of the payment, where known
    next_retry_at            INTEGER,                           -- Stripe's next attempt, unix seconds; NULL: none
    first_failed_at          INTEGER NOT NULL,                  -- created of the first failure, unix seconds
    last_failed_at           INTEGER NOT NULL,                  -- created of the newest failure, unix seconds
    last_event_id            TEXT NOT NULL,                     -- event of the newest failure
    resolved                 INTEGER NOT NULL DEFAULT 0 CHECK (resolved IN (0, 1)), -- 1: nothing is owed any more
    resolved_at_ms           INTEGER,                           -- Stripe's time of it, unix milliseconds
    resolution               TEXT CHECK (resolution IN ('paid', 'void', 'uncollectible', 'subscription_ended')), -- how it was resolved; NULL: it is not
    created_at_ms            INTEGER NOT NULL,                  -- when the case was opened here, unix milliseconds
    CHECK ((resolved = 1) = (resolved_at_ms IS NOT NULL)),
    CHECK ((resolved = 1) = (resolution IS NOT NULL))
) STRICT;
CREATE INDEX payment_failures_subscription ON payment_failures (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX payment_failures_customer ON payment_failures (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;

CREATE TABLE dunning_attempts (
    id                 INTEGER PRIMARY KEY,                     -- row number
    payment_failure_id INTEGER NOT NULL REFERENCES payment_failures (id), -- the case
    user_id            TEXT REFERENCES users (id),              -- who was written to; NULL: nobody known
    attempt_number     INTEGER NOT NULL CHECK (attempt_number > 0), -- which attempt of the case it is about
    notification_type  TEXT NOT NULL,                           -- kind of notice
    email_sent         INTEGER NOT NULL DEFAULT 0 CHECK (email_sent IN (0, 1)), -- 1: the mail server took it
    email_sent_at_ms   INTEGER,                                 -- unix milliseconds
    outcome            TEXT,                                    -- sent, skipped or failed, and why
    created_at_ms      INTEGER NOT NULL,                        -- unix milliseconds
    UNIQUE (payment_failure_id, notification_type, attempt_number)
) STRICT;
