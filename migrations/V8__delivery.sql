-- Delivery of mails and of events for the application.

ALTER TABLE outbox ADD COLUMN waits_for INTEGER;                -- an unfinished row of the same user and target that goes first; NULL: none is known
ALTER TABLE outbox ADD COLUMN sequence INTEGER;                 -- of an entitlement.changed: its number; the highest of a user and target is the present answer

CREATE INDEX outbox_ready ON outbox (target, next_attempt_at_ms, id) WHERE status = 'pending' AND waits_for IS NULL;
CREATE INDEX outbox_order ON outbox (target, user_id, id) WHERE status IN ('pending', 'claimed');
CREATE INDEX outbox_behind ON outbox (waits_for) WHERE waits_for IS NOT NULL;
CREATE INDEX outbox_answers ON outbox (target, user_id, sequence) WHERE sequence IS NOT NULL;
CREATE INDEX outbox_lost_answers ON outbox (target) WHERE sequence IS NOT NULL AND status = 'failed';

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
    was_away         INTEGER NOT NULL DEFAULT 0 CHECK (was_away IN (0, 1)), -- 1: changes of answers were not written for it, and it has not been brought up to date
    CHECK ((disabled_at_ms IS NULL) = (disabled_reason IS NULL))
) STRICT;
