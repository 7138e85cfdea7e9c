//! The door, with real sockets: who is let in, and what the others get.

use tokio_stream::StreamExt;
use tonic::transport::server::Connected;

use super::*;

/// Longer than any test runs.
const NEVER: Duration = Duration::from_secs(600);

struct Fixture {
    addr: SocketAddr,
    incoming: Incoming,
    tally: Arc<Tally>,
    closing: Closing,
}

async fn door(connections: usize, preface: Duration) -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let closing = Closing::default();
    let limits = Limits {
        connections,
        preface,
        http_port: 7071,
    };
    let (incoming, tally) = open(listener, limits, closing.clone());
    Fixture {
        addr,
        incoming,
        tally,
        closing,
    }
}

impl Fixture {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Connects, says `bytes`, and returns all that is answered until the door closes.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn admit(&mut self) -> (TcpStream, Admitted) {
        let mut stream = self.connect().await;
        stream.write_all(preface::OPENING).await.unwrap();
        (stream, self.incoming.next().await.unwrap().unwrap())
    }
}

#[tokio::test]
async fn what_was_read_to_judge_a_peer_is_read_again_behind_the_door() {
    let mut door = door(4, NEVER).await;
    let (mut stream, mut admitted) = door.admit().await;
    stream.write_all(b"and then frames").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    admitted.read_to_end(&mut heard).await.unwrap();
    assert_eq!(
        heard,
        [preface::OPENING, b"and then frames".as_slice()].concat()
    );
}

#[tokio::test]
async fn a_replay_fits_whatever_it_is_read_into() {
    let mut door = door(4, NEVER).await;
    let (_stream, mut admitted) = door.admit().await;
    let mut heard = [0; preface::OPENING_BYTES];
    for byte in &mut heard {
        *byte = admitted.read_u8().await.unwrap();
    }
    assert_eq!(&heard, preface::OPENING);
}

#[tokio::test]
async fn who_is_admitted_bears_the_peers_address() {
    let mut door = door(4, NEVER).await;
    let (stream, admitted) = door.admit().await;
    let info = admitted.connect_info();
    assert_eq!(info.remote_addr(), Some(stream.local_addr().unwrap()));
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_counted() {
    let door = door(4, Duration::from_millis(20)).await;
    assert_eq!(door.say(b"").await, "");
    assert_eq!(door.tally.refused(Refusal::Silent), 1);
}

#[tokio::test]
async fn half_a_preface_is_as_good_as_silence() {
    let door = door(4, Duration::from_millis(20)).await;
    let mut stream = door.connect().await;
    stream.write_all(&preface::PREFACE[..10]).await.unwrap();
    assert!(matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    assert_eq!(door.tally.refused(Refusal::Silent), 1);
}

#[tokio::test]
async fn http_1_on_the_grpc_port_hears_where_http_is() {
    let door = door(4, NEVER).await;
    let answer = door.say(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with("gRPC port (HTTP/2); HTTP is on port 7071\n"),
        "{answer}"
    );
    assert_eq!(door.tally.refused(Refusal::Foreign), 1);
}

#[tokio::test]
async fn garbage_and_tls_are_closed_without_a_word() {
    let door = door(4, NEVER).await;
    for bytes in [b"\x16\x03\x01".as_slice(), b"\0", b"SSH-2.0-x\r\n"] {
        assert_eq!(door.say(bytes).await, "");
    }
    assert_eq!(door.tally.refused(Refusal::Foreign), 3);
}

#[tokio::test]
async fn beyond_the_limit_a_connection_is_closed_and_counted() {
    let mut door = door(1, NEVER).await;
    let (_stream, _admitted) = door.admit().await;
    assert_eq!(door.say(b"").await, "");
    assert_eq!(
        (door.tally.open(), door.tally.refused(Refusal::Limit)),
        (1, 1)
    );
}

#[tokio::test]
async fn a_seat_is_free_again_once_its_connection_ends() {
    let mut door = door(1, NEVER).await;
    let (_stream, admitted) = door.admit().await;
    drop(admitted);
    assert_eq!(door.tally.open(), 0);
    door.admit().await;
}

#[tokio::test]
async fn after_stop_nobody_comes_in_and_the_silent_are_let_go() {
    let mut door = door(4, NEVER).await;
    let mut silent = door.connect().await;
    let (_stream, admitted) = door.admit().await;
    door.closing.stop.cancel();
    assert!(matches!(silent.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    assert!(door.incoming.next().await.is_none());
    assert_eq!(door.tally.open(), 1);
    drop(admitted);
}

#[tokio::test]
async fn a_cut_ends_a_read_that_waits() {
    let mut door = door(4, NEVER).await;
    let (_stream, mut admitted) = door.admit().await;
    let mut opening = [0; preface::OPENING_BYTES];
    admitted.read_exact(&mut opening).await.unwrap();
    let waiting = tokio::spawn(async move { admitted.read(&mut [0; 8]).await });
    tokio::task::yield_now().await;
    door.closing.cut.cancel();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}
