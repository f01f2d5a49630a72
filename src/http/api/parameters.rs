//! The parameters in a body: a JSON object whose values are checked one by one; an error names the parameter. `null`
//! counts as not given. It must never quote a value that may be personal. Called by the handlers that take a
//! body.

use serde_json::{Map, Value};

use super::body_object;
use crate::base::address::application_url;
use crate::base::ownership::LinkRules;
use crate::http::error_code::ErrorCode;
use crate::http::request::Request;
use crate::http::response::ErrorResponse;
use crate::http::route::body::RequestBody;
use crate::http::route::parameters::MAX_BODY_TEXT_CHARS;
use crate::stripe::form::FormBody;

/// The parameters of a request.
pub(in crate::http) struct Parameters(Map<String, Value>);

impl Parameters {
    /// Reads a body of this type: as a JSON object without other fields. What its fields hold is checked one by one.
    pub(in crate::http) fn read<T: RequestBody>(request: &Request) -> Result<Self, ErrorResponse> {
        let (fields, known) = (body_object(request)?, T::FIELDS);
        match fields.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(Self(fields)),
            Some(key) => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message = format!("{key:?} is not a parameter of this call; its parameters are: {known}");
                Err(ErrorResponse::new(ErrorCode::ParameterUnknown, message))
            }
        }
    }

    /// All of them as a text, which is the same for the same parameters.
    pub(in crate::http) fn text_of_all(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    fn given(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text that is not blank.
    pub(in crate::http) fn text(&self, name: &'static str) -> Result<Option<&str>, ErrorResponse> {
        self.text_of(name, MAX_BODY_TEXT_CHARS)
    }

    /// A text that is not blank and has at most so many characters.
    pub(in crate::http) fn text_of(&self, name: &'static str, most: usize) -> Result<Option<&str>, ErrorResponse> {
        let fits = |text: &str| !text.trim().is_empty() && text.chars().count() <= most;
        match self.given(name) {
            None => Ok(None),
            Some(Value::String(text)) if fits(text) => Ok(Some(text)),
            Some(_) => Err(wrong(name, &format!("a string of 1 to {most} characters"))),
        }
    }

    /// Any text, also a blank one.
    pub(in crate::http) fn any_text(&self, name: &'static str) -> Result<Option<&str>, ErrorResponse> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a string")),
        }
    }

    /// A text that is required.
    pub(in crate::http) fn required_text(&self, name: &'static str) -> Result<&str, ErrorResponse> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// One of `words`.
    pub(in crate::http) fn one_of(&self, name: &'static str, words: &[&str]) -> Result<Option<&str>, ErrorResponse> {
        match self.text(name)? {
            Some(word) if !words.contains(&word) => Err(wrong(name, &format!("one of {}", words.join(", ")))),
            word => Ok(word),
        }
    }

    /// A whole number from `least` to `most`.
    pub(in crate::http) fn integer(
        &self,
        name: &'static str,
        (least, most): (i64, i64),
    ) -> Result<Option<i64>, ErrorResponse> {
        match self.given(name) {
            None => Ok(None),
            Some(value) => match whole(value).filter(|number| (least..=most).contains(number)) {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(name, &format!("a whole number from {least} to {most}"))),
            },
        }
    }

    /// True or false; false if not given.
    pub(in crate::http) fn flag(&self, name: &'static str) -> Result<bool, ErrorResponse> {
        match self.given(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// A URL of the application.
    pub(in crate::http) fn url(&self, name: &'static str) -> Result<Option<String>, ErrorResponse> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        application_url(text).map(Some).map_err(|message| ErrorResponse::parameter(name, format!("{name}: {message}")))
    }

    /// The application's metadata together with `ours`. Numbers and booleans become texts, as Stripe stores them. Keys
    /// that name a user are refused: the path of the request names the user.
    pub(in crate::http) fn metadata(
        &self,
        ours: &[(&str, &str)],
        rules: &LinkRules,
    ) -> Result<FormBody, ErrorResponse> {
        let mut form: FormBody = ours.iter().copied().collect();
        let given = match self.given("metadata") {
            None => return Ok(form),
            Some(Value::Object(given)) => given,
            Some(_) => return Err(wrong("metadata", "an object of strings")),
        };
        for (name, value) in given {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => return Err(wrong("metadata", "an object of strings")),
            };
            if rules.metadata_keys.contains(name) || ours.iter().any(|(own, _)| own == name) {
                let message = format!("metadata must not contain {name}, which tilld sets itself");
                return Err(ErrorResponse::new(ErrorCode::MetadataReserved, message).at("metadata"));
            }
            form = form.put(name.as_str(), text);
        }
        Ok(form)
    }
}

/// A whole number, also one that is written with a point, as JSON has no other kind.
fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let pointed = || value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT);
    #[allow(clippy::cast_possible_truncation)] // it is whole, and within what is exact
    value.as_i64().or_else(|| pointed().map(|number| number as i64))
}

