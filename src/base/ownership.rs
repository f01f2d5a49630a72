//! Whose is it? From the evidence about a customer, a subscription or a payment to the user that it belongs to, and why.
//! Pure: what was said, what Stripe's objects carry, and the configured rules come in; a decision goes out. The strength
//! of evidence follows from its origin: *said* by the application, *metadata* written with the API key, *reference*
//! written by whoever holds a Payment Link. A reference gives access and nothing else: it must never choose the customer
//! of a call, of a mail, or of a cancellation. Called by `objects::owner`, the handlers of calls and the command line.

use std::collections::BTreeSet;

/// What a `client_reference_id` is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// Nothing.
    Off,
    /// Access to what the session sold, once it is paid.
    Grant,
    /// As much as metadata of the session. Only where nobody can guess or choose a reference.
    Trust,
}

impl Reference {
    /// As the configuration writes them.
    pub(crate) const WORDS: [(&str, Self); 3] = [("off", Self::Off), ("grant", Self::Grant), ("trust", Self::Trust)];
}

/// The configured rules (`[link]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRules {
    /// Keys of metadata that name a user; of several that are there the first one counts. tilld writes the first.
    pub metadata_keys: Vec<String>,
    /// What a `client_reference_id` is worth.
    pub reference: Reference,
}

impl Default for LinkRules {
    fn default() -> Self {
        Self { metadata_keys: vec![DEFAULT_KEY.to_owned()], reference: Reference::Grant }
    }
}

/// The key of metadata that names a user unless configured otherwise.
pub(crate) const DEFAULT_KEY: &str = "user_id";

impl LinkRules {
    /// The key that tilld writes.
    #[must_use]
    pub(crate) fn own_key(&self) -> &str {
        self.metadata_keys.first().map_or(DEFAULT_KEY, String::as_str)
    }
}

/// Why something belongs to a user, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkedBy {
    /// The application or its operator said so.
    Said,
    /// Metadata of the object, or of the completed session that made it.
    Metadata,
    /// Of a customer: metadata of its subscriptions.
    Subscriptions,
    /// Of anything else: it is its customer's.
    Customer,
    /// The `client_reference_id` of the paid session that made it.
    Reference,
}

impl LinkedBy {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Said, Self::Metadata, Self::Subscriptions, Self::Customer, Self::Reference];

    /// The word in the columns `linked_by`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Said => "said",
            Self::Metadata => "metadata",
            Self::Subscriptions => "subscriptions",
            Self::Customer => "customer",
            Self::Reference => "reference",
        }
    }

    /// The one of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// What the application said of an object and has not taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The order in which it was said.
    pub order: i64,
    /// The user.
    pub user_id: String,
    /// `true`: it is this user's; `false`: it is not.
    pub linked: bool,
}

/// A checkout session, as far as it is evidence about what it made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// `cs_…`.
    pub id: String,
    /// The user that its metadata names.
    pub named: Option<String>,
    /// Its `client_reference_id`, if that can be a user's id.
    pub reference: Option<String>,
    /// Stripe's word.
    pub status: Option<String>,
    /// Stripe's word.
    pub payment_status: Option<String>,
    /// Made at Stripe, unix seconds.
    pub created: Option<i64>,
}

impl Session {
    fn is_complete(&self) -> bool {
        self.status.as_deref() == Some("complete")
    }

    fn is_paid(&self) -> bool {
        matches!(self.payment_status.as_deref(), Some("paid" | "no_payment_required"))
    }

    /// The user whom it names as strongly as metadata do.
    #[must_use]
    pub(crate) fn metadata_word(&self, rules: &LinkRules) -> Option<&str> {
        let trusted = self.reference.as_deref().filter(|_| rules.reference == Reference::Trust);
        self.named.as_deref().or(trusted).filter(|_| self.is_complete())
    }

    /// The user to whom its reference gives access.
    #[must_use]
    pub(crate) fn reference_word(&self, rules: &LinkRules) -> Option<&str> {
        let counts = rules.reference != Reference::Off && self.is_complete() && self.is_paid();
        self.reference.as_deref().filter(|_| counts)
    }
}

/// What a subscription's metadata say about its customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionFacts {
    /// The user whom its metadata, or those of the session that made it, name.
    pub named: Option<String>,
    /// It gives or owes something today; else it has ended, or has never begun.
    pub runs: bool,
}

/// Whether a subscription of this status gives or owes something today.
#[must_use]
pub fn runs(status: &str) -> bool {
    matches!(status, "active" | "trialing" | "past_due" | "unpaid" | "paused")
}

