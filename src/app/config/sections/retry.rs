//! `[retry]`: when failed work is tried again.

use crate::app::config::keys::{Section, number};
use crate::app::config::reader::ConfigReader;
use crate::base::retry::RetryPolicy;

pub(super) const RETRY: Section = Section::once(
    "retry",
    "When work that failed, such as the projection of an event, is tried again.",
    &[
        number("retry.max_attempts", 8, (1, 100))
            .env(&["TILLD_RETRY_MAX_ATTEMPTS"])
            .about("Attempts ({range}), the first included; then it becomes a dead letter."),
        number("retry.base_delay_s", 30, (0, 86_400))
            .env(&["TILLD_RETRY_BASE_DELAY_S"])
            .about("Seconds ({range}) after the first failure; doubles with each."),
        number("retry.max_delay_s", 3600, (0, 604_800))
            .env(&["TILLD_RETRY_MAX_DELAY_S"])
            .about("Seconds ({range}) at most, however often it failed."),
    ],
);

pub(super) fn read(reader: &mut ConfigReader<'_>) -> RetryPolicy {
    RetryPolicy {
        max_attempts: reader.number("retry.max_attempts"),
        base_delay_s: reader.number("retry.base_delay_s"),
        max_delay_s: reader.number("retry.max_delay_s"),
    }
}
