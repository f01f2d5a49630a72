-- What is made from the log and the kept readings. Every stripe_… row rests on one event or reading: the one that the
-- order guard chose among all of that object.

-- The newest state of every object that an event or a reading showed. Its body is where it was received: in the log, or
-- among the readings. No foreign keys lead there: before a body goes, the mirror is asked by the object's key.
CREATE TABLE mirror (
    object          TEXT NOT NULL,                              -- kind, for example subscription
    id              TEXT NOT NULL,                              -- Stripe's id
    livemode        INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- custom ids exist once per mode
    account         TEXT NOT NULL DEFAULT '',                   -- Connect account; '' is our own
    event_created   INTEGER NOT NULL,                           -- created of the event that it rests on, or time of the reading, unix seconds
    event_id        TEXT NOT NULL,                              -- that event, or read:… for a reading
    deleted         INTEGER NOT NULL CHECK (deleted IN (0, 1)), -- 1: a tombstone; only a newer created event revives it
    terminal        INTEGER NOT NULL CHECK (terminal IN (0, 1)), -- 1: its status cannot be left
    contested       INTEGER NOT NULL CHECK (contested IN (0, 1)), -- 1: several events of that second were compared
    ambiguous       INTEGER NOT NULL CHECK (ambiguous IN (0, 1)), -- 1: and their order could not be told for certain
    log_id          INTEGER,                                    -- event in the log whose body shows the object
    reading_id      INTEGER,                                    -- or reading that does, and has a body of its own
    last_words      INTEGER NOT NULL CHECK (last_words IN (0, 1)), -- 1: what it rests on shows no more than that it is deleted; the body is of before
    read_at         INTEGER,                                    -- newest reading that was taken over: unix seconds, in Stripe's time; events before it are in it
    read_log_id     INTEGER,                                    -- and so are events up to this place in the log
    counted_reading_id INTEGER,                                 -- newest reading while its content counts: the row rests on it, or on an event of its second; NULL: that second is over
    PRIMARY KEY (object, id, livemode, account),
    CHECK ((log_id IS NULL) <> (reading_id IS NULL))
) STRICT;

CREATE VIEW stripe_objects AS                                   -- the mirror with the newest JSON of each object
    SELECT m.object, m.id, m.livemode, m.account, m.event_created, m.event_id, m.deleted, m.terminal, m.contested,
           m.ambiguous,
           CASE m.last_words WHEN 1 THEN json_set(coalesce(r.data, json_extract(l.data, '$.data.object')), '$.deleted', json('true'))
               ELSE coalesce(r.data, json_extract(l.data, '$.data.object')) END AS data,
           m.read_at, m.read_log_id, k.reading_id AS read_event_id,
           CASE WHEN k.id IS NOT NULL
               THEN coalesce(k.data, ks.data, json_extract(kl.data, '$.data.object')) END AS read_data
    FROM mirror m
    LEFT JOIN stripe_webhooks_log l ON l.id = m.log_id
    LEFT JOIN api_readings r ON r.id = m.reading_id
    LEFT JOIN api_readings k ON k.id = m.counted_reading_id AND k.reading_id <> m.event_id
    LEFT JOIN api_readings ks ON ks.id = k.same_reading_id
    LEFT JOIN stripe_webhooks_log kl ON kl.id = k.same_log_id;

CREATE TABLE stripe_customers (
    id                 INTEGER PRIMARY KEY,                     -- row number
    user_id            TEXT UNIQUE REFERENCES users (id),       -- the user whose main customer this is
    owner_user_id      TEXT REFERENCES users (id),              -- the user it belongs to, also when it is a second one
    linked_by          TEXT,                                    -- why: said, metadata or subscriptions; NULL: it is nobody's
    contested          INTEGER NOT NULL DEFAULT 0 CHECK (contested IN (0, 1)), -- 1: nobody's, because its subscriptions name several users
    last_named         TEXT,                                    -- where its metadata name nobody now: the newest event that named a user: created, event, user
    stripe_customer_id TEXT NOT NULL UNIQUE,                    -- cus_…
    email              TEXT,                                    -- as Stripe has it
    name               TEXT,                                    -- as Stripe has it
    metadata           TEXT NOT NULL DEFAULT '{}',              -- JSON object
    currency           TEXT,                                    -- the customer's currency
    delinquent         INTEGER CHECK (delinquent IN (0, 1)),    -- newest invoice unpaid, says Stripe
    deleted            INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)), -- 1: deleted at Stripe
    created            INTEGER,                                 -- made at Stripe, unix seconds; NULL: only its id is known
    livemode           INTEGER CHECK (livemode IN (0, 1)),      -- 1: live mode, 0: test mode
    event_created      INTEGER,                                 -- created of the event it rests on; NULL: none yet
    event_id           TEXT                                     -- that event
) STRICT;
-- Operators search by mail address.
CREATE INDEX stripe_customers_email ON stripe_customers (email COLLATE NOCASE) WHERE email IS NOT NULL;
CREATE INDEX stripe_customers_owner ON stripe_customers (owner_user_id) WHERE owner_user_id IS NOT NULL;

