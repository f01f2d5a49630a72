#![allow(clippy::unwrap_used)]
use super::*;

const NOW: i64 = 1_000;

fn fixed(unit: &str, every: (&str, i64), quantity: i64) -> MrrItem {
    let interval = BillingInterval::of(every.0, every.1).unwrap();
    let price = ItemPrice::Fixed { unit_millionths: millionths(unit).unwrap(), interval, package: None };
    MrrItem { price, quantity, product: Some("prod_1".to_owned()), discounts: Vec::new() }
}

fn left_out(price: ItemPrice) -> MrrItem {
    MrrItem { price, ..fixed("0", ("month", 1), 1) }
}

fn packaged(unit: &str, quantity: i64, size: i64, up: bool) -> MrrItem {
    let interval = BillingInterval::of("month", 1).unwrap();
    let price = ItemPrice::Fixed { unit_millionths: millionths(unit).unwrap(), interval, package: Some((size, up)) };
    MrrItem { price, ..fixed("0", ("month", 1), quantity) }
}

fn lasting(off: Off, ends_at: Option<i64>) -> MrrDiscount {
    MrrDiscount::Lasting { off, products: None, ends_at }
}

fn percent(decimal: &str) -> MrrDiscount {
    lasting(Off::Percent(millionths(decimal).unwrap()), None)
}

fn amount(minor: i64) -> MrrDiscount {
    lasting(Off::Amount(minor, "usd".to_owned()), None)
}

fn with(item: MrrItem, discounts: Vec<MrrDiscount>) -> MrrItem {
    MrrItem { discounts, ..item }
}

fn of(items: Vec<MrrItem>, discounts: Vec<MrrDiscount>) -> Mrr {
    mrr(&MrrInput { currency: "usd".to_owned(), items, discounts }, NOW)
}

#[test]
fn the_table_of_cases() {
    let month = || fixed("2000", ("month", 1), 1);
    let year = || fixed("12000", ("year", 1), 1);
    let for_other = MrrDiscount::Lasting {
        off: Off::Percent(50 * 1_000_000),
        products: Some(vec!["prod_2".to_owned()]),
        ends_at: None,
    };
    let cases: Vec<(&str, Vec<MrrItem>, Vec<MrrDiscount>, i64)> = vec![
        ("a month", vec![month()], vec![], 2_000_000),
        ("a quantity", vec![fixed("2000", ("month", 1), 7)], vec![], 14_000_000),
        ("no quantity", vec![fixed("2000", ("month", 1), 0)], vec![], 0),
        ("a year", vec![year()], vec![], 1_000_000),
        ("a year that does not divide", vec![fixed("999", ("year", 1), 1)], vec![], 83_250),
        ("a third, rounded once", vec![fixed("1000", ("month", 3), 1)], vec![], 333_333),
        ("two thirds, rounded up", vec![fixed("2000", ("month", 3), 1)], vec![], 666_667),
        ("every six months", vec![fixed("6000", ("month", 6), 1)], vec![], 1_000_000),
        ("every two years", vec![fixed("24000", ("year", 2), 1)], vec![], 1_000_000),
        ("a week", vec![fixed("84", ("week", 1), 1)], vec![], 365_000),
        ("two weeks", vec![fixed("168", ("week", 2), 1)], vec![], 365_000),
        ("a day", vec![fixed("12", ("day", 1), 1)], vec![], 365_000),
        ("a part of a cent", vec![fixed("0.05", ("month", 1), 1000)], vec![], 50_000),
        ("twelve decimals", vec![fixed("0.000000499999", ("month", 1), 1)], vec![], 0),
        ("several items of several intervals", vec![month(), year()], vec![], 3_000_000),
        ("packages, begun ones paid", vec![packaged("500", 11, 5, true)], vec![], 1_500_000),
        ("packages, begun ones free", vec![packaged("500", 11, 5, false)], vec![], 1_000_000),
        ("a percentage", vec![month()], vec![percent("25.5")], 1_490_000),
        ("all of it", vec![month()], vec![percent("100")], 0),
        ("more than all", vec![month()], vec![percent("250")], 0),
        ("an amount", vec![month()], vec![amount(500)], 1_500_000),
        ("an amount off each yearly invoice", vec![year()], vec![amount(1200)], 900_000),
        ("an amount off several items", vec![month(), year()], vec![amount(2500)], 500_000),
        ("never below nothing", vec![month()], vec![amount(5000)], 0),
        ("one after the other", vec![month()], vec![amount(500), percent("50")], 750_000),
        ("in Stripe's order", vec![month()], vec![percent("50"), amount(500)], 500_000),
        (
            "an item's before the whole",
            vec![with(month(), vec![percent("50")]), year()],
            vec![percent("10")],
            1_800_000,
        ),
        ("an item's no further than the item", vec![with(month(), vec![amount(9999)]), year()], vec![], 1_000_000),
        ("only once", vec![month()], vec![MrrDiscount::Passing], 2_000_000),
        ("still running", vec![month()], vec![lasting(Off::Percent(50_000_000), Some(NOW + 1))], 1_000_000),
        ("just over", vec![month()], vec![lasting(Off::Percent(50_000_000), Some(NOW))], 2_000_000),
        ("for another product", vec![month()], vec![for_other], 2_000_000),
        ("in another currency", vec![month()], vec![lasting(Off::Amount(5, "eur".to_owned()), None)], 2_000_000),
        ("not known", vec![month()], vec![MrrDiscount::Unknown], 2_000_000),
        ("tiers", vec![month(), left_out(ItemPrice::Tiered)], vec![], 2_000_000),
        ("nothing", vec![], vec![percent("5"), amount(5)], 0),
    ];
    for (name, items, discounts, thousandths) in cases {
        assert_eq!(of(items, discounts).thousandths, thousandths, "{name}");
    }
}

