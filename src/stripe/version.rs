//! The API versions whose shapes are known here: the oldest, the newest, and what lies between them. Pure. Asked by the checks
//! at Stripe and by the makers of sample events.

/// The oldest version whose shapes are known.
pub(crate) const OLDEST: &str = "2020-08-27";
/// The newest.
pub(crate) const NEWEST: &str = "2026-09-30.endive";

/// Between the oldest and the newest version whose shapes are known, or a later month of the newest release: these only
/// add fields.
#[must_use]
pub(crate) fn is_known(version: &str) -> bool {
    let date = |version: &str| version.split('.').next().unwrap_or_default().to_owned();
    let release = NEWEST.split('.').nth(1);
    let within = (date(OLDEST)..=date(NEWEST)).contains(&date(version));
    within || date(version) > date(NEWEST) && version.split('.').nth(1) == release
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_between_the_known_ones_and_later_months_of_the_newest_release_are_known() {
        for known in ["2020-08-27", "2024-09-30.acacia", "2025-09-30.clover", "2026-09-30.endive", "2026-10-28.endive"]
        {
            assert!(is_known(known), "{known}");
        }
        for unknown in ["2017-08-15", "2027-03-31.fennel", "", "yesterday"] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }
}
