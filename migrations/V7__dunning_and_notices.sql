-- Notices to customers and operators, events for the application, and what falls due by time alone.

ALTER TABLE outbox ADD COLUMN target TEXT;                      -- where it goes: mail, or an endpoint's URL; NULL: Stripe
CREATE INDEX outbox_waiting ON outbox (kind, target, next_attempt_at_ms) WHERE status = 'pending';

ALTER TABLE dunning_attempts ADD COLUMN told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1)); -- 1: it was to be told, to whom may hear it; 0: skipped, see outcome
ALTER TABLE dunning_attempts ADD COLUMN grace_started_at INTEGER; -- of a warning or a downgrade: the delinquency it is about, unix seconds
ALTER TABLE dunning_attempts ADD COLUMN outbox_id INTEGER;      -- its mail in the outbox; NULL: none

-- Notices of before a way down and up again.
UPDATE dunning_attempts SET told = 1 WHERE outcome IS NULL OR outcome NOT LIKE 'skipped:%';
UPDATE dunning_attempts SET outbox_id = (SELECT o.id FROM payment_failures f JOIN outbox o
    ON o.dedupe_key = 'mail:' || notification_type || ':' || f.stripe_invoice_id || ':' || attempt_number
    WHERE f.id = payment_failure_id);

ALTER TABLE payment_failures ADD COLUMN dunning_due_at INTEGER; -- when a notice falls due by time alone, unix seconds; NULL: none does
CREATE INDEX payment_failures_due ON payment_failures (dunning_due_at) WHERE dunning_due_at IS NOT NULL;
-- Cases from before are looked at once.
UPDATE payment_failures SET dunning_due_at = 0 WHERE resolved = 0;

ALTER TABLE subscriptions ADD COLUMN valid_until INTEGER;       -- of the answer, unix seconds
ALTER TABLE subscriptions ADD COLUMN ends_at INTEGER;           -- of the answer, unix seconds
ALTER TABLE subscriptions ADD COLUMN changes_at INTEGER;        -- when the answer changes by time alone, unix seconds; NULL: never
-- As they were answered, so that nothing counts as changed that is not; and each is looked at once.
UPDATE subscriptions SET changes_at = 0, ends_at =
    (SELECT coalesce(s.cancel_at, CASE s.cancel_at_period_end WHEN 1 THEN s.current_period_end END)
     FROM stripe_subscriptions s WHERE s.stripe_subscription_id = subscriptions.stripe_subscription_id);
UPDATE subscriptions SET valid_until = CASE reason WHEN 'ending' THEN ends_at WHEN 'grace_period' THEN grace_period_end END;
CREATE INDEX subscriptions_changes ON subscriptions (changes_at) WHERE changes_at IS NOT NULL;
