//! Sockets that systemd has bound and passes (`sd_listen_fds(3)`): it keeps them while the process is restarted, so that
//! connections wait instead of being refused. They stay systemd's: their files must never be removed here. Called
//! once, by `daemon`, before there are threads.

use std::collections::BTreeMap;
use std::io;

use listenfd::ListenFd;

use crate::http::door::Listener;

const PUBLIC: &str = "public";
const PRIVATE: &str = "private";

/// The sockets that were passed. They override the configured addresses.
#[derive(Debug, Default)]
pub struct Passed {
    /// The socket named `public`.
    pub public: Option<Listener>,
    /// The socket named `private`.
    pub private: Option<Listener>,
}

/// Why a passed socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedError {
    /// Not one of our names.
    #[error(
        "LISTEN_FDNAMES: a socket named {0:?} was passed; tilld knows \"public\" and \"private\": set FileDescriptorName= in the .socket unit to one of them"
    )]
    UnknownName(String),
    /// Two sockets for one listener.
    #[error(
        "LISTEN_FDNAMES: two sockets named {0:?} were passed; tilld takes one: leave one ListenStream= in the .socket unit"
    )]
    Twice(String),
    /// Names and sockets do not match.
    #[error("LISTEN_FDNAMES: {names} names for {sockets} sockets (LISTEN_FDS); the service manager must name each one")]
    Count {
        /// How many names were passed.
        names: usize,
        /// How many sockets were passed.
        sockets: usize,
    },
    /// A file, a datagram socket, a connection.
    #[error(
        "LISTEN_FDS: the socket named {name:?} is not a listening TCP or Unix socket ({reason}): in the .socket unit use ListenStream= and Accept=no"
    )]
    NotAListener {
        /// Its name.
        name: String,
        /// What the system said.
        reason: String,
    },
}

/// Takes over what was passed to this process; nothing, when nothing was.
///
/// # Errors
/// When a socket does not have one of our names, or does not accept connections.
pub fn take() -> Result<Passed, PassedError> {
    let env = |name: &str| std::env::var(name).ok();
    // Inherited from a parent process, which systemd passed them to: not ours.
    if env("LISTEN_PID").and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
        return Ok(Passed::default());
    }
    let names = env("LISTEN_FDNAMES").unwrap_or_default();
    let mut passed = ListenFd::from_env();
    let names = names_of(&names, passed.len())?;
    let mut sockets = BTreeMap::new();
    for (index, name) in names.into_iter().enumerate() {
        let listener = listener(&mut passed, index)
            .map_err(|error| PassedError::NotAListener { name: name.to_owned(), reason: error.to_string() })?;
        sockets.insert(name, listener);
    }
    Ok(Passed { public: sockets.remove(PUBLIC), private: sockets.remove(PRIVATE) })
}

/// The names in the order of the sockets, each of them ours and there once.
fn names_of(names: &str, sockets: usize) -> Result<Vec<&str>, PassedError> {
    let names: Vec<&str> = names.split(':').filter(|_| !names.is_empty()).collect();
    if names.len() != sockets {
        return Err(PassedError::Count { names: names.len(), sockets });
    }
    for (index, name) in names.iter().enumerate() {
        if ![PUBLIC, PRIVATE].contains(name) {
            return Err(PassedError::UnknownName((*name).to_owned()));
        }
        if names[..index].contains(name) {
            return Err(PassedError::Twice((*name).to_owned()));
        }
    }
    Ok(names)
}

fn listener(passed: &mut ListenFd, index: usize) -> io::Result<Listener> {
    let taken = match passed.take_tcp_listener(index) {
        Ok(socket) => socket.map(Listener::Tcp),
        // A socket of another kind is left in its place.
        Err(_) => passed.take_unix_listener(index)?.map(Listener::Unix),
    };
    let listener = taken.ok_or_else(|| io::Error::other("it is missing"))?;
    if !rustix::net::sockopt::socket_acceptconn(&listener)? {
        return Err(io::Error::other("it does not listen"));
    }
    Ok(listener)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_socket_has_one_of_our_names_and_no_name_comes_twice() {
        assert_eq!(names_of("private:public", 2).unwrap(), ["private", "public"]);
        assert_eq!(names_of("public", 1).unwrap(), ["public"]);
        assert!(names_of("", 0).unwrap().is_empty());
        let said = |names, sockets| names_of(names, sockets).unwrap_err().to_string();
        assert!(said("tilld.socket", 1).contains("\"tilld.socket\"") && said("tilld.socket", 1).contains("FileDescr"));
        assert!(said("public:public", 2).contains("two sockets named \"public\""));
        assert!(said("public", 2).contains("1 names for 2 sockets"));
        assert!(said("", 1).contains("0 names for 1 sockets"));
    }
}
