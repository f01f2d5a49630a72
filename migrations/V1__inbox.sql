-- The inbox: every authentic event, its state and its failures, and what was read from the API. Nothing here is derived;
-- the tables of objects can be made again from it (`tilld rebuild`). A CHECK with `IN` and three words or more would
-- build a b-tree at every insert and update; `OR` compares.

CREATE TABLE stripe_webhooks_log (
    id                  INTEGER PRIMARY KEY,                    -- order of arrival
    event_id            TEXT NOT NULL UNIQUE                    -- Stripe's event id (evt_…); a second delivery meets this
                        CHECK (length(event_id) > 0),
    event_type          TEXT NOT NULL,                          -- resource.verb, for example invoice.paid
    status              TEXT NOT NULL DEFAULT 'pending'         -- where the event stands, see ARCHITECTURE.md
                        CHECK (status = 'pending' OR status = 'processed' OR status = 'ignored' OR status = 'retrying' OR status = 'dead'),
    processed           INTEGER NOT NULL DEFAULT 0              -- 1: its facts are in the tables (mirror included)
                        CHECK (processed IN (0, 1)),
    processing_error    TEXT,                                   -- why the newest attempt failed, or why it is ignored
    processing_attempts INTEGER NOT NULL DEFAULT 0              -- attempts made, crashes counted
                        CHECK (processing_attempts >= 0),
    livemode            INTEGER CHECK (livemode IN (0, 1)),     -- mode of the event; NULL: it did not say
    account             TEXT,                                   -- Connect: the account where it happened; NULL: our own
    api_version         TEXT,                                   -- version that its data is rendered in
    event_created       INTEGER NOT NULL,                       -- Stripe's created, unix seconds
    object_type         TEXT,                                   -- data.object.object
    object_id           TEXT,                                   -- data.object.id; NULL: the object has none
    source              TEXT NOT NULL DEFAULT 'webhook'         -- what brought it first: a webhook, or a look at the API
                        CHECK (source = 'webhook' OR source = 'api'),
    created_at_ms       INTEGER NOT NULL,                       -- when it was received, unix milliseconds
    processed_at_ms     INTEGER,                                -- when it was last projected, unix milliseconds; a replay keeps it
    finished_at_ms      INTEGER,                                -- when it was first projected or ignored, unix milliseconds; nothing changes it later
    data                TEXT NOT NULL,                          -- the body, byte for byte as received
    CHECK (status <> 'processed' OR processed = 1),
    CHECK (processed = 0 OR status = 'processed' OR status = 'ignored'),
    CHECK (processed = 0 OR processed_at_ms IS NOT NULL)
) STRICT;

-- The worker's queue, and lists by state. Queries repeat the condition so that this index serves them.
CREATE INDEX stripe_webhooks_log_open ON stripe_webhooks_log (status, id) WHERE status <> 'processed';
-- All projected events of one object: the set that the order guard decides on. A replay takes none out of it.
CREATE INDEX stripe_webhooks_log_object ON stripe_webhooks_log (object_id, event_created) WHERE processed_at_ms IS NOT NULL;
-- The newest projected event: where a reading stands among the events.
CREATE INDEX stripe_webhooks_log_projected ON stripe_webhooks_log (id) WHERE processed_at_ms IS NOT NULL;
-- Lists by type, newest first.
CREATE INDEX stripe_webhooks_log_type ON stripe_webhooks_log (event_type, id);

