-- What was done, and what is still to be done outside.

CREATE TABLE audit_log (
    id                 INTEGER PRIMARY KEY,                     -- row number
    at_ms              INTEGER NOT NULL,                        -- when, unix milliseconds; of an event: Stripe's created
    actor              TEXT NOT NULL,                           -- stripe, api, cli or tilld
    action             TEXT NOT NULL,                           -- for example customer.subscription.updated, dead_letter.discard
    user_id            TEXT,                                    -- whom it concerns, as far as known
    stripe_customer_id TEXT,                                    -- by which the user is found later
    stripe_subscription_id TEXT,                                -- the same, and before the customer
    subject            TEXT,                                    -- id of the thing it was done to
    stripe_event_id    TEXT,                                    -- the event that caused it
    detail             TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(detail)), -- JSON object, no personal data
    UNIQUE (stripe_event_id, action)
) STRICT;
CREATE INDEX audit_log_user ON audit_log (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_log_customer ON audit_log (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL AND stripe_subscription_id IS NULL;
CREATE INDEX audit_log_subscription ON audit_log (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;

CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY,                        -- row number
    kind            TEXT NOT NULL CHECK (kind IN ('mail', 'webhook', 'stripe_call')), -- what is to be performed
    dedupe_key      TEXT NOT NULL UNIQUE,                       -- one effect, however often its cause is seen
    user_id         TEXT,                                       -- order is kept per user
    payload         TEXT NOT NULL CHECK (json_valid(payload)),  -- all that is needed to perform it
    status          TEXT NOT NULL DEFAULT 'pending'             -- where the effect stands
                    CHECK (status IN ('pending', 'claimed', 'done', 'skipped', 'failed', 'discarded')),
    attempts        INTEGER NOT NULL DEFAULT 0,                 -- attempts made
    next_attempt_at_ms INTEGER NOT NULL,                        -- due time, unix milliseconds
    claimed_at_ms   INTEGER,                                    -- unix milliseconds
    last_error      TEXT,                                       -- why the newest attempt failed
    created_at_ms   INTEGER NOT NULL,                           -- unix milliseconds
    finished_at_ms  INTEGER,                                    -- unix milliseconds
    CHECK ((status IN ('done', 'skipped', 'failed', 'discarded')) = (finished_at_ms IS NOT NULL))
) STRICT;
CREATE INDEX outbox_due ON outbox (next_attempt_at_ms) WHERE status = 'pending';
