//! Why an answer is what it is: of every subscription each rule of the table in order, whether it fits and what it looked
//! at, and why this subscription decides and no other. Pure. It runs the same rules as the answer and must never have one
//! of its own. Called by the dashboard, the private API and the command line.

pub(crate) use super::facts::{EntitlementFact, FactValue};
use super::rules::RULES;
use super::{
    EntitlementAnswer, EntitlementPolicy, EntitlementReason, SubscriptionInput, asked, no_subscription, of_one,
    precedence,
};

/// Why the answer is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explanation {
    /// The answer.
    pub(crate) answer: EntitlementAnswer,
    /// Why the first of the subscriptions decides.
    pub(crate) won_by: WonBy,
    /// How many subscriptions were compared.
    pub(crate) compared: usize,
    /// The one that decides, then the others in the order in which they would; the first of them alone where there are many.
    pub(crate) subscriptions: Vec<ExplainedSubscription>,
}

/// What the rules say of one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExplainedSubscription {
    /// The answer that it alone would give.
    pub(crate) answer: EntitlementAnswer,
    /// Each rule, in order.
    pub(crate) rules: Vec<ExplainedRule>,
}

/// A rule that was asked, or would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExplainedRule {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it asks.
    pub(crate) question: &'static str,
    /// What came of it.
    pub(crate) finding: RuleFinding,
    /// What it looked at; nothing where it was not asked.
    pub(crate) looked_at: Vec<(EntitlementFact, FactValue)>,
}

/// What came of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleFinding {
    /// It does not fit; the next one is asked.
    DoesNotFit,
    /// It fits, and so decides.
    Decides(EntitlementReason),
    /// It was not asked: one before it decides.
    NotAsked,
}

impl RuleFinding {
    /// Whether it fits, for people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::DoesNotFit => "no",
            Self::Decides(_) => "yes",
            Self::NotAsked => "not asked",
        }
    }
}

/// What puts the subscription that decides before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WonBy {
    /// There is none.
    NoSubscription,
    /// There is no other.
    Only,
    /// It gives access, and no other does.
    Access,
    /// It gives a higher tier.
    Tier,
    /// It is linked by more than a reference.
    Link,
    /// It is newer, among those that give the same.
    Newer,
    /// No subscription gives access; it is the newest.
    NewestOfNone,
    /// Both were made in the same second; it has the greater id.
    Id,
}

impl WonBy {
    /// For people.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::NoSubscription => "There is no subscription to decide.",
            Self::Only => "It is the only subscription, so it decides.",
            Self::Access => "It decides because it alone gives access.",
            Self::Tier => "It decides because it gives the highest tier.",
            Self::Link => "It decides because it is linked by more than a reference, and the next one is not.",
            Self::Newer => "Others give as much; it decides because it is the newest of them.",
            Self::NewestOfNone => "None gives access, so the newest decides.",
            Self::Id => "Another one is as good and was made in the same second; the one with the greater id decides.",
        }
    }
}

/// Explains the answer for a user with these subscriptions; of the others only so many that there are `most` in all.
#[must_use]
pub(crate) fn explain(
    subscriptions: &[SubscriptionInput],
    policy: &EntitlementPolicy,
    now: i64,
    most: usize,
) -> Explanation {
    let mut ranked: Vec<&SubscriptionInput> = subscriptions.iter().collect();
    ranked.sort_by_cached_key(|one| {
        let (rank, linked, created, id) = precedence(one, policy, now);
        std::cmp::Reverse((rank, linked, created, id.to_owned()))
    });
    let shown = ranked.iter().take(most.max(1)).map(|one| explain_one(one, policy, now));
    Explanation {
        answer: ranked.first().map_or_else(no_subscription, |one| of_one(one, policy, now)),
        won_by: won_by(&ranked, policy, now),
        compared: ranked.len(),
        subscriptions: shown.collect(),
    }
}

fn won_by(ranked: &[&SubscriptionInput], policy: &EntitlementPolicy, now: i64) -> WonBy {
    let (first, second) = match ranked {
        [] => return WonBy::NoSubscription,
        [_] => return WonBy::Only,
        [first, second, ..] => (precedence(first, policy, now), precedence(second, policy, now)),
    };
    match (first.0, second.0) {
        (Some(_), None) => WonBy::Access,
        (one, other) if one != other => WonBy::Tier,
        _ if first.1 != second.1 => WonBy::Link,
        _ if first.2 == second.2 => WonBy::Id,
        (None, _) => WonBy::NewestOfNone,
        _ => WonBy::Newer,
    }
}

fn explain_one(subscription: &SubscriptionInput, policy: &EntitlementPolicy, now: i64) -> ExplainedSubscription {
    let asked = asked(subscription, policy, now);
    let mut is_decided = false;
    let rules = RULES.iter().map(|rule| {
        let (name, question) = (rule.name, rule.question);
        if is_decided {
            return ExplainedRule { name, question, finding: RuleFinding::NotAsked, looked_at: Vec::new() };
        }
        let verdict = (rule.verdict)(&asked);
        is_decided = verdict.is_some();
        ExplainedRule {
            name,
            question,
            finding: verdict.map_or(RuleFinding::DoesNotFit, |(reason, _)| RuleFinding::Decides(reason)),
            looked_at: rule.looks_at.iter().map(|fact| (*fact, fact.value(&asked))).collect(),
        }
    });
    let rules = rules.collect();
    ExplainedSubscription { answer: of_one(subscription, policy, now), rules }
}
