-- A file of schema 8, from before the first release, as its eight scripts made it (without their comments).
BEGIN TRANSACTION;
CREATE TABLE audit_log (
    id                 INTEGER PRIMARY KEY,
    at_ms              INTEGER NOT NULL,
    actor              TEXT NOT NULL,
    action             TEXT NOT NULL,
    user_id            TEXT,
    stripe_customer_id TEXT,
    stripe_subscription_id TEXT,
    subject            TEXT,
    stripe_event_id    TEXT,
    detail             TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(detail)),
    UNIQUE (stripe_event_id, action)
) STRICT;
CREATE TABLE catch_up (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    cursor_s       INTEGER,
    gap_from_s     INTEGER,
    walk_from_s    INTEGER,
    walk_began_s   INTEGER,
    walk_after     TEXT,
    CHECK ((walk_from_s IS NULL) = (walk_began_s IS NULL)),
    CHECK ((walk_from_s IS NULL) = (walk_after IS NULL))
) STRICT;
INSERT INTO "catch_up" VALUES(1,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE dunning_attempts (
    id                 INTEGER PRIMARY KEY,
    payment_failure_id INTEGER NOT NULL REFERENCES payment_failures (id),
    user_id            TEXT REFERENCES users (id),
    attempt_number     INTEGER NOT NULL CHECK (attempt_number > 0),
    notification_type  TEXT NOT NULL,
    email_sent         INTEGER NOT NULL DEFAULT 0 CHECK (email_sent IN (0, 1)),
    email_sent_at_ms   INTEGER,
    outcome            TEXT,
    created_at_ms      INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1)), grace_started_at INTEGER, outbox_id INTEGER,
    UNIQUE (payment_failure_id, notification_type, attempt_number)
) STRICT;
CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY,
    kind            TEXT NOT NULL CHECK (kind IN ('mail', 'webhook', 'stripe_call')),
    dedupe_key      TEXT NOT NULL UNIQUE,
    user_id         TEXT,
    payload         TEXT NOT NULL CHECK (json_valid(payload)),
    status          TEXT NOT NULL DEFAULT 'pending'
                    CHECK (status IN ('pending', 'claimed', 'done', 'skipped', 'failed', 'discarded')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at_ms INTEGER NOT NULL,
    claimed_at_ms   INTEGER,
    last_error      TEXT,
    created_at_ms   INTEGER NOT NULL,
    finished_at_ms  INTEGER, target TEXT, waits_for INTEGER, sequence INTEGER,
    CHECK ((status IN ('done', 'skipped', 'failed', 'discarded')) = (finished_at_ms IS NOT NULL))
) STRICT;
CREATE TABLE payment_failures (
    id                       INTEGER PRIMARY KEY,
    stripe_invoice_id        TEXT NOT NULL UNIQUE,
    stripe_subscription_id   TEXT,
    stripe_customer_id       TEXT,
    stripe_payment_intent_id TEXT,
    amount_due               INTEGER,
    currency                 TEXT,
    attempt_count            INTEGER NOT NULL,
    failure_reason           TEXT,
    next_retry_at            INTEGER,
    first_failed_at          INTEGER NOT NULL,
    last_failed_at           INTEGER NOT NULL,
    last_event_id            TEXT NOT NULL,
    resolved                 INTEGER NOT NULL DEFAULT 0 CHECK (resolved IN (0, 1)),
    resolved_at_ms           INTEGER,
    resolution               TEXT CHECK (resolution IN ('paid', 'void', 'uncollectible', 'subscription_ended')),
    created_at_ms            INTEGER NOT NULL, dunning_due_at INTEGER,
    CHECK ((resolved = 1) = (resolved_at_ms IS NOT NULL)),
    CHECK ((resolved = 1) = (resolution IS NOT NULL))
) STRICT;
CREATE TABLE refinery_schema_history(version INT4 PRIMARY KEY, name VARCHAR(255), applied_on VARCHAR(255), checksum VARCHAR(255));
INSERT INTO "refinery_schema_history" VALUES(1,'inbox','2026-05-01T00:00:00Z','1');
INSERT INTO "refinery_schema_history" VALUES(2,'customers_and_subscriptions','2026-05-01T00:00:00Z','2');
INSERT INTO "refinery_schema_history" VALUES(3,'payments','2026-05-01T00:00:00Z','3');
INSERT INTO "refinery_schema_history" VALUES(4,'audit_and_outbox','2026-05-01T00:00:00Z','4');
INSERT INTO "refinery_schema_history" VALUES(5,'calls_to_stripe','2026-05-01T00:00:00Z','5');
INSERT INTO "refinery_schema_history" VALUES(6,'sync','2026-05-01T00:00:00Z','6');
INSERT INTO "refinery_schema_history" VALUES(7,'dunning_and_notices','2026-05-01T00:00:00Z','7');
INSERT INTO "refinery_schema_history" VALUES(8,'delivery','2026-05-01T00:00:00Z','8');
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE stripe_charges (
    id                       INTEGER PRIMARY KEY,
    stripe_charge_id         TEXT NOT NULL UNIQUE,
    stripe_customer_id       TEXT,
    stripe_payment_intent_id TEXT,
    amount_cents             INTEGER NOT NULL,
    amount_refunded_cents    INTEGER NOT NULL,
    refunded                 INTEGER NOT NULL CHECK (refunded IN (0, 1)),
    disputed                 INTEGER NOT NULL CHECK (disputed IN (0, 1)),
    currency                 TEXT NOT NULL,
    status                   TEXT NOT NULL,
    failure_code             TEXT,
    created                  INTEGER,
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    event_created            INTEGER NOT NULL,
    event_id                 TEXT NOT NULL
) STRICT;
CREATE TABLE stripe_checkout_sessions (
    id                       INTEGER PRIMARY KEY,
    stripe_session_id        TEXT NOT NULL UNIQUE,
    client_reference_id      TEXT,
    stripe_customer_id       TEXT,
    stripe_subscription_id   TEXT,
    stripe_payment_intent_id TEXT,
    stripe_invoice_id        TEXT,
    mode                     TEXT,
    status                   TEXT,
    payment_status           TEXT,
    amount_total             INTEGER,
    currency                 TEXT,
    metadata                 TEXT NOT NULL DEFAULT '{}',
    created                  INTEGER,
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    event_created            INTEGER NOT NULL,
    event_id                 TEXT NOT NULL
) STRICT;
CREATE TABLE stripe_customers (
    id                 INTEGER PRIMARY KEY,
    user_id            TEXT UNIQUE REFERENCES users (id),
    owner_user_id      TEXT REFERENCES users (id),
    linked_by          TEXT,
    contested          INTEGER NOT NULL DEFAULT 0 CHECK (contested IN (0, 1)),
    last_named         TEXT,
    stripe_customer_id TEXT NOT NULL UNIQUE,
    email              TEXT,
    name               TEXT,
    metadata           TEXT NOT NULL DEFAULT '{}',
    currency           TEXT,
    delinquent         INTEGER CHECK (delinquent IN (0, 1)),
    deleted            INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),
    created            INTEGER,
    livemode           INTEGER CHECK (livemode IN (0, 1)),
    event_created      INTEGER,
    event_id           TEXT
) STRICT;
CREATE TABLE stripe_disputes (
    id                       INTEGER PRIMARY KEY,
    stripe_dispute_id        TEXT NOT NULL UNIQUE,
    stripe_charge_id         TEXT,
    stripe_payment_intent_id TEXT,
    amount_cents             INTEGER NOT NULL,
    currency                 TEXT NOT NULL,
    reason                   TEXT,
    status                   TEXT NOT NULL,
    evidence_due_by          INTEGER,
    created                  INTEGER,
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    event_created            INTEGER NOT NULL,
    event_id                 TEXT NOT NULL
) STRICT;
CREATE TABLE stripe_invoice_payments (
    id                        INTEGER PRIMARY KEY,
    stripe_invoice_payment_id TEXT NOT NULL UNIQUE,
    stripe_invoice_id         TEXT NOT NULL,
    stripe_payment_intent_id  TEXT,
    stripe_charge_id          TEXT,
    is_default                INTEGER NOT NULL CHECK (is_default IN (0, 1)),
    status                    TEXT,
    livemode                  INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    event_created             INTEGER NOT NULL,
    event_id                  TEXT NOT NULL
) STRICT;
CREATE TABLE stripe_invoices (
    id                       INTEGER PRIMARY KEY,
    stripe_invoice_id        TEXT NOT NULL UNIQUE,
    stripe_customer_id       TEXT,
    stripe_subscription_id   TEXT,
    user_id                  TEXT REFERENCES users (id),
    linked_by                TEXT,
    last_named               TEXT,
    stripe_payment_intent_id TEXT,
    stripe_charge_id         TEXT,
    number                   TEXT,
    status                   TEXT,
    billing_reason           TEXT,
    collection_method        TEXT,
    currency                 TEXT,
    amount_due               INTEGER,
    amount_paid              INTEGER,
    amount_remaining         INTEGER,
    total                    INTEGER,
    attempt_count            INTEGER,
    next_payment_attempt     INTEGER,
    due_date                 INTEGER,
    period_start             INTEGER,
    period_end               INTEGER,
    hosted_invoice_url       TEXT,
    invoice_pdf              TEXT,
    created                  INTEGER,
    finalized_at             INTEGER,
    paid_at                  INTEGER,
    voided_at                INTEGER,
    marked_uncollectible_at  INTEGER,
    metadata                 TEXT NOT NULL DEFAULT '{}',
    deleted                  INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    event_created            INTEGER NOT NULL,
    event_id                 TEXT NOT NULL
) STRICT;
CREATE TABLE stripe_objects (
    object        TEXT NOT NULL,
    id            TEXT NOT NULL,
    livemode      INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    account       TEXT NOT NULL DEFAULT '',
    event_created INTEGER NOT NULL,
    event_id      TEXT NOT NULL,
    deleted       INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    terminal      INTEGER NOT NULL CHECK (terminal IN (0, 1)),
    contested     INTEGER NOT NULL CHECK (contested IN (0, 1)),
    ambiguous     INTEGER NOT NULL CHECK (ambiguous IN (0, 1)),
    data          TEXT NOT NULL, read_at INTEGER, read_log_id INTEGER, read_event_id TEXT, read_data TEXT,
    PRIMARY KEY (object, id, livemode, account)
) STRICT;
CREATE TABLE stripe_operations (
    id                 INTEGER PRIMARY KEY,
    idempotency_key    TEXT NOT NULL UNIQUE
                       CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    kind               TEXT NOT NULL,
    user_id            TEXT,
    subject            TEXT,
    fingerprint        TEXT NOT NULL,
    verb               TEXT NOT NULL CHECK (verb IN ('POST', 'DELETE')),
    path               TEXT NOT NULL,
    form               TEXT NOT NULL,
    status             TEXT NOT NULL
                       CHECK (status IN ('sending', 'in_doubt', 'done', 'refused', 'not_done')),
    attempts           INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    first_sent_ms      INTEGER NOT NULL,
    sent_log_id        INTEGER NOT NULL,
    next_attempt_at_ms INTEGER,
    object_id          TEXT,
    answer             TEXT CHECK (answer IS NULL OR json_valid(answer)),
    request_id         TEXT,
    last_error         TEXT,
    created_at_ms      INTEGER NOT NULL,
    finished_at_ms     INTEGER,
    CHECK ((status IN ('done', 'refused', 'not_done')) = (finished_at_ms IS NOT NULL)),
    CHECK (status <> 'in_doubt' OR next_attempt_at_ms IS NOT NULL)
) STRICT;
INSERT INTO "stripe_operations" VALUES(1,'done','subscription.change_plan','alice','sub_1','f','POST','/v1/x','items[0][id]=si_1&items[0][price]=price_team','done',1,1700000003000,1,NULL,NULL,NULL,NULL,NULL,1700000003000,1700000010000);
INSERT INTO "stripe_operations" VALUES(2,'doubt','subscription.change_plan','alice','sub_1','f','POST','/v1/x','items[0][id]=si_1&items[0][price]=price_team&proration_behavior=none','in_doubt',1,1700000003000,1,1700000009000,NULL,NULL,NULL,NULL,1700000003000,NULL);
INSERT INTO "stripe_operations" VALUES(3,'first','subscription.change_plan','alice','sub_1','f','POST','/v1/x','items[0][price]=price_pro','sending',1,1700000003000,1,NULL,NULL,NULL,NULL,NULL,1700000003000,NULL);
INSERT INTO "stripe_operations" VALUES(4,'unclear','subscription.change_plan','alice','sub_1','f','POST','/v1/x','proration_behavior=none','in_doubt',1,1700000003000,1,1700000009000,NULL,NULL,NULL,NULL,1700000003000,NULL);
INSERT INTO "stripe_operations" VALUES(5,'settled','subscription.change_plan','alice','sub_1','f','POST','/v1/x','proration_behavior=none','not_done',1,1700000003000,1,NULL,NULL,NULL,NULL,NULL,1700000003000,1700000010000);
INSERT INTO "stripe_operations" VALUES(6,'cancel','subscription.cancel_at_period_end','alice','sub_1','f','POST','/v1/x','cancel_at_period_end=true','in_doubt',1,1700000003000,1,1700000009000,NULL,NULL,NULL,NULL,1700000003000,NULL);
INSERT INTO "stripe_operations" VALUES(7,'customer','customer.create','alice',NULL,'f','POST','/v1/x','email=a@example.com','sending',1,1700000003000,1,NULL,NULL,NULL,NULL,NULL,1700000003000,NULL);
CREATE TABLE stripe_payment_intents (
    id                    INTEGER PRIMARY KEY,
    stripe_intent_id      TEXT NOT NULL UNIQUE,
    user_id               TEXT REFERENCES users (id),
    linked_by             TEXT,
    last_named            TEXT,
    stripe_customer_id    TEXT,
    stripe_invoice_id     TEXT,
    stripe_charge_id      TEXT,
    amount_cents          INTEGER NOT NULL,
    amount_received_cents INTEGER,
    currency              TEXT NOT NULL,
    status                TEXT NOT NULL,
    payment_method_type   TEXT,
    idempotency_key       TEXT,
    error_code            TEXT,
    error_message         TEXT,
    failed_at             INTEGER,
    failure_code          TEXT,
    failure_event_id      TEXT,
    cancellation_reason   TEXT,
    metadata              TEXT NOT NULL DEFAULT '{}',
    created               INTEGER,
    livemode              INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    event_created         INTEGER NOT NULL,
    event_id              TEXT NOT NULL
) STRICT;
CREATE TABLE stripe_refunds (
    id                       INTEGER PRIMARY KEY,
    stripe_refund_id         TEXT NOT NULL UNIQUE,
    stripe_charge_id         TEXT,
    stripe_payment_intent_id TEXT,
    amount_cents             INTEGER NOT NULL,
    currency                 TEXT,
    status                   TEXT NOT NULL,
    reason                   TEXT,
    failure_reason           TEXT,
    created                  INTEGER,
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    event_created            INTEGER NOT NULL,
    event_id                 TEXT NOT NULL
) STRICT;
CREATE TABLE stripe_subscription_items (
    id                     INTEGER PRIMARY KEY,
    stripe_subscription_id TEXT NOT NULL REFERENCES stripe_subscriptions (stripe_subscription_id) ON DELETE CASCADE,
    stripe_item_id         TEXT NOT NULL,
    position               INTEGER NOT NULL,
    stripe_price_id        TEXT,
    stripe_product_id      TEXT,
    quantity               INTEGER,
    current_period_start   INTEGER,
    current_period_end     INTEGER,
    unit_amount            INTEGER,
    currency               TEXT,
    recurring_interval     TEXT,
    interval_count         INTEGER,
    UNIQUE (stripe_subscription_id, stripe_item_id)
) STRICT;
CREATE TABLE stripe_subscriptions (
    id                     INTEGER PRIMARY KEY,
    stripe_subscription_id TEXT NOT NULL UNIQUE,
    stripe_customer_id     TEXT NOT NULL,
    user_id                TEXT REFERENCES users (id),
    linked_by              TEXT,
    last_named             TEXT,
    stripe_price_id        TEXT,
    status                 TEXT NOT NULL,
    current_period_start   INTEGER,
    current_period_end     INTEGER,
    cancel_at_period_end   INTEGER NOT NULL CHECK (cancel_at_period_end IN (0, 1)),
    cancel_at              INTEGER,
    canceled_at            INTEGER,
    ended_at               INTEGER,
    trial_start            INTEGER,
    trial_end              INTEGER,
    start_date             INTEGER,
    created                INTEGER,
    collection_method      TEXT,
    pause_collection       TEXT,
    paused_reason          TEXT,
    cancellation_reason    TEXT,
    currency               TEXT,
    latest_invoice         TEXT,
    items_partial          INTEGER NOT NULL DEFAULT 0 CHECK (items_partial IN (0, 1)),
    deleted                INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),
    grace_started_at       INTEGER,
    good_price_ids         TEXT CHECK (good_price_ids IS NULL OR json_valid(good_price_ids)),
    pause_period_end       INTEGER,
    metadata               TEXT NOT NULL DEFAULT '{}',
    livemode               INTEGER NOT NULL CHECK (livemode IN (0, 1)),
    event_created          INTEGER NOT NULL,
    event_id               TEXT NOT NULL
) STRICT;
CREATE TABLE stripe_webhooks_log (
    id                  INTEGER PRIMARY KEY,
    event_id            TEXT NOT NULL UNIQUE
                        CHECK (length(event_id) > 0),
    event_type          TEXT NOT NULL,
    status              TEXT NOT NULL DEFAULT 'pending'
                        CHECK (status IN ('pending', 'processed', 'ignored', 'retrying', 'dead')),
    processed           INTEGER NOT NULL DEFAULT 0
                        CHECK (processed IN (0, 1)),
    processing_error    TEXT,
    processing_attempts INTEGER NOT NULL DEFAULT 0
                        CHECK (processing_attempts >= 0),
    livemode            INTEGER CHECK (livemode IN (0, 1)),
    account             TEXT,
    api_version         TEXT,
    event_created       INTEGER NOT NULL,
    object_type         TEXT,
    object_id           TEXT,
    source              TEXT NOT NULL DEFAULT 'webhook'
                        CHECK (source = 'webhook' OR source = 'api'),
    created_at_ms       INTEGER NOT NULL,
    processed_at_ms     INTEGER,
    data                TEXT NOT NULL,
    CHECK (status <> 'processed' OR processed = 1),
    CHECK (status NOT IN ('pending', 'retrying', 'dead') OR processed = 0),
    CHECK (processed = 0 OR processed_at_ms IS NOT NULL)
) STRICT;
INSERT INTO "stripe_webhooks_log" VALUES(1,'evt_1','customer.created','processed',1,NULL,1,0,NULL,NULL,1700000000,'customer','cus_1','webhook',1700000001000,1700000002000,'{"id": "evt_1", "object": "event", "type": "customer.created", "created": 1700000000, "livemode": false, "api_version": "2026-01-01", "data": {"object": {"id": "cus_1", "object": "customer", "email": "a@example.com", "created": 1700000000, "livemode": false, "metadata": {"user_id": "alice"}}}}');
CREATE TABLE subscription_events (
    id                     INTEGER PRIMARY KEY,
    stripe_subscription_id TEXT NOT NULL,
    event_type             TEXT NOT NULL,
    stripe_event_id        TEXT NOT NULL UNIQUE,
    status                 TEXT,
    delinquent             INTEGER CHECK (delinquent IN (0, 1)),
    collection_paused      INTEGER CHECK (collection_paused IN (0, 1)),
    price_ids              TEXT CHECK (price_ids IS NULL OR json_valid(price_ids)),
    period_end             INTEGER,
    event_created          INTEGER NOT NULL,
    created_at_ms          INTEGER NOT NULL
) STRICT;
CREATE TABLE subscriptions (
    id                     INTEGER PRIMARY KEY,
    user_id                TEXT NOT NULL UNIQUE REFERENCES users (id),
    stripe_customer_id     TEXT NOT NULL,
    stripe_subscription_id TEXT NOT NULL,
    stripe_price_id        TEXT,
    status                 TEXT NOT NULL,
    tier                   TEXT NOT NULL,
    entitled               INTEGER NOT NULL CHECK (entitled IN (0, 1)),
    reason                 TEXT NOT NULL,
    current_period_start   INTEGER,
    current_period_end     INTEGER,
    cancel_at_period_end   INTEGER NOT NULL CHECK (cancel_at_period_end IN (0, 1)),
    canceled_at            INTEGER,
    trial_start            INTEGER,
    trial_end              INTEGER,
    grace_period_end       INTEGER,
    updated_at_ms          INTEGER NOT NULL
, valid_until INTEGER, ends_at INTEGER, changes_at INTEGER) STRICT;
CREATE TABLE sync_progress (
    run_id         INTEGER NOT NULL REFERENCES sync_runs (id),
    type           TEXT NOT NULL,
    began_s        INTEGER,
    after_id       TEXT,
    after_row      INTEGER,
    pages          INTEGER NOT NULL DEFAULT 0,
    objects        INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    finished_at_ms INTEGER,
    PRIMARY KEY (run_id, type)
) STRICT;
CREATE TABLE sync_runs (
    id             INTEGER PRIMARY KEY,
    scope          TEXT NOT NULL,
    status         TEXT NOT NULL
                   CHECK (status IN ('running', 'complete', 'abandoned')),
    began_at_ms    INTEGER NOT NULL,
    finished_at_ms INTEGER,
    CHECK ((status = 'running') = (finished_at_ms IS NULL))
) STRICT;
CREATE TABLE user_links (
    id              INTEGER PRIMARY KEY,
    object          TEXT NOT NULL CHECK (object = 'customer' OR object = 'subscription'),
    object_id       TEXT NOT NULL,
    user_id         TEXT NOT NULL REFERENCES users (id),
    linked          INTEGER NOT NULL CHECK (linked IN (0, 1)),
    actor           TEXT NOT NULL,
    said_at_ms      INTEGER NOT NULL,
    withdrawn_at_ms INTEGER,
    superseded      INTEGER NOT NULL DEFAULT 0 CHECK (superseded IN (0, 1))
) STRICT;
CREATE TABLE users (
    id            TEXT PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 255),
    email         TEXT,
    name          TEXT,
    metadata      TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    created_at_ms INTEGER NOT NULL
) STRICT;
INSERT INTO "users" VALUES('alice','a@example.com',NULL,'{}',1700000000000);
CREATE TABLE webhook_attempts (
    id              INTEGER PRIMARY KEY,
    stripe_event_id TEXT NOT NULL REFERENCES stripe_webhooks_log (event_id) ON DELETE CASCADE,
    attempt         INTEGER NOT NULL CHECK (attempt > 0),
    at_ms           INTEGER NOT NULL,
    error           TEXT NOT NULL
) STRICT;
CREATE TABLE webhook_dead_letter_queue (
    id                    INTEGER PRIMARY KEY,
    stripe_event_id       TEXT NOT NULL UNIQUE REFERENCES stripe_webhooks_log (event_id) ON DELETE CASCADE,
    event_type            TEXT NOT NULL,
    retry_count           INTEGER NOT NULL,
    error                 TEXT NOT NULL,
    original_timestamp_ms INTEGER NOT NULL,
    created_at_ms         INTEGER NOT NULL
) STRICT;
CREATE TABLE webhook_endpoints (
    url              TEXT PRIMARY KEY,
    fingerprint      TEXT NOT NULL,
    first_failure_ms INTEGER,
    last_success_ms  INTEGER,
    disabled_at_ms   INTEGER,
    disabled_reason  TEXT,
    failing_days     INTEGER NOT NULL DEFAULT 0,
    failing_day_ms   INTEGER,
    probe_at_ms      INTEGER,
    was_away         INTEGER NOT NULL DEFAULT 0 CHECK (was_away IN (0, 1)),
    CHECK ((disabled_at_ms IS NULL) = (disabled_reason IS NULL))
) STRICT;
CREATE TABLE webhook_retry_queue (
    id               INTEGER PRIMARY KEY,
    stripe_event_id  TEXT NOT NULL UNIQUE REFERENCES stripe_webhooks_log (event_id) ON DELETE CASCADE,
    event_type       TEXT NOT NULL,
    retry_count      INTEGER NOT NULL CHECK (retry_count > 0),
    max_retries      INTEGER NOT NULL CHECK (max_retries > 0),
    next_retry_at_ms INTEGER NOT NULL,
    last_error       TEXT NOT NULL,
    created_at_ms    INTEGER NOT NULL
) STRICT;
CREATE TABLE worker_claim (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    first_log_id  INTEGER NOT NULL,
    last_log_id   INTEGER NOT NULL,
    claimed_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX stripe_webhooks_log_open ON stripe_webhooks_log (status, id) WHERE status <> 'processed';
CREATE INDEX stripe_webhooks_log_object ON stripe_webhooks_log (object_id, event_created) WHERE processed = 1;
CREATE INDEX stripe_webhooks_log_type ON stripe_webhooks_log (event_type, id);
CREATE INDEX webhook_attempts_event ON webhook_attempts (stripe_event_id);
CREATE INDEX webhook_retry_queue_due ON webhook_retry_queue (next_retry_at_ms);
CREATE INDEX users_email ON users (email COLLATE NOCASE) WHERE email IS NOT NULL;
CREATE INDEX stripe_customers_owner ON stripe_customers (owner_user_id) WHERE owner_user_id IS NOT NULL;
CREATE INDEX user_links_object ON user_links (object_id, id) WHERE withdrawn_at_ms IS NULL;
CREATE INDEX user_links_user ON user_links (user_id, id) WHERE withdrawn_at_ms IS NULL;
CREATE INDEX stripe_subscriptions_customer ON stripe_subscriptions (stripe_customer_id);
CREATE INDEX stripe_subscriptions_user ON stripe_subscriptions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX subscription_events_subscription ON subscription_events (stripe_subscription_id, event_created);
CREATE VIEW active_subscriptions AS
    SELECT s.stripe_subscription_id, s.stripe_customer_id, s.user_id, s.status, i.stripe_price_id,
           i.quantity, i.unit_amount, i.currency, i.recurring_interval, i.interval_count, s.current_period_end
    FROM stripe_subscriptions s
    JOIN stripe_subscription_items i ON i.stripe_subscription_id = s.stripe_subscription_id
    WHERE s.status IN ('active', 'trialing', 'past_due') AND s.deleted = 0;
CREATE INDEX stripe_invoices_customer ON stripe_invoices (stripe_customer_id, created);
CREATE INDEX stripe_invoices_user ON stripe_invoices (user_id, created) WHERE user_id IS NOT NULL;
CREATE INDEX stripe_invoices_subscription ON stripe_invoices (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX stripe_invoices_payment_intent ON stripe_invoices (stripe_payment_intent_id) WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX stripe_payment_intents_user ON stripe_payment_intents (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX stripe_payment_intents_customer ON stripe_payment_intents (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX stripe_payment_intents_invoice ON stripe_payment_intents (stripe_invoice_id) WHERE stripe_invoice_id IS NOT NULL;
CREATE INDEX stripe_invoice_payments_invoice ON stripe_invoice_payments (stripe_invoice_id);
CREATE INDEX stripe_invoice_payments_intent ON stripe_invoice_payments (stripe_payment_intent_id) WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX stripe_charges_customer ON stripe_charges (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX stripe_refunds_charge ON stripe_refunds (stripe_charge_id) WHERE stripe_charge_id IS NOT NULL;
CREATE INDEX stripe_checkout_sessions_customer ON stripe_checkout_sessions (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX stripe_checkout_sessions_subscription ON stripe_checkout_sessions (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX stripe_checkout_sessions_payment_intent ON stripe_checkout_sessions (stripe_payment_intent_id) WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX stripe_checkout_sessions_invoice ON stripe_checkout_sessions (stripe_invoice_id) WHERE stripe_invoice_id IS NOT NULL;
CREATE INDEX payment_failures_subscription ON payment_failures (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX payment_failures_customer ON payment_failures (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX audit_log_user ON audit_log (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_log_customer ON audit_log (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL AND stripe_subscription_id IS NULL;
CREATE INDEX audit_log_subscription ON audit_log (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX outbox_due ON outbox (next_attempt_at_ms) WHERE status = 'pending';
CREATE INDEX stripe_operations_open ON stripe_operations (next_attempt_at_ms) WHERE status IN ('sending', 'in_doubt');
CREATE UNIQUE INDEX stripe_operations_customer ON stripe_operations (user_id)
    WHERE kind = 'customer.create' AND status IN ('sending', 'in_doubt');
CREATE INDEX stripe_operations_user ON stripe_operations (user_id, id) WHERE user_id IS NOT NULL;
CREATE UNIQUE INDEX sync_runs_running ON sync_runs (scope) WHERE status = 'running';
CREATE INDEX outbox_waiting ON outbox (kind, target, next_attempt_at_ms) WHERE status = 'pending';
CREATE INDEX payment_failures_due ON payment_failures (dunning_due_at) WHERE dunning_due_at IS NOT NULL;
CREATE INDEX subscriptions_changes ON subscriptions (changes_at) WHERE changes_at IS NOT NULL;
CREATE INDEX outbox_ready ON outbox (target, next_attempt_at_ms, id) WHERE status = 'pending' AND waits_for IS NULL;
CREATE INDEX outbox_order ON outbox (target, user_id, id) WHERE status IN ('pending', 'claimed');
CREATE INDEX outbox_behind ON outbox (waits_for) WHERE waits_for IS NOT NULL;
CREATE INDEX outbox_answers ON outbox (target, user_id, sequence) WHERE sequence IS NOT NULL;
CREATE INDEX outbox_lost_answers ON outbox (target) WHERE sequence IS NOT NULL AND status = 'failed';
COMMIT;
