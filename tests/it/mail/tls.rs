//! A mail over TLS, from the first byte and by STARTTLS, to a server whose certificate a configured authority has signed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tilld::base::verdict::FailureVerdict;
use tilld::notify::mail::{MailError, MailSent, Mailer, SmtpSecurity};

use super::{SEED, failed, settings};

/// Of nobody, for this test alone; until 2124.
const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBYjCCAQegAwIBAgIBATAKBggqhkjOPQQDAjAfMR0wGwYDVQQDDBR0aWxsZCB0
ZXN0IGF1dGhvcml0eTAgFw0yNDAxMDEwMDAwMDBaGA8yMTI0MDEwMTAwMDAwMFow
HzEdMBsGA1UEAwwUdGlsbGQgdGVzdCBhdXRob3JpdHkwWTATBgcqhkjOPQIBBggq
hkjOPQMBBwNCAATRHvuFonoWoimqzdu+ZL2rDCZPzo8OEjxEeOAwdj+DQaiKCgrU
07g1JZqFBYN6IDjWEzdT/3HzuqG7GWu4fVwDozIwMDAPBgNVHRMBAf8EBTADAQH/
MB0GA1UdDgQWBBTnFrtTmuwiC1Yu419gU9tC9RM2EzAKBggqhkjOPQQDAgNJADBG
AiEAtnmHR5eAWd6Uy2Fejh1KxINjCdmO66gcSPHVnJHUFkcCIQCnB79F1h6apKA1
tanaeNcJbluAtj4ey41duGmraPJQLw==
-----END CERTIFICATE-----
";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBojCCAUigAwIBAgIBAjAKBggqhkjOPQQDAjAfMR0wGwYDVQQDDBR0aWxsZCB0
ZXN0IGF1dGhvcml0eTAgFw0yNDAxMDEwMDAwMDBaGA8yMTI0MDEwMTAwMDAwMFow
FDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
GxiQetZzl7nmaHM7pVi1irg8MdLqMKLhyHUF2w0LHIzQstLo/f7hAdfX8V6xYaAE
2memQxsYMT3AhA0IDu8Vc6N+MHwwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAAB
MAkGA1UdEwQCMAAwEwYDVR0lBAwwCgYIKwYBBQUHAwEwHQYDVR0OBBYEFBgw7vIJ
7T/9weH4SyPwMLdr6I56MB8GA1UdIwQYMBaAFOcWu1Oa7CILVi7jX2BT20L1EzYT
MAoGCCqGSM49BAMCA0gAMEUCIQDDYaZQjPeVlNku4H/swfswAWw5Fg/eH8m7UeDH
+Iy4KAIgHhq2yiIk2JIAqMUJlZBuJ7rBhFacfdjEwN88NpytnLQ=
-----END CERTIFICATE-----
";
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghYeZr3BH5QgrpkpV
yQ2P6HtmMfkIt0lETIkySttGep+hRANCAAQbGJB61nOXueZoczulWLWKuDwx0uow
ouHIdQXbDQscjNCy0uj9/uEB19fxXrFhoATaZ6ZDGxgxPcCEDQgO7xVz
-----END PRIVATE KEY-----
";

fn config() -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
}

/// Answers every command until a mail has come; what it was told before that.
fn converse(stream: impl Read + Write, greets: bool) -> Vec<String> {
    let mut stream = BufReader::new(stream);
    let mut heard = Vec::new();
    // Whoever does not trust the certificate is gone by now.
    if greets && stream.get_mut().write_all(b"220 test\r\n").is_err() {
        return heard;
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return heard;
        }
        heard.push(line.trim_end().to_owned());
        let answer = match line.get(..4).unwrap_or_default() {
            "EHLO" => "250-test\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 1000000\r\n",
            "AUTH" => "235 welcome\r\n",
            "DATA" => "354 go on\r\n",
            "MAIL" | "RCPT" => "250 ok\r\n",
            "QUIT" => "221 bye\r\n",
            _ if line == ".\r\n" => "250 taken\r\n",
            _ => continue,
        };
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
        stream.get_mut().flush().unwrap();
    }
}

fn serve(mut stream: TcpStream, security: SmtpSecurity) -> Vec<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    if security == SmtpSecurity::StartTls {
        stream.write_all(b"220 test\r\n").unwrap();
        let mut plain = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        plain.read_line(&mut line).unwrap();
        stream.write_all(b"250-test\r\n250 STARTTLS\r\n").unwrap();
        plain.read_line(&mut line).unwrap();
        assert!(line.ends_with("STARTTLS\r\n"), "{line}");
        stream.write_all(b"220 go on\r\n").unwrap();
    }
    let tls = StreamOwned::new(ServerConnection::new(config()).unwrap(), stream);
    converse(tls, security == SmtpSecurity::Tls)
}

/// Sends a mail, with or without our authority; what came of it, and what the server heard under TLS.
fn sent(security: SmtpSecurity, trusted: bool) -> (Result<MailSent, MailError>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, AUTHORITY).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(listener.local_addr().unwrap().port());
    settings.server.security = security;
    settings.server.host = "localhost".to_owned();
    settings.server.login = Some(("billing".to_owned(), "s3cret".to_owned()));
    settings.server.ca_file = trusted.then_some(ca_file);
    #[allow(clippy::disallowed_methods)] // a test's own helper
    let serving = std::thread::spawn(move || serve(listener.accept().unwrap().0, security));
    let outcome = Mailer::new(settings).unwrap().send(&failed(), SEED);
    (outcome, serving.join().unwrap())
}

#[test]
fn a_mail_goes_under_tls_from_the_first_byte_and_by_starttls() {
    for security in [SmtpSecurity::Tls, SmtpSecurity::StartTls] {
        let (outcome, heard) = sent(security, true);
        assert_eq!(outcome.unwrap().answer, "taken", "{security:?}");
        assert!(heard[0].starts_with("EHLO"), "{security:?}: {heard:?}");
        assert!(heard.contains(&"AUTH PLAIN AGJpbGxpbmcAczNjcmV0".to_owned()), "{security:?}");
        assert!(heard.iter().any(|line| line == "RCPT TO:<jane@example.com>"), "{security:?}");
    }
}

#[test]
fn a_certificate_of_an_authority_that_nobody_knows_gets_nothing() {
    for security in [SmtpSecurity::Tls, SmtpSecurity::StartTls] {
        let (outcome, heard) = sent(security, false);
        let error = outcome.unwrap_err();
        assert_eq!(error.verdict(), FailureVerdict::Retry, "{security:?}");
        assert!(error.to_string().contains("no secure connection"), "{security:?}: {error}");
        assert!(heard.is_empty(), "{security:?}: {heard:?}");
    }
}
