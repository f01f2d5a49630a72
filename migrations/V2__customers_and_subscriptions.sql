-- Who the customers are and what they subscribe to. Every stripe_… row rests on one event: the one
-- that the order guard chose among all events of that object.

CREATE TABLE users (
    id            TEXT PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 255), -- the application's own id
    email         TEXT,                                         -- as the application gave it
    name          TEXT,                                         -- as the application gave it
    metadata      TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)), -- JSON object of the application
    created_at_ms INTEGER NOT NULL                              -- first seen, unix milliseconds
) STRICT;
CREATE INDEX users_email ON users (email COLLATE NOCASE) WHERE email IS NOT NULL;

CREATE TABLE stripe_objects (
    object        TEXT NOT NULL,                                -- kind, for example subscription
    id            TEXT NOT NULL,                                -- Stripe's id
    livemode      INTEGER NOT NULL CHECK (livemode IN (0, 1)),  -- custom ids exist once per mode
    account       TEXT NOT NULL DEFAULT '',                     -- Connect account; '' is our own
    event_created INTEGER NOT NULL,                             -- created of the event that data is from, unix seconds
    event_id      TEXT NOT NULL,                                -- that event
    deleted       INTEGER NOT NULL CHECK (deleted IN (0, 1)),   -- 1: a tombstone; only a newer created event revives it
    terminal      INTEGER NOT NULL CHECK (terminal IN (0, 1)),  -- 1: its status cannot be left
    contested     INTEGER NOT NULL CHECK (contested IN (0, 1)), -- 1: several events of that second were compared
    ambiguous     INTEGER NOT NULL CHECK (ambiguous IN (0, 1)), -- 1: and their order could not be told for certain
    data          TEXT NOT NULL,                                -- the newest JSON of the object
    PRIMARY KEY (object, id, livemode, account)
) STRICT;

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
CREATE INDEX stripe_customers_owner ON stripe_customers (owner_user_id) WHERE owner_user_id IS NOT NULL;
CREATE INDEX stripe_customers_email ON stripe_customers (email) WHERE email IS NOT NULL;

-- What the application or its operator said of whose a customer or a subscription is. Nothing is overwritten, so that
-- what was said before counts again when something is taken back.
CREATE TABLE user_links (
    id              INTEGER PRIMARY KEY,                        -- the order in which it was said
    object          TEXT NOT NULL CHECK (object = 'customer' OR object = 'subscription'), -- kind of the object spoken of
    object_id       TEXT NOT NULL,                              -- its id
    user_id         TEXT NOT NULL REFERENCES users (id),        -- the user spoken of
    linked          INTEGER NOT NULL CHECK (linked IN (0, 1)),  -- 1: it is this user's; 0: it is not
    actor           TEXT NOT NULL,                              -- api or cli
    said_at_ms      INTEGER NOT NULL,                           -- unix milliseconds
    withdrawn_at_ms INTEGER,                                    -- when it was taken back, unix milliseconds; NULL: it stands
    superseded      INTEGER NOT NULL DEFAULT 0 CHECK (superseded IN (0, 1)) -- 1: it was said not to be this user's, and metadata have named another one since
) STRICT;
CREATE INDEX user_links_object ON user_links (object_id, id) WHERE withdrawn_at_ms IS NULL;
CREATE INDEX user_links_user ON user_links (user_id, id) WHERE withdrawn_at_ms IS NULL;

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
    metadata               TEXT NOT NULL DEFAULT '{}',          -- JSON object
    livemode               INTEGER NOT NULL CHECK (livemode IN (0, 1)), -- 1: live mode, 0: test mode
    event_created          INTEGER NOT NULL,                    -- created of the event it rests on
    event_id               TEXT NOT NULL                        -- that event
) STRICT;
CREATE INDEX stripe_subscriptions_customer ON stripe_subscriptions (stripe_customer_id);
CREATE INDEX stripe_subscriptions_user ON stripe_subscriptions (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX stripe_subscriptions_status ON stripe_subscriptions (status);

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
    updated_at_ms          INTEGER NOT NULL                     -- when this row was computed, unix milliseconds
) STRICT;

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

CREATE VIEW active_subscriptions AS                             -- for analysts: who has what today
    SELECT s.stripe_subscription_id, s.stripe_customer_id, s.user_id, s.status, i.stripe_price_id,
           i.quantity, i.unit_amount, i.currency, i.recurring_interval, i.interval_count, s.current_period_end
    FROM stripe_subscriptions s
    JOIN stripe_subscription_items i ON i.stripe_subscription_id = s.stripe_subscription_id
    WHERE s.status IN ('active', 'trialing', 'past_due') AND s.deleted = 0;
