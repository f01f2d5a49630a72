//! One test binary: the harness, then one file per guarantee.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fake_stripe;
mod harness;
mod live;

mod analytics;
mod api;
mod calls;
mod catch_up;
mod cli;
mod cli_check;
mod client;
mod crash;
mod dashboard;
mod dashboard_outward;
mod dashboard_users;
mod delivery;
mod documents;
mod drift;
mod dunning;
mod faults;
mod front_door;
mod fuzzing;
mod histories;
mod lessons;
mod mail;
mod main_job;
mod metrics;
mod migrations;
mod modes;
mod order;
mod ownership;
mod reads;
mod rebuild;
mod restart;
mod samples;
mod silence;
mod story;
mod survival;
mod sync;
mod systemd;
mod thin;
mod tidy;
mod truth;
mod versions;
mod webhook;
