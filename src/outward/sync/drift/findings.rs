//! The results of a comparison: what was found about an object, and the counts of a type and of all. Used by `drift`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// How an object is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriftKind {
    /// These fields differ.
    Differs(Vec<String>),
    /// The mirror is the same, but these columns of the typed rows differ from it.
    TablesWrong(Vec<String>),
    /// The mirror does not know it.
    MissingHere,
    /// Stripe no longer has it.
    MissingThere,
}

/// An object that is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftFinding {
    /// Its type, as typed.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// How it is not the same.
    pub what: DriftKind,
    /// It was repaired.
    pub fixed: bool,
}

impl DriftFinding {
    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.what {
            DriftKind::Differs(_) => "differs",
            DriftKind::TablesWrong(_) => "tables_wrong",
            DriftKind::MissingHere => "missing_here",
            DriftKind::MissingThere => "missing_at_stripe",
        }
    }

    /// Its fields, or its columns, that differ.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        match &self.what {
            DriftKind::Differs(fields) | DriftKind::TablesWrong(fields) => fields,
            DriftKind::MissingHere | DriftKind::MissingThere => &[],
        }
    }
}

/// The counts of a type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftTally {
    /// As typed.
    pub kind: &'static str,
    /// Objects that were compared and are the same.
    pub same: u64,
    /// Objects that the mirror knows, or is about to know, newer.
    pub ahead: u64,
    /// Objects that differ.
    pub differing: u64,
    /// Objects that are the same, but whose typed rows are wrong.
    pub tables_wrong: u64,
    /// Objects that the mirror does not know.
    pub missing_here: u64,
    /// Objects that Stripe no longer has.
    pub missing_there: u64,
    /// Of these four, how many were repaired.
    pub fixed: u64,
    /// Objects that cannot be read.
    pub failed: u64,
}

impl DriftTally {
    /// Objects that are not the same.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.differing + self.tables_wrong + self.missing_here + self.missing_there
    }
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftOutcome {
    /// By type.
    pub tallies: Vec<DriftTally>,
    /// Fields that differ, as `subscriptions.status`, and in how many objects.
    pub fields: BTreeMap<String, u64>,
    /// Types that could not be compared to their end, and why.
    pub refused: Vec<String>,
    /// Something that Stripe has is known here, so the key is of the account that the copy is of.
    pub recognised: bool,
}

impl DriftOutcome {
    /// Objects that are not the same and were not repaired.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.found() - tally.fixed).sum()
    }

    /// For the audit log: no ids, nothing personal.
    #[must_use]
    pub fn detail(&self) -> Value {
        let tally = |tally: &DriftTally| {
            json!({
                "type": tally.kind, "same": tally.same, "newer_here": tally.ahead, "differing": tally.differing,
                "tables_wrong": tally.tables_wrong,
                "missing_here": tally.missing_here, "missing_at_stripe": tally.missing_there, "fixed": tally.fixed,
                "failed": tally.failed,
            })
        };
        let types: Vec<Value> = self.tallies.iter().map(tally).collect();
        json!({ "types": types, "fields": self.fields, "not_compared": self.refused })
    }
}
