-- Delivery of mails and of events for the application.

ALTER TABLE outbox ADD COLUMN waits_for INTEGER;                -- an unfinished row of the same user and target that goes first; NULL: none is known

CREATE INDEX outbox_ready ON outbox (target, next_attempt_at_ms, id) WHERE status = 'pending' AND waits_for IS NULL;
CREATE INDEX outbox_order ON outbox (target, user_id, id) WHERE status IN ('pending', 'claimed');
CREATE INDEX outbox_behind ON outbox (waits_for) WHERE waits_for IS NOT NULL;

CREATE TABLE webhook_endpoints (
    url              TEXT PRIMARY KEY,                          -- as configured
    fingerprint      TEXT NOT NULL,                             -- hash of its configuration; another one enables it again
    first_failure_ms INTEGER,                                   -- of those since its last success, unix milliseconds; NULL: none
    last_success_ms  INTEGER,                                   -- unix milliseconds
    disabled_at_ms   INTEGER,                                   -- unix milliseconds; NULL: it gets its events
    disabled_reason  TEXT,                                      -- why
    failing_days     INTEGER NOT NULL DEFAULT 0,                -- days, a day apart, on which an attempt failed since its last success
    failing_day_ms   INTEGER,                                   -- beginning of the newest of these days, unix milliseconds; NULL: none
    probe_at_ms      INTEGER,                                   -- while it is disabled: when it is tried again, unix milliseconds
    CHECK ((disabled_at_ms IS NULL) = (disabled_reason IS NULL))
) STRICT;
