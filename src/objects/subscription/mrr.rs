//! What a subscription brings a month, beside its row: `base::mrr` computes it, triggers keep the totals in `mrr_now`. A webhook
//! names discounts by their ids; what they take off is found in the mirror, under the discount and its coupon, and computed
//! again when one of these becomes known. It must never decide what counts. Called by `subscription`, and by `objects` when a
//! discount or a coupon comes.

use serde_json::Value;

use super::items;
use crate::base::mrr::{self, BillingInterval, ItemPrice, Mrr, MrrDiscount, MrrInput, MrrItem, MrrState, Off};
use crate::objects::ProjectionError;
use crate::store::engine::row::{self, columns, select};
use crate::store::mirror::{self, ObjectKey};
use crate::store::{StoreError, StoreReader, Tx};
use crate::stripe::object;

/// The longest word that can be a currency's code.
const MAX_CURRENCY_CHARS: usize = 8;

columns! {
    /// What the row of a subscription says of its MRR.
    #[derive(Default)]
    pub(in crate::objects) struct StoredMrr {
        state: Option<String> = "mrr_state",
        currency: Option<String> = "mrr_currency",
        thousandths: Option<i64> = "mrr_thousandths",
        tiered_items: Option<i64> = "mrr_tiered_items",
        metered_items: Option<i64> = "mrr_metered_items",
        other_items: Option<i64> = "mrr_other_items",
        unknown_discounts: Option<i64> = "mrr_unknown_discounts",
        /// A JSON array.
        needs: Option<String> = "mrr_needs",
        /// Unix seconds.
        changes_at: Option<i64> = "mrr_changes_at",
    }
}

/// A subscription as it is shown.
pub(super) struct ShownSubscription<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'a Value,
    pub(super) livemode: bool,
    pub(super) deleted: bool,
}

/// Brings the MRR of a subscription up to date; `former` is what its row says. Mostly it is the same, and nothing is written.
pub(super) fn refresh(
    tx: &Tx,
    shown: &ShownSubscription,
    former: &StoredMrr,
    now_s: i64,
) -> Result<(), ProjectionError> {
    let present = compute(tx, shown, now_s)?;
    if present == *former {
        return Ok(());
    }
    put(tx, shown.id, &present)?;
    if present.needs != former.needs {
        put_needs(tx, shown.id, former.needs.as_deref(), present.needs.as_deref())?;
    }
    Ok(())
}

fn compute(reader: &StoreReader, shown: &ShownSubscription, now_s: i64) -> Result<StoredMrr, ProjectionError> {
    let status = object::required_text(shown.object, "status")?;
    let paused = object::paused_collection(shown.object).is_some();
    let Some(state) = MrrState::of(status, paused).filter(|_| !shown.deleted) else { return Ok(StoredMrr::default()) };
    let mut lookup = DiscountLookup { reader, livemode: shown.livemode, subscription: shown.object, needs: Vec::new() };
    let items = items::sources(shown.object).iter().map(|item| lookup.item(item)).collect::<Result<_, _>>()?;
    let discounts = lookup.discounts(shown.object)?;
    let currency = currency(shown.object);
    let input = MrrInput { currency, items, discounts };
    let found = mrr::mrr(&input, now_s);
    Ok(stored(state, input.currency, found, &lookup.needs))
}

fn stored(state: MrrState, currency: String, found: Mrr, needs: &[String]) -> StoredMrr {
    StoredMrr {
        state: Some(state.as_str().to_owned()),
        currency: Some(currency),
        thousandths: Some(found.thousandths),
        tiered_items: Some(found.tiered_items),
        metered_items: Some(found.metered_items),
        other_items: Some(found.other_items),
        unknown_discounts: Some(found.unknown_discounts),
        needs: (!needs.is_empty()).then(|| Value::from(needs).to_string()),
        changes_at: found.changes_at,
    }
}

/// The currency of a subscription, or of its first price; older versions have only that.
fn currency(subscription: &Value) -> String {
    let of_price = || object::lenient_text(object::price(items::sources(subscription).first()?)?, "currency");
    let found = object::lenient_text(subscription, "currency").or_else(of_price);
    found.filter(|code| code.chars().count() <= MAX_CURRENCY_CHARS).unwrap_or_else(|| "other".to_owned())
}

/// The time of the next change has an index, which SQLite rewrites whenever a statement sets its column.
macro_rules! put {
    ($changes_at:literal, $if_same:literal) => {
        concat!(
            "UPDATE stripe_subscriptions SET mrr_state = ?2, mrr_currency = ?3, mrr_thousandths = ?4,
                mrr_tiered_items = ?5, mrr_metered_items = ?6, mrr_other_items = ?7, mrr_unknown_discounts = ?8,
                mrr_needs = ?9",
            $changes_at,
            " WHERE stripe_subscription_id = ?1",
            $if_same
        )
    };
}
const PUT_SAME: &str = put!("", " AND mrr_changes_at IS ?10");
const PUT: &str = put!(", mrr_changes_at = ?10", "");

