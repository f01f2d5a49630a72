//! Open files, used up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use super::{body, eventually, refused, serve_after};
use crate::harness::{PATH, SECRET};
use crate::live::Live;
use tilld::stripe::signature;

fn soft_and_hard(live: &Live) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", live.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut words = line.split_whitespace().skip(3).map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

fn open_files(live: &Live) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", live.pid())).unwrap().count()
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = serve_after(dir.path(), "ulimit -S -n 200; ulimit -H -n 700");
    command.env("TILLD_LOG", "debug");
    let live = Live::launch(command);
    assert_eq!(soft_and_hard(&live), ("700".to_owned(), "700".to_owned()));
    let said = live.said();
    assert!(
        said.contains("limit of open files raised") && said.contains("limits.connections = 512 is too many"),
        "{said}"
    );
}

#[test]
fn too_few_open_files_are_refused_at_start_with_the_number_needed() {
    let dir = tempfile::tempdir().unwrap();
    let said = refused(serve_after(dir.path(), "ulimit -n 64"));
    assert!(
        said.contains("64 open files are too few, at least 424 are needed") && said.contains("LimitNOFILE="),
        "{said}"
    );
}

#[test]
fn idle_clients_cannot_use_up_the_open_files_that_webhooks_need() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::launch(serve_after(dir.path(), "ulimit -n 424"));
    assert!(live.said().contains("each listener serves 4"), "{}", live.said());
    let clients: Vec<TcpStream> = (0..200)
        .map(|number| TcpStream::connect(if number % 2 == 0 { &live.public } else { &live.private }).unwrap())
        .collect();
    for number in 0..20 {
        eventually("a webhook gets through", || live.post(&body(number)).is_ok_and(|answer| answer.status == 200));
    }
    drop(clients);
    assert_eq!(live.post(&body(20)).unwrap().status, 200);
    live.settle();
    assert_eq!(live.get("/readyz").0, 200);
    assert_eq!(live.terminate(), Some(0));
}

/// One webhook on a connection that stays open; the status.
fn post_on(stream: &mut TcpStream, number: usize) -> u16 {
    let body = body(number);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let header = signature::sign(SECRET, i64::try_from(now).unwrap(), &body);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nStripe-Signature: {header}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    let mut answer = [0; 4096];
    let count = loop {
        match stream.read(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => break read.unwrap(),
        }
    };
    String::from_utf8_lossy(&answer[..count]).split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn with_no_descriptor_left_the_database_still_works_and_with_some_again_everything_does() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    let mut kept = TcpStream::connect(&live.public).unwrap();
    kept.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    assert_eq!(post_on(&mut kept, 0), 200);
    let limit = |soft: &str| {
        let pid = live.pid().to_string();
        assert!(
            Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")]).status().unwrap().success()
        );
    };
    let before = soft_and_hard(&live).0;
    limit(&open_files(&live).to_string());
    // Enough for several checkpoints: what SQLite needs, it has open already.
    for number in 1..150 {
        assert_eq!(post_on(&mut kept, number), 200, "{number}");
    }
    let waiting = TcpStream::connect(&live.public).unwrap();
    eventually("it says what it lacks", || live.said().contains("Too many open files"));
    limit(&before);
    eventually("new clients come in", || live.post(&body(1000)).is_ok_and(|answer| answer.status == 200));
    drop(waiting);
    live.settle();
    assert_eq!(live.get("/readyz").0, 200);
    assert_eq!(live.terminate(), Some(0));
    super::all_done(&crate::live::database(dir.path()), 151);
}
