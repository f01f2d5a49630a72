DROP TABLE settings;
DROP TABLE worker_claim;
DROP TABLE webhook_dead_letter_queue;
DROP TABLE webhook_retry_queue;
DROP TABLE webhook_attempts;
DROP TABLE api_readings;
DROP TABLE stripe_webhooks_log;
