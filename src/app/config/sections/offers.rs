//! `[checkout]` and `[portal]`: where Stripe sends customers unless a call says otherwise. Called by `sections`.

use crate::app::config::keys::{Section, flag, text};
use crate::app::config::reader::ConfigReader;
use crate::base::address::application_url;
use crate::http::api::offers::{Checkout, Portal};

pub(super) const CHECKOUT: Section = Section::once(
    "checkout",
    "",
    &[
        text("checkout.success_url", "https://example.com/welcome")
            .no_default()
            .env(&["TILLD_CHECKOUT_SUCCESS_URL"])
            .about("Where Stripe sends the customer after payment, unless the call says otherwise; no default."),
        text("checkout.cancel_url", "https://example.com/pricing")
            .no_default()
            .env(&["TILLD_CHECKOUT_CANCEL_URL"])
            .about("Where Stripe sends a customer who cancels the checkout; no default."),
        flag("checkout.automatic_tax").env(&["TILLD_CHECKOUT_AUTOMATIC_TAX"]).about(
            "true lets Stripe Tax calculate taxes from the address that the customer gives at checkout; set it up in Stripe's \
             dashboard first.",
        ),
    ],
);

pub(super) const PORTAL: Section = Section::once(
    "portal",
    "",
    &[text("portal.return_url", "https://example.com/account")
        .no_default()
        .env(&["TILLD_PORTAL_RETURN_URL"])
        .about("Where the customer portal leads back to, unless the call says otherwise; no default.")],
);

pub(super) fn checkout(reader: &mut ConfigReader<'_>) -> Checkout {
    Checkout {
        success_url: reader.parsed("checkout.success_url", application_url),
        cancel_url: reader.parsed("checkout.cancel_url", application_url),
        automatic_tax: reader.flag("checkout.automatic_tax"),
    }
}

pub(super) fn portal(reader: &mut ConfigReader<'_>) -> Portal {
    Portal { return_url: reader.parsed("portal.return_url", application_url) }
}
