//! One route as an operation of OpenAPI 3.1: parameters, body, and each answer by its status with its type, its codes and
//! where it leads. It must never know a single call. Called by `openapi`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Schemas;
use crate::http::error_code::ErrorCode;
use crate::http::route::description::{ANY, Answer, AsksStripe, Parameter, ParameterKind, RouteDescription, SchemaOf};
use crate::http::route::parameters::OF_PATHS;
use crate::http::route::{Route, RouteAccess};

/// The statuses under which Stripe's own errors are passed on.
const OF_STRIPE: [u16; 6] = [400, 402, 404, 409, 429, 502];
/// Of a text in a path: no control characters.
const PLAIN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";

/// The operation of a route.
pub(super) fn describe<S>(route: &Route<S>, tag: &str, error: &Value, schemas: &mut Schemas) -> Value {
    let said = &route.description;
    let mut operation = json!({
        "operationId": said.id, "summary": said.summary, "tags": [tag], "security": security(route.access),
    });
    if !said.details.is_empty() {
        operation["description"] = json!(said.details);
    }
    let parameters = parameters(route.pattern, said);
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if let Some(body) = said.body {
        operation["requestBody"] = request_body(body, schemas);
    }
    operation["responses"] = responses(said, &route.codes(), error, schemas);
    operation
}

fn security(access: RouteAccess) -> Value {
    match access {
        RouteAccess::Open => json!([]),
        RouteAccess::Api => json!([{"apiToken": []}, {"adminToken": []}]),
        RouteAccess::Admin => json!([{"adminToken": []}]),
    }
}

fn parameters(pattern: &str, said: &RouteDescription) -> Vec<Value> {
    let names = pattern.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let known = names.filter_map(|name| OF_PATHS.iter().find(|one| one.name == name));
    let path = known.map(|one| parameter(one, "path"));
    let query = said.query.iter().map(|one| parameter(one, "query"));
    path.chain(query).chain(key(said.stripe)).collect()
}

fn parameter(one: &Parameter, place: &str) -> Value {
    let example = one.example.parse::<i64>().map_or_else(|_| json!(one.example), |number| json!(number));
    let (schema, example) = match one.kind {
        ParameterKind::Id(most) => {
            (json!({"type": "string", "minLength": 1, "maxLength": most, "pattern": PLAIN}), json!(one.example))
        }
        ParameterKind::Visible(most) => {
            (json!({"type": "string", "pattern": format!("^\\s*[!-~]{{1,{most}}}\\s*$")}), json!(one.example))
        }
        ParameterKind::Text => (json!({"type": "string"}), json!(one.example)),
        ParameterKind::Whole(least, most) => {
            (json!({"type": "integer", "format": "int64", "minimum": least, "maximum": most}), example)
        }
        ParameterKind::OneOf(words) => (json!({"type": "string", "enum": words}), json!(one.example)),
    };
    json!({
        "name": one.name, "in": place, "required": one.required, "description": one.meaning, "schema": schema,
        "example": example,
    })
}

/// The header that makes a repeated request known.
fn key(stripe: AsksStripe) -> Option<Value> {
    let meaning = match stripe {
        AsksStripe::Never | AsksStripe::Reads => return None,
        AsksStripe::Acts => "A new key for each request, the same when it is repeated: then the answer is the same.",
        AsksStripe::Pays => {
            "A new key for each payment, the same when the request is repeated: then nothing is paid twice."
        }
    };
    Some(json!({
        "name": "Idempotency-Key", "in": "header", "required": stripe == AsksStripe::Pays, "description": meaning,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255}, "example": "order-1042",
    }))
}

fn request_body(body: SchemaOf, schemas: &mut Schemas) -> Value {
    let schema = body(&mut schemas.bodies);
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let named = schemas.bodies.definitions().get(name);
    let required = named.and_then(|named| named.get("required")).is_some();
    json!({"required": required, "content": {"application/json": {"schema": schema}}})
}

fn responses(said: &RouteDescription, codes: &[ErrorCode], error: &Value, schemas: &mut Schemas) -> Value {
    let mut found: BTreeMap<u16, Value> = BTreeMap::new();
    for answer in said.answers.iter().flatten() {
        found.insert(answer.status, success(answer, said, schemas));
    }
    let asks = said.stripe != AsksStripe::Never;
    let mut statuses: Vec<u16> = codes.iter().map(|code| code.status()).collect();
    statuses.extend(OF_STRIPE.iter().filter(|_| asks));
    statuses.sort_unstable();
    statuses.dedup();
    for status in statuses {
        let of_status: Vec<ErrorCode> = codes.iter().copied().filter(|code| code.status() == status).collect();
        let described = failure(&of_status, asks && OF_STRIPE.contains(&status), error);
        let response = match found.remove(&status) {
            Some(answer) => either(answer, &described),
            None if asks || of_status.iter().any(|code| !ANY.contains(code)) => described,
            None => shared(status, described, schemas),
        };
        found.insert(status, response);
    }
    found.into_iter().map(|(status, response)| (status.to_string(), response)).collect::<Map<_, _>>().into()
}

fn success(answer: &Answer, said: &RouteDescription, schemas: &mut Schemas) -> Value {
    let schema = (answer.schema)(&mut schemas.answers);
    let mut response = json!({"description": answer.meaning, "content": {answer.media: {"schema": schema}}});
    if !said.links.is_empty() && answer.status < 202 {
        let links = said.links.iter().map(|link| {
            (link.to.to_owned(), json!({"operationId": link.to, "parameters": {link.parameter: link.value}}))
        });
        response["links"] = links.collect::<Map<_, _>>().into();
    }
    response
}

fn failure(codes: &[ErrorCode], is_stripes: bool, error: &Value) -> Value {
    let mut lines: Vec<String> = codes.iter().map(|code| format!("- `{code}`: {}", code.meaning())).collect();
    if is_stripes {
        lines.push("- Stripe's own error, with Stripe's code.".to_owned());
    }
    json!({
        "description": lines.join("\n"), "content": {"application/json": {"schema": error}},
        "x-error-codes": codes.iter().map(|code| code.as_str()).collect::<Vec<_>>(), "x-stripe-errors": is_stripes,
    })
}

/// An answer that every route may give is described once.
fn shared(status: u16, described: Value, schemas: &mut Schemas) -> Value {
    let name = format!("Error{status}");
    let reference = json!({"$ref": format!("#/components/responses/{name}")});
    schemas.responses.insert(name, described);
    reference
}

/// An answer and an error that share a status.
fn either(mut answer: Value, failure: &Value) -> Value {
    let schema = |response: &Value| response["content"]["application/json"]["schema"].clone();
    let meaning = format!(
        "{}\n{}",
        answer["description"].as_str().unwrap_or_default(),
        failure["description"].as_str().unwrap_or_default()
    );
    answer["content"]["application/json"]["schema"] = json!({"anyOf": [schema(&answer), schema(failure)]});
    answer["description"] = json!(meaning);
    for name in ["x-error-codes", "x-stripe-errors"] {
        answer[name] = failure[name].clone();
    }
    answer
}