/// All evidence about one object.
#[derive(Debug, Clone, Default)]
pub struct OwnershipEvidence {
    /// What was said about it, the newest first.
    pub said: Vec<Statement>,
    /// The user whom its own metadata name, as it last had them.
    pub named: Option<String>,
    /// Made at Stripe, unix seconds.
    pub created: Option<i64>,
    /// The sessions that are about it.
    pub sessions: Vec<Session>,
    /// Of a customer: its subscriptions.
    pub subscriptions: Vec<SubscriptionFacts>,
    /// Of anything else: the user its customer belongs to.
    pub customers_user: Option<String>,
}

/// What one rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnershipTrace {
    /// It names nobody.
    Silent,
    /// It names this user.
    Names(String),
    /// It names this user, who was said not to be the owner.
    Denied(String),
    /// It names several.
    Several(Vec<String>),
}

/// A rule and what it found; the first that names somebody decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// The rule.
    pub rule: LinkedBy,
    /// What it found.
    pub found: OwnershipTrace,
}

/// Whose something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedBy {
    /// The user.
    pub user_id: String,
    /// Why.
    pub linked_by: LinkedBy,
}

/// Every rule for a customer, in order, with what it found: the trace of the decision.
pub(crate) fn trace_customer<'a>(
    words: &'a OwnershipEvidence,
    rules: &'a LinkRules,
) -> impl Iterator<Item = TraceStep> + 'a {
    [LinkedBy::Said, LinkedBy::Metadata, LinkedBy::Subscriptions].into_iter().map(move |rule| {
        let found = match rule {
            LinkedBy::Said => said(words),
            LinkedBy::Metadata => named(words, words.named.as_deref().or_else(|| maker_of_customer(words, rules))),
            _ => subscribed(words),
        };
        TraceStep { rule, found }
    })
}

/// Every rule for a subscription, an invoice or a payment, in order, with what it found.
pub(crate) fn trace_object<'a>(
    words: &'a OwnershipEvidence,
    rules: &'a LinkRules,
) -> impl Iterator<Item = TraceStep> + 'a {
    [LinkedBy::Said, LinkedBy::Metadata, LinkedBy::Customer, LinkedBy::Reference].into_iter().map(move |rule| {
        let of_session = |word: fn(&'a Session, &'a LinkRules) -> Option<&'a str>| {
            words.sessions.iter().find_map(|session| word(session, rules))
        };
        let found = match rule {
            LinkedBy::Said => said(words),
            LinkedBy::Metadata => named(words, words.named.as_deref().or_else(|| of_session(Session::metadata_word))),
            LinkedBy::Customer => named(words, words.customers_user.as_deref()),
            _ => named(words, of_session(Session::reference_word)),
        };
        TraceStep { rule, found }
    })
}

/// The first rule that names somebody decides.
pub(crate) fn decide(mut trace: impl Iterator<Item = TraceStep>) -> Option<OwnedBy> {
    trace.find_map(|step| match step.found {
        OwnershipTrace::Names(user_id) => Some(OwnedBy { user_id, linked_by: step.rule }),
        OwnershipTrace::Silent | OwnershipTrace::Denied(_) | OwnershipTrace::Several(_) => None,
    })
}

/// Whether nobody has a customer because its subscriptions name several.
pub(crate) fn is_contested(trace: impl Iterator<Item = TraceStep>) -> bool {
    let mut several = false;
    for step in trace {
        match step.found {
            OwnershipTrace::Names(_) => return false,
            OwnershipTrace::Several(_) => several = true,
            OwnershipTrace::Silent | OwnershipTrace::Denied(_) => {}
        }
    }
    several
}

/// The newest statement that it is somebody's; a statement that it is not decides nothing.
fn said(words: &OwnershipEvidence) -> OwnershipTrace {
    let newest = words.said.iter().find(|statement| statement.linked);
    newest.map_or(OwnershipTrace::Silent, |statement| OwnershipTrace::Names(statement.user_id.clone()))
}

/// Weaker evidence, unless it was said that the object is not this user's.
fn named(words: &OwnershipEvidence, user_id: Option<&str>) -> OwnershipTrace {
    match user_id {
        None => OwnershipTrace::Silent,
        Some(user_id) if is_denied(words, user_id) => OwnershipTrace::Denied(user_id.to_owned()),
        Some(user_id) => OwnershipTrace::Names(user_id.to_owned()),
    }
}

