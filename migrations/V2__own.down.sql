DROP TABLE dashboard_sessions;
DROP TABLE task_requests;
DROP TABLE drift_findings;
DROP TABLE drift_runs;
DROP VIEW v_webhook_outcomes_daily;
DROP TRIGGER webhook_lag_hours_counted;
DROP TRIGGER webhook_hours_reached;
DROP TRIGGER webhook_hours_left;
DROP TABLE level_hours;
DROP TABLE webhook_lag_hours;
DROP TABLE webhook_hours;
DROP TABLE webhook_days;
DROP TABLE sync_progress;
DROP TABLE sync_runs;
DROP TABLE catch_up;
DROP TABLE stripe_operations;
DROP TABLE webhook_endpoints;
DROP TABLE outbox;
DROP TABLE audit_log;
DROP TABLE user_links;
DROP TABLE users;
-- What the log holds makes the audit rows of events again: every projected event waits for its projection.
UPDATE stripe_webhooks_log
SET status = 'pending', processed = 0, processing_attempts = 0, processing_error = NULL
WHERE processed = 1;