fn put(tx: &Tx, id: &str, mrr: &StoredMrr) -> Result<(), StoreError> {
    let params = (
        id,
        &mrr.state,
        &mrr.currency,
        mrr.thousandths,
        mrr.tiered_items,
        mrr.metered_items,
        mrr.other_items,
        mrr.unknown_discounts,
        &mrr.needs,
        mrr.changes_at,
    );
    if tx.execute(PUT_SAME, params)? == 0 {
        tx.execute(PUT, params)?;
    }
    Ok(())
}

/// Keeps `subscription_discounts` in step with `mrr_needs`.
fn put_needs(tx: &Tx, id: &str, former: Option<&str>, present: Option<&str>) -> Result<(), StoreError> {
    const DELETE: &str = "DELETE FROM subscription_discounts WHERE needed_id = ?1 AND stripe_subscription_id = ?2";
    const ADD: &str = "INSERT INTO subscription_discounts (needed_id, stripe_subscription_id) VALUES (?1, ?2)
        ON CONFLICT DO NOTHING";
    for (sql, ids) in [(DELETE, former), (ADD, present)] {
        let ids: Vec<String> = ids.map_or(Ok(Vec::new()), serde_json::from_str)?;
        for needed in ids {
            tx.execute(sql, (needed, id))?;
        }
    }
    Ok(())
}

/// Finds what discounts take off, and notes which objects that depends on.
struct DiscountLookup<'a, 'r> {
    reader: &'r StoreReader<'r>,
    livemode: bool,
    subscription: &'a Value,
    needs: Vec<String>,
}

impl DiscountLookup<'_, '_> {
    fn item(&mut self, item: &Value) -> Result<MrrItem, StoreError> {
        let price = object::price(item).unwrap_or(&Value::Null);
        // An old subscription that counts as its only item has its discounts as a subscription.
        let is_whole = std::ptr::eq(item, self.subscription);
        Ok(MrrItem {
            price: item_price(price),
            quantity: object::lenient_integer(item, "quantity").unwrap_or(1),
            product: object::reference(price, "product").map(str::to_owned),
            discounts: if is_whole { Vec::new() } else { self.discounts(item)? },
        })
    }

    /// The discounts of a subscription or an item: a list since 2024, one before.
    fn discounts(&mut self, holder: &Value) -> Result<Vec<MrrDiscount>, StoreError> {
        let list = holder.get("discounts").and_then(Value::as_array).filter(|list| !list.is_empty());
        let one = holder.get("discount").filter(|discount| !discount.is_null());
        let all = list.map_or_else(|| one.map(std::slice::from_ref).unwrap_or_default(), Vec::as_slice);
        all.iter().map(|discount| self.discount(discount)).collect()
    }

    fn discount(&mut self, discount: &Value) -> Result<MrrDiscount, StoreError> {
        if discount.is_object() {
            return self.shown(discount);
        }
        let Some(id) = object::id_of(discount) else { return Ok(MrrDiscount::Unknown) };
        match self.find("discount", id)? {
            Some((_, true)) => Ok(MrrDiscount::Passing),
            Some((found, false)) => self.shown(&found),
            None => Ok(MrrDiscount::Unknown),
        }
    }

    /// A discount that shows its coupon, or names it. Clover moved the coupon under `source`.
    fn shown(&mut self, discount: &Value) -> Result<MrrDiscount, StoreError> {
        let newer = discount.get("source").and_then(|source| source.get("coupon")).filter(|coupon| !coupon.is_null());
        let Some(coupon) = newer.or_else(|| discount.get("coupon")) else { return Ok(MrrDiscount::Unknown) };
        let found = match object::id_of(coupon) {
            Some(id) if !coupon.is_object() => self.find("coupon", id)?.map(|(coupon, _)| coupon),
            _ => Some(coupon.clone()),
        };
        Ok(found.map_or(MrrDiscount::Unknown, |coupon| taken_off(&coupon, object::lenient_integer(discount, "end"))))
    }

    /// An object as the mirror has it, and whether it was deleted.
    fn find(&mut self, object: &str, id: &str) -> Result<Option<(Value, bool)>, StoreError> {
        if !self.needs.iter().any(|known| known == id) {
            self.needs.push(id.to_owned());
        }
        let key = ObjectKey { object, id, livemode: self.livemode, account: "" };
        let Some(found) = mirror::find(self.reader, key)? else { return Ok(None) };
        Ok(Some((serde_json::from_str(&found.data)?, found.deleted)))
    }
}

