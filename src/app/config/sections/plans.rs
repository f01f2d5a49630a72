//! `[[plan]]`: which prices buy which tier. Must never ask Stripe whether a price exists. Called by `sections`.

use std::collections::BTreeMap;

use crate::app::config::keys::{KeyForm, PLANS_ENV, Section, list, text};
use crate::app::config::reader::ConfigReader;
use crate::base::entitlement::{EntitlementPlan, FREE_TIER};
use crate::base::secret::shown;

pub(super) const PLAN: Section = Section {
    name: "plan",
    form: KeyForm::RepeatedOrNone,
    about: "Which prices buy which tier, from the lowest tier to the highest; repeat the block. Without any plan every price \
            buys the tier \"default\". [TILLD_PLANS = pro:price_a,price_b;team:price_c]",
    keys: &[
        text("plan.tier", "pro")
            .no_default()
            .about("The name that your application uses for it; \"free\" is the tier of everyone else."),
        list("plan.price_ids", &["price_..."])
            .no_default()
            .about("Stripe's ids of its prices: monthly, yearly, other currencies, old ones still in use."),
    ],
};

/// A plan, and the key to name if it has a fault.
struct PlanCandidate {
    plan: EntitlementPlan,
    key: String,
}

/// The plans from the lowest to the highest.
pub(super) fn read(reader: &mut ConfigReader<'_>) -> Vec<EntitlementPlan> {
    let in_file: Vec<PlanCandidate> = (0..reader.blocks("plan")).filter_map(|number| block(reader, number)).collect();
    let in_environment = reader.around().variable(PLANS_ENV);
    let candidates = in_environment.map_or(in_file, |text| variable(reader, text));
    refuse_repetitions(reader, &candidates);
    note(reader, &candidates, in_environment.is_some());
    candidates.into_iter().map(|candidate| candidate.plan).collect()
}

/// Notes the plans in force, for people.
fn note(reader: &mut ConfigReader<'_>, candidates: &[PlanCandidate], in_environment: bool) {
    for (number, PlanCandidate { plan, .. }) in candidates.iter().enumerate() {
        let [tier, price_ids] = ["tier", "price_ids"].map(|name| format!("plan[{number}].{name}"));
        reader.note(&tier, plan.tier.as_str());
        reader.note_list(&price_ids, &plan.price_ids);
        if in_environment {
            reader.found_in(&tier, PLANS_ENV);
            reader.found_in(&price_ids, PLANS_ENV);
        }
    }
}

fn block(reader: &mut ConfigReader<'_>, number: usize) -> Option<PlanCandidate> {
    let key = format!("plan[{number}]");
    let tier_key = format!("{key}.tier");
    let prices_key = format!("{key}.price_ids");
    let tier = reader.text(&tier_key);
    let prices = reader.texts(&prices_key);
    if tier.is_none() && !reader.has_fault(&tier_key) {
        reader.fault(&tier_key, "is missing: name the tier of this plan");
    }
    if prices.is_none() && !reader.has_fault(&prices_key) {
        reader.fault(&prices_key, "is missing: list the ids of Stripe prices, price_…");
    }
    let prices = prices?;
    let price_ids = prices.iter().map(|price| price.trim().to_owned()).collect();
    let plan = EntitlementPlan { tier: tier?, price_ids };
    Some(PlanCandidate { plan, key })
}

fn variable(reader: &mut ConfigReader<'_>, text: &str) -> Vec<PlanCandidate> {
    for key in ["plan", "plan.tier", "plan.price_ids"] {
        reader.found_in(key, PLANS_ENV);
    }
    let mut candidates = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((tier, prices)) = part.split_once(':') else {
            reader.fault("plan", format!("{shown} has no colon: write tier:price_a,price_b", shown = shown(part)));
            continue;
        };
        let price_ids = prices.split(',').map(str::trim).filter(|price| !price.is_empty());
        let plan = EntitlementPlan { tier: tier.trim().to_owned(), price_ids: price_ids.map(str::to_owned).collect() };
        candidates.push(PlanCandidate { plan, key: "plan".to_owned() });
    }
    candidates
}

fn refuse_repetitions(reader: &mut ConfigReader<'_>, candidates: &[PlanCandidate]) {
    let mut tiers: Vec<&str> = Vec::new();
    let mut tier_of_price = BTreeMap::new();
    for PlanCandidate { plan, key } in candidates {
        let tier = plan.tier.as_str();
        let mut fault = |part: &str, message: String| {
            reader.fault(&format!("{key}.{part}"), message);
        };
        match tier {
            "" => fault("tier", "is blank: name the tier of this plan".to_owned()),
            FREE_TIER => {
                let message = "is the tier of users without a plan: choose another name";
                fault("tier", format!("{shown} {message}", shown = shown(tier)));
            }
            _ if tiers.contains(&tier) => {
                fault("tier", format!("{shown} has two plans: put all its prices into one", shown = shown(tier)));
            }
            _ => tiers.push(tier),
        }
        if plan.price_ids.is_empty() {
            fault("price_ids", format!("the plan {shown} has no price: list its price ids", shown = shown(tier)));
        }
        for price in &plan.price_ids {
            if price.starts_with("prod_") {
                let message =
                    "is a product: list the ids of its prices (price_…), which say what is paid and how often";
                fault("price_ids", format!("{price} {message}"));
            } else if price.is_empty() {
                fault("price_ids", format!("the plan {shown} has a blank price id: remove it", shown = shown(tier)));
            } else if let Some(other) = tier_of_price.insert(price, tier) {
                let (other, tier, price) = (shown(other), shown(tier), shown(price));
                fault("price_ids", format!("{price} is in plan {other} and in plan {tier}: remove one of them"));
            }
        }
    }
}