/// The error for a missing parameter.
pub(in crate::http) fn missing(name: &'static str) -> ErrorResponse {
    ErrorResponse::new(ErrorCode::ParameterMissing, format!("{name} is missing")).at(name)
}

/// The error for a parameter of another kind.
fn wrong(name: &'static str, expected: &str) -> ErrorResponse {
    ErrorResponse::parameter(name, format!("{name} must be {expected}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::request::Method;
    use serde_json::json;

    struct Given;

    impl RequestBody for Given {
        const FIELDS: &'static [&'static str] = &["a", "b", "metadata"];
    }

    fn parameters(body: &Value) -> Parameters {
        let request = Request { body: body.to_string().into_bytes(), ..Request::new(Method::Post, "/") };
        Parameters::read::<Given>(&request).unwrap()
    }

    fn refused<T: std::fmt::Debug>(found: Result<T, ErrorResponse>, code: &str) {
        let error = found.unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, code), "{}", error.message);
    }

    #[test]
    fn an_unknown_parameter_is_refused_and_the_known_ones_are_named() {
        let request = Request { body: b"{\"c\":1}".to_vec(), ..Request::new(Method::Post, "/") };
        let error = Parameters::read::<Given>(&request).err().unwrap();
        assert_eq!(error.code, ErrorCode::ParameterUnknown);
        assert!(error.message.contains("\"c\"") && error.message.contains("a, b, metadata"), "{}", error.message);
    }

    #[test]
    fn null_counts_as_not_given() {
        let given = parameters(&json!({"a": null}));
        assert_eq!((given.text("a").unwrap(), given.integer("a", (1, 2)).unwrap()), (None, None));
        assert!(!given.flag("a").unwrap());
        refused(given.required_text("a"), "parameter_missing");
    }

    #[test]
    fn a_value_of_another_kind_is_refused_by_name() {
        for value in [json!(1.5), json!([]), json!({}), json!(" "), json!(3)] {
            let given = parameters(&json!({"a": value}));
            refused(given.integer("a", (1, 2)), "parameter_invalid");
            refused(given.flag("a"), "parameter_invalid");
            refused(given.one_of("a", &["x", "y"]), "parameter_invalid");
            refused(given.url("a"), "parameter_invalid");
            assert_eq!(given.text("a").unwrap_err().param, Some("a"));
        }
        assert_eq!(parameters(&json!({"a": "x"})).one_of("a", &["x", "y"]).unwrap(), Some("x"));
    }

    #[test]
    fn metadata_of_the_application_is_added_to_ours_and_never_replaces_it() {
        let ours = [("user_id", "u1")];
        let rules =
            LinkRules { metadata_keys: vec!["user_id".to_owned(), "account".to_owned()], ..LinkRules::default() };
        let given = json!({"metadata": {"n": 7, "yes": true, "t": "x y"}});
        let form = FormBody::new().map("m", parameters(&given).metadata(&ours, &rules).unwrap()).encode().unwrap();
        assert_eq!(form, "m[user_id]=u1&m[n]=7&m[t]=x%20y&m[yes]=true");
        for reserved in ["user_id", "account"] {
            let given = json!({"metadata": {reserved: "u1"}});
            refused(parameters(&given).metadata(&ours, &rules), "metadata_reserved");
        }
        refused(parameters(&json!({"metadata": {"a": {"b": 1}}})).metadata(&ours, &rules), "parameter_invalid");
        refused(parameters(&json!({"metadata": "x"})).metadata(&ours, &rules), "parameter_invalid");
    }
}
