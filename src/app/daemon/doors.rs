//! Both listeners: bound or taken from systemd, with the limits of the configuration, and their servers. Must never open a
//! private listener that others can reach without tokens. Called by `daemon`.

use std::sync::Arc;

use super::DaemonError;
use crate::app::config::Config;
use crate::app::daemon::descriptors::Descriptors;
use crate::app::systemd::sockets::Passed;
use crate::base::thread::{Handle, Stop, Threads};
use crate::http;
use crate::http::api::ApiHandler;
use crate::http::door::{DoorLimits, HeadRules};
use crate::http::later::{self, Later};
use crate::http::listen::{self, Bound};
use crate::http::public::{self, PublicHandler};
use crate::http::request::Request;
use crate::http::server::{self, Handler, HttpServer, Reply, ServerOptions};
use crate::http::stripe_threads::{self, StripeThreads};

/// Threads that check webhooks. They wait for nothing, so there are about as many as cores.
pub const HOOK_THREADS: usize = 4;
/// Webhooks handled at once, most of them waiting for their commit: as many as one commit may hold.
pub const HOOKS_IN_HAND: usize = 64;
/// Threads that answer the application.
const API_THREADS: usize = 8;
/// The public and the private one.
const LISTENERS: u64 = 2;
/// Only the owner's programs reach the private socket.
const PRIVATE_SOCKET_MODE: u32 = 0o600;
/// The reverse proxy runs as another user.
const PUBLIC_SOCKET_MODE: u32 = 0o666;

/// What a client may demand of a listener. `length_required`: a webhook has a body; a call of the private listener need not.
#[must_use]
pub fn limits(config: &Config, length_required: bool) -> DoorLimits {
    DoorLimits { rules: HeadRules { length_required, ..config.limits.rules }, ..config.limits }
}

/// How much can be handled at once, by the number of open files.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionRoom {
    /// Connections of each listener.
    connections: usize,
    /// Requests that may wait for Stripe.
    calls: usize,
}

/// Raises the limit of open files and divides it among the listeners.
pub(super) fn room(config: &Config) -> std::io::Result<ConnectionRoom> {
    let descriptors = Descriptors::raise();
    let calls = if config.stripe.client.is_some() { descriptors.calls(stripe_threads::IN_HAND) } else { 0 };
    Ok(ConnectionRoom { connections: descriptors.connections(config.limits.connections, LISTENERS, calls)?, calls })
}

/// Both listeners: those that systemd passed, else those of the configuration.
pub(super) fn bind(config: &Config, passed: Passed) -> Result<(Bound, Bound), DaemonError> {
    let public = match passed.public {
        Some(listener) => Bound::passed(listener)?,
        None => listen::bind("listen.public", &config.listen.public, PUBLIC_SOCKET_MODE)?,
    };
    let private = match passed.private {
        Some(listener) => Bound::passed(listener)?,
        None => listen::bind("listen.private", &config.listen.private, PRIVATE_SOCKET_MODE)?,
    };
    // The configuration was checked with its own address; a passed socket may have another.
    if !private.is_local() && !config.tokens.are_both_set() {
        return Err(DaemonError::OpenDoor(private.address().to_owned()));
    }
    Ok((public, private))
}

/// What opening the listeners needs.
pub(super) struct Doors<'a> {
    pub(super) config: &'a Config,
    pub(super) threads: &'a Threads,
    pub(super) room: ConnectionRoom,
    pub(super) stop: &'a Stop,
}

impl Doors<'_> {
    /// Answers both listeners. The threads that come with the servers end after them.
    pub(super) fn open(
        &self,
        (public, hooks): (Bound, PublicHandler),
        (private, api): (Bound, ApiHandler),
    ) -> Result<(Vec<HttpServer>, Vec<Handle>), DaemonError> {
        let hook_handler: Arc<Handler> =
            Arc::new(move |request, reply: Reply| public::answer(&hooks, request, |response| reply.send(response)));
        let (api_handler, handles) = self.api_handler(api)?;
        let hook_limits = DoorLimits { connections: self.room.connections, ..limits(self.config, true) };
        let hook = ServerOptions { name: "hook", threads: HOOK_THREADS, in_hand: HOOKS_IN_HAND, limits: hook_limits };
        let private_limits = DoorLimits { connections: self.room.connections, ..limits(self.config, false) };
        let in_hand = API_THREADS.saturating_add(later::ROOM).saturating_add(self.room.calls);
        let private_options = ServerOptions { name: "api", threads: API_THREADS, in_hand, limits: private_limits };
        let servers = vec![
            server::serve(public, hook, self.threads, &hook_handler)?,
            server::serve(private, private_options, self.threads, &api_handler)?,
        ];
        Ok((servers, handles))
    }

    /// Requests that may wait for Stripe are answered on threads of their own, if there is a client; answers that are held
    /// back wait on one of their own.
    fn api_handler(&self, api: ApiHandler) -> std::io::Result<(Arc<Handler>, Vec<Handle>)> {
        let api = Arc::new(api);
        let (later, waits) = Later::start(self.threads, self.stop)?;
        let now = {
            let api = Arc::clone(&api);
            move |request: &Request, reply: Reply| {
                let response = http::private::answer(&api, request);
                match http::private::hold(&api, request, &response) {
                    Some(time) => later.send(time, response, reply),
                    None => reply.send(response),
                }
            }
        };
        if api.calls.is_none() {
            return Ok((Arc::new(move |request, reply: Reply| now(&request, reply)), vec![waits]));
        }
        let answer: Arc<stripe_threads::DeferredResponse> =
            Arc::new(move |request| http::private::answer(&api, request));
        let (waiting, mut handles) = StripeThreads::start(self.threads, &answer, self.room.calls)?;
        handles.push(waits);
        let handler = move |request: Request, reply: Reply| {
            if http::private::waits_for_stripe(&request) {
                return waiting.take(request, reply);
            }
            now(&request, reply);
        };
        Ok((Arc::new(handler), handles))
    }
}
