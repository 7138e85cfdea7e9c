//! The HTTP port, with real sockets.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

struct Fixture {
    addr: SocketAddr,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

async fn port() -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (ready, stop) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
    let asked = Arc::clone(&ready);
    let readiness: Readiness = Arc::new(move || match asked.load(Ordering::SeqCst) {
        true => Ok(()),
        false => Err("the disk is full".to_owned()),
    });
    let served = tokio::spawn(serve(listener, router(readiness), stop.clone()));
    Fixture {
        addr,
        ready,
        stop,
        served,
    }
}

impl Fixture {
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A peer that is refused in the middle of its words may see a reset after the answer.
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str) -> (String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = self.say(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn a_process_that_answers_is_alive() {
    let port = port().await;
    assert_eq!(
        port.get("/healthz").await,
        ("HTTP/1.1 200 OK".into(), "alive\n".into())
    );
}

#[tokio::test]
async fn ready_follows_the_reason_and_says_it() {
    let port = port().await;
    assert_eq!(port.get("/readyz").await.1, "ready\n");
    port.ready.store(false, Ordering::SeqCst);
    let (status, body) = port.get("/readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body, "not ready: the disk is full\n");
}

#[tokio::test]
async fn the_index_points_to_what_there_is_and_the_rest_is_not_found() {
    let port = port().await;
    assert_eq!(port.get("/").await.1, INDEX);
    let (status, body) = port.get("/nope").await;
    assert_eq!(status, "HTTP/1.1 404 Not Found");
    assert_eq!(body, "no such path; GET / says what there is\n");
}

#[tokio::test]
async fn garbage_and_giants_harm_nobody_else() {
    let port = port().await;
    let mut giant = b"GET / HTTP/1.1\r\nx: ".to_vec();
    giant.resize(2 * HEADER_BYTES, b'a');
    for bytes in [
        b"\0\xff\x16\r\n\r\n".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &giant,
    ] {
        let answer = port.say(bytes).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    assert_eq!(port.get("/healthz").await.1, "alive\n");
}

#[tokio::test]
async fn stopping_waits_for_nobody_who_is_silent() {
    let port = port().await;
    let _silent = TcpStream::connect(port.addr).await.unwrap();
    // An answer on a second connection proves that the first has been accepted.
    port.get("/healthz").await;
    port.stop.cancel();
    port.served.await.unwrap();
}
