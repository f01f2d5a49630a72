//! Why a user's answer is what it is, for the page: the rules in order, whether each fits, and what it looked at. What is
//! true comes from `base::entitlement::explain`; this file only puts it into words. Called by `user`.

use crate::base::entitlement::explain::{ExplainedSubscription, Explanation, RuleFinding};
use crate::http::dashboard::view::{self, Id, When};

/// What the page says of the answer.
pub(super) struct Answer {
    pub(super) is_entitled: bool,
    /// The reason, as the API has it.
    pub(super) reason: &'static str,
    pub(super) tier: String,
    /// Goes on after "because".
    pub(super) because: &'static str,
    pub(super) until: Option<When>,
    /// The period ended and nothing newer was heard.
    pub(super) is_stale: bool,
    /// How fresh it is.
    pub(super) as_of: Option<When>,
}

/// Which subscription decides, and what each rule says.
pub(super) struct Why {
    /// Why the first one decides.
    pub(super) won_by: &'static str,
    pub(super) subscriptions: Vec<ExplainedView>,
    /// How many are not explained here.
    pub(super) more: usize,
}

/// One subscription.
pub(super) struct ExplainedView {
    pub(super) id: Id,
    pub(super) reason: &'static str,
    pub(super) tier: String,
    pub(super) rules: Vec<RuleView>,
}

/// One rule.
pub(super) struct RuleView {
    pub(super) question: &'static str,
    /// `no`, `yes`, `not asked`.
    pub(super) fits: &'static str,
    /// The reason, where it decides.
    pub(super) reason: Option<&'static str>,
    pub(super) looked_at: Vec<(&'static str, String)>,
}

pub(super) fn answer(explanation: &Explanation, now_ms: i64) -> Answer {
    let answer = &explanation.answer;
    Answer {
        is_entitled: answer.entitled,
        reason: answer.reason.as_str(),
        tier: answer.tier.clone(),
        because: answer.reason.meaning(),
        until: answer.valid_until.map(|until| When::s(until, now_ms)),
        is_stale: answer.stale,
        as_of: answer.as_of.map(|at| When::s(at, now_ms)),
    }
}

pub(super) fn why(explanation: &Explanation) -> Why {
    Why {
        won_by: explanation.won_by.sentence(),
        subscriptions: explanation.subscriptions.iter().map(explained).collect(),
        more: explanation.compared.saturating_sub(explanation.subscriptions.len()),
    }
}

fn explained(one: &ExplainedSubscription) -> ExplainedView {
    let rules = one.rules.iter().map(|rule| {
        let reason = match rule.finding {
            RuleFinding::Decides(reason) => Some(reason.as_str()),
            RuleFinding::DoesNotFit | RuleFinding::NotAsked => None,
        };
        let looked_at = rule.looked_at.iter().map(|(fact, found)| (fact.as_str(), view::cut(&found.words())));
        RuleView { question: rule.question, fits: rule.finding.words(), reason, looked_at: looked_at.collect() }
    });
    ExplainedView {
        id: Id::new(one.answer.subscription_id.as_deref().unwrap_or_default()),
        reason: one.answer.reason.as_str(),
        tier: one.answer.tier.clone(),
        rules: rules.collect(),
    }
}
