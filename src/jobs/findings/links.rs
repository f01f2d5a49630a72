//! Findings about what links customers and subscriptions to users: users who pay twice, customers without a user, and links that
//! rest on a client_reference_id, which any browser can write. Pure. Called by
//! `jobs::findings`.

use super::checks::LINKS;
use crate::base::finding::{Finding, ok, warn};
use crate::objects::owner::{Doubtful, DoubtfulGroup};

pub(super) fn findings(found: &Doubtful) -> Vec<Finding> {
    let of_group = |group: &DoubtfulGroup, words: &str, what_to_do: &str| {
        let first = group.first.as_deref()?;
        Some(warn(LINKS, format!("{words}: {} (the first: {first}); {what_to_do}", group.count)))
    };
    let doubts: Vec<Finding> = [
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
    if doubts.is_empty() {
        return vec![ok(LINKS, "every running subscription is linked by more than a reference, at most one to a user")];
    }
    doubts
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
        let messages: Vec<String> = findings(&found).into_iter().map(|line| line.message).collect();
        assert_eq!(messages.len(), 2);
        assert!(
            messages[0].contains("2 (the first: ann)") && messages[1].contains("1 (the first: sub_1)"),
            "{messages:?}"
        );
        assert_eq!(findings(&Doubtful::default()).len(), 1);
    }
}
