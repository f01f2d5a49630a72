//! What a subscription brings a month: its items, normalised to a month, less its discounts. Pure. It must never look at taxes,
//! nor guess what a price with tiers or a metered one will bring: those are counted and left out. All arithmetic is in whole
//! numbers; each step is rounded half up to a millionth of the currency's minor unit, the result to a thousandth. Called by
//! `objects::subscription`; docs/figures.md states the definition.

/// Millionths of a minor unit, and of a percent.
const MILLION: i128 = 1_000_000;
/// The most that one price, one quantity or one subscription counts for, in minor units: twelve digits, as Stripe has it. It
/// keeps every sum within 64 bits.
const MOST: i128 = 999_999_999_999;

/// How the subscription of an amount stands. Those of one currency and state are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MrrState {
    /// It runs.
    Active,
    /// It runs, and a payment is missing.
    PastDue,
    /// On trial: nothing is paid yet.
    Trialing,
    /// Its status is `paused`, or Stripe does not collect for it.
    Paused,
}

impl MrrState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Active, Self::PastDue, Self::Trialing, Self::Paused];

    /// The word in the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Trialing => "trialing",
            Self::Paused => "paused",
        }
    }

    /// Of a subscription with this status; `None`: it brings nothing.
    #[must_use]
    pub fn of(status: &str, collection_paused: bool) -> Option<Self> {
        match status {
            "paused" => Some(Self::Paused),
            "active" | "past_due" | "trialing" if collection_paused => Some(Self::Paused),
            "active" => Some(Self::Active),
            "past_due" => Some(Self::PastDue),
            "trialing" => Some(Self::Trialing),
            _ => None,
        }
    }
}

/// How often something is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BillingInterval {
    /// How many of these units a month has: numerator and denominator.
    per_month: (i128, i128),
    count: i128,
}

impl BillingInterval {
    /// Every `count` of Stripe's `unit`; `None`: there is no such interval. A year has 12 months, 365 days and 365/7 weeks.
    #[must_use]
    pub fn of(unit: &str, count: i64) -> Option<Self> {
        let per_month = match unit {
            "day" => (365, 12),
            "week" => (365, 84),
            "month" => (1, 1),
            "year" => (1, 12),
            _ => return None,
        };
        (count > 0).then(|| Self { per_month, count: i128::from(count) })
    }

    /// An amount of each interval, as an amount of each month.
    fn monthly(self, amount: i128) -> i128 {
        divide(amount.saturating_mul(self.per_month.0), self.per_month.1.saturating_mul(self.count))
    }
}

/// What an item costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemPrice {
    /// So much for each unit of its quantity.
    Fixed {
        /// Millionths of the minor unit.
        unit_millionths: i128,
        /// How often.
        interval: BillingInterval,
        /// Units that are sold as one, and whether a part counts as a whole.
        package: Option<(i64, bool)>,
    },
    /// It depends on the quantity by tiers.
    Tiered,
    /// It depends on the use.
    Metered,
    /// It could not be read, or is not paid again and again.
    Other,
}

/// An item of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MrrItem {
    /// What it costs.
    pub price: ItemPrice,
    /// How many.
    pub quantity: i64,
    /// Its product, for coupons that are for some products only.
    pub product: Option<String>,
    /// Its own discounts, in Stripe's order.
    pub discounts: Vec<MrrDiscount>,
}

/// What a coupon takes off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Off {
    /// Millionths of a percent.
    Percent(i128),
    /// Minor units of this currency, from each invoice.
    Amount(i64, String),
}

/// A discount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MrrDiscount {
    /// It takes something off each month.
    Lasting {
        /// How much.
        off: Off,
        /// Only from items of these products; `None`: from all.
        products: Option<Vec<String>>,
        /// When it ends, unix seconds; `None`: it does not.
        ends_at: Option<i64>,
    },
    /// It takes off something once, or is over.
    Passing,
    /// Its coupon is not known.
    Unknown,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MrrInput {
    /// ISO 4217 code in lower case.
    pub currency: String,
    /// Its items.
    pub items: Vec<MrrItem>,
    /// The discounts of all of it, in Stripe's order.
    pub discounts: Vec<MrrDiscount>,
}

/// What it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mrr {
    /// Each month, in thousandths of the minor unit.
    pub thousandths: i64,
    /// Items with tiers, which are left out.
    pub tiered_items: i64,
    /// Metered items, which are left out.
    pub metered_items: i64,
    /// Items that are left out because their price could not be read.
    pub other_items: i64,
    /// Discounts that were not taken off.
    pub unknown_discounts: i64,
    /// When a discount ends, unix seconds.
    pub changes_at: Option<i64>,
}

