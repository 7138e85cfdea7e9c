//! A real HTTP dependency on loopback that fails as told.
//!
//! It runs on a thread and runtime of its own, so that a test whose runtime is paused, blocked or
//! single-threaded meets it as it would meet another machine. What it does is decided per request:
//! first by the script, one step a request, then by the standing behaviour.
//!
//! ```text
//! request ──> counted ──> script step, else standing behaviour ──> delay ──> answer | hang | close
//! ```

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{future, io};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ports;
use crate::wait::poll;

/// What happens to one request.
#[derive(Clone, Debug)]
pub struct Behaviour {
    delay: Duration,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Answer {
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    },
    Hang,
    Close,
}

impl Behaviour {
    /// Answers with that status and an empty body.
    ///
    /// # Panics
    /// If it is no status code (100 to 999).
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status code");
        let end = End::Answer {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        Self {
            delay: Duration::ZERO,
            end,
        }
    }

    /// Answers 200.
    pub fn ok() -> Self {
        Self::status(200)
    }

    /// Reads the request and never answers.
    pub fn hang() -> Self {
        Self {
            delay: Duration::ZERO,
            end: End::Hang,
        }
    }

    /// Reads the request, then closes the connection without an answer.
    pub fn close() -> Self {
        Self {
            delay: Duration::ZERO,
            end: End::Close,
        }
    }

    /// Does so after a delay.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Answers with a body. No effect on hanging and closing.
    #[must_use]
    pub fn body(mut self, text: impl Into<Bytes>) -> Self {
        if let End::Answer { body, .. } = &mut self.end {
            *body = text.into();
        }
        self
    }

    /// Answers with a header. No effect on hanging and closing.
    ///
    /// # Panics
    /// If the name or the value is not legal.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let End::Answer { headers, .. } = &mut self.end {
            let name: HeaderName = name.parse().expect("a header's name");
            headers.append(
                name,
                HeaderValue::from_str(value).expect("a header's value"),
            );
        }
        self
    }
}

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// When its head had been read.
    pub at: Instant,
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
}

/// A running dependency. Dropping it closes it and all its connections.
pub struct Upstream {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    door: watch::Sender<Door>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    standing: Behaviour,
    script: VecDeque<Behaviour>,
    received: Vec<Received>,
    listening: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Open,
    Shut,
    Gone,
}

impl Upstream {
    /// Starts one that answers 200 to everything.
    ///
    /// # Panics
    /// If no port is free or no thread can be had.
    pub fn start() -> Self {
        let listener = ports::listener();
        let addr = listener
            .local_addr()
            .expect("a bound listener has an address");
        let state = Arc::new(Mutex::new(State {
            standing: Behaviour::ok(),
            script: VecDeque::new(),
            received: Vec::new(),
            listening: true,
        }));
        let (door, doors) = watch::channel(Door::Open);
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || run(listener, addr, &shared, doors));
        Self {
            addr,
            state,
            door,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of a path that begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// From the next request on, wherever the script says nothing.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state().standing = behaviour;
    }

    /// Each of the next requests takes one step, in order of arrival. Replaces what was left of an
    /// earlier script.
    pub fn script(&self, steps: impl IntoIterator<Item = Behaviour>) {
        self.state().script = steps.into_iter().collect();
    }

    /// Stops listening and cuts all connections: from the return on, connections are refused.
    ///
    /// # Panics
    /// If it still listens after half a minute.
    pub fn shut(&self) {
        self.turn(Door::Shut);
    }

    /// Listens again, on the same port.
    ///
    /// # Panics
    /// If somebody took the port meanwhile.
    pub fn open(&self) {
        self.turn(Door::Open);
    }

    /// How many requests have arrived, answered or not.
    pub fn requests(&self) -> usize {
        self.state().received.len()
    }

    /// Every request that has arrived, in order.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// Waits until `count` requests have arrived in all; whether they have.
    pub fn wait_for_requests(&self, count: usize, within: Duration) -> bool {
        poll(within, || (self.requests() >= count).then_some(())).is_some()
    }

    fn turn(&self, door: Door) {
        self.door
            .send_if_modified(|now| std::mem::replace(now, door) != door);
        let turned = || (self.state().listening == (door == Door::Open)).then_some(());
        let turned = poll(Duration::from_secs(30), turned);
        assert!(
            turned.is_some(),
            "the upstream at {} is not {door:?}",
            self.addr
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // A thread that has died has said so itself.
        self.door.send_replace(Door::Gone);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl State {
    fn take(&mut self, request: &Request<Incoming>) -> Behaviour {
        let path = request.uri().path_and_query();
        self.received.push(Received {
            at: Instant::now(),
            method: request.method().clone(),
            path: path.map_or_else(String::new, ToString::to_string),
            headers: request.headers().clone(),
        });
        self.script
            .pop_front()
            .unwrap_or_else(|| self.standing.clone())
    }
}

fn run(
    listener: TcpListener,
    addr: SocketAddr,
    state: &Arc<Mutex<State>>,
    mut doors: watch::Receiver<Door>,
) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut next = Some(listener);
        loop {
            let door = *doors.borrow_and_update();
            match door {
                Door::Gone => return,
                Door::Shut => {
                    // Shut before it was ever served: the listener is still here.
                    next = None;
                    lock(state).listening = false;
                    wait_for_change(&mut doors).await;
                }
                Door::Open => {
                    let listener = next.take().map_or_else(|| TcpListener::bind(addr), Ok);
                    let listener = listener.expect("the upstream's port is still free");
                    lock(state).listening = true;
                    serve(listener, state, &mut doors)
                        .await
                        .expect("a loopback listener");
                }
            }
        }
    });
}

