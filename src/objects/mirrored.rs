//! The kinds that are mirrored and no more: they have no typed table, and no decision must ever rest on them. An object
//! without a constant here is mirrored all the same if an event shows it; with one it can also be listed, fetched again and
//! compared. Called by `objects`.

use crate::base::object_kind::{NestedList, NestedListAt, ObjectKind, ObjectListing};

/// `product`.
pub(super) const PRODUCT: ObjectKind = ObjectKind {
    object: "product",
    name: "products",
    path: "/v1/products",
    permission: "Products",
    example: include_str!("shapes/product.json"),
    ..ObjectKind::PLAIN
};

/// `price`.
pub(super) const PRICE: ObjectKind = ObjectKind {
    object: "price",
    name: "prices",
    path: "/v1/prices",
    permission: "Prices",
    example: include_str!("shapes/price.json"),
    ..ObjectKind::PLAIN
};

/// `coupon`.
pub(super) const COUPON: ObjectKind = ObjectKind {
    object: "coupon",
    name: "coupons",
    path: "/v1/coupons",
    permission: "Coupons",
    example: include_str!("shapes/coupon.json"),
    ..ObjectKind::PLAIN
};

/// `promotion_code`.
pub(super) const PROMOTION_CODE: ObjectKind = ObjectKind {
    object: "promotion_code",
    name: "promotion_codes",
    path: "/v1/promotion_codes",
    permission: "Promotion Codes",
    example: include_str!("shapes/promotion_code.json"),
    ..ObjectKind::PLAIN
};

/// `credit_note`.
pub(super) const CREDIT_NOTE: ObjectKind = ObjectKind {
    object: "credit_note",
    name: "credit_notes",
    path: "/v1/credit_notes",
    permission: "Credit Notes",
    nested: Some(NestedList { key: "lines", whole: NestedListAt::Below("lines") }),
    example: include_str!("shapes/credit_note.json"),
    ..ObjectKind::PLAIN
};

/// `setup_intent`.
pub(super) const SETUP_INTENT: ObjectKind = ObjectKind {
    object: "setup_intent",
    name: "setup_intents",
    path: "/v1/setup_intents",
    permission: "Setup Intents",
    example: include_str!("shapes/setup_intent.json"),
    ..ObjectKind::PLAIN
};

/// `subscription_schedule`. Who may read subscriptions may read it.
pub(super) const SUBSCRIPTION_SCHEDULE: ObjectKind = ObjectKind {
    object: "subscription_schedule",
    name: "subscription_schedules",
    path: "/v1/subscription_schedules",
    permission: "Subscriptions",
    example: include_str!("shapes/subscription_schedule.json"),
    ..ObjectKind::PLAIN
};

/// `tax_rate`.
pub(super) const TAX_RATE: ObjectKind = ObjectKind {
    object: "tax_rate",
    name: "tax_rates",
    path: "/v1/tax_rates",
    permission: "Tax Rates",
    example: include_str!("shapes/tax_rate.json"),
    ..ObjectKind::PLAIN
};

/// `entitlements.feature`.
pub(super) const FEATURE: ObjectKind = ObjectKind {
    object: "entitlements.feature",
    name: "features",
    path: "/v1/entitlements/features",
    permission: "Entitlements",
    example: include_str!("shapes/feature.json"),
    ..ObjectKind::PLAIN
};

/// `payment_method`. Its list is one per customer, so it is read only when it is named.
pub(super) const PAYMENT_METHOD: ObjectKind = ObjectKind {
    object: "payment_method",
    name: "payment_methods",
    path: "/v1/payment_methods",
    permission: "Payment Methods",
    listed: ObjectListing::PerCustomer("payment_methods"),
    example: include_str!("shapes/payment_method.json"),
    ..ObjectKind::PLAIN
};
