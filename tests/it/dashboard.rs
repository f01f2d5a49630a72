//! The pages for operators, asked as a browser asks: a session's cookie, and forms that send its token.

mod dead_letters;
mod events;
mod login;
mod searching;

use tilld::http::private;
use tilld::http::request::{Method, Request};
use tilld::http::response::Response;

use crate::harness::{ADMIN, Till, request};

/// A browser that has a session, or none.
pub struct Browser {
    cookie: Option<String>,
}

/// A browser that has logged in with the admin token.
pub fn logged_in(till: &Till) -> Browser {
    let mut browser = Browser { cookie: None };
    let response = browser.post(till, "login", &[("token", ADMIN)]);
    assert_eq!(response.status, 303, "{}", text(&response));
    browser.keep(&response);
    browser
}

impl Browser {
    /// One without a session.
    pub fn new() -> Self {
        Self { cookie: None }
    }

    /// Keeps the cookie of an answer, as a browser does.
    pub fn keep(&mut self, response: &Response) {
        let cookie = header(response, "Set-Cookie").unwrap();
        self.cookie = Some(cookie.split(';').next().unwrap().to_owned());
    }

    /// A request for a page, whatever it is.
    pub fn request(&self, method: Method, name: &str, headers: &[(&str, &str)], body: &str) -> Request {
        let mut all: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.extend(self.cookie.iter().map(|cookie| ("Cookie".to_owned(), cookie.clone())));
        request(method, &format!("/dashboard/{name}"), all, body.as_bytes())
    }

    pub fn send(&self, till: &Till, method: Method, name: &str, headers: &[(&str, &str)], body: &str) -> Response {
        private::answer(&till.api, &self.request(method, name, headers, body))
    }

    /// A page and its status.
    pub fn get(&self, till: &Till, name: &str) -> (u16, String) {
        let response = self.send(till, Method::Get, name, &[], "");
        (response.status, text(&response))
    }

    /// A page that is there.
    pub fn page(&self, till: &Till, name: &str) -> String {
        let (status, page) = self.get(till, name);
        assert_eq!(status, 200, "{name}: {page}");
        page
    }

    /// Posts a form as it is.
    pub fn post(&self, till: &Till, name: &str, fields: &[(&str, &str)]) -> Response {
        self.send(till, Method::Post, name, &[("Sec-Fetch-Site", "same-origin")], &form(fields))
    }

    /// Posts a form with the token of the session, as a page of it would.
    pub fn act(&self, till: &Till, name: &str, fields: &[(&str, &str)]) -> Response {
        let token = form_token(&self.page(till, "events"));
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("form_token", token.as_str())]).collect();
        self.post(till, name, &fields)
    }

    /// Does what the confirmation page of that address asks for, with everything that its form holds, and follows to the
    /// page that tells it.
    pub fn confirm(&self, till: &Till, link: &str, more: &[(&str, &str)]) -> String {
        let page = self.page(till, link);
        let hidden = page.split("<input type=\"hidden\" name=\"").skip(1).filter_map(|rest| {
            let (name, rest) = rest.split_once("\" value=\"")?;
            Some((name.to_owned(), rest.split('"').next()?.to_owned()))
        });
        let mut fields: Vec<(String, String)> = hidden.collect();
        fields.dedup();
        fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let response = self.post(till, link.split('?').next().unwrap(), &fields);
        assert_eq!(response.status, 303, "{link}: {}", text(&response));
        self.page(till, header(&response, "Location").unwrap())
    }
}

pub fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect::<Vec<_>>().join("&")
}

pub fn text(response: &Response) -> String {
    String::from_utf8(response.body.clone()).unwrap()
}

pub fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The token that the forms of a page send.
pub fn form_token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// The links of a page.
pub fn links(page: &str) -> Vec<String> {
    page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}
