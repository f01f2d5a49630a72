-- What is read from Stripe's API to repair the copy: events that did not come, objects from before the first webhook.

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
                   CHECK (status IN ('running', 'complete', 'abandoned')),
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
