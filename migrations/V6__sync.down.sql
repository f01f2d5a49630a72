DROP TABLE sync_progress;
DROP TABLE sync_runs;
DROP TABLE catch_up;
