//! Is a secret of the kind that its key wants? A pasted line too many, or one from another page of the dashboard, is told at
//! the start and not by refused webhooks. Must never quote a value. Called by the reader.

/// Fewer characters than this are guessed.
const MIN_TOKEN_CHARS: usize = 16;
const QUOTES: [char; 3] = ['"', '\'', '`'];

/// What is wrong with the secret of `key` (without the numbers of blocks). `is_dev`: the file is that of `tilld dev`, whose
/// tokens may be as short as one likes to type.
pub(super) fn fault(key: &str, secret: &str, is_dev: bool) -> Option<String> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| secret.starts_with(prefix));
    let is_api_key = begins(&["sk_", "rk_", "pk_"]);
    let said = match key {
        "notify.smtp.password" if !is_wrapped(secret) => return None,
        _ if secret.starts_with(QUOTES) => {
            "has quotes around it: remove them; a variable or a file of its own needs none"
        }
        "stripe.webhook.secrets" if is_api_key => {
            "is an API key: give the endpoint's signing secret (whsec_…), which Stripe's dashboard shows beside its URL"
        }
        "stripe.webhook.secrets" if begins(&["we_"]) => {
            "is the id of an endpoint (we_…): give its signing secret (whsec_…), which the dashboard shows on its page"
        }
        "stripe.api_key" if begins(&["whsec_", "we_"]) => {
            "is no API key: a signing secret belongs into secrets of [[stripe.webhook]]; give a secret key (sk_…) or a \
             restricted one (rk_…)"
        }
        "api.token" | "api.admin_token" if is_api_key || begins(&["whsec_"]) => {
            "is a secret of Stripe's: make one up; `openssl rand -hex 32` does"
        }
        "api.token" | "api.admin_token" if !is_dev && secret.chars().count() < MIN_TOKEN_CHARS => {
            return Some(format!(
                "is shorter than {MIN_TOKEN_CHARS} characters: whoever reaches the listener could guess it; `openssl rand \
                 -hex 32` makes one"
            ));
        }
        _ => return None,
    };
    Some(said.to_owned())
}

fn is_wrapped(secret: &str) -> bool {
    secret.chars().count() > 1 && QUOTES.iter().any(|quote| secret.starts_with(*quote) && secret.ends_with(*quote))
}
