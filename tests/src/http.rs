//! One HTTP request over one connection, blocking and bounded.
//!
//! Speaks HTTP/1.0, so that the answer comes whole and ends with the connection. Enough to ask for
//! readiness, metrics or JSON, and to hand a receiver a message; no client to configure, pool or
//! race with.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Connect, send and each read must make progress within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// All of it; what is not UTF-8 is replaced.
    pub body: String,
}

impl Response {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}) in {self:?}"))
    }
}

/// GET.
pub fn get(addr: SocketAddr, path: &str) -> io::Result<Response> {
    exchange(
        addr,
        format!("GET {path} HTTP/1.0\r\nhost: {addr}\r\n\r\n").as_bytes(),
    )
}

/// POST of one body.
pub fn post(addr: SocketAddr, path: &str, media_type: &str, body: &[u8]) -> io::Result<Response> {
    let head = format!(
        "POST {path} HTTP/1.0\r\nhost: {addr}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    exchange(addr, &[head.as_bytes(), body].concat())
}

/// Whatever bytes, and whatever comes back until the other side hangs up: it may do so, even with a
/// reset, before it has read all of them.
pub fn talk(addr: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(addr)?;
    let written = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(written.err().unwrap_or(error)),
        _ => Ok(answer),
    }
}

fn exchange(addr: SocketAddr, request: &[u8]) -> io::Result<Response> {
    let mut stream = connect(addr)?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(ErrorKind::UnexpectedEof, "closed without a whole answer"))
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Response {
        status,
        headers,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = parse("HTTP/1.0 503 Service Unavailable\r\nRetry-After: 3\r\n\r\n{\"a\":1}");
        let answer = answer.unwrap();
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("3"))
        );
        assert_eq!(answer.json()["a"], 1);
    }

    #[test]
    fn a_torn_answer_is_none() {
        assert_eq!(parse("HTTP/1.0 200 OK\r\ncontent-le"), None);
        assert_eq!(parse(""), None);
    }
}
