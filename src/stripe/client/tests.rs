use super::*;
use crate::stripe::settings::ApiKey;

fn settings(api_base: &str) -> StripeSettings {
    StripeSettings::new(ApiKey::new("sk_test_hush"), api_base, "2026-09-30.endive")
}

fn fault(settings: StripeSettings) -> String {
    let error = Client::new(settings).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hush"), "{shown}");
    shown
}

#[test]
fn plain_http_goes_to_loopback_only() {
    for base in
        ["http://127.0.0.1:1", "http://localhost:12111/", "http://LOCALHOST", "http://[::1]:80", "http://127.9.9.9"]
    {
        Client::new(settings(base)).unwrap();
    }
    let others = [
        "http://api.stripe.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://192.168.1.1",
        "http://0.0.0.0",
        "http://[::2]",
        "HTTP://api.stripe.com",
    ];
    for base in others {
        let fault = fault(settings(base));
        assert!(fault.contains("stripe.api_base") && fault.contains("https://"), "{base}: {fault}");
    }
}

#[test]
fn a_base_that_is_none_is_refused_and_not_shown() {
    let bases = ["", "hush", "/hush", "https://", "https:///hush", "ftp://hush", "https://hush?a=b", "https://hush#a"];
    for base in
        bases.into_iter().chain(["https://user:hush@api.stripe.com", "http://localhost@hush.example", "https://hu sh"])
    {
        assert!(fault(settings(base)).contains("stripe.api_base"), "{base}");
    }
    Client::new(settings("https://proxy.example.com:8443/stripe/")).unwrap();
}

#[test]
fn a_key_or_version_that_cannot_stand_in_a_header_is_refused_and_not_shown() {
    for key in ["", "sk_hush\r\nX-Evil: 1", "sk hush", "sk_hüsh", " sk_hush", "sk_hush\n"] {
        let settings = StripeSettings::new(ApiKey::new(key), "https://api.stripe.com", "2026-09-30.endive");
        assert!(fault(settings).contains("stripe.api_key"), "{key}");
    }
    for version in ["", "hush\r\n", "hüsh"] {
        let settings = StripeSettings::new(ApiKey::new("sk_test_1"), "https://api.stripe.com", version);
        assert!(fault(settings).contains("stripe.api_version"), "{version}");
    }
}

#[test]
fn a_proxy_that_is_none_is_refused_and_not_shown() {
    for url in ["", "hush", "socks5://hush:1080", "http://", "ftp://hush"] {
        let proxy = Some(ProxyUrl(url.to_owned()));
        assert!(fault(StripeSettings { proxy, ..settings("https://api.stripe.com") }).contains("proxy"), "{url}");
    }
}

#[test]
fn the_client_shows_nothing_of_itself() {
    let client = Client::new(settings("https://hush.example.com")).unwrap();
    assert_eq!(format!("{client:?} {client:#?}"), "Client Client");
}

#[test]
fn the_date_header_is_read_in_unix_seconds() {
    let date = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("date", HeaderValue::from_str(text).unwrap());
        date_s(&headers)
    };
    assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    assert_eq!(date("Tue, 24 Nov 2026 19:37:52 GMT"), Some(1_795_549_072));
    for text in ["", "yesterday", "Tue, 99 Nov 2026 19:37:52 GMT", "1795549072"] {
        assert_eq!(date(text), None, "{text}");
    }
    assert_eq!(date_s(&HeaderMap::new()), None);
}

#[test]
fn no_text_of_ureq_that_could_quote_a_url_or_a_header_is_taken_over() {
    use ureq::Error;
    let errors = || {
        vec![
            Error::BadUri("https://hush".to_owned()),
            Error::RequireHttpsOnly("http://hush".to_owned()),
            Error::ConnectProxyFailed("hush".to_owned()),
            Error::Other("hush".into()),
            Error::Tls("hush"),
            Error::StatusCode(500),
            Error::HostNotFound,
        ]
    };
    for sent in [true, false] {
        for error in errors() {
            let error = lost(error, sent);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hush"), "{shown}");
        }
    }
}

#[test]
fn a_request_that_was_not_sent_or_found_no_connection_has_not_reached_stripe() {
    use ureq::{Error, Timeout};
    let io = |kind: io::ErrorKind| Error::Io(kind.into());
    let never = [
        Error::Timeout(Timeout::Connect),
        Error::Timeout(Timeout::Resolve),
        Error::HostNotFound,
        Error::TlsRequired,
        io(io::ErrorKind::ConnectionRefused),
    ];
    for error in never {
        let error = lost(error, true);
        assert!(!error.may_have_been_done(), "{error}");
    }
    for sent in [true, false] {
        let passing = [
            Error::Timeout(Timeout::Global),
            Error::Timeout(Timeout::PerRead),
            Error::Timeout(Timeout::PerWrite),
            io(io::ErrorKind::ConnectionReset),
            io(io::ErrorKind::UnexpectedEof),
        ];
        for error in passing {
            let error = lost(error, sent);
            assert_eq!(error.may_have_been_done(), sent, "{error}");
            assert_eq!(error.to_string().contains("may have been carried out"), sent, "{error}");
        }
    }
}
