//! Tokens of the private listener. Compared in constant time; no token configured opens nothing. It must never log a
//! token or a part of one. Called by `route`.

use subtle::ConstantTimeEq;

use super::request::Request;
use super::response::ApiError;
use crate::config::Secret;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone who reaches the listener.
    Open,
    /// Who has `api.token` or `api.admin_token`.
    Api,
    /// Who has `api.admin_token`.
    Admin,
}

/// The configured tokens.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// For the application.
    pub api: Option<Secret>,
    /// For operators.
    pub admin: Option<Secret>,
}

impl Tokens {
    /// Can both kinds of calls be made, and by nobody else?
    pub(crate) fn are_both_set(&self) -> bool {
        self.api.is_some() && self.admin.is_some()
    }

    /// Lets a request pass or says why not.
    ///
    /// # Errors
    /// 401 `token_not_configured`, `token_missing` or `token_invalid`.
    pub fn check(&self, access: Access, request: &Request) -> Result<(), ApiError> {
        let (accepted, key) = match access {
            Access::Open => return Ok(()),
            Access::Api => (vec![&self.api, &self.admin], "api.token"),
            Access::Admin => (vec![&self.admin], "api.admin_token"),
        };
        // A blank token would let in `Bearer ` followed by nothing.
        let usable = |secret: &&Secret| !secret.expose().is_empty();
        let accepted: Vec<&Secret> = accepted.into_iter().flatten().filter(usable).collect();
        if accepted.is_empty() {
            return Err(refuse("token_not_configured", format!("no {key} is configured, so this call is closed")));
        }
        let header =
            request.unique_header("Authorization").map_err(|error| refuse("token_invalid", error.to_string()))?;
        let Some(token) = header.and_then(bearer) else {
            return Err(refuse("token_missing", "send the token as `Authorization: Bearer <token>`".to_owned()));
        };
        let matches = accepted
            .iter()
            .fold(subtle::Choice::from(0), |found, secret| found | secret.expose().as_bytes().ct_eq(token.as_bytes()));
        if bool::from(matches) {
            Ok(())
        } else {
            Err(refuse("token_invalid", format!("the token is not the configured {key}")))
        }
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

fn refuse(code: &'static str, message: String) -> ApiError {
    let mut error = ApiError::new(401, code, message);
    error.headers.push(("WWW-Authenticate", "Bearer".to_owned()));
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Method;

    fn tokens(api: &str, admin: &str) -> Tokens {
        Tokens { api: Some(Secret::new(api)), admin: Some(Secret::new(admin)) }
    }

    /// The code of the refusal, or `ok`.
    fn check(tokens: &Tokens, access: Access, authorization: &[&str]) -> &'static str {
        let headers = authorization.iter().map(|value| ("authorization".to_owned(), (*value).to_owned())).collect();
        let request = Request { headers, ..Request::new(Method::Get, "/") };
        match tokens.check(access, &request) {
            Ok(()) => "ok",
            Err(error) => {
                assert_eq!(error.status, 401);
                assert!(error.headers.contains(&("WWW-Authenticate", "Bearer".to_owned())));
                assert!(!error.message.contains("t0k"), "{}", error.message);
                error.code
            }
        }
    }

    #[test]
    fn each_token_opens_what_it_is_for() {
        let tokens = tokens("t0k-api", "t0k-admin");
        assert_eq!(check(&tokens, Access::Open, &[]), "ok");
        assert_eq!(check(&tokens, Access::Api, &["Bearer t0k-api"]), "ok");
        assert_eq!(check(&tokens, Access::Api, &["bearer  t0k-admin"]), "ok");
        assert_eq!(check(&tokens, Access::Admin, &["Bearer t0k-admin"]), "ok");
        assert_eq!(check(&tokens, Access::Admin, &["Bearer t0k-api"]), "token_invalid");
    }

    #[test]
    fn missing_wrong_and_repeated_tokens_are_refused() {
        let tokens = tokens("t0k-api", "t0k-admin");
        assert_eq!(check(&tokens, Access::Api, &[]), "token_missing");
        assert_eq!(check(&tokens, Access::Api, &["Basic dDBrOg=="]), "token_missing");
        assert_eq!(check(&tokens, Access::Api, &["Bearer t0k-ap"]), "token_invalid");
        assert_eq!(check(&tokens, Access::Api, &["Bearer t0k-apix"]), "token_invalid");
        assert_eq!(check(&tokens, Access::Api, &["Bearer t0k-api", "Bearer x"]), "token_invalid");
    }

    #[test]
    fn without_a_token_that_could_open_it_a_route_is_closed_and_says_so() {
        let none = Tokens::default();
        assert_eq!(check(&none, Access::Api, &["Bearer "]), "token_not_configured");
        assert_eq!(check(&tokens("t0k-api", " "), Access::Admin, &["Bearer "]), "token_not_configured");
        let admin_only = Tokens { api: None, ..tokens("", "t0k-admin") };
        assert_eq!(check(&admin_only, Access::Api, &["Bearer t0k-admin"]), "ok");
    }
}
