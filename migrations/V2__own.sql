-- What is not made from Stripe's events: what the application and its operators said, what was done, and what is
-- still to be done outside. `tilld rebuild` takes these tables over as they are.

CREATE TABLE users (
    id            TEXT PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 255), -- the application's own id
    email         TEXT,                                         -- as the application gave it
    name          TEXT,                                         -- as the application gave it
    metadata      TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)), -- JSON object of the application
    created_at_ms INTEGER NOT NULL                              -- first seen, unix milliseconds
) STRICT;
CREATE INDEX users_email ON users (email COLLATE NOCASE) WHERE email IS NOT NULL;

-- What the application or its operator said of whose a customer or a subscription is. Nothing is overwritten, so that
-- what was said before counts again when something is taken back.
CREATE TABLE user_links (
    id              INTEGER PRIMARY KEY,                        -- the order in which it was said
    object          TEXT NOT NULL CHECK (object = 'customer' OR object = 'subscription'), -- kind of the object spoken of
    object_id       TEXT NOT NULL,                              -- its id
    user_id         TEXT NOT NULL REFERENCES users (id),        -- the user spoken of
    linked          INTEGER NOT NULL CHECK (linked IN (0, 1)),  -- 1: it is this user's; 0: it is not
    actor           TEXT NOT NULL,                              -- api, cli or dashboard
    said_at_ms      INTEGER NOT NULL,                           -- unix milliseconds
    withdrawn_at_ms INTEGER,                                    -- when it was taken back, unix milliseconds; NULL: it stands
    superseded      INTEGER NOT NULL DEFAULT 0 CHECK (superseded IN (0, 1)) -- 1: it was said not to be this user's, and metadata have named another one since
) STRICT;
CREATE INDEX user_links_object ON user_links (object_id, id) WHERE withdrawn_at_ms IS NULL;
CREATE INDEX user_links_user ON user_links (user_id, id) WHERE withdrawn_at_ms IS NULL;