/// Serves until the door turns; connections end with it, for they are tasks of its own set.
async fn serve(
    listener: TcpListener,
    state: &Arc<Mutex<State>>,
    doors: &mut watch::Receiver<Door>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = wait_for_change(doors) => {
                connections.shutdown().await;
                return Ok(());
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(connection(TokioIo::new(stream), Arc::clone(state)));
            }
        }
    }
}

async fn connection(stream: TokioIo<tokio::net::TcpStream>, state: Arc<Mutex<State>>) {
    let service = service_fn(|request| {
        let behaviour = lock(&state).take(&request);
        act(behaviour)
    });
    // Ends in an error whenever it was told to close, or the client hung up: both are business.
    let _ = http1::Builder::new()
        .serve_connection(stream, service)
        .await;
}

/// An error makes hyper close the connection without a word.
async fn act(behaviour: Behaviour) -> Result<Response<Full<Bytes>>, io::Error> {
    tokio::time::sleep(behaviour.delay).await;
    match behaviour.end {
        End::Answer {
            status,
            headers,
            body,
        } => {
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            Ok(response)
        }
        End::Hang => match future::pending::<Infallible>().await {},
        End::Close => Err(io::Error::other("told to close")),
    }
}

/// Its sender lives as long as the upstream; without it there is nothing left to serve.
async fn wait_for_change(doors: &mut watch::Receiver<Door>) {
    let _ = doors.changed().await;
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::http::get;

    const LONG: Duration = Duration::from_secs(60);

    fn statuses(upstream: &Upstream, count: usize) -> Vec<u16> {
        let get = |_| get(upstream.addr(), "/").unwrap().status;
        (0..count).map(get).collect()
    }

    #[test]
    fn the_script_comes_first_then_the_standing_behaviour() {
        let upstream = Upstream::start();
        upstream.behave(Behaviour::status(404));
        upstream.script([Behaviour::status(503), Behaviour::ok()]);
        assert_eq!(statuses(&upstream, 4), [503, 200, 404, 404]);
    }

    #[test]
    fn behaviour_switches_at_run_time() {
        let upstream = Upstream::start();
        assert_eq!(statuses(&upstream, 1), [200]);
        upstream.behave(Behaviour::status(500));
        assert_eq!(statuses(&upstream, 1), [500]);
    }

    #[test]
    fn requests_are_counted_and_kept_as_they_arrived() {
        let upstream = Upstream::start();
        get(upstream.addr(), "/a?b=c").unwrap();
        let received = upstream.received();
        assert_eq!(
            (upstream.requests(), received[0].path.as_str()),
            (1, "/a?b=c")
        );
        assert_eq!(received[0].method, Method::GET);
    }

    #[test]
    fn headers_and_body_reach_the_caller() {
        let upstream = Upstream::start();
        upstream.behave(
            Behaviour::status(503)
                .header("Retry-After", "7")
                .body("later"),
        );
        let answer = get(upstream.addr(), "/").unwrap();
        assert_eq!(
            (answer.header("retry-after"), answer.body.as_str()),
            (Some("7"), "later")
        );
    }

    #[test]
    fn a_delay_is_kept() {
        let upstream = Upstream::start();
        let delay = Duration::from_millis(30);
        upstream.behave(Behaviour::ok().after(delay));
        let started = Instant::now();
        assert_eq!(statuses(&upstream, 1), [200]);
        assert!(started.elapsed() >= delay);
    }

    #[test]
    fn closing_gives_no_answer() {
        let upstream = Upstream::start();
        upstream.behave(Behaviour::close());
        let error = get(upstream.addr(), "/").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(upstream.requests(), 1);
    }

    #[test]
    fn a_hanging_request_is_received_and_never_answered() {
        let upstream = Upstream::start();
        upstream.behave(Behaviour::hang());
        let mut stream = TcpStream::connect(upstream.addr()).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert!(upstream.wait_for_requests(1, LONG));
        stream
            .set_read_timeout(Some(Duration::from_millis(30)))
            .unwrap();
        let error = io::Read::read(&mut stream, &mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_shut_upstream_refuses_connections_until_it_is_opened_again() {
        let upstream = Upstream::start();
        upstream.shut();
        let error = get(upstream.addr(), "/").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        upstream.open();
        assert_eq!(statuses(&upstream, 1), [200]);
    }
}