CREATE TABLE stripe_subscriptions (
    id                     INTEGER PRIMARY KEY,                 -- row number
    stripe_subscription_id TEXT NOT NULL UNIQUE,                -- sub_…
    stripe_customer_id     TEXT NOT NULL,                       -- cus_…; its customer may not be known yet
    user_id                TEXT REFERENCES users (id),          -- the user it belongs to
    linked_by              TEXT,                                -- why: said, metadata, customer or reference; NULL: it is nobody's
    last_named             TEXT,                                -- where its metadata name nobody now: the newest event that named a user: created, event, user
    stripe_price_id        TEXT,                                -- price of the first item
    status                 TEXT NOT NULL,                       -- as Stripe said it, an open set
    current_period_start   INTEGER,                             -- earliest start of its items, unix seconds
    current_period_end     INTEGER,                             -- latest end of its items, unix seconds
    cancel_at_period_end   INTEGER NOT NULL CHECK (cancel_at_period_end IN (0, 1)), -- 1: Stripe ends it with the period
    cancel_at              INTEGER,                             -- unix seconds
    canceled_at            INTEGER,                             -- when canceling was asked for, unix seconds
    ended_at               INTEGER,                             -- when it ended, unix seconds
    trial_start            INTEGER,                             -- unix seconds
    trial_end              INTEGER,                             -- unix seconds
    start_date             INTEGER,                             -- unix seconds
    created                INTEGER,                             -- made at Stripe, unix seconds
    collection_method      TEXT,                                -- charge_automatically or send_invoice
    pause_collection       TEXT,                                -- behavior, where collecting is paused
    paused_reason          TEXT,                                -- status_details.paused.subscription.type, where it is paused
    cancellation_reason    TEXT,                                -- cancellation_details.reason
    currency               TEXT,                                -- ISO 4217 code in lower case
    latest_invoice         TEXT,                                -- in_…
    items_partial          INTEGER NOT NULL DEFAULT 0 CHECK (items_partial IN (0, 1)), -- 1: Stripe sent only the first items
    deleted                INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),       -- 1: customer.subscription.deleted came
    grace_started_at       INTEGER,                             -- our policy: first failure of this delinquency, unix seconds
    good_price_ids         TEXT CHECK (good_price_ids IS NULL OR json_valid(good_price_ids)), -- while a payment is missing: prices of its newest state that was active or trialing, JSON array
    pause_period_end       INTEGER,                             -- while collection is paused: end of the period in which that began, unix seconds
    mrr_state              TEXT,                                -- where its MRR counts (docs/figures.md): active, past_due, trialing or paused; NULL: nowhere
    mrr_currency           TEXT,                                -- ISO 4217 code in lower case, other where it is none; NULL with mrr_state, as the next six
    mrr_thousandths        INTEGER,                             -- what it brings a month, in thousandths of the currency's minor unit
    mrr_tiered_items       INTEGER,                             -- items left out because their price has tiers
    mrr_metered_items      INTEGER,                             -- items left out because use is billed
    mrr_other_items        INTEGER,                             -- items left out because their price could not be read
    mrr_unknown_discounts  INTEGER,                             -- discounts not taken off because their coupon is not known here
    mrr_needs              TEXT CHECK (mrr_needs IS NULL OR json_valid(mrr_needs)), -- ids of discounts and coupons that it was computed with or lacked, JSON array; NULL: none
    mrr_changes_at         INTEGER,                             -- when a discount ends, unix seconds; NULL: none does
    metadata               TEXT NOT NULL DEFAULT '{}',          -- JSON object
    livemode               INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created          INTEGER NOT NULL,                    -- created of the event it rests on
    event_id               TEXT NOT NULL                        -- that event
) STRICT;
CREATE INDEX stripe_subscriptions_customer ON stripe_subscriptions (stripe_customer_id);
CREATE INDEX stripe_subscriptions_user ON stripe_subscriptions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX stripe_subscriptions_mrr_changes ON stripe_subscriptions (mrr_changes_at) WHERE mrr_changes_at IS NOT NULL;
-- Those that a payment is missing for: how many users are delinquent.
CREATE INDEX stripe_subscriptions_owing ON stripe_subscriptions (user_id) WHERE grace_started_at IS NOT NULL;

-- Which subscriptions are to be computed again when a discount or a coupon becomes known or changes.
CREATE TABLE subscription_discounts (
    needed_id              TEXT NOT NULL,                       -- di_… or a coupon's id
    stripe_subscription_id TEXT NOT NULL,                       -- sub_…, in whose mrr_needs it stands
    PRIMARY KEY (needed_id, stripe_subscription_id)
) STRICT, WITHOUT ROWID;

