//! `[retry]`: when failed work is tried again. Called by `sections`.

use crate::app::config::keys::{Section, number};
use crate::app::config::reader::ConfigReader;
use crate::base::retry::RetryPolicy;

pub(super) const RETRY: Section = Section::once(
    "retry",
    "When failed work, such as processing an event, is tried again.",
    &[
        number("retry.max_attempts", 8, (1, 100))
            .env(&["TILLD_RETRY_MAX_ATTEMPTS"])
            .about("Attempts ({range}), including the first; after the last the event becomes a dead letter."),
        number("retry.base_delay_s", 30, (0, 86_400))
            .env(&["TILLD_RETRY_BASE_DELAY_S"])
            .about("Seconds ({range}) after the first failure; doubled after each further one."),
        number("retry.max_delay_s", 3600, (0, 604_800))
            .env(&["TILLD_RETRY_MAX_DELAY_S"])
            .about("Seconds ({range}) at most, however many failures there were."),
    ],
);

pub(super) fn read(reader: &mut ConfigReader<'_>) -> RetryPolicy {
    RetryPolicy {
        max_attempts: reader.number("retry.max_attempts"),
        base_delay_s: reader.number("retry.base_delay_s"),
        max_delay_s: reader.number("retry.max_delay_s"),
    }
}
