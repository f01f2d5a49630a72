//! The pages about users: found by whatever names them, explained, told as one timeline, and acted on only after a yes.

mod acts;
mod find;
mod one;
mod timeline;

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
    pub location: String,
    pub text: String,
}

impl Seen {
    fn of(response: Response) -> Self {
        let location = response.headers.iter().find(|(name, _)| *name == "Location").map(|(_, value)| value.clone());
        let text = String::from_utf8(response.body).unwrap();
        Self { status: response.status, location: location.unwrap_or_default(), text }
    }

    pub fn shows(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.text.contains(text), "{text:?} is missing in {}", self.text);
        }
    }

    pub fn hides(&self, texts: &[&str]) {
        for text in texts {
            assert!(!self.text.contains(text), "{text:?} is shown in {}", self.text);
        }
    }

    /// Where the link with this `rel` leads.
    pub fn follow(&self, rel: &str) -> Option<String> {
        let before = self.text.split(&format!("\" rel=\"{rel}\"")).next().filter(|before| *before != self.text)?;
        before.rsplit("href=\"").next().map(str::to_owned)
    }
}

impl Visitor {
    pub fn of(till: &Till) -> Self {
        let body = format!("token={ADMIN}");
        let login = request(Method::Post, "/dashboard/login", Vec::new(), body.as_bytes());
        let answer = private::answer(&till.api, &login);
        assert_eq!(answer.status, 303);
        let cookie = answer.headers.iter().find(|(name, _)| *name == "Set-Cookie").unwrap().1.clone();
        Self { cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    pub fn ask(&self, till: &Till, method: Method, name: &str, body: &str) -> Seen {
        let headers = vec![("Cookie".to_owned(), self.cookie.clone())];
        Seen::of(private::answer(&till.api, &request(method, &format!("/dashboard/{name}"), headers, body.as_bytes())))
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

    /// Says yes on the page that asks, and goes where that leads.
    pub fn act(&self, till: &Till, name: &str) -> Seen {
        let asked = self.page(till, name);
        let inputs = asked.text.split("<input type=\"hidden\" name=\"").skip(2);
        let fields: Vec<String> = inputs
            .map(|input| {
                let (name, rest) = input.split_once("\" value=\"").unwrap();
                format!("{name}={}", rest.split('"').next().unwrap())
            })
            .collect();
        let done = self.ask(till, Method::Post, name, &fields.join("&"));
        if done.status == 303 { self.page(till, &done.location) } else { done }
    }
}

#[test]
fn without_a_session_no_page_about_a_user_is_shown_and_no_act_is_done() {
    let mut till = Till::new();
    till.feed(&[crate::samples::event("customer.created", "alice", crate::harness::START_S, &[])]);
    let before = till.dump();
    for name in ["users", "user?id=alice", "user-all?id=alice&of=customers", "user-link?id=alice&object=cus_1"] {
        let seen =
            Seen::of(private::answer(&till.api, &request(Method::Get, &format!("/dashboard/{name}"), Vec::new(), b"")));
        assert_eq!(seen.status, 303);
        assert!(seen.location.starts_with("login?next="), "{name}: {}", seen.location);
        seen.hides(&["alice"]);
    }
    for name in ["user-link", "user-unlink", "user-refresh"] {
        let body = b"id=alice&object=cus_1";
        let seen = Seen::of(private::answer(
            &till.api,
            &request(Method::Post, &format!("/dashboard/{name}"), Vec::new(), body),
        ));
        assert_eq!(seen.status, 303, "{name}");
    }
    assert_eq!(till.dump(), before);
}
