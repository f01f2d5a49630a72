DROP TABLE outbox;
DROP TABLE audit_log;
-- What the log holds makes the audit rows of events again: every projected event waits for its projection.
UPDATE stripe_webhooks_log
SET status = 'pending', processed = 0, processing_attempts = 0, processing_error = NULL, processed_at_ms = NULL
WHERE processed = 1;
