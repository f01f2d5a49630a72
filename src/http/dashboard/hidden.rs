//! What a page leaves out of a request or an answer of Stripe's: values that open a payment, a session or a page for whoever
//! has them. It must never go by what a value is for, only by its name and its shape. Called by the pages of
//! calls, events and the outbox.

use serde_json::Value;

/// Values whose name ends like this are left out.
const HIDDEN_ENDINGS: [&str; 8] = ["secret", "url", "url_png", "url_svg", "token", "password", "pdf", "cvc"];
/// The content of a code that pays when it is scanned is the value `data` of an object whose name ends like this.
const CODE_ENDING: &str = "qr_code";
/// A path of Stripe's API, as lists have it. It opens nothing without a key.
const API_PATH: &str = "/v1/";
/// A client secret is known by its middle, whatever its field is called.
const SECRET_MIDDLE: &str = "_secret_";
/// What stands in the place of such a value.
pub(super) const HIDDEN: &str = "(not shown)";

/// Whether a value of that name would open something. A name within brackets counts, as in a form.
pub(super) fn is_hidden(name: &str, value: &str) -> bool {
    let name = name.trim_end_matches(']').to_ascii_lowercase();
    let is_named = HIDDEN_ENDINGS.iter().any(|ending| name.ends_with(ending)) && !value.starts_with(API_PATH);
    !value.is_empty() && (is_named || value.contains(SECRET_MIDDLE))
}

/// A JSON text without the values that open something. A text that is no JSON is left out whole.
pub(super) fn without(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            hide("", &mut value);
            value.to_string()
        }
        Err(_) => Value::String(HIDDEN.to_owned()).to_string(),
    }
}

fn hide(name: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(code) = fields.get_mut("data").filter(|_| name.ends_with(CODE_ENDING)) {
                *code = Value::String(HIDDEN.to_owned());
            }
            fields.iter_mut().for_each(|(name, value)| hide(name, value));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| hide(name, value)),
        Value::String(text) if is_hidden(name, text) => *text = HIDDEN.to_owned(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_something_is_left_out_by_its_name_or_by_its_shape() {
        let text = r#"{"id":"cs_1","client_secret":"hush","a":{"hosted_invoice_url":"https://hush","b":["pi_1_secret_hush",1]},"url":null}"#;
        let shown = without(text);
        assert!(!shown.contains("hush") && shown.contains("cs_1") && shown.contains(r#""url":null"#), "{shown}");
        assert!(is_hidden("payment_method_data[card][cvc]", "1") && !is_hidden("metadata[user_id]", "1"));
        assert!(!is_hidden("success_url", "") && !is_hidden("url", "/v1/subscription_items"));
        let codes = r#"{"invoice_pdf":"hush","pdf":"hush","next_action":{"pix_display_qr_code":{"data":"hush","image_url_png":"hush",
            "image_url_svg":"hush"}},"qr_code":{"data":"hush"},"data":{"object":{"id":"pi_1"}}}"#;
        let shown = without(codes);
        assert!(!shown.contains("hush") && shown.contains("pi_1"), "{shown}");
        assert_eq!(without("hush"), "\"(not shown)\"");
    }
}