#[test]
fn what_is_left_out_is_counted() {
    let items = vec![
        left_out(ItemPrice::Tiered),
        left_out(ItemPrice::Metered),
        left_out(ItemPrice::Metered),
        left_out(ItemPrice::Other),
        with(fixed("5", ("month", 1), 1), vec![MrrDiscount::Unknown]),
    ];
    let found = of(items, vec![MrrDiscount::Unknown, lasting(Off::Amount(5, "eur".to_owned()), None)]);
    assert_eq!((found.tiered_items, found.metered_items, found.other_items, found.unknown_discounts), (1, 2, 1, 3));
    assert_eq!(found.thousandths, 5000);
}

#[test]
fn it_changes_when_the_first_discount_ends() {
    let until = |at| lasting(Off::Percent(1_000_000), Some(at));
    let found = of(vec![fixed("100", ("month", 1), 1)], vec![until(NOW + 9), until(NOW + 4), until(NOW), percent("1")]);
    assert_eq!(found.changes_at, Some(NOW + 4));
}

#[test]
fn the_greatest_numbers_stay_within_64_bits() {
    let huge = MrrItem { quantity: i64::MAX, ..fixed("99999999999999999999", ("day", 1), 1) };
    let found = of(vec![huge.clone(), huge], vec![percent("0.000001"), amount(i64::MAX)]);
    assert!((0..=999_999_999_999_000).contains(&found.thousandths), "{found:?}");
    let negative = MrrItem { quantity: i64::MIN, ..fixed("5", ("month", 1), 1) };
    assert_eq!(of(vec![negative], vec![amount(i64::MIN)]).thousandths, 0);
    assert_eq!(BillingInterval::of("month", 0), None);
    assert_eq!(BillingInterval::of("month", -1), None);
    assert_eq!(BillingInterval::of("fortnight", 1), None);
}

#[test]
fn a_decimal_is_read_to_the_millionth_and_anything_else_is_refused() {
    let cases = [
        ("12", Some(12_000_000)),
        ("12.5", Some(12_500_000)),
        ("0.000001", Some(1)),
        ("0.0000005", Some(1)),
        ("0.00000049", Some(0)),
        ("33.3333", Some(33_333_300)),
        ("", None),
        (".5", None),
        ("-1", None),
        ("1e3", None),
        ("1,5", None),
        ("100000000000000000000000", None),
    ];
    for (text, expected) in cases {
        assert_eq!(millionths(text), expected, "{text}");
    }
}

#[test]
fn only_what_runs_counts_and_what_is_paused_stands_apart() {
    let cases = [
        ("active", false, Some(MrrState::Active)),
        ("past_due", false, Some(MrrState::PastDue)),
        ("trialing", false, Some(MrrState::Trialing)),
        ("paused", false, Some(MrrState::Paused)),
        ("active", true, Some(MrrState::Paused)),
        ("past_due", true, Some(MrrState::Paused)),
        ("trialing", true, Some(MrrState::Paused)),
        ("canceled", false, None),
        ("unpaid", false, None),
        ("incomplete", true, None),
        ("a new word", false, None),
    ];
    for (status, paused, expected) in cases {
        assert_eq!(MrrState::of(status, paused), expected, "{status} {paused}");
    }
}