CREATE TABLE audit_log (
    id                 INTEGER PRIMARY KEY,                     -- row number
    at_ms              INTEGER NOT NULL,                        -- when, unix milliseconds; of an event: Stripe's created
    actor              TEXT NOT NULL,                           -- stripe, api, cli, dashboard or tilld
    action             TEXT NOT NULL,                           -- for example customer.subscription.updated, dead_letter.discard
    user_id            TEXT,                                    -- whom it concerns, as far as known
    stripe_customer_id TEXT,                                    -- by which the user is found later
    stripe_subscription_id TEXT,                                -- the same, and before the customer
    subject            TEXT,                                    -- id of the thing it was done to
    stripe_event_id    TEXT,                                    -- the event that caused it
    detail             TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(detail)), -- JSON object, no personal data
    UNIQUE (stripe_event_id, action)
) STRICT;
CREATE INDEX audit_log_user ON audit_log (user_id, at_ms) WHERE user_id IS NOT NULL;
CREATE INDEX audit_log_customer ON audit_log (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL AND stripe_subscription_id IS NULL;
CREATE INDEX audit_log_subscription ON audit_log (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
-- Lists by time. Times grow, so each row of an event is added at its end, or near it.
CREATE INDEX audit_log_time ON audit_log (at_ms);
-- Lists of what no event did, by what was done and by whom; an event adds nothing to them.
CREATE INDEX audit_log_acts ON audit_log (action, at_ms) WHERE stripe_event_id IS NULL;
CREATE INDEX audit_log_actors ON audit_log (actor, at_ms) WHERE stripe_event_id IS NULL;

CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY,                        -- row number
    kind            TEXT NOT NULL CHECK (kind = 'mail' OR kind = 'webhook' OR kind = 'stripe_call'), -- what is to be performed
    dedupe_key      TEXT NOT NULL UNIQUE,                       -- one effect, however often its cause is seen
    user_id         TEXT,                                       -- order is kept per user
    payload         TEXT NOT NULL CHECK (json_valid(payload)),  -- all that is needed to perform it
    status          TEXT NOT NULL DEFAULT 'pending'             -- where the effect stands
                    CHECK (status = 'pending' OR status = 'claimed' OR status = 'done' OR status = 'skipped' OR status = 'failed' OR status = 'discarded'),
    attempts        INTEGER NOT NULL DEFAULT 0,                 -- attempts made
    next_attempt_at_ms INTEGER NOT NULL,                        -- due time, unix milliseconds
    claimed_at_ms   INTEGER,                                    -- unix milliseconds
    last_error      TEXT,                                       -- why the newest attempt failed
    created_at_ms   INTEGER NOT NULL,                           -- unix milliseconds
    finished_at_ms  INTEGER,                                    -- unix milliseconds
    target          TEXT,                                       -- where it goes: mail, or an endpoint's URL; NULL: Stripe
    waits_for       INTEGER,                                    -- an unfinished row of the same user and target that goes first; NULL: none is known
    cause_event_id  TEXT,                                       -- event that brought it about; NULL: none did
    sequence        INTEGER,                                    -- of an entitlement.changed: its number; the highest of a user and target is the present answer
    CHECK ((status = 'pending' OR status = 'claimed') = (finished_at_ms IS NULL))
) STRICT;
CREATE INDEX outbox_waiting ON outbox (kind, target, next_attempt_at_ms) WHERE status = 'pending';
CREATE INDEX outbox_ready ON outbox (target, next_attempt_at_ms, id) WHERE status = 'pending' AND waits_for IS NULL;
CREATE INDEX outbox_order ON outbox (target, user_id, id) WHERE status IN ('pending', 'claimed');
-- What is being performed: some rows, however many wait.
CREATE INDEX outbox_claimed ON outbox (status) WHERE status = 'claimed';
CREATE INDEX outbox_behind ON outbox (waits_for) WHERE waits_for IS NOT NULL;
-- What a user was sent, newest first.
CREATE INDEX outbox_user ON outbox (user_id, created_at_ms) WHERE user_id IS NOT NULL;
CREATE INDEX outbox_answers ON outbox (target, user_id, sequence) WHERE sequence IS NOT NULL;
CREATE INDEX outbox_failed ON outbox (kind) WHERE status = 'failed';
CREATE INDEX outbox_lost_answers ON outbox (target) WHERE sequence IS NOT NULL AND status = 'failed';
-- Lists by target, and of what was given up.
CREATE INDEX outbox_target ON outbox (target);
CREATE INDEX outbox_ended ON outbox (status) WHERE finished_at_ms IS NOT NULL AND status <> 'done';
CREATE INDEX outbox_ended_target ON outbox (target, status) WHERE finished_at_ms IS NOT NULL AND status <> 'done';

CREATE TABLE webhook_endpoints (
    url              TEXT PRIMARY KEY,                          -- as configured
    fingerprint      TEXT NOT NULL,                             -- hash of its configuration; another one enables it again
    first_failure_ms INTEGER,                                   -- of those since its last success, unix milliseconds; NULL: none
    last_success_ms  INTEGER,                                   -- unix milliseconds
    disabled_at_ms   INTEGER,                                   -- unix milliseconds; NULL: it gets its events
    disabled_reason  TEXT,                                      -- why
    failing_days     INTEGER NOT NULL DEFAULT 0,                -- days, a day apart, on which an attempt failed since its last success
    failing_day_ms   INTEGER,                                   -- beginning of the newest of these days, unix milliseconds; NULL: none
    probe_at_ms      INTEGER,                                   -- while it is disabled: when it is tried again, unix milliseconds
    was_away         INTEGER NOT NULL DEFAULT 0 CHECK (was_away IN (0, 1)), -- 1: changes of answers were not written for it, and it has not been brought up to date
    CHECK ((disabled_at_ms IS NULL) = (disabled_reason IS NULL))
) STRICT;

CREATE TABLE stripe_operations (
    id                 INTEGER PRIMARY KEY,                     -- row number
    idempotency_key    TEXT NOT NULL UNIQUE                     -- sent to Stripe; the caller's own, or made here
                       CHECK (length(idempotency_key) BETWEEN 1 AND 255),
    kind               TEXT NOT NULL,                           -- what is done, for example customer.create
    user_id            TEXT,                                    -- for whom
    subject            TEXT,                                    -- Stripe's id of what it is done to; NULL: it makes something
    fingerprint        TEXT NOT NULL,                           -- hash of what the caller asked for; the same key with another one is refused
    verb               TEXT NOT NULL CHECK (verb IN ('POST', 'DELETE')), -- of the request to Stripe
    path               TEXT NOT NULL,                           -- of the request to Stripe
    form               TEXT NOT NULL,                           -- its parameters, encoded; every attempt sends the same bytes
    wanted             TEXT NOT NULL CHECK (json_valid(wanted)), -- what decides whether it was done, JSON: for example {"price_id": …}
    status             TEXT NOT NULL                            -- where it stands, see ARCHITECTURE.md
                       CHECK (status = 'sending' OR status = 'in_doubt' OR status = 'done' OR status = 'refused' OR status = 'not_done'),
    attempts           INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0), -- its attempts
    first_sent_ms      INTEGER NOT NULL,                        -- before its first byte left, unix milliseconds
    sent_log_id        INTEGER NOT NULL,                        -- newest event in the log then: its answer contains all of them
    next_attempt_at_ms INTEGER,                                 -- when the outcome is asked for again, unix milliseconds
    object_id          TEXT,                                    -- Stripe's id of what came of it
    answer             TEXT CHECK (answer IS NULL OR json_valid(answer)), -- Stripe's answer, or its refusal
    request_id         TEXT,                                    -- Stripe's id of the request that settled it
    last_error         TEXT,                                    -- why the newest attempt settled nothing
    created_at_ms      INTEGER NOT NULL,                        -- unix milliseconds
    finished_at_ms     INTEGER,                                 -- unix milliseconds
    CHECK ((status = 'sending' OR status = 'in_doubt') = (finished_at_ms IS NULL)),
    CHECK (status <> 'in_doubt' OR next_attempt_at_ms IS NOT NULL)
) STRICT;
-- What the recovery task asks for.
CREATE INDEX stripe_operations_open ON stripe_operations (next_attempt_at_ms) WHERE status IN ('sending', 'in_doubt');
-- One customer in the making per user.
CREATE UNIQUE INDEX stripe_operations_customer ON stripe_operations (user_id)
    WHERE kind = 'customer.create' AND status IN ('sending', 'in_doubt');
