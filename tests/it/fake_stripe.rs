//! A stateful Stripe on a loopback socket, for tests only. It keeps Stripe's own rules (reference/stripe-facts.md, §2 to
//! §6), so that a client that errs fails: keys, forms, unknown parameters, idempotency, lists, states of payments. It
//! tells every change by an event, fails on demand, and remembers what it was asked and what it did.
//!
//! `FakeStripe::start()`, then `url()` and `key()` for the client; `fail`, `requests`, `effects` for the test. Its clock
//! stands at the time of its start until it is moved.

mod calls;
mod fault;
mod gate;
mod lists;
mod mail;
mod params;
mod setup;
mod state;
mod store;
mod thin;
mod view;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tilld::base::clock::ManualClock;

pub use fault::Fault;
pub use mail::{Delivery, Rule};
pub use state::Recorded;
use state::State;

/// Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The fake; it stops when dropped, and a panic in it is a panic of the test.
pub struct FakeStripe {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<Vec<JoinHandle<()>>>>,
    postman: Option<JoinHandle<()>>,
}

/// What its threads share.
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stopping: AtomicBool,
    prompt: AtomicBool,
    sockets: Mutex<HashMap<usize, TcpStream>>,
}

impl FakeStripe {
    pub fn start() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let clock = Arc::new(ManualClock::new(i64::try_from(now).unwrap() / 1000 * 1000));
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(clock)),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
            prompt: AtomicBool::new(false),
            sockets: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (for_acceptor, for_postman) = (Arc::clone(&shared), Arc::clone(&shared));
        let acceptor = spawn(move || accept(&for_acceptor, &listener));
        let postman = spawn(move || for_postman.carry_on());
        Self { shared, address, acceptor: Some(acceptor), postman: Some(postman) }
    }

    /// For `stripe.api_base`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// For `stripe.api_key`.
    pub fn key(&self) -> &'static str {
        gate::KEY
    }

    /// A restricted key that may do everything but these (patterns as for [`Self::fail`]).
    pub fn key_without(&self, forbidden: &[&str]) -> &'static str {
        self.state().forbidden = forbidden.iter().map(|pattern| (*pattern).to_owned()).collect();
        gate::RESTRICTED_KEY
    }

    /// Its clock; moving it ages events and idempotency keys.
    pub fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.state().clock)
    }

    /// The next `times` requests to `pattern` (`/v1/customers/*`, `POST /v1/refunds`, `/v1/**`) meet this fault. Faults
    /// that fit the same request come in the order of planning.
    pub fn fail(&self, fault: Fault, pattern: &str, times: usize) {
        self.state().faults.plan(fault, pattern, times);
    }

    /// Waits until so many requests are held by [`Fault::Hold`].
    pub fn wait_for_held(&self, count: usize) {
        let started = Instant::now();
        let mut state = self.state();
        while state.held < count {
            assert!(started.elapsed() < PATIENCE, "{} of {count} requests were held", state.held);
            state = self.shared.wait(state);
        }
    }

    /// Lets one held request go on.
    pub fn release(&self) {
        self.state().released += 1;
        self.shared.changed.notify_all();
    }

    /// Waits until every webhook has got its 2xx.
    pub fn wait_for_delivery(&self) {
        let started = Instant::now();
        let mut state = self.state();
        while state.mail.is_open() {
            assert!(started.elapsed() < PATIENCE, "webhooks were not delivered");
            state = self.shared.wait(state);
        }
    }

    /// All requests, in the order of their arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state().records.clone()
    }

    /// Those to a pattern, as for [`Self::fail`].
    pub fn requests_to(&self, pattern: &str) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(|request| fault::matches(pattern, &request.method, &request.path));
        requests
    }

    /// How many objects of this kind (`customer`, `refund`, `checkout.session`) were really made; seeded and added ones
    /// do not count.
    pub fn effects(&self, kind: &str) -> usize {
        self.state().effects.get(kind).copied().unwrap_or(0)
    }

    /// The object as it is kept, in the newest shape.
    pub fn object(&self, id: &str) -> Option<Value> {
        self.state().objects.find(id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn hold<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.held += 1;
        self.changed.notify_all();
        while state.released == 0 && !self.stopping.load(Ordering::SeqCst) {
            state = self.wait(state);
        }
        state.released = state.released.saturating_sub(1);
        state.held -= 1;
        state
    }

    /// Carries what waits, once.
    fn flush(&self) -> Vec<Delivery> {
        let (trips, now_s) = {
            let mut state = self.lock();
            (state.mail.collect(), state.now_s())
        };
        let mut done = Vec::new();
        for trip in trips {
            let delivery = trip.carry(now_s);
            let mut state = self.lock();
            state.mail.came_back();
            match delivery.status {
                Some(200..300) => state.delivered(&delivery.event_id, trip.endpoint()),
                _ => state.mail.keep(trip),
            }
            done.push(delivery);
        }
        done
    }

    fn carry_on(&self) {
        while !self.stopping.load(Ordering::SeqCst) {
            if self.prompt.load(Ordering::SeqCst) {
                self.flush();
            }
            drop(self.wait(self.lock()));
        }
    }
}

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    #[allow(clippy::disallowed_methods)] // a test's own helper; joined when the fake is dropped
    std::thread::spawn(work)
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    for number in 0.. {
        let Ok((stream, _)) = listener.accept() else { continue };
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        shared.sockets.lock().unwrap().insert(number, stream.try_clone().unwrap());
        let shared = Arc::clone(shared);
        threads.push(spawn(move || {
            let _open = Open(&shared, number);
            // Ends in an error where a client breaks off.
            drop(serve(&shared, stream, number));
        }));
    }
    threads
}

/// Gives up its handle of a connection, also in a panic: the other end sees it closed.
struct Open<'a>(&'a Shared, usize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.sockets.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// Answers one request after the other; ends with the connection.
fn serve(shared: &Shared, mut stream: TcpStream, number: usize) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    stream.set_nodelay(true)?;
    while let Some(incoming) = wire::read(&mut stream, &mut buffer)? {
        let keep = !incoming.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let reply = gate::answer(shared, &incoming, number);
        if matches!(reply, wire::Reply::Reset) {
            // The other handle would keep the connection open.
            shared.sockets.lock().unwrap().remove(&number);
        }
        if !wire::write(&mut stream, &reply, keep)? {
            break;
        }
    }
    Ok(())
}

impl Drop for FakeStripe {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
        let connections = self.acceptor.take().and_then(|acceptor| acceptor.join().ok());
        for socket in self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner).values() {
            // Fails where the client was faster.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        let threads = connections.map(|threads| threads.into_iter().chain(self.postman.take()));
        let whole = threads.is_some_and(|threads| threads.map(JoinHandle::join).filter(Result::is_err).count() == 0);
        assert!(whole || std::thread::panicking(), "the fake Stripe panicked; its message is above");
    }
}
