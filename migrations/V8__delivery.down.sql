DROP TABLE webhook_endpoints;
DROP INDEX outbox_behind;
DROP INDEX outbox_order;
DROP INDEX outbox_ready;
ALTER TABLE outbox DROP COLUMN waits_for;
