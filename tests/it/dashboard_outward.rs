//! The pages of what leaves tilld: outbox, calls to Stripe, repair from Stripe, settings. Each shows what is, acts only when
//! asked twice, leaves an audit row, and shows nothing that opens anything.

mod calls;
mod outbox;
mod settings;
mod stripe;

use tilld::http::private;
use tilld::http::request::Method;
use tilld::http::response::Response;

use crate::harness::{ADMIN, Till, request};

/// Somebody who has logged in.
pub struct Visitor {
    cookie: String,
}

/// A page as a browser gets it.
pub struct Seen {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub text: String,
}

impl Seen {
    fn of(response: Response) -> Self {
        let text = String::from_utf8(response.body).unwrap();
        Self { status: response.status, headers: response.headers, text }
    }

    pub fn header(&self, name: &str) -> String {
        self.headers.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.clone()).collect()
    }

    /// Whether all of these stand in it.
    pub fn shows(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.text.contains(text), "{text:?} is missing in {}", self.text);
        }
    }

    /// Whether none of these stands in it.
    pub fn hides(&self, texts: &[&str]) {
        for text in texts {
            assert!(!self.text.contains(text), "{text:?} is shown in {}", self.text);
        }
    }
}

impl Visitor {
    pub fn of(till: &Till) -> Self {
        let body = format!("token={ADMIN}");
        let answer =
            private::answer(&till.api, &request(Method::Post, "/dashboard/login", Vec::new(), body.as_bytes()));
        assert_eq!(answer.status, 303);
        let cookie = answer.headers.iter().find(|(name, _)| *name == "Set-Cookie").unwrap().1.clone();
        Self { cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    fn ask(&self, till: &Till, method: Method, name: &str, body: &str) -> Seen {
        let headers = vec![("Cookie".to_owned(), self.cookie.clone())];
        let request = request(method, &format!("/dashboard/{name}"), headers, body.as_bytes());
        Seen::of(private::answer(&till.api, &request))
    }

    pub fn get(&self, till: &Till, name: &str) -> Seen {
        self.ask(till, Method::Get, name, "")
    }

    /// Gets a page that is there.
    pub fn page(&self, till: &Till, name: &str) -> Seen {
        let seen = self.get(till, name);
        assert_eq!(seen.status, 200, "{name}: {}", seen.text);
        seen
    }

    /// The token of the forms of this session.
    fn token(&self, till: &Till) -> String {
        let text = self.page(till, "outbox").text;
        let after = text.split("name=\"form_token\" value=\"").nth(1).unwrap();
        after.split('"').next().unwrap().to_owned()
    }

    /// Sends a form of ours, and goes where the answer leads.
    pub fn act(&self, till: &Till, name: &str, fields: &str) -> Seen {
        let token = self.token(till);
        let seen = self.ask(till, Method::Post, name, &format!("form_token={token}&{fields}"));
        if seen.status == 303 {
            return self.page(till, &seen.header("Location"));
        }
        seen
    }

    /// Says yes to a question: sends all that its form holds.
    pub fn yes(&self, till: &Till, name: &str, question: &Seen) -> Seen {
        let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let hidden = question.text.split("<input type=\"hidden\" name=\"").skip(1).filter_map(|rest| {
            let (name, rest) = rest.split_once("\" value=\"")?;
            (name != "form_token").then(|| format!("{name}={}", encoded(rest.split('"').next().unwrap_or_default())))
        });
        self.act(till, name, &hidden.collect::<Vec<_>>().join("&"))
    }

    /// Asks at that address, and says yes.
    pub fn confirm(&self, till: &Till, link: &str) -> Seen {
        let question = self.page(till, link);
        self.yes(till, link.split('?').next().unwrap(), &question)
    }

    /// Sends a form without its token.
    pub fn forge(&self, till: &Till, name: &str, fields: &str) -> Seen {
        self.ask(till, Method::Post, name, fields)
    }
}