-- What all subscriptions bring a month. Triggers keep it, so it is always the sum of their rows.
CREATE TABLE mrr_now (
    currency          TEXT NOT NULL,                            -- as mrr_currency of the subscriptions
    state             TEXT NOT NULL,                            -- as mrr_state of the subscriptions
    subscriptions     INTEGER NOT NULL,                         -- how many
    thousandths       INTEGER NOT NULL,                         -- sum of mrr_thousandths
    tiered_items      INTEGER NOT NULL,                         -- sum of mrr_tiered_items
    metered_items     INTEGER NOT NULL,                         -- sum of mrr_metered_items
    other_items       INTEGER NOT NULL,                         -- sum of mrr_other_items
    unknown_discounts INTEGER NOT NULL,                         -- sum of mrr_unknown_discounts
    PRIMARY KEY (currency, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER mrr_now_left AFTER UPDATE OF mrr_state ON stripe_subscriptions WHEN OLD.mrr_state IS NOT NULL
BEGIN
    UPDATE mrr_now SET subscriptions = subscriptions - 1, thousandths = thousandths - OLD.mrr_thousandths,
        tiered_items = tiered_items - OLD.mrr_tiered_items, metered_items = metered_items - OLD.mrr_metered_items,
        other_items = other_items - OLD.mrr_other_items, unknown_discounts = unknown_discounts - OLD.mrr_unknown_discounts
        WHERE currency = OLD.mrr_currency AND state = OLD.mrr_state;
    DELETE FROM mrr_now WHERE currency = OLD.mrr_currency AND state = OLD.mrr_state AND subscriptions = 0;
END;

CREATE TRIGGER mrr_now_gone AFTER DELETE ON stripe_subscriptions WHEN OLD.mrr_state IS NOT NULL
BEGIN
    UPDATE mrr_now SET subscriptions = subscriptions - 1, thousandths = thousandths - OLD.mrr_thousandths,
        tiered_items = tiered_items - OLD.mrr_tiered_items, metered_items = metered_items - OLD.mrr_metered_items,
        other_items = other_items - OLD.mrr_other_items, unknown_discounts = unknown_discounts - OLD.mrr_unknown_discounts
        WHERE currency = OLD.mrr_currency AND state = OLD.mrr_state;
    DELETE FROM mrr_now WHERE currency = OLD.mrr_currency AND state = OLD.mrr_state AND subscriptions = 0;
END;

CREATE TRIGGER mrr_now_reached AFTER UPDATE OF mrr_state ON stripe_subscriptions WHEN NEW.mrr_state IS NOT NULL
BEGIN
    INSERT INTO mrr_now (currency, state, subscriptions, thousandths, tiered_items, metered_items, other_items,
        unknown_discounts)
    VALUES (NEW.mrr_currency, NEW.mrr_state, 1, NEW.mrr_thousandths, NEW.mrr_tiered_items, NEW.mrr_metered_items,
        NEW.mrr_other_items, NEW.mrr_unknown_discounts)
    ON CONFLICT (currency, state) DO UPDATE SET subscriptions = subscriptions + 1,
        thousandths = thousandths + excluded.thousandths, tiered_items = tiered_items + excluded.tiered_items,
        metered_items = metered_items + excluded.metered_items, other_items = other_items + excluded.other_items,
        unknown_discounts = unknown_discounts + excluded.unknown_discounts;
END;

CREATE TABLE stripe_subscription_items (
    id                     INTEGER PRIMARY KEY,                 -- row number
    stripe_subscription_id TEXT NOT NULL REFERENCES stripe_subscriptions (stripe_subscription_id) ON DELETE CASCADE, -- whose item it is
    stripe_item_id         TEXT NOT NULL,                       -- si_…
    position               INTEGER NOT NULL,                    -- place in Stripe's list, 0 first
    stripe_price_id        TEXT,                                -- price_… (or the old plan's id)
    stripe_product_id      TEXT,                                -- prod_…
    quantity               INTEGER,                             -- NULL for metered prices
    current_period_start   INTEGER,                             -- unix seconds
    current_period_end     INTEGER,                             -- unix seconds
    unit_amount            INTEGER,                             -- minor units; NULL for tiers and fractions
    currency               TEXT,                                -- ISO 4217 code in lower case
    recurring_interval     TEXT,                                -- day, week, month, year
    interval_count         INTEGER,                             -- every how many of them
    UNIQUE (stripe_subscription_id, stripe_item_id)
) STRICT;

CREATE TABLE subscriptions (
    id                     INTEGER PRIMARY KEY,                 -- row number
    user_id                TEXT NOT NULL UNIQUE REFERENCES users (id), -- whose effective subscription this is
    stripe_customer_id     TEXT NOT NULL,                       -- cus_…
    stripe_subscription_id TEXT NOT NULL,                       -- sub_…
    stripe_price_id        TEXT,                                -- the price that gives the tier
    status                 TEXT NOT NULL,                       -- Stripe's word
    tier                   TEXT NOT NULL,                       -- ours; free without entitlement
    entitled               INTEGER NOT NULL CHECK (entitled IN (0, 1)), -- the answer when it was last computed
    reason                 TEXT NOT NULL,                       -- why, see the contract's table
    current_period_start   INTEGER,                             -- unix seconds
    current_period_end     INTEGER,                             -- unix seconds
    cancel_at_period_end   INTEGER NOT NULL CHECK (cancel_at_period_end IN (0, 1)), -- 1: Stripe ends it with the period
    canceled_at            INTEGER,                             -- unix seconds
    trial_start            INTEGER,                             -- unix seconds
    trial_end              INTEGER,                             -- unix seconds
    grace_period_end       INTEGER,                             -- unix seconds
    valid_until            INTEGER,                             -- of the answer, unix seconds
    ends_at                INTEGER,                             -- of the answer, unix seconds
    changes_at             INTEGER,                             -- when the answer changes by time alone, unix seconds; NULL: never
    updated_at_ms          INTEGER NOT NULL                     -- when this row was computed, unix milliseconds
) STRICT;
-- Lists of users by their answer.
CREATE INDEX subscriptions_answer ON subscriptions (reason, tier, user_id);
CREATE INDEX subscriptions_changes ON subscriptions (changes_at) WHERE changes_at IS NOT NULL;

-- How many users have which answer, so that nobody has to count them. The triggers keep it; a row that has come to 0 goes,
-- so that it is a function of `subscriptions` and of nothing else.
CREATE TABLE answer_counts (
    tier     TEXT NOT NULL,                                     -- subscriptions.tier
    reason   TEXT NOT NULL,                                     -- subscriptions.reason
    entitled INTEGER NOT NULL CHECK (entitled IN (0, 1)),       -- subscriptions.entitled
    users    INTEGER NOT NULL CHECK (users >= 0),               -- rows of subscriptions with these three
    PRIMARY KEY (tier, reason, entitled)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER subscriptions_added AFTER INSERT ON subscriptions BEGIN
    INSERT INTO answer_counts (tier, reason, entitled, users) VALUES (NEW.tier, NEW.reason, NEW.entitled, 1)
        ON CONFLICT (tier, reason, entitled) DO UPDATE SET users = users + 1;
END;
CREATE TRIGGER subscriptions_changed AFTER UPDATE OF tier, reason, entitled ON subscriptions
    WHEN NEW.tier <> OLD.tier OR NEW.reason <> OLD.reason OR NEW.entitled <> OLD.entitled BEGIN
    UPDATE answer_counts SET users = users - 1
        WHERE tier = OLD.tier AND reason = OLD.reason AND entitled = OLD.entitled;
    DELETE FROM answer_counts WHERE tier = OLD.tier AND reason = OLD.reason AND entitled = OLD.entitled AND users = 0;
    INSERT INTO answer_counts (tier, reason, entitled, users) VALUES (NEW.tier, NEW.reason, NEW.entitled, 1)
        ON CONFLICT (tier, reason, entitled) DO UPDATE SET users = users + 1;
END;
CREATE TRIGGER subscriptions_removed AFTER DELETE ON subscriptions BEGIN
    UPDATE answer_counts SET users = users - 1
        WHERE tier = OLD.tier AND reason = OLD.reason AND entitled = OLD.entitled;
    DELETE FROM answer_counts WHERE tier = OLD.tier AND reason = OLD.reason AND entitled = OLD.entitled AND users = 0;
END;

CREATE TABLE subscription_events (
    id                     INTEGER PRIMARY KEY,                 -- row number
    stripe_subscription_id TEXT NOT NULL,                       -- sub_…
    event_type             TEXT NOT NULL,                       -- what happened
    stripe_event_id        TEXT NOT NULL UNIQUE,                -- payload: stripe_webhooks_log.data of this event
    status                 TEXT,                                -- the subscription's status in it; this and the next four: NULL for invoice events
    delinquent             INTEGER CHECK (delinquent IN (0, 1)), -- 1: a payment is missing: past_due, unpaid, or paused because one failed
    collection_paused      INTEGER CHECK (collection_paused IN (0, 1)), -- 1: pause_collection is set
    price_ids              TEXT CHECK (price_ids IS NULL OR json_valid(price_ids)), -- prices of its items, JSON array
    period_end             INTEGER,                             -- latest end of its items, unix seconds
    event_created          INTEGER NOT NULL,                    -- when it happened, unix seconds
    created_at_ms          INTEGER NOT NULL                     -- when we recorded it, unix milliseconds
) STRICT;
CREATE INDEX subscription_events_subscription ON subscription_events (stripe_subscription_id, event_created);

CREATE TABLE stripe_invoices (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_invoice_id        TEXT NOT NULL UNIQUE,              -- in_…
    stripe_customer_id       TEXT,                              -- cus_…; NULL for a guest
    stripe_subscription_id   TEXT,                              -- sub_…; NULL for a one-off invoice
    user_id                  TEXT REFERENCES users (id),        -- the user it belongs to, as its subscription does if it has one
    linked_by                TEXT,                              -- why: said, metadata, customer or reference; NULL: it is nobody's
    last_named               TEXT,                              -- where its metadata name nobody now: the newest event that named a user: created, event, user
    stripe_payment_intent_id TEXT,                              -- pi_…, where the event's API version tells it
    stripe_charge_id         TEXT,                              -- ch_…, where it is paid without an intent
    number                   TEXT,                              -- printed number; NULL for drafts
    status                   TEXT,                              -- draft, open, paid, uncollectible, void
    billing_reason           TEXT,                              -- why it was made
    collection_method        TEXT,                              -- charge_automatically or send_invoice
    currency                 TEXT,                              -- ISO 4217 code in lower case
    amount_due               INTEGER,                           -- minor units
    amount_paid              INTEGER,                           -- minor units
    amount_remaining         INTEGER,                           -- minor units
    total                    INTEGER,                           -- minor units
    attempt_count            INTEGER,                           -- Stripe's count of payment attempts
    next_payment_attempt     INTEGER,                           -- unix seconds; NULL: none planned
    due_date                 INTEGER,                           -- unix seconds
    period_start             INTEGER,                           -- earliest start of its lines, unix seconds
    period_end               INTEGER,                           -- latest end of its lines, unix seconds
    hosted_invoice_url       TEXT,                              -- bearer link: never logged
    invoice_pdf              TEXT,                              -- bearer link: never logged
    created                  INTEGER,                           -- made at Stripe, unix seconds
    finalized_at             INTEGER,                           -- unix seconds
    paid_at                  INTEGER,                           -- unix seconds
    voided_at                INTEGER,                           -- unix seconds
    marked_uncollectible_at  INTEGER,                           -- unix seconds
    metadata                 TEXT NOT NULL DEFAULT '{}',        -- JSON object
    deleted                  INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)), -- 1: a deleted draft
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created            INTEGER NOT NULL,                  -- created of the event it rests on
    event_id                 TEXT NOT NULL                      -- that event
) STRICT;
CREATE INDEX stripe_invoices_customer ON stripe_invoices (stripe_customer_id, created);
CREATE INDEX stripe_invoices_user ON stripe_invoices (user_id, created) WHERE user_id IS NOT NULL;
CREATE INDEX stripe_invoices_subscription ON stripe_invoices (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX stripe_invoices_payment_intent ON stripe_invoices (stripe_payment_intent_id) WHERE stripe_payment_intent_id IS NOT NULL;

CREATE TABLE stripe_payment_intents (
    id                    INTEGER PRIMARY KEY,                  -- row number
    stripe_intent_id      TEXT NOT NULL UNIQUE,                 -- pi_…
    user_id               TEXT REFERENCES users (id),           -- the user it belongs to, as its subscription does if it has one
    linked_by             TEXT,                                 -- why: said, metadata, customer or reference; NULL: it is nobody's
    last_named            TEXT,                                 -- where its metadata name nobody now: the newest event that named a user: created, event, user
    stripe_customer_id    TEXT,                                 -- cus_…; NULL for a guest
    stripe_invoice_id     TEXT,                                 -- in_…, where the event's API version tells it
    stripe_charge_id      TEXT,                                 -- newest charge
    amount_cents          INTEGER NOT NULL,                     -- minor units of its currency
    amount_received_cents INTEGER,                              -- minor units
    currency              TEXT NOT NULL,                        -- ISO 4217 code in lower case
    status                TEXT NOT NULL,                        -- as Stripe said it
    payment_method_type   TEXT,                                 -- card, sepa_debit, …
    idempotency_key       TEXT,                                 -- key of the request that made it
    error_code            TEXT,                                 -- decline code, else code, of its present error
    error_message         TEXT,                                 -- message of its present error
    failed_at             INTEGER,                              -- newest failure ever heard of, unix seconds
    failure_code          TEXT,                                 -- decline code, else code, of that failure
    failure_event_id      TEXT,                                 -- the event that told it
    cancellation_reason   TEXT,                                 -- duplicate, abandoned, void_invoice, …
    outcome               TEXT NOT NULL DEFAULT 'open'          -- succeeded; failed: for good, after one attempt or more; canceled: without an attempt; open: none of these yet
                          CHECK (outcome = 'open' OR outcome = 'succeeded' OR outcome = 'failed' OR outcome = 'canceled'),
    metadata              TEXT NOT NULL DEFAULT '{}',           -- JSON object
    created               INTEGER,                              -- made at Stripe, unix seconds
    livemode              INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created         INTEGER NOT NULL,                     -- created of the event it rests on
    event_id              TEXT NOT NULL                         -- that event
) STRICT;
CREATE INDEX stripe_payment_intents_user ON stripe_payment_intents (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX stripe_payment_intents_customer ON stripe_payment_intents (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX stripe_payment_intents_invoice ON stripe_payment_intents (stripe_invoice_id) WHERE stripe_invoice_id IS NOT NULL;

-- Payment intents by the day on which they were made. Triggers keep it, so it is always the sum of their rows.
CREATE TABLE intent_days (
    day      INTEGER NOT NULL,                                  -- beginning of the day (UTC), unix seconds
    currency TEXT NOT NULL,                                     -- ISO 4217 code in lower case; other: it has more than 8 characters
    outcome  TEXT NOT NULL,                                     -- as the intents have it
    intents  INTEGER NOT NULL,                                  -- how many
    amount   INTEGER NOT NULL,                                  -- sum of amount_cents, each as at most 999999999999
    PRIMARY KEY (day, currency, outcome)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER intent_days_new AFTER INSERT ON stripe_payment_intents
BEGIN
    INSERT INTO intent_days (day, currency, outcome, intents, amount)
    VALUES (coalesce(NEW.created, 0) / 86400 * 86400, iif(length(NEW.currency) <= 8, NEW.currency, 'other'), NEW.outcome, 1,
        min(max(NEW.amount_cents, 0), 999999999999))
    ON CONFLICT (day, currency, outcome) DO UPDATE SET intents = intents + 1, amount = amount + excluded.amount;
END;

CREATE TRIGGER intent_days_moved AFTER UPDATE OF outcome, amount_cents, currency, created ON stripe_payment_intents
WHEN NEW.outcome IS NOT OLD.outcome OR NEW.amount_cents IS NOT OLD.amount_cents
    OR NEW.currency IS NOT OLD.currency OR NEW.created IS NOT OLD.created
BEGIN
    UPDATE intent_days SET intents = intents - 1, amount = amount - min(max(OLD.amount_cents, 0), 999999999999)
        WHERE day = coalesce(OLD.created, 0) / 86400 * 86400
        AND currency = iif(length(OLD.currency) <= 8, OLD.currency, 'other') AND outcome = OLD.outcome;
    DELETE FROM intent_days WHERE day = coalesce(OLD.created, 0) / 86400 * 86400
        AND currency = iif(length(OLD.currency) <= 8, OLD.currency, 'other') AND outcome = OLD.outcome AND intents = 0;
    INSERT INTO intent_days (day, currency, outcome, intents, amount)
    VALUES (coalesce(NEW.created, 0) / 86400 * 86400, iif(length(NEW.currency) <= 8, NEW.currency, 'other'), NEW.outcome, 1,
        min(max(NEW.amount_cents, 0), 999999999999))
    ON CONFLICT (day, currency, outcome) DO UPDATE SET intents = intents + 1, amount = amount + excluded.amount;
END;

CREATE TRIGGER intent_days_gone AFTER DELETE ON stripe_payment_intents
BEGIN
    UPDATE intent_days SET intents = intents - 1, amount = amount - min(max(OLD.amount_cents, 0), 999999999999)
        WHERE day = coalesce(OLD.created, 0) / 86400 * 86400
        AND currency = iif(length(OLD.currency) <= 8, OLD.currency, 'other') AND outcome = OLD.outcome;
    DELETE FROM intent_days WHERE day = coalesce(OLD.created, 0) / 86400 * 86400
        AND currency = iif(length(OLD.currency) <= 8, OLD.currency, 'other') AND outcome = OLD.outcome AND intents = 0;
END;

-- Every attempt to pay of which an event told, once, however often the event is projected.
CREATE TABLE payment_attempts (
    event_id         TEXT PRIMARY KEY,                          -- the event
    stripe_intent_id TEXT NOT NULL,                             -- pi_…
    at               INTEGER NOT NULL,                          -- created of the event, unix seconds
    outcome          TEXT NOT NULL CHECK (outcome = 'succeeded' OR outcome = 'failed'), -- how it ended
    code             TEXT NOT NULL,                             -- why it failed: a code of Stripe's, other, or none; empty where it did not
    currency         TEXT NOT NULL,                             -- ISO 4217 code in lower case
    amount_cents     INTEGER NOT NULL,                          -- minor units: what was received, or was to be
    livemode         INTEGER NOT NULL CHECK (livemode IN (0, 1)) -- 1: live mode, 0: test mode
) STRICT, WITHOUT ROWID;

-- The same by the hour. Triggers keep it, so it is always the sum of those rows.
CREATE TABLE payment_hours (
    hour     INTEGER NOT NULL,                                  -- beginning of the hour, unix seconds
    currency TEXT NOT NULL,                                     -- ISO 4217 code in lower case; other: it has more than 8 characters
    outcome  TEXT NOT NULL,                                     -- succeeded or failed
    code     TEXT NOT NULL,                                     -- as in payment_attempts
    attempts INTEGER NOT NULL,                                  -- how many
    amount   INTEGER NOT NULL,                                  -- sum of amount_cents, each as at most 999999999999
    PRIMARY KEY (hour, currency, outcome, code)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER payment_hours_new AFTER INSERT ON payment_attempts
BEGIN
    INSERT INTO payment_hours (hour, currency, outcome, code, attempts, amount)
    VALUES (NEW.at / 3600 * 3600, iif(length(NEW.currency) <= 8, NEW.currency, 'other'), NEW.outcome, NEW.code, 1,
        min(max(NEW.amount_cents, 0), 999999999999))
    ON CONFLICT (hour, currency, outcome, code) DO UPDATE SET attempts = attempts + 1, amount = amount + excluded.amount;
END;

CREATE TRIGGER payment_hours_gone AFTER DELETE ON payment_attempts
BEGIN
    UPDATE payment_hours SET attempts = attempts - 1, amount = amount - min(max(OLD.amount_cents, 0), 999999999999)
        WHERE hour = OLD.at / 3600 * 3600 AND currency = iif(length(OLD.currency) <= 8, OLD.currency, 'other')
        AND outcome = OLD.outcome AND code = OLD.code;
    DELETE FROM payment_hours WHERE hour = OLD.at / 3600 * 3600
        AND currency = iif(length(OLD.currency) <= 8, OLD.currency, 'other') AND outcome = OLD.outcome AND code = OLD.code
        AND attempts = 0;
END;

CREATE TABLE stripe_invoice_payments (
    id                        INTEGER PRIMARY KEY,              -- row number
    stripe_invoice_payment_id TEXT NOT NULL UNIQUE,             -- inpay_…
    stripe_invoice_id         TEXT NOT NULL,                    -- in_…
    stripe_payment_intent_id  TEXT,                             -- pi_…, where it is paid by one
    stripe_charge_id          TEXT,                             -- ch_…, where it is paid by a bare charge
    is_default                INTEGER NOT NULL CHECK (is_default IN (0, 1)), -- 1: the invoice's own payment
    status                    TEXT,                             -- open, paid, canceled
    livemode                  INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created             INTEGER NOT NULL,                 -- created of the event it rests on
    event_id                  TEXT NOT NULL                     -- that event
) STRICT;
CREATE INDEX stripe_invoice_payments_invoice ON stripe_invoice_payments (stripe_invoice_id);
CREATE INDEX stripe_invoice_payments_intent ON stripe_invoice_payments (stripe_payment_intent_id) WHERE stripe_payment_intent_id IS NOT NULL;

CREATE TABLE stripe_charges (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_charge_id         TEXT NOT NULL UNIQUE,              -- ch_… or py_…
    stripe_customer_id       TEXT,                              -- cus_…; NULL for a guest
    stripe_payment_intent_id TEXT,                              -- pi_…
    amount_cents             INTEGER NOT NULL,                  -- minor units
    amount_refunded_cents    INTEGER NOT NULL,                  -- minor units, all refunds together, without those that failed or were canceled
    refunded                 INTEGER NOT NULL CHECK (refunded IN (0, 1)), -- 1: refunded in full
    disputed                 INTEGER NOT NULL CHECK (disputed IN (0, 1)), -- 1: ever disputed
    currency                 TEXT NOT NULL,                     -- ISO 4217 code in lower case
    status                   TEXT NOT NULL,                     -- succeeded, pending, failed
    failure_code             TEXT,                              -- why it failed
    created                  INTEGER,                           -- made at Stripe, unix seconds
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created            INTEGER NOT NULL,                  -- created of the event it rests on
    event_id                 TEXT NOT NULL                      -- that event
) STRICT;

CREATE TABLE stripe_refunds (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_refund_id         TEXT NOT NULL UNIQUE,              -- re_… or pyr_…
    stripe_charge_id         TEXT,                              -- ch_… that it takes from
    stripe_payment_intent_id TEXT,                              -- pi_…
    amount_cents             INTEGER NOT NULL,                  -- minor units
    currency                 TEXT,                              -- ISO 4217 code in lower case
    status                   TEXT NOT NULL,                     -- pending, requires_action, succeeded, failed, canceled; the last two took nothing in the end
    reason                   TEXT,                              -- why it was made
    failure_reason           TEXT,                              -- why it failed
    created                  INTEGER,                           -- made at Stripe, unix seconds
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created            INTEGER NOT NULL,                  -- created of the event it rests on
    event_id                 TEXT NOT NULL                      -- that event
) STRICT;
CREATE INDEX stripe_refunds_charge ON stripe_refunds (stripe_charge_id) WHERE stripe_charge_id IS NOT NULL;

CREATE TABLE stripe_disputes (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_dispute_id        TEXT NOT NULL UNIQUE,              -- dp_… or du_…
    stripe_charge_id         TEXT,                              -- ch_…
    stripe_payment_intent_id TEXT,                              -- pi_…
    amount_cents             INTEGER NOT NULL,                  -- minor units
    currency                 TEXT NOT NULL,                     -- ISO 4217 code in lower case
    reason                   TEXT,                              -- an open set
    status                   TEXT NOT NULL,                     -- an open set; unknown means open
    evidence_due_by          INTEGER,                           -- unix seconds
    created                  INTEGER,                           -- made at Stripe, unix seconds
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created            INTEGER NOT NULL,                  -- created of the event it rests on
    event_id                 TEXT NOT NULL                      -- that event
) STRICT;

CREATE TABLE stripe_checkout_sessions (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_session_id        TEXT NOT NULL UNIQUE,              -- cs_…
    client_reference_id      TEXT,                              -- whatever the maker of the link or the holder of its URL wrote
    stripe_customer_id       TEXT,                              -- cus_…; NULL for a guest
    stripe_subscription_id   TEXT,                              -- sub_…, once complete
    stripe_payment_intent_id TEXT,                              -- pi_…, in payment mode
    stripe_invoice_id        TEXT,                              -- in_…, where it made one
    mode                     TEXT,                              -- payment, setup, subscription
    status                   TEXT,                              -- open, complete, expired
    payment_status           TEXT,                              -- paid, unpaid, no_payment_required
    amount_total             INTEGER,                           -- minor units
    currency                 TEXT,                              -- ISO 4217 code in lower case
    metadata                 TEXT NOT NULL DEFAULT '{}',        -- JSON object
    created                  INTEGER,                           -- made at Stripe, unix seconds
    livemode                 INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created            INTEGER NOT NULL,                  -- created of the event it rests on
    event_id                 TEXT NOT NULL                      -- that event
) STRICT;
CREATE INDEX stripe_checkout_sessions_customer ON stripe_checkout_sessions (stripe_customer_id) WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX stripe_checkout_sessions_subscription ON stripe_checkout_sessions (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX stripe_checkout_sessions_payment_intent ON stripe_checkout_sessions (stripe_payment_intent_id) WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX stripe_checkout_sessions_invoice ON stripe_checkout_sessions (stripe_invoice_id) WHERE stripe_invoice_id IS NOT NULL;

CREATE TABLE payment_failures (
    id                       INTEGER PRIMARY KEY,               -- row number
    stripe_invoice_id        TEXT NOT NULL UNIQUE,              -- one case per invoice
    stripe_subscription_id   TEXT,                              -- sub_…
    stripe_customer_id       TEXT,                              -- cus_…
    stripe_payment_intent_id TEXT,                              -- pi_…, where known
    amount_due               INTEGER,                           -- minor units, at the newest failure
    currency                 TEXT,                              -- ISO 4217 code in lower case
    attempt_count            INTEGER NOT NULL,                  -- Stripe's count, at the newest failure
    failure_reason           TEXT,                              -- decline or error code of the payment, where known
    next_retry_at            INTEGER,                           -- Stripe's next attempt, unix seconds; NULL: none
    first_failed_at          INTEGER NOT NULL,                  -- created of the first failure, unix seconds
    last_failed_at           INTEGER NOT NULL,                  -- created of the newest failure, unix seconds
    last_event_id            TEXT NOT NULL,                     -- event of the newest failure
    resolved                 INTEGER NOT NULL DEFAULT 0 CHECK (resolved IN (0, 1)), -- 1: nothing is owed any more
    resolved_at_ms           INTEGER,                           -- Stripe's time of it, unix milliseconds
    resolution               TEXT CHECK (resolution = 'paid' OR resolution = 'void' OR resolution = 'uncollectible' OR resolution = 'subscription_ended'), -- how it was resolved; NULL: it is not
    dunning_due_at           INTEGER,                           -- when a notice falls due by time alone, unix seconds; NULL: none does
    created_at_ms            INTEGER NOT NULL,                  -- when the case was opened here, unix milliseconds
    CHECK ((resolved = 1) = (resolved_at_ms IS NOT NULL)),
    CHECK ((resolved = 1) = (resolution IS NOT NULL))
) STRICT;
CREATE INDEX payment_failures_subscription ON payment_failures (stripe_subscription_id) WHERE stripe_subscription_id IS NOT NULL;
CREATE INDEX payment_failures_open ON payment_failures (currency, amount_due) WHERE resolved = 0;
CREATE INDEX payment_failures_due ON payment_failures (dunning_due_at) WHERE dunning_due_at IS NOT NULL;

CREATE TABLE dunning_attempts (
    id                 INTEGER PRIMARY KEY,                     -- row number
    payment_failure_id INTEGER NOT NULL REFERENCES payment_failures (id), -- the case
    user_id            TEXT REFERENCES users (id),              -- who was written to; NULL: nobody known
    attempt_number     INTEGER NOT NULL CHECK (attempt_number > 0), -- which attempt of the case it is about
    notification_type  TEXT NOT NULL,                           -- kind of notice
    email_sent         INTEGER NOT NULL DEFAULT 0 CHECK (email_sent IN (0, 1)), -- 1: the mail server took it
    email_sent_at_ms   INTEGER,                                 -- unix milliseconds
    outcome            TEXT,                                    -- sent, skipped or failed, and why
    told               INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1)), -- 1: it was to be told, to whom may hear it; 0: skipped, see outcome
    grace_started_at   INTEGER,                                 -- of a warning or a downgrade: the delinquency it is about, unix seconds
    outbox_id          INTEGER,                                 -- its mail in the outbox; NULL: none
    cause_event_id     TEXT,                                    -- event that brought it about; NULL: time did
    created_at_ms      INTEGER NOT NULL,                        -- unix milliseconds
    UNIQUE (payment_failure_id, notification_type, attempt_number)
) STRICT;
-- What a user was to be told, newest first.
CREATE INDEX dunning_attempts_user ON dunning_attempts (user_id, created_at_ms) WHERE user_id IS NOT NULL;

CREATE VIEW v_active_subscriptions AS                           -- for analysts: who has what today
    SELECT s.stripe_subscription_id, s.stripe_customer_id, s.user_id, s.status, i.stripe_price_id,
           i.quantity, i.unit_amount, i.currency, i.recurring_interval, i.interval_count, s.current_period_end
    FROM stripe_subscriptions s
    JOIN stripe_subscription_items i ON i.stripe_subscription_id = s.stripe_subscription_id
    WHERE (s.status = 'active' OR s.status = 'trialing' OR s.status = 'past_due') AND s.deleted = 0;

CREATE VIEW v_mrr AS                                            -- what subscriptions bring a month, in minor units, see docs/figures.md
    SELECT currency, state, subscriptions, (thousandths + 500) / 1000 AS mrr, tiered_items, metered_items, other_items,
           unknown_discounts
    FROM mrr_now;

CREATE VIEW v_payment_outcomes_daily AS                         -- attempts by their day, intents by the day they were made (UTC); amounts in minor units
    SELECT date(at, 'unixepoch') AS day, currency, sum(succeeded_attempts) AS succeeded_attempts,
           sum(failed_attempts) AS failed_attempts, sum(succeeded_amount) AS succeeded_amount,
           sum(failed_amount) AS failed_amount, sum(succeeded_intents) AS succeeded_intents,
           sum(failed_intents) AS failed_intents, sum(canceled_intents) AS canceled_intents, sum(open_intents) AS open_intents
    FROM (SELECT hour AS at, currency, iif(outcome = 'succeeded', attempts, 0) AS succeeded_attempts,
              iif(outcome = 'failed', attempts, 0) AS failed_attempts, iif(outcome = 'succeeded', amount, 0) AS succeeded_amount,
              iif(outcome = 'failed', amount, 0) AS failed_amount, 0 AS succeeded_intents, 0 AS failed_intents,
              0 AS canceled_intents, 0 AS open_intents FROM payment_hours
          UNION ALL
          SELECT day, currency, 0, 0, 0, 0, iif(outcome = 'succeeded', intents, 0), iif(outcome = 'failed', intents, 0),
              iif(outcome = 'canceled', intents, 0), iif(outcome = 'open', intents, 0) FROM intent_days)
    GROUP BY 1, 2;