-- Lists of what came to nothing, and by user.
CREATE INDEX stripe_operations_ended ON stripe_operations (status) WHERE status IN ('refused', 'not_done');
CREATE INDEX stripe_operations_user ON stripe_operations (user_id, created_at_ms) WHERE user_id IS NOT NULL;

CREATE TABLE catch_up (
    id             INTEGER PRIMARY KEY CHECK (id = 1),          -- there is one row
    cursor_s       INTEGER,                                     -- every event of an earlier second is in the log, unix seconds, in Stripe's time; NULL: not known of any
    gap_from_s     INTEGER,                                     -- cursor that got older than Stripe keeps events; a whole sync closes the gap; NULL: none
    walk_from_s    INTEGER,                                     -- the walk in hand asks for events from this second on; NULL: no walk
    walk_began_s   INTEGER,                                     -- when it sent its first request, unix seconds, in Stripe's time
    walk_after     TEXT,                                        -- event that its last page in the log ended with
    CHECK ((walk_from_s IS NULL) = (walk_began_s IS NULL)),
    CHECK ((walk_from_s IS NULL) = (walk_after IS NULL))
) STRICT;
INSERT INTO catch_up (id) VALUES (1);

CREATE TABLE sync_runs (
    id             INTEGER PRIMARY KEY,                         -- row number
    scope          TEXT NOT NULL,                               -- all, or the types that were asked for
    status         TEXT NOT NULL                                -- complete: every type to its last page
                   CHECK (status = 'running' OR status = 'complete' OR status = 'abandoned'),
    began_at_ms    INTEGER NOT NULL,                            -- unix milliseconds
    finished_at_ms INTEGER,                                     -- unix milliseconds
    CHECK ((status = 'running') = (finished_at_ms IS NULL))
) STRICT;
-- An unfinished run is gone on with, not begun again.
CREATE UNIQUE INDEX sync_runs_running ON sync_runs (scope) WHERE status = 'running';