fn is_denied(words: &OwnershipEvidence, user_id: &str) -> bool {
    words.said.iter().any(|statement| !statement.linked && statement.user_id == user_id)
}

/// A session made its customer only if there was none before it.
fn maker_of_customer<'a>(words: &'a OwnershipEvidence, rules: &'a LinkRules) -> Option<&'a str> {
    let made = |session: &&Session| words.created.zip(session.created).is_some_and(|(customer, made)| customer >= made);
    words.sessions.iter().filter(made).find_map(|session| session.metadata_word(rules))
}

/// The one user whom the running subscriptions name; if none runs, the others.
fn subscribed(words: &OwnershipEvidence) -> OwnershipTrace {
    let names = |runs: bool| -> BTreeSet<&str> {
        let some = words.subscriptions.iter().filter(|one| one.runs == runs);
        some.filter_map(|one| one.named.as_deref()).filter(|user_id| !is_denied(words, user_id)).collect()
    };
    let any_runs = words.subscriptions.iter().any(|one| one.runs);
    let users = names(any_runs);
    let mut users = users.into_iter().map(str::to_owned);
    match (users.next(), users.next()) {
        (None, _) => OwnershipTrace::Silent,
        (Some(one), None) => OwnershipTrace::Names(one),
        (Some(first), Some(second)) => OwnershipTrace::Several([first, second].into_iter().chain(users).collect()),
    }
}

/// A customer of a user, as far as it matters for choosing the main one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionClaim {
    /// `cus_…`.
    pub customer_id: String,
    /// Why it is the user's.
    pub linked_by: LinkedBy,
    /// Of one that was said to be the user's: the order in which it was.
    pub said: Option<i64>,
    /// Made at Stripe, unix seconds.
    pub created: Option<i64>,
}

/// The main one of a user's customers that are not deleted: the one said last, then by metadata, then the rest; among
/// equals the oldest.
#[must_use]
pub(crate) fn main_customer(candidates: &[SubscriptionClaim]) -> Option<&SubscriptionClaim> {
    candidates.iter().min_by_key(|one| {
        let rank = match one.linked_by {
            LinkedBy::Said => 0,
            LinkedBy::Metadata => 1,
            LinkedBy::Subscriptions | LinkedBy::Customer | LinkedBy::Reference => 2,
        };
        let newest_said = std::cmp::Reverse(one.said.filter(|_| rank == 0));
        (rank, newest_said, one.created.is_none(), one.created, &one.customer_id)
    })
}

/// Whether calls to Stripe for a user may touch what is linked so: a reference is only a browser's claim.
#[must_use]
pub(crate) fn may_be_called(linked_by: Option<LinkedBy>) -> bool {
    linked_by.is_some_and(|by| by != LinkedBy::Reference)
}

/// The customer whose portal opens for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortalOf<'a> {
    /// This one's.
    Customer(&'a str),
    /// None: this customer's portal also shows what is not this user's.
    Shared(&'a str),
    /// None: there is none.
    Nobodys,
}

/// Whose portal: that of the customer of the subscription that calls act on, where there is one, if it is the user's; else
/// that of the main customer. `subscribed`: that subscription's customer, and whose it is.
#[must_use]
pub fn portal<'a>(user_id: &str, subscribed: Option<(&'a str, Option<&str>)>, main: Option<&'a str>) -> PortalOf<'a> {
    match (subscribed, main) {
        (Some((customer_id, Some(owner))), _) if owner == user_id => PortalOf::Customer(customer_id),
        (Some((customer_id, _)), _) => PortalOf::Shared(customer_id),
        (None, Some(main)) => PortalOf::Customer(main),
        (None, None) => PortalOf::Nobodys,
    }
}

/// Who is written to about money: the user whom the *customer* belongs to, else the customer's own address. Never the user
/// of the subscription: a reference may have named that one. A text that is not an address is passed over.
#[must_use]
pub(crate) fn addressee<'a>(users_address: Option<&'a str>, customers_address: Option<&'a str>) -> Option<&'a str> {
    let is_one = |text: &&str| is_address(text);
    users_address.map(str::trim).filter(is_one).or(customers_address.map(str::trim).filter(is_one))
}

/// Whether it looks like a mail address.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[],;:\\\"@".contains(c);
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let is_local = !local.is_empty() && local.len() <= 64 && local.chars().all(is_plain);
    text.len() <= 254 && is_local && domain.chars().all(is_plain) && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
