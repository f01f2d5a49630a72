//! `[entitlement]` and `[dunning]`: what is answered from old knowledge, and how failed payments are chased.

use crate::app::config::keys::{Section, number, text};
use crate::app::config::reader::ConfigReader;
use crate::base::entitlement::{PausedCollection, WhenStale};

const SECONDS_PER_DAY: i64 = 86_400;

pub(super) const ENTITLEMENT: Section = Section::once(
    "entitlement",
    "",
    &[
        number("entitlement.stale_after_s", 3600, (0, 31_536_000)).env(&["TILLD_STALE_AFTER_S"]).about(
            "Seconds ({range}) after the end of a period within which its renewal should have been heard of; after that the \
             answer is marked stale.",
        ),
        text("entitlement.when_stale", "keep").env(&["TILLD_WHEN_STALE"]).about(
            "What a stale subscription gives: \"keep\" access, since webhooks are more often late than customers gone, or \
             \"deny\" it.",
        ),
        text("entitlement.paused_collection", "keep").env(&["TILLD_PAUSED_COLLECTION"]).about(
            "What pause_collection at Stripe means, which leaves the subscription active and voids or keeps its invoices: \
             \"keep\" access, as Stripe means it, or \"until_paid\": access ends with the period in which the pause began, \
             and is back when it is over.",
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
