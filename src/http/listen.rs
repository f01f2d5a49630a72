//! Binds the addresses of the listeners, TCP or Unix socket, before anything else starts. It must never replace a socket that
//! somebody still listens on. Called by `app::daemon`.

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::base::address::Address;
use crate::base::host::is_loopback;
use crate::http::door::Listener;

/// Why an address could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("{key}: {address} is in use; is another tilld running? Stop it, or choose another address")]
    InUse {
        /// Configuration key.
        key: &'static str,
        /// The address.
        address: String,
    },
    /// Anything else.
    #[error("{key}: cannot listen on {address}: {reason}{}", advice(reason))]
    Other {
        /// Configuration key.
        key: &'static str,
        /// The address.
        address: String,
        /// The error of the system.
        reason: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            "; a port below 1024 needs privileges, a socket needs a folder that tilld may write to"
        }
        ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        ErrorKind::NotFound => "; create the folder of the socket first",
        _ => "",
    }
}

/// A bound listener that nobody serves yet.
pub struct Bound {
    pub(super) listener: Listener,
    pub(super) socket: Option<PathBuf>,
    address: String,
    is_local: bool,
}

impl Bound {
    /// A socket that another process has bound, such as systemd. Its file belongs to that process and is not removed at stop.
    ///
    /// # Errors
    /// When the system does not report its address.
    pub fn passed(listener: Listener) -> io::Result<Self> {
        let (address, is_local) = match &listener {
            Listener::Tcp(socket) => {
                let address = socket.local_addr()?;
                (address.to_string(), is_loopback(address.ip()))
            }
            Listener::Unix(socket) => {
                let address = socket.local_addr()?;
                let path = address.as_pathname().map(Path::to_owned);
                (path.map_or_else(|| "unix:(no file)".to_owned(), |path| format!("unix:{}", path.display())), true)
            }
        };
        Ok(Self { listener, socket: None, address, is_local })
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub(crate) fn is_local(&self) -> bool {
        self.is_local
    }

    /// The address that is really used; port 0 has become a port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Binds `address`. A Unix socket gets the permissions `mode`; a stale one, on which nobody listens, is replaced.
///
/// # Errors
/// Names the configuration key and what to do.
pub fn bind(key: &'static str, address: &Address, mode: u32) -> Result<Bound, BindError> {
    let failed = |reason: io::Error| match reason.kind() {
        ErrorKind::AddrInUse => BindError::InUse { key, address: address.to_string() },
        _ => BindError::Other { key, address: address.to_string(), reason },
    };
    match address {
        Address::Tcp(host_port) => {
            let listener = TcpListener::bind(host_port.as_str()).map_err(failed)?;
            Bound::passed(Listener::Tcp(listener)).map_err(failed)
        }
        Address::Unix(path) => {
            let listener = bind_unix(path, mode).map_err(failed)?;
            let (listener, socket) = (Listener::Unix(listener), Some(path.clone()));
            Ok(Bound { listener, socket, address: address.to_string(), is_local: true })
        }
    }
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_stale(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Removes the socket of a process that died. Only a refused connection shows that nobody listens: one that is not permitted
/// may lead to a living process of another user.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("the file there is not a socket; remove it or choose another path"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}
