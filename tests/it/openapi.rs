//! The description of the API against the API: what one says, the other does.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tilld::http::private;
use tilld::http::request::Method;

use crate::harness::Till;
use crate::live::tilld;

fn method(name: &str) -> Method {
    Method::parse(&name.to_ascii_uppercase())
}

/// Every operation: its path with values in it, its method and what is said of it.
fn operations(document: &Value) -> Vec<(String, Method, Value)> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (name, operation) in methods.as_object().unwrap() {
            let segments = path.split('/').map(|segment| {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let named = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                let example = named.and_then(|name| parameters.clone().find(|one| one["name"] == name));
                example.map_or(segment.to_owned(), |one| one["example"].to_string().trim_matches('"').to_owned())
            });
            found.push((segments.collect::<Vec<_>>().join("/"), method(name), operation.clone()));
        }
    }
    found
}

#[test]
fn a_body_with_an_unknown_field_is_refused_and_told_exactly_the_described_ones() {
    let till = Till::new();
    let document = private::description();
    let mut count = 0;
    for (path, method, operation) in operations(&document) {
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        let Some(name) = body["$ref"].as_str().and_then(|path| path.rsplit('/').next()) else { continue };
        let (status, answer) = till.call(method, &path, &json!({"no_such_field": 1}));
        let error = &answer["error"];
        assert_eq!((status, &error["code"]), (400, &json!("parameter_unknown")), "{path}: {answer}");
        let told = error["message"].as_str().unwrap().rsplit(" are").next().unwrap().trim_start_matches([':', ' ']);
        let told: BTreeSet<&str> = told.split(", ").filter(|name| *name != "none").collect();
        let described = document["components"]["schemas"][name]["properties"].as_object();
        let described: BTreeSet<&str> = described.into_iter().flat_map(|all| all.keys()).map(String::as_str).collect();
        assert_eq!(told, described, "{path}");
        count += 1;
    }
    assert!(count > 15, "only {count} bodies were found");
}

#[test]
fn every_call_needs_the_token_that_its_description_names() {
    let till = Till::new();
    for (path, method, operation) in operations(&private::description()) {
        let request = crate::harness::request(method, &path, Vec::new(), b"");
        let (status, _) = crate::harness::read(private::answer(&till.api, &request));
        let schemes = operation["security"].as_array().unwrap();
        assert_eq!(schemes.is_empty(), status != 401, "{path}: {status}");
        let takes_api_token = schemes.iter().any(|scheme| scheme["apiToken"].is_array());
        assert_eq!(takes_api_token, !schemes.is_empty() && !path.starts_with("/api/v1/admin/"), "{path}");
    }
}

#[test]
fn a_filter_outside_what_is_described_is_refused_by_name() {
    let till = Till::new();
    till.call(Method::Put, "/api/v1/users/alice", &Value::Null);
    let mut count = 0;
    for (path, _, operation) in operations(&private::description()) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let schema = &parameter["schema"];
            if parameter["in"] != "query" || schema["type"] == "string" && schema["enum"].is_null() {
                continue;
            }
            let name = parameter["name"].as_str().unwrap();
            for wrong in ["no_such_word", "-1", ""] {
                let (status, answer) = till.get(&format!("{path}?{name}={wrong}"));
                // A page may begin anywhere; an empty cursor is none.
                if name == "starting_after" && wrong != "no_such_word" {
                    continue;
                }
                assert_eq!((status, &answer["error"]["param"]), (400, &json!(name)), "{path} {name}={wrong}: {answer}");
            }
            count += 1;
        }
    }
    assert!(count > 20, "only {count} filters were found");
}

#[test]
fn the_command_prints_what_the_daemon_answers() {
    let till = Till::new();
    let (status, answered) = till.get("/openapi.json");
    assert_eq!((status, &answered["openapi"]), (200, &json!("3.1.0")));
    let dir = tempfile::tempdir().unwrap();
    let output = tilld(dir.path()).arg("openapi").output().unwrap();
    assert!(output.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), answered);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it makes no file");
}