CREATE TABLE sync_progress (
    run_id         INTEGER NOT NULL REFERENCES sync_runs (id),  -- part of this run
    type           TEXT NOT NULL,                               -- as typed: customers, invoices, ...
    began_s        INTEGER,                                     -- when its first page was asked for, unix seconds, in Stripe's time; NULL: not yet
    after_id       TEXT,                                        -- object that its last page in the tables ended with
    after_row      INTEGER,                                     -- where it is asked for customer by customer: row number of the last one
    pages          INTEGER NOT NULL DEFAULT 0,                  -- pages in the tables
    objects        INTEGER NOT NULL DEFAULT 0,                  -- objects on them
    failed         INTEGER NOT NULL DEFAULT 0,                  -- objects that could not be taken; the log names them
    finished_at_ms INTEGER,                                     -- when its last page was in the tables, unix milliseconds; NULL: not yet
    PRIMARY KEY (run_id, type)
) STRICT;

CREATE TABLE drift_runs (
    id             INTEGER PRIMARY KEY,                         -- row number; the oldest are forgotten
    actor          TEXT NOT NULL,                               -- tilld, cli or dashboard
    fix            INTEGER NOT NULL CHECK (fix IN (0, 1)),      -- 1: differences are repaired
    types          TEXT NOT NULL,                               -- what is compared, separated by commas
    status         TEXT NOT NULL                                -- abandoned: another one was begun before it ended
                   CHECK (status = 'running' OR status = 'complete' OR status = 'failed' OR status = 'abandoned'),
    began_at_ms    INTEGER NOT NULL,                            -- unix milliseconds
    finished_at_ms INTEGER,                                     -- unix milliseconds
    same           INTEGER NOT NULL DEFAULT 0,                  -- objects that are the same; known at its end
    found          INTEGER NOT NULL DEFAULT 0,                  -- objects that are not
    repaired       INTEGER NOT NULL DEFAULT 0,                  -- those of them that were repaired
    unreadable     INTEGER NOT NULL DEFAULT 0,                  -- objects that cannot be read; known at its end
    error          TEXT,                                        -- what was not compared, and why
    CHECK ((status = 'running') = (finished_at_ms IS NULL))
) STRICT;

CREATE TABLE drift_findings (
    id             INTEGER PRIMARY KEY,                         -- row number
    run_id         INTEGER NOT NULL REFERENCES drift_runs (id), -- found by this comparison; only its first findings are kept
    type           TEXT NOT NULL,                               -- as typed: customers, subscriptions, ...
    object_id      TEXT NOT NULL,                               -- Stripe's id
    drift          TEXT NOT NULL,                               -- differs, tables_wrong, missing_here or missing_at_stripe
    fields         TEXT NOT NULL,                               -- fields or columns that differ, separated by commas
    fixed          INTEGER NOT NULL CHECK (fixed IN (0, 1))     -- 1: it was repaired
) STRICT;
CREATE INDEX drift_findings_run ON drift_findings (run_id);

-- What an operator wants the daemon to do with Stripe; who asks does not wait.
CREATE TABLE task_requests (
    id             INTEGER PRIMARY KEY,                         -- row number; the oldest that ended are forgotten
    task           TEXT NOT NULL                                -- what is wanted
                   CHECK (task = 'catch_up' OR task = 'sync' OR task = 'compare' OR task = 'compare_and_fix'),
    status         TEXT NOT NULL CHECK (status = 'waiting' OR status = 'running' OR status = 'done' OR status = 'failed'), -- where it stands
    actor          TEXT NOT NULL,                               -- who asked
    asked_at_ms    INTEGER NOT NULL,                            -- unix milliseconds
    began_at_ms    INTEGER,                                     -- unix milliseconds
    finished_at_ms INTEGER,                                     -- unix milliseconds
    outcome        TEXT,                                        -- what came of it, for people
    CHECK ((status = 'done' OR status = 'failed') = (finished_at_ms IS NOT NULL))
) STRICT;
-- Who asks for what waits already asks for the same.
CREATE UNIQUE INDEX task_requests_waiting ON task_requests (task) WHERE status = 'waiting';

-- Who is logged in to the dashboard. Only hashes: whoever reads the file cannot log in with them.
CREATE TABLE dashboard_sessions (
    token_hash    TEXT PRIMARY KEY,                             -- HMAC-SHA256 of the session's token with the admin token, hex: with another admin token it is not found
    created_at_ms INTEGER NOT NULL,                             -- login, unix milliseconds
    expires_at_ms INTEGER NOT NULL,                             -- it opens nothing from then on, unix milliseconds
    said          TEXT                                          -- what the next page tells, once: the result of an act
) STRICT, WITHOUT ROWID;

