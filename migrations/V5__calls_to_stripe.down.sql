CREATE INDEX stripe_customers_email ON stripe_customers (email) WHERE email IS NOT NULL;
CREATE INDEX stripe_subscriptions_status ON stripe_subscriptions (status);
ALTER TABLE stripe_objects DROP COLUMN read_data;
ALTER TABLE stripe_objects DROP COLUMN read_event_id;
ALTER TABLE stripe_objects DROP COLUMN read_log_id;
ALTER TABLE stripe_objects DROP COLUMN read_at;
DROP TABLE stripe_operations;
