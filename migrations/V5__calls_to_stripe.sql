-- Calls to Stripe: what was asked of it, written down before it is asked, and what was read from it.

CREATE TABLE stripe_operations (
    id                 INTEGER PRIMARY KEY,                     -- row number
    idempotency_key    TEXT NOT NULL UNIQUE                     -- sent to Stripe; the caller's own, or made here
                       CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    kind               TEXT NOT NULL,                           -- what is done, for example customer.create
    user_id            TEXT,                                    -- for whom
    subject            TEXT,                                    -- Stripe's id of what it is done to; NULL: it makes something
    fingerprint        TEXT NOT NULL,                           -- hash of what the caller asked for; the same key with another one is refused
    verb               TEXT NOT NULL CHECK (verb IN ('POST', 'DELETE')), -- of the request to Stripe
    path               TEXT NOT NULL,                           -- of the request to Stripe
    form               TEXT NOT NULL,                           -- its parameters, encoded; every attempt sends the same bytes
    wanted             TEXT NOT NULL CHECK (json_valid(wanted)), -- what decides whether it was done, JSON: for example {"price_id": …}
    status             TEXT NOT NULL                            -- where it stands, see ARCHITECTURE.md
                       CHECK (status IN ('sending', 'in_doubt', 'done', 'refused', 'not_done')),
    attempts           INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0), -- its attempts
    first_sent_ms      INTEGER NOT NULL,                        -- before its first byte left, unix milliseconds
    sent_log_id        INTEGER NOT NULL,                        -- newest event in the log then: its answer contains all of them
    next_attempt_at_ms INTEGER,                                 -- when the outcome is asked for again, unix milliseconds
    object_id          TEXT,                                    -- Stripe's id of what came of it
    answer             TEXT CHECK (answer IS NULL OR json_valid(answer)), -- Stripe's answer, or its refusal
    request_id         TEXT,                                    -- Stripe's id of the request that settled it
    last_error         TEXT,                                    -- why the newest attempt settled nothing
    created_at_ms      INTEGER NOT NULL,                        -- unix milliseconds
    finished_at_ms     INTEGER,                                 -- unix milliseconds
    CHECK ((status IN ('done', 'refused', 'not_done')) = (finished_at_ms IS NOT NULL)),
    CHECK (status <> 'in_doubt' OR next_attempt_at_ms IS NOT NULL)
) STRICT;
-- What the recovery task asks for.
CREATE INDEX stripe_operations_open ON stripe_operations (next_attempt_at_ms) WHERE status IN ('sending', 'in_doubt');
-- One customer in the making per user.
CREATE UNIQUE INDEX stripe_operations_customer ON stripe_operations (user_id)
    WHERE kind = 'customer.create' AND status IN ('sending', 'in_doubt');
CREATE INDEX stripe_operations_user ON stripe_operations (user_id, id) WHERE user_id IS NOT NULL;

-- The newest reading of an object from the API that its row took over.
ALTER TABLE stripe_objects ADD COLUMN read_at INTEGER;          -- unix seconds, in Stripe's time; events before it are in it
ALTER TABLE stripe_objects ADD COLUMN read_log_id INTEGER;      -- and so are events up to this place in the log
-- Where the row rests on an event of the reading's second: what was read, since one more event may decide otherwise.
ALTER TABLE stripe_objects ADD COLUMN read_event_id TEXT;       -- as event_id was while the row rested on it
ALTER TABLE stripe_objects ADD COLUMN read_data TEXT;           -- the object as it was read

-- No query uses these.
DROP INDEX stripe_subscriptions_status;
DROP INDEX stripe_customers_email;
