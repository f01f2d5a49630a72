DROP TABLE webhook_endpoints;
DROP INDEX outbox_lost_answers;
DROP INDEX outbox_answers;
DROP INDEX outbox_behind;
DROP INDEX outbox_order;
DROP INDEX outbox_ready;
ALTER TABLE outbox DROP COLUMN sequence;
ALTER TABLE outbox DROP COLUMN waits_for;
