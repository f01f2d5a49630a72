//! What a page of the dashboard costs on a database that is there already: every page that the bar links to, lists with
//! each filter, and one event. A row whose slowest answer took longer than [`LONGEST`] ends the bench.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::daemon::{ADMIN, Daemon};
use crate::event;

/// How long a page may take.
const LONGEST: Duration = Duration::from_millis(50);
/// How often each is asked for. The first time reads the file and is not counted.
const TIMES: usize = 20;

/// Measures every page.
pub fn measure(daemon: &Daemon, events: u64, user: u64) {
    let (status, head, _) = ask(&daemon.private, "POST /dashboard/login", "", &format!("token={ADMIN}"));
    assert_eq!(status, 303, "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let get = |name: &str| ask(&daemon.private, &format!("GET /dashboard/{name}"), &cookie, "");
    let (_, _, page) = get("events");
    let bar = page.split("<nav aria-label=\"Pages\">").nth(1).unwrap().split("</nav>").next().unwrap();
    let linked = |text: &str| -> Vec<String> {
        let links = text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        links.map(|link| link.trim_start_matches("./").replace("&#38;", "&")).collect()
    };
    let mut names = linked(bar);
    let one = linked(page.split("<tbody").nth(1).unwrap())[0].clone();
    let user = event::user(user);
    names.extend([one, "retries".to_owned(), format!("user?id={user}"), format!("events?user={user}")]);
    for filter in ["type=customer.subscription.created", "type=none", "status=processed", "status=dead", "object=none"]
    {
        names.push(format!("events?{filter}"));
    }
    names.push("events?from=2020-01-01T00:00&to=2038-01-01T00:00&status=processed&type=none".to_owned());
    names.push("./?range=90d".to_owned());
    names.dedup();
    let mut slow = Vec::new();
    for name in names {
        let mut times: Vec<Duration> = (0..=TIMES)
            .map(|_| {
                let began = Instant::now();
                let (status, head, _) = get(&name);
                assert_eq!(status, 200, "{name}: {head}");
                began.elapsed()
            })
            .skip(1)
            .collect();
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let (middle, most) = (times[TIMES / 2], times[TIMES - 1]);
        println!("{:<22} {events:>9} p50 {:>7.2} ms  max {:>7.2} ms  /{name}", "page", ms(middle), ms(most));
        if most > LONGEST {
            slow.push(name);
        }
    }
    assert!(slow.is_empty(), "slower than {LONGEST:?}: {slow:?}");
}

/// Status, head and body of an answer, over a connection of its own.
fn ask(address: &str, request: &str, cookie: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: bench\r\nCookie: {cookie}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.replace("\r\n", "\n"), body.to_owned())
}
