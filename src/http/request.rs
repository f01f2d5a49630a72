//! A complete request in types of our own, read within limits before any handler sees it; ground for every request. It
//! must never know tiny_http or touch a socket. Made by `server`, read by `route` and every handler.

use percent_encoding::percent_decode_str;

/// Methods that any route has; everything else is [`Method::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the standard's names
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Other,
}

impl Method {
    /// The method of that name.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }

    /// The name of the method.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Other => "other",
        }
    }
}

/// A request with its whole body.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path as sent, still percent-encoded, without the query.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// The headers in the order in which they were sent.
    pub headers: Vec<(String, String)>,
    /// The body, complete.
    pub body: Vec<u8>,
    /// The address of the client, for the log: the other end of the connection, or the one that a proxy on this machine
    /// names. `None` on a Unix socket if no proxy names one.
    pub peer: Option<std::net::IpAddr>,
}

/// A header was sent more than once, and which one is meant would be a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header {0} was sent more than once; send it once, or look for a proxy that adds one")]
pub(crate) struct RepeatedHeader(pub &'static str);

impl Request {
    /// A request for `url` (path and query) without headers or body.
    #[must_use]
    pub fn new(method: Method, url: &str) -> Self {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        Self { method, path, query, headers: Vec::new(), body: Vec::new(), peer: None }
    }

    /// The client, as the log names it.
    #[must_use]
    pub fn client(&self) -> String {
        self.peer.map_or_else(|| "local".to_owned(), |peer| peer.to_string())
    }

    /// The first header of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// The header of that name, where a second one must not be ignored.
    ///
    /// # Errors
    /// When it was sent more than once.
    pub(crate) fn unique_header(&self, name: &'static str) -> Result<Option<&str>, RepeatedHeader> {
        let mut values = self.headers_named(name);
        let first = values.next();
        if values.next().is_some() { Err(RepeatedHeader(name)) } else { Ok(first) }
    }

    fn headers_named(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A decoded parameter of the query, the first of that name. Bytes that are not UTF-8 become U+FFFD: such a filter
    /// must match nothing, and must not count as absent.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        pairs(&self.query).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All decoded parameters of that name of the query, as ticked boxes send them.
    #[must_use]
    pub(crate) fn parameters(&self, name: &str) -> Vec<String> {
        pairs(&self.query).filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// A field of a form that was posted, the first of that name.
    #[must_use]
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.fields(name).into_iter().next()
    }

    /// All fields of that name of a form that was posted, as ticked boxes send them.
    #[must_use]
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        let body = String::from_utf8_lossy(&self.body);
        pairs(&body).filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }
}

/// Names and values of `application/x-www-form-urlencoded`, decoded.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Decodes a segment of a path; `None` when it is not UTF-8.
#[must_use]
pub(crate) fn decode_segment(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(query: &str, name: &str) -> Option<String> {
        Request::new(Method::Get, &format!("/path?{query}")).parameter(name)
    }

    #[test]
    fn query_parameters_are_decoded_and_a_plus_is_a_space() {
        let query = "email=zo%C3%AB%2Bx%40example.com&a+b=c+d&flag&twice=1&twice=2";
        assert_eq!(parameter(query, "email").as_deref(), Some("zoë+x@example.com"));
        assert_eq!(parameter(query, "a b").as_deref(), Some("c d"));
        assert_eq!(parameter(query, "flag").as_deref(), Some(""));
        assert_eq!(parameter(query, "twice").as_deref(), Some("1"));
        assert_eq!(parameter(query, "none"), None);
    }

    #[test]
    fn a_parameter_that_is_not_utf_8_does_not_count_as_absent() {
        assert_eq!(parameter("email=%FF", "email").as_deref(), Some("\u{FFFD}"));
    }

    #[test]
    fn a_header_is_found_whatever_its_case_and_a_repeated_one_is_an_error() {
        let headers = [("X-Once", "1"), ("Stripe-Signature", "a"), ("stripe-signature", "b")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let request = Request { headers, ..Request::new(Method::Post, "/") };
        assert_eq!(request.header("x-once"), Some("1"));
        assert_eq!(request.unique_header("X-ONCE"), Ok(Some("1")));
        assert_eq!(request.unique_header("X-None"), Ok(None));
        assert_eq!(request.unique_header("Stripe-Signature"), Err(RepeatedHeader("Stripe-Signature")));
    }
}
