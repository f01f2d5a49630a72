//! A user's invoices, from the local copy; with `refresh=true` they are read from Stripe first, on a thread of
//! `stripe_threads`. It must never read the other invoices of somebody else's customer. Called through the table in
//! `private`.

use super::subscription::subscriptions_for_calls;
use super::{CallResult, answers::read_failed, calls};
use crate::http::api::{ApiHandler, users, views};
use crate::http::error_code::ErrorCode;
use crate::http::request::{Method, Request};
use crate::http::response::{ErrorResponse, ListView, PageView, Response};
use crate::http::route::description::AsksStripe;
use crate::http::route::parameters::{self, LIMIT, after};
use crate::http::route::{self, PathSegments, Route, RouteAccess, route};
use crate::objects::{customer, invoice};
use crate::outward::calls::CallsError;
use crate::stripe::form::FormBody;

pub(in crate::http) const ROUTES: &[Route<ApiHandler>] =
    &[route(Method::Get, "/api/v1/users/{user_id}/invoices", RouteAccess::Api, list)
        .named("listInvoices", "Invoices of a user, the newest first")
        .query(&[
            parameters::one_of("refresh", &["false", "true"], "Whether Stripe is asked for them first."),
            LIMIT,
            after("in_1MowQWLkdIwHu7ixuzkSPfKd"),
        ])
        .answers::<ListView<views::InvoiceView>>(200, "A page of invoices.")
        .errors(&[ErrorCode::UserNotFound])
        .asks_stripe(AsksStripe::Reads)];

/// Whether a request asks to read the invoices from Stripe.
pub(super) fn waits_for_stripe(request: &Request) -> bool {
    request.parameter("refresh").as_deref() == Some("true") && route::covers(ROUTES, request)
}

fn list(api: &ApiHandler, request: &Request, segments: &PathSegments) -> CallResult {
    let (user, page) = (users::find(api, users::user_id(segments))?, PageView::from_request(request)?);
    match request.parameter("refresh").as_deref() {
        None | Some("false") => {}
        Some("true") => {
            if let InvoicesRefreshed::Failed(error) = refresh(api, &user.id)? {
                return read_failed(error);
            }
        }
        Some(_) => return Err(ErrorResponse::parameter("refresh", "refresh must be true or false")),
    }
    let after = page.id_after();
    let rows = api.store.read(|reader| invoice::list_of_user(reader, &user.id, after, page.fetch()))?;
    Ok(Response::list(rows.iter().map(views::invoice).collect(), &page))
}

/// The outcome of reading the invoices from Stripe.
enum InvoicesRefreshed {
    Read,
    Failed(CallsError),
}

fn refresh(api: &ApiHandler, user_id: &str) -> Result<InvoicesRefreshed, ErrorResponse> {
    let calls = calls(api)?;
    let customers = api.store.read(|reader| customer::list_ids_of_user(reader, user_id))?;
    let mut filters: Vec<(&str, String)> = customers.into_iter().map(|id| ("customer", id)).collect();
    // Of a customer of somebody else who pays for this user: the invoices of that subscription and no others.
    let paid_by_others = subscriptions_for_calls(api, user_id)?;
    let paid_by_others = paid_by_others.into_iter().filter(|one| one.customers_user.as_deref() != Some(user_id));
    filters.extend(paid_by_others.map(|one| ("subscription", one.subscription.stripe_subscription_id)));
    for (name, id) in filters {
        match calls.read_list("/v1/invoices", || FormBody::new().put(name, id.as_str())) {
            Ok(true) => {}
            Ok(false) => log::warn!("only the newest invoices were read again {name}={id}"),
            Err(error) => return Ok(InvoicesRefreshed::Failed(error)),
        }
    }
    Ok(InvoicesRefreshed::Read)
}
