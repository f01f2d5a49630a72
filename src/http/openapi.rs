//! The description of the API, OpenAPI 3.1, made from the tables of routes that serve it and the types that are answered.
//! It must never hold a word about a single call: those stand beside the handlers. Called by `private`, for
//! `GET /openapi.json` and `tilld openapi`.

mod operation;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::response::ErrorView;
use super::route::Route;

/// What holds for every call.
const ABOUT: &str = "The private API of tilld: who may use what, and why, from a local copy of Stripe.\n\n\
    **Tokens.** `Authorization: Bearer <token>`: `api.token` for `/api/v1/…`, `api.admin_token` for these and for \
    `/api/v1/admin/…`.\n\n\
    **Times** are unix seconds. **Amounts** are in the smallest unit of their currency.\n\n\
    **Lists** are pages: `limit` rows after the row `starting_after`; `has_more` says whether there are more.\n\n\
    **Errors** have Stripe's shape. Each answer lists the codes that it may have in `x-error-codes`; where `x-stripe-errors` is \
    true, Stripe's own errors are passed on as well, with Stripe's codes.\n\n\
    **Calls to Stripe** take an `Idempotency-Key`: the same key and body get the same answer. 202 `in_doubt` means that \
    Stripe was asked and did not answer; tilld finds out what became of it.";

/// What each group of calls is for, in the order in which they are shown.
const TAGS: [(&str, &str); 4] = [
    ("Users", "Users of the application, what they may use, and what is known of their payments. From the local copy."),
    ("Calls to Stripe", "What Stripe is asked to do. They need `stripe.api_key`."),
    ("Operators", "Events, dead letters, the outbox, operations and the audit log. They need the admin token."),
    ("This daemon", "Is it well, and what is configured."),
];

/// Types as they are answered, and as they are sent; and answers that routes share.
struct Schemas {
    responses: Map<String, Value>,
    answers: SchemaGenerator,
    bodies: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            responses: Map::new(),
            answers: settings().for_serialize().into_generator(),
            bodies: settings().for_deserialize().into_generator(),
        }
    }

    /// All that were named, by name.
    fn into_definitions(mut self) -> Map<String, Value> {
        let mut found = self.answers.take_definitions(true);
        found.extend(self.bodies.take_definitions(true));
        found
    }
}

/// The description of the routes in these tables; each table says what it is about.
pub(super) fn document<S>(tables: &[(&'static str, &[Route<S>])]) -> Value {
    let mut schemas = Schemas::new();
    let error = schemas.answers.subschema_for::<ErrorView>();
    let mut paths: Map<String, Value> = Map::new();
    for (tag, routes) in tables {
        for route in routes.iter().filter(|route| !route.description.id.is_empty()) {
            let described = operation::describe(route, tag, error.as_value(), &mut schemas);
            paths.entry(route.pattern).or_insert_with(|| json!({}))[route.method.as_str().to_ascii_lowercase()] =
                described;
        }
    }
    let responses = std::mem::take(&mut schemas.responses);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tilld", "version": env!("CARGO_PKG_VERSION"), "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": ABOUT,
        },
        // Relative to where this description is, so that it works under any prefix.
        "servers": [{"url": "."}],
        "tags": TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        "paths": paths,
        "components": {
            "schemas": schemas.into_definitions(),
            "responses": responses,
            "securitySchemes": {
                "apiToken": {"type": "http", "scheme": "bearer", "description": "`api.token`: for the application."},
                "adminToken": {"type": "http", "scheme": "bearer", "description": "`api.admin_token`: for operators; it opens every call."},
            },
        },
    })
}
