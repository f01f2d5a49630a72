//! The check of what links customers and subscriptions to users: users who pay twice, customers without a user, and links that
//! rest on a client_reference_id, which any browser can write. Must never change a link. Called by `check::database`.

use super::{CheckLine, ok, warn};
use crate::objects::owner::{self, Doubtful, DoubtfulGroup};
use crate::store::{Store, StoreError};

pub(super) fn lines(store: &Store) -> Result<Vec<CheckLine>, StoreError> {
    Ok(of(&store.read(owner::doubtful)?))
}

fn of(found: &Doubtful) -> Vec<CheckLine> {
    let of_group = |group: &DoubtfulGroup, words: &str, what_to_do: &str| {
        let first = group.first.as_deref()?;
        Some(warn("links", format!("{words}: {} (the first: {first}); {what_to_do}", group.count)))
    };
    let lines: Vec<CheckLine> = [
        of_group(
            &found.users_paying_twice,
            "users with two running subscriptions",
            "`tilld user show ID` lists them; cancel one of them at Stripe",
        ),
        of_group(
            &found.contested_customers,
            "customers without a user, because their subscriptions name several",
            "link each with `tilld user link ID cus_…`",
        ),
        of_group(
            &found.by_reference,
            "running subscriptions that only a client_reference_id links to their users, who have access but cannot change them",
            "link their customers with `tilld user link ID cus_…`",
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    if lines.is_empty() {
        return vec![ok(
            "links",
            "every running subscription is linked by more than a reference, at most one to a user",
        )];
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_doubt_is_one_line_with_the_first_of_them_and_what_to_do() {
        let group = |count, first: &str| DoubtfulGroup { count, first: Some(first.to_owned()) };
        let found = Doubtful {
            users_paying_twice: group(2, "ann"),
            contested_customers: DoubtfulGroup::default(),
            by_reference: group(1, "sub_1"),
        };
        let lines: Vec<String> = of(&found).into_iter().map(|line| line.message).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("2 (the first: ann)") && lines[1].contains("1 (the first: sub_1)"), "{lines:?}");
        assert_eq!(of(&Doubtful::default()).len(), 1);
    }
}
