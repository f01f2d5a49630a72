//! Tokens of the private listener. Compared in constant time; no token configured opens nothing.

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
        let accepted: Vec<&Secret> = accepted.into_iter().flatten().collect();
        if accepted.is_empty() {
            return Err(refuse("token_not_configured", format!("no {key} is configured, so this call is closed")));
        }
        let Some(token) = bearer(request) else {
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

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("Authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

fn refuse(code: &'static str, message: String) -> ApiError {
    let mut error = ApiError::new(401, code, message);
    error.headers.push(("WWW-Authenticate", "Bearer".to_owned()));
    error
}
