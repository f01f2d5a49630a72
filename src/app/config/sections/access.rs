//! `[entitlement]` and `[dunning]`: what a stale or paused subscription gives, and how long access outlasts a failed payment.
//! Called by `sections`.

use crate::app::config::keys::{Section, number, text};
use crate::app::config::reader::ConfigReader;
use crate::base::entitlement::{PausedCollection, WhenStale};

const SECONDS_PER_DAY: i64 = 86_400;

pub(super) const ENTITLEMENT: Section = Section::once(
    "entitlement",
    "",
    &[
        number("entitlement.stale_after_s", 3600, (0, 31_536_000)).env(&["TILLD_STALE_AFTER_S"]).about(
            "Seconds ({range}) after the end of a period in which news of its renewal should have arrived; after that the answer \
             is marked stale.",
        ),
        text("entitlement.when_stale", "keep").env(&["TILLD_WHEN_STALE"]).about(
            "What a stale subscription gives: \"keep\" access, since a late webhook is more likely than a customer who left, or \
             \"deny\" it.",
        ),
        text("entitlement.paused_collection", "keep").env(&["TILLD_PAUSED_COLLECTION"]).about(
            "What a subscription with pause_collection gives, which Stripe leaves active while it voids or keeps the invoices: \
             \"keep\" access, as Stripe means it, or \"until_paid\": access ends with the period in which the pause began, \
             and returns when the pause is over.",
        ),
    ],
);

pub(super) const DUNNING: Section = Section::once(
    "dunning",
    "",
    &[
        number("dunning.grace_period_days", 7, (0, 365))
            .env(&["TILLD_GRACE_PERIOD_DAYS"])
            .about("Days ({range}) of access after the first failed payment, while Stripe tries again."),
        number("dunning.warning_days", 2, (0, 365))
            .env(&["TILLD_WARNING_DAYS"])
            .about("Days ({range}) before the end of the grace period when the last warning goes out."),
    ],
);

pub(super) fn choices(reader: &mut ConfigReader<'_>) -> (WhenStale, PausedCollection) {
    (
        reader.choice("entitlement.when_stale", &WhenStale::WORDS).unwrap_or(WhenStale::Keep),
        reader.choice("entitlement.paused_collection", &PausedCollection::WORDS).unwrap_or(PausedCollection::Keep),
    )
}

/// Both in seconds.
pub(super) struct Dunning {
    pub(super) grace_period_s: i64,
    pub(super) warning_s: i64,
}

pub(super) fn dunning(reader: &mut ConfigReader<'_>) -> Dunning {
    let mut days = |key: &str| reader.number::<i64>(key).saturating_mul(SECONDS_PER_DAY);
    Dunning { grace_period_s: days("dunning.grace_period_days"), warning_s: days("dunning.warning_days") }
}