/// An item while it is computed.
struct Line<'a> {
    millionths: i128,
    interval: BillingInterval,
    product: Option<&'a str>,
}

/// What a subscription brings a month at `now_s` (unix seconds).
#[must_use]
pub fn mrr(input: &MrrInput, now_s: i64) -> Mrr {
    let (mut found, mut lines) = (Mrr::default(), Vec::new());
    for item in &input.items {
        let left_out = match item.price {
            ItemPrice::Fixed { unit_millionths, interval, package } => {
                let unit = unit_millionths.clamp(0, MOST * MILLION);
                let millionths = interval.monthly(unit.saturating_mul(packages(item.quantity, package)));
                let mut line = [Line { millionths, interval, product: item.product.as_deref() }];
                item.discounts.iter().for_each(|one| take_off(&mut line, one, &input.currency, now_s, &mut found));
                lines.extend(line);
                continue;
            }
            ItemPrice::Tiered => &mut found.tiered_items,
            ItemPrice::Metered => &mut found.metered_items,
            ItemPrice::Other => &mut found.other_items,
        };
        *left_out = left_out.saturating_add(1);
    }
    input.discounts.iter().for_each(|one| take_off(&mut lines, one, &input.currency, now_s, &mut found));
    let sum = lines.iter().fold(0, |sum: i128, line| sum.saturating_add(line.millionths));
    let thousandths = divide(sum, MILLION / 1000).clamp(0, MOST * 1000);
    Mrr { thousandths: i64::try_from(thousandths).unwrap_or(i64::MAX), ..found }
}

/// How many times the price is paid.
fn packages(quantity: i64, package: Option<(i64, bool)>) -> i128 {
    let quantity = i128::from(quantity).clamp(0, MOST);
    match package {
        Some((size, rounds_up)) if size > 0 => {
            let size = i128::from(size);
            if rounds_up { quantity.saturating_add(size - 1) / size } else { quantity / size }
        }
        _ => quantity,
    }
}

fn take_off(lines: &mut [Line], discount: &MrrDiscount, currency: &str, now_s: i64, found: &mut Mrr) {
    let (off, products, ends_at) = match discount {
        MrrDiscount::Lasting { off: Off::Amount(_, other), .. } if other != currency => return unknown(found),
        MrrDiscount::Unknown => return unknown(found),
        MrrDiscount::Passing => return,
        MrrDiscount::Lasting { off, products, ends_at } => (off, products, *ends_at),
    };
    if ends_at.is_some_and(|ends_at| ends_at <= now_s) {
        return;
    }
    found.changes_at = [found.changes_at, ends_at].into_iter().flatten().min();
    let is_meant = |line: &&mut Line| {
        products.as_ref().is_none_or(|products| products.iter().any(|one| Some(one.as_str()) == line.product))
    };
    match off {
        Off::Percent(percent) => {
            let rest = (100 * MILLION).saturating_sub(*percent).clamp(0, 100 * MILLION);
            let reduce =
                |line: &mut Line| line.millionths = divide(line.millionths.saturating_mul(rest), 100 * MILLION);
            lines.iter_mut().filter(is_meant).for_each(reduce);
        }
        Off::Amount(amount, _) => {
            // It is taken from each invoice, and the item that is billed most often makes the invoices.
            let amount = i128::from(*amount).clamp(0, MOST).saturating_mul(MILLION);
            let mut left = lines.iter().map(|line| line.interval.monthly(amount)).max().unwrap_or(0);
            for line in lines.iter_mut().filter(is_meant) {
                let taken = left.min(line.millionths);
                line.millionths = line.millionths.saturating_sub(taken);
                left = left.saturating_sub(taken);
            }
        }
    }
}

fn unknown(found: &mut Mrr) {
    found.unknown_discounts = found.unknown_discounts.saturating_add(1);
}

/// Divides amounts that are not negative, half up.
fn divide(amount: i128, by: i128) -> i128 {
    amount.saturating_mul(2).saturating_add(by) / by.saturating_mul(2).max(1)
}

/// A decimal number as Stripe writes it (`12.5`), in millionths; what is beyond them is rounded half up.
#[must_use]
pub fn millionths(decimal: &str) -> Option<i128> {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 20 || part.len() > 20 || !is_number(whole) || !is_number(part) {
        return None;
    }
    let digits: i128 = format!("{whole}{part:0<7.7}").parse().ok()?;
    Some(divide(digits, 10))
}

#[cfg(test)]
mod tests;
