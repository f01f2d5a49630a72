//! A complete request, in our own types. It is read within limits before any handler sees it.

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

    /// Its name.
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
    /// Its method.
    pub method: Method,
    /// Path as sent, still percent-encoded, without the query.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// Headers in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body, complete.
    pub body: Vec<u8>,
    /// Who sent it, for the log; `None` on a Unix socket.
    pub peer: Option<std::net::IpAddr>,
}

impl Request {
    /// The first header of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A decoded parameter of the query. Of several with the same name the first counts.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| decode(key).as_deref() == Some(name))
            .and_then(|(_, value)| decode(value))
    }
}

/// Decodes a part of a query; `None` when it is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Decodes a segment of a path; `None` when it is not UTF-8.
#[must_use]
pub fn decode_segment(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(query: &str) -> Request {
        let headers = vec![("X-Thing".to_owned(), "1".to_owned())];
        let (path, query) = ("/".to_owned(), query.to_owned());
        Request { method: Method::Get, path, query, headers, body: Vec::new(), peer: None }
    }

    #[test]
    fn query_parameters_are_decoded() {
        let request = request("email=zo%C3%AB%2Bx%40example.com&a+b=c+d&bad=%FF&flag");
        assert_eq!(request.parameter("email").unwrap(), "zoë+x@example.com");
        assert_eq!(request.parameter("a b").unwrap(), "c d");
        assert_eq!(request.parameter("bad"), None);
        assert_eq!(request.parameter("flag").unwrap(), "");
        assert_eq!(request.parameter("none"), None);
        assert_eq!(request.header("x-thing"), Some("1"));
    }
}