-- Figures of the past (docs/figures.md): they stay when the events that were counted are deleted. An event stands in one row,
-- of the hour in which it arrived. The worker counts a batch of events that it finishes for the first time in one go; whatever
-- else changes an event's state is counted by triggers. They tell the two apart by this: the worker's statement sets state and
-- finished_at_ms together.
CREATE TABLE webhook_hours (
    hour       INTEGER NOT NULL,                                -- beginning of the hour, unix seconds
    event_type TEXT NOT NULL,                                   -- resource.verb; other: it has more than 100 characters
    status     TEXT NOT NULL,                                   -- what became of them so far: processed, ignored or dead
    events     INTEGER NOT NULL,                                -- how many
    PRIMARY KEY (hour, event_type, status)
) STRICT, WITHOUT ROWID;

-- The same by the day, so that months need not be added up hour by hour. Triggers keep it, so it is always the sum of those rows.
CREATE TABLE webhook_days (
    day        INTEGER NOT NULL,                                -- beginning of the day (UTC), unix seconds
    event_type TEXT NOT NULL,                                   -- as in webhook_hours
    status     TEXT NOT NULL,                                   -- as in webhook_hours
    events     INTEGER NOT NULL,                                -- how many
    PRIMARY KEY (day, event_type, status)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER webhook_days_new AFTER INSERT ON webhook_hours
BEGIN
    INSERT INTO webhook_days (day, event_type, status, events)
    VALUES (NEW.hour / 86400 * 86400, NEW.event_type, NEW.status, NEW.events)
    ON CONFLICT (day, event_type, status) DO UPDATE SET events = events + excluded.events;
END;

CREATE TRIGGER webhook_days_counted AFTER UPDATE OF events ON webhook_hours
BEGIN
    UPDATE webhook_days SET events = events + NEW.events - OLD.events
        WHERE day = NEW.hour / 86400 * 86400 AND event_type = NEW.event_type AND status = NEW.status;
END;

CREATE TRIGGER webhook_days_gone AFTER DELETE ON webhook_hours
BEGIN
    UPDATE webhook_days SET events = events - OLD.events
        WHERE day = OLD.hour / 86400 * 86400 AND event_type = OLD.event_type AND status = OLD.status;
    DELETE FROM webhook_days
        WHERE day = OLD.hour / 86400 * 86400 AND event_type = OLD.event_type AND status = OLD.status AND events = 0;
END;

CREATE TABLE webhook_lag_hours (
    hour     INTEGER NOT NULL,                                  -- beginning of the hour in which they arrived, unix seconds
    up_to_ms INTEGER NOT NULL,                                  -- they were finished first after so long, or less; the longest is the last bound
    events   INTEGER NOT NULL,                                  -- how many took longer than the bound before, and no longer than this
    PRIMARY KEY (hour, up_to_ms)
) STRICT, WITHOUT ROWID;

-- How things stood, looked at once an hour, and kept once a day when it is long ago.
CREATE TABLE level_hours (
    hour  INTEGER NOT NULL,                                     -- beginning of the hour in which they were looked at, unix seconds
    name  TEXT NOT NULL,                                        -- what was counted, for example subscriptions
    label TEXT NOT NULL,                                        -- of what kind, for example active, or usd
    value INTEGER NOT NULL,                                     -- how many or how much, see docs/figures.md
    PRIMARY KEY (hour, name, label)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER webhook_hours_left AFTER UPDATE OF status ON stripe_webhooks_log
WHEN NEW.status <> OLD.status AND (OLD.status = 'processed' OR OLD.status = 'ignored' OR OLD.status = 'dead')
BEGIN
    -- Below zero where the worker has not counted it yet, whose batch ends after this.
    INSERT INTO webhook_hours (hour, event_type, status, events)
    VALUES (OLD.created_at_ms / 3600000 * 3600, iif(length(OLD.event_type) <= 100, OLD.event_type, 'other'), OLD.status, -1)
    ON CONFLICT (hour, event_type, status) DO UPDATE SET events = events - 1;
    DELETE FROM webhook_hours WHERE hour = OLD.created_at_ms / 3600000 * 3600
        AND event_type = iif(length(OLD.event_type) <= 100, OLD.event_type, 'other') AND status = OLD.status AND events = 0;
END;

CREATE TRIGGER webhook_hours_reached AFTER UPDATE OF status ON stripe_webhooks_log
WHEN NEW.status <> OLD.status AND (NEW.status = 'processed' OR NEW.status = 'ignored' OR NEW.status = 'dead')
    AND NOT (OLD.finished_at_ms IS NULL AND NEW.finished_at_ms IS NOT NULL)
BEGIN
    INSERT INTO webhook_hours (hour, event_type, status, events)
    VALUES (NEW.created_at_ms / 3600000 * 3600, iif(length(NEW.event_type) <= 100, NEW.event_type, 'other'), NEW.status, 1)
    ON CONFLICT (hour, event_type, status) DO UPDATE SET events = events + 1;
END;

CREATE TRIGGER webhook_lag_hours_counted AFTER UPDATE OF finished_at_ms ON stripe_webhooks_log
WHEN OLD.finished_at_ms IS NULL AND NEW.finished_at_ms IS NOT NULL AND NEW.status = OLD.status
BEGIN
    INSERT INTO webhook_lag_hours (hour, up_to_ms, events)
    VALUES (NEW.created_at_ms / 3600000 * 3600, CASE
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 10 THEN 10
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 25 THEN 25
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 50 THEN 50
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 100 THEN 100
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 250 THEN 250
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 500 THEN 500
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 1000 THEN 1000
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 2500 THEN 2500
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 5000 THEN 5000
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 10000 THEN 10000
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 30000 THEN 30000
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 60000 THEN 60000
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 300000 THEN 300000
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 3600000 THEN 3600000
        WHEN NEW.finished_at_ms - NEW.created_at_ms <= 86400000 THEN 86400000
        ELSE 9223372036854775807 END, 1)
    ON CONFLICT (hour, up_to_ms) DO UPDATE SET events = events + 1;
END;

-- What the log has already, where it is older than this schema.
INSERT INTO webhook_hours (hour, event_type, status, events)
SELECT created_at_ms / 3600000 * 3600, iif(length(event_type) <= 100, event_type, 'other'), status, count(*)
FROM stripe_webhooks_log WHERE status = 'processed' OR status = 'ignored' OR status = 'dead' GROUP BY 1, 2, 3;
INSERT INTO webhook_lag_hours (hour, up_to_ms, events)
SELECT created_at_ms / 3600000 * 3600, CASE
        WHEN finished_at_ms - created_at_ms <= 10 THEN 10
        WHEN finished_at_ms - created_at_ms <= 25 THEN 25
        WHEN finished_at_ms - created_at_ms <= 50 THEN 50
        WHEN finished_at_ms - created_at_ms <= 100 THEN 100
        WHEN finished_at_ms - created_at_ms <= 250 THEN 250
        WHEN finished_at_ms - created_at_ms <= 500 THEN 500
        WHEN finished_at_ms - created_at_ms <= 1000 THEN 1000
        WHEN finished_at_ms - created_at_ms <= 2500 THEN 2500
        WHEN finished_at_ms - created_at_ms <= 5000 THEN 5000
        WHEN finished_at_ms - created_at_ms <= 10000 THEN 10000
        WHEN finished_at_ms - created_at_ms <= 30000 THEN 30000
        WHEN finished_at_ms - created_at_ms <= 60000 THEN 60000
        WHEN finished_at_ms - created_at_ms <= 300000 THEN 300000
        WHEN finished_at_ms - created_at_ms <= 3600000 THEN 3600000
        WHEN finished_at_ms - created_at_ms <= 86400000 THEN 86400000
        ELSE 9223372036854775807 END, count(*)
FROM stripe_webhooks_log WHERE finished_at_ms IS NOT NULL GROUP BY 1, 2;

CREATE VIEW v_webhook_outcomes_daily AS                         -- events by day of arrival (UTC), type and outcome
    SELECT date(day, 'unixepoch') AS day, event_type,
           coalesce(sum(events) FILTER (WHERE status = 'processed'), 0) AS processed,
           coalesce(sum(events) FILTER (WHERE status = 'ignored'), 0) AS ignored,
           coalesce(sum(events) FILTER (WHERE status = 'dead'), 0) AS dead
    FROM webhook_days GROUP BY webhook_days.day, event_type;
