DROP VIEW active_subscriptions;
DROP TABLE subscription_events;
DROP TABLE subscriptions;
DROP TABLE stripe_subscription_items;
DROP TABLE stripe_subscriptions;
DROP TABLE user_links;
DROP TABLE stripe_customers;
DROP TABLE stripe_objects;
DROP TABLE users;
-- What the log holds makes these tables again: every projected event waits for its projection.
UPDATE stripe_webhooks_log
SET status = 'pending', processed = 0, processing_attempts = 0, processing_error = NULL, processed_at_ms = NULL
WHERE processed = 1;