-- What was read from the API and decided something: a row took it over, or it counts beside the events of its second.
-- No event, and never listed as one. What only repeats is kept without its body.
CREATE TABLE api_readings (
    id              INTEGER PRIMARY KEY,                        -- the order in which they were taken over
    reading_id      TEXT NOT NULL,                              -- what event_id is where a row rests on it: read:<object's id>:<sent_ms>
    object          TEXT NOT NULL,                              -- kind, for example subscription
    object_id       TEXT NOT NULL,                              -- Stripe's id
    livemode        INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- mode that it counts for
    account         TEXT NOT NULL DEFAULT '',                   -- Connect account; '' is our own
    read_at         INTEGER NOT NULL,                           -- what it shows was so then, unix seconds, in Stripe's time
    read_log_id     INTEGER NOT NULL,                           -- newest event in the log when the request was sent: it contains all up to it
    sent_ms         INTEGER NOT NULL,                           -- when the request was sent, unix milliseconds
    before_log_id   INTEGER NOT NULL,                           -- it was taken over after every projected event below this; never less than in the row before
    completed       INTEGER NOT NULL CHECK (completed IN (0, 1)), -- 1: its lists were completed, as far as the key may
    taken_at_ms     INTEGER NOT NULL,                           -- when it was taken over, unix milliseconds
    same_log_id     INTEGER,                                    -- it shows the same as the object of this event, whose row has the body
    same_reading_id INTEGER REFERENCES api_readings (id),       -- or as this reading, whose row has the body
    data            TEXT,                                       -- the object as Stripe wrote it; NULL: see same_log_id and same_reading_id
    CHECK ((data IS NOT NULL) + (same_log_id IS NOT NULL) + (same_reading_id IS NOT NULL) = 1)
) STRICT;
CREATE INDEX api_readings_object ON api_readings (object_id, id);

CREATE TABLE webhook_attempts (
    id              INTEGER PRIMARY KEY,                        -- row number
    stripe_event_id TEXT NOT NULL REFERENCES stripe_webhooks_log (event_id) ON DELETE CASCADE, -- which event
    attempt         INTEGER NOT NULL CHECK (attempt > 0),       -- number of the failed attempt
    at_ms           INTEGER NOT NULL,                           -- when it failed, unix milliseconds
    error           TEXT NOT NULL                               -- why it failed
) STRICT;
CREATE INDEX webhook_attempts_event ON webhook_attempts (stripe_event_id);

CREATE TABLE webhook_retry_queue (
    id               INTEGER PRIMARY KEY,                       -- row number
    stripe_event_id  TEXT NOT NULL UNIQUE REFERENCES stripe_webhooks_log (event_id) ON DELETE CASCADE, -- which event
    event_type       TEXT NOT NULL,                             -- its type, for lists
    retry_count      INTEGER NOT NULL CHECK (retry_count > 0),  -- attempts that failed so far
    max_retries      INTEGER NOT NULL CHECK (max_retries > 0),  -- attempts after which it is a dead letter
    next_retry_at_ms INTEGER NOT NULL,                          -- due time, unix milliseconds
    last_error       TEXT NOT NULL,                             -- why the newest attempt failed
    created_at_ms    INTEGER NOT NULL                           -- first failure, unix milliseconds
) STRICT;
CREATE INDEX webhook_retry_queue_due ON webhook_retry_queue (next_retry_at_ms);

CREATE TABLE webhook_dead_letter_queue (
    id                    INTEGER PRIMARY KEY AUTOINCREMENT,    -- row number; never given twice: an operator's yes is about all up to a number
    stripe_event_id       TEXT NOT NULL UNIQUE REFERENCES stripe_webhooks_log (event_id) ON DELETE CASCADE, -- which event
    event_type            TEXT NOT NULL,                        -- its type, for lists
    retry_count           INTEGER NOT NULL,                     -- attempts made
    error                 TEXT NOT NULL,                        -- why the last one failed
    original_timestamp_ms INTEGER NOT NULL,                     -- when the event was received, unix milliseconds
    created_at_ms         INTEGER NOT NULL                      -- when it was given up, unix milliseconds
) STRICT;

CREATE TABLE worker_claim (
    id            INTEGER PRIMARY KEY CHECK (id = 1),           -- one row: the batch in hand
    first_log_id  INTEGER NOT NULL,                             -- first event of the batch
    last_log_id   INTEGER NOT NULL,                             -- last event of the batch
    claimed_at_ms INTEGER NOT NULL                              -- unix milliseconds
) STRICT;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,                                     -- what is remembered, for example policy
    value TEXT NOT NULL                                         -- its value
) STRICT, WITHOUT ROWID;