fn item_price(price: &Value) -> ItemPrice {
    let recurring = price.get("recurring").filter(|recurring| recurring.is_object()).unwrap_or(price);
    let is = |of: &Value, key: &str, word: &str| of.get(key).and_then(Value::as_str) == Some(word);
    if is(recurring, "usage_type", "metered") {
        return ItemPrice::Metered;
    }
    if is(price, "billing_scheme", "tiered") {
        return ItemPrice::Tiered;
    }
    let count = object::lenient_integer(recurring, "interval_count").unwrap_or(1);
    let interval = recurring.get("interval").and_then(Value::as_str).and_then(|unit| BillingInterval::of(unit, count));
    match (unit_millionths(price), interval) {
        (Some(unit_millionths), Some(interval)) => {
            ItemPrice::Fixed { unit_millionths, interval, package: package(price) }
        }
        _ => ItemPrice::Other,
    }
}

/// What a unit costs; a plan calls it `amount`. The decimal is there for fractions of the minor unit, too.
fn unit_millionths(price: &Value) -> Option<i128> {
    let decimal = ["unit_amount_decimal", "amount_decimal"].iter().find_map(|key| price.get(key)?.as_str());
    let whole = || ["unit_amount", "amount"].iter().find_map(|key| object::lenient_integer(price, key));
    decimal.and_then(mrr::millionths).or_else(|| mrr::millionths(&whole()?.to_string()))
}

fn package(price: &Value) -> Option<(i64, bool)> {
    let transform = price.get("transform_quantity")?;
    let size = object::lenient_integer(transform, "divide_by")?;
    Some((size, transform.get("round").and_then(Value::as_str) == Some("up")))
}

fn taken_off(coupon: &Value, ends_at: Option<i64>) -> MrrDiscount {
    if coupon.get("duration").and_then(Value::as_str) == Some("once") {
        return MrrDiscount::Passing;
    }
    let percent = coupon.get("percent_off").filter(|percent| percent.is_number()).map(Value::to_string);
    let off = match (percent.as_deref().and_then(mrr::millionths), object::lenient_integer(coupon, "amount_off")) {
        (Some(percent), _) => Off::Percent(percent),
        (None, Some(amount)) => Off::Amount(amount, object::lenient_text(coupon, "currency").unwrap_or_default()),
        (None, None) => return MrrDiscount::Unknown,
    };
    // Stripe shows it only where it was asked for; where it is not shown, the coupon counts for every product.
    let products = coupon.get("applies_to").and_then(|to| to.get("products")).and_then(Value::as_array);
    let products = products.map(|ids| ids.iter().filter_map(object::id_of).map(str::to_owned).collect());
    MrrDiscount::Lasting { off, products, ends_at }
}

columns! {
    /// A subscription whose MRR is computed again.
    struct RowToRefresh {
        livemode: bool,
        deleted: bool,
        former: StoredMrr = StoredMrr::COLUMNS => StoredMrr::take,
    }
}

/// Computes the MRR of a subscription again, from the mirror.
fn refresh_stored(tx: &Tx, id: &str, now_s: i64) -> Result<(), ProjectionError> {
    const SQL: &str = select!(RowToRefresh, "FROM stripe_subscriptions WHERE stripe_subscription_id = ?1");
    let Some(row) = tx.find(SQL, [id], RowToRefresh::read)? else { return Ok(()) };
    let key = ObjectKey { object: super::KIND.object, id, livemode: row.livemode, account: "" };
    // A row whose object is gone must not stay due.
    let Some(mirrored) = mirror::find(tx, key)? else { return Ok(put(tx, id, &StoredMrr::default())?) };
    let object = serde_json::from_str(&mirrored.data).map_err(StoreError::from)?;
    let shown = ShownSubscription { id, object: &object, livemode: row.livemode, deleted: row.deleted };
    refresh(tx, &shown, &row.former, now_s)
}

/// A discount or a coupon has become known or changed: whatever depends on it is computed again.
pub(in crate::objects) fn refresh_dependents(tx: &Tx, needed_id: &str, now_s: i64) -> Result<(), ProjectionError> {
    const SQL: &str = "SELECT stripe_subscription_id FROM subscription_discounts WHERE needed_id = ?1";
    let ids: Vec<String> = tx.list(SQL, [needed_id], row::only)?;
    ids.iter().try_for_each(|id| refresh_stored(tx, id, now_s))
}

/// Computes again what a discount that has ended reduces no more, at most `limit` subscriptions. How many.
pub(crate) fn refresh_due(tx: &Tx, now_s: i64, limit: u32) -> Result<usize, ProjectionError> {
    let ids = list_due(tx, now_s, limit)?;
    ids.iter().try_for_each(|id| refresh_stored(tx, id, now_s))?;
    Ok(ids.len())
}

/// Subscriptions of which a discount has ended.
pub(crate) fn list_due(reader: &StoreReader, now_s: i64, limit: u32) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_subscription_id FROM stripe_subscriptions WHERE mrr_changes_at <= ?1
        ORDER BY mrr_changes_at LIMIT ?2";
    reader.list(SQL, (now_s, limit), row::only)
}
