//! One client: its connection, what it has read in part, and what it could not write yet.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::Result;
use crate::dialect::{Held, Reports};
use crate::http2::frame::{self, Frame};
use crate::http2::message::{self, Assembly};
use crate::http2::opening::DEFAULT_WINDOW;
use crate::http2::window::Windows;

/// Beyond this many connections between one pair of addresses ports would grow scarce.
const CLIENTS_PER_ADDRESS: usize = 1000;
/// What may wait for a server that does not read.
const MAX_UNSENT_BYTES: usize = 256 * 1024;
/// Messages that may wait for the server's windows, as many as the SDK lets wait.
const OUTBOX: usize = 256;

/// A connection with one stream.
pub(super) struct Session {
    stream: TcpStream,
    input: Vec<u8>,
    unsent: Vec<u8>,
    /// What waits for the windows, in order: an acknowledgement behind the reports before it.
    outbox: VecDeque<Saying>,
    pub(super) windows: Windows,
    assembly: Assembly,
    pub(super) connected: bool,
    /// The server has said that this client is in.
    pub(super) is_in: bool,
    /// The next report's number.
    report: u64,
    /// The last report that the server absorbed.
    pub(super) absorbed: u64,
}

/// Something that waits to be said.
enum Saying {
    Message(Vec<u8>),
    /// The report of that number, which is not made before it can go.
    Report(u64),
}

/// What a stretch of input was.
pub(super) enum Part<'a> {
    /// The head of the response.
    Head,
    Message(&'a [u8]),
    Ended(&'static str),
}

impl Session {
    /// Dials, from an address that the client's number decides.
    pub(super) fn dial(addr: SocketAddr, client: usize) -> Result<Self> {
        let host = u8::try_from(2 + client / CLIENTS_PER_ADDRESS)?;
        let source: SocketAddr = (Ipv4Addr::new(127, 0, 0, host), 0).into();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&source.into())?;
        match socket.connect(&addr.into()) {
            Err(error) if error.kind() != ErrorKind::WouldBlock && !in_progress(&error) => {
                return Err(error.into());
            }
            _ => {}
        }
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            input: Vec::new(),
            unsent: Vec::new(),
            outbox: VecDeque::new(),
            windows: Windows::default(),
            assembly: Assembly::default(),
            connected: false,
            is_in: false,
            report: 1,
            absorbed: 0,
        })
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// How the dialling ended.
    pub(super) fn dialled(&self) -> io::Result<()> {
        match self.stream.take_error()? {
            Some(error) => Err(error),
            None => self.stream.peer_addr().map(drop),
        }
    }

    /// Sends a message, now or as soon as it is its turn and the windows have room for it.
    pub(super) fn say(&mut self, message: &[u8]) -> io::Result<()> {
        if !self.outbox.is_empty() || !self.try_say(message)? {
            self.outbox.push_back(Saying::Message(message.to_vec()));
        }
        Ok(())
    }

    /// Has the next report wait for its turn; whether there was room for it.
    pub(super) fn report(&mut self) -> bool {
        let has_room = self.outbox.len() < OUTBOX;
        if has_room {
            self.outbox.push_back(Saying::Report(self.report));
            self.report += 1;
        }
        has_room
    }

    /// Sends what waits, as far as the windows have room; how many reports that was.
    pub(super) fn speak(&mut self, reports: &Reports) -> io::Result<u64> {
        let mut sent = 0;
        while let Some(saying) = self.outbox.pop_front() {
            let is_report = matches!(saying, Saying::Report(_));
            let said = match &saying {
                Saying::Message(message) => self.try_say(message)?,
                Saying::Report(number) => self.try_say(&reports.encode(*number))?,
            };
            if !said {
                self.outbox.push_front(saying);
                break;
            }
            sent += u64::from(is_report);
        }
        Ok(sent)
    }

    /// Sends a message, if the windows have room for it; whether they had.
    fn try_say(&mut self, message: &[u8]) -> io::Result<bool> {
        let mut out = Vec::with_capacity(message.len() + 16);
        if !self.windows.take(message::put(&mut out, message)) {
            return Ok(false);
        }
        self.send(&out)?;
        Ok(true)
    }

    /// Writes, now or as soon as the socket takes it.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() || !self.connected {
            return self.put_aside(bytes);
        }
        let sent = write(&mut self.stream, bytes)?;
        self.put_aside(&bytes[sent..])
    }

    fn put_aside(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unsent.extend_from_slice(bytes);
        if self.unsent.len() > MAX_UNSENT_BYTES {
            return Err(io::Error::other("the server does not read"));
        }
        Ok(())
    }

    /// The socket takes more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = write(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    /// Reads once; how much came, or `None` if nothing is there.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.stream.read(scratch) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) => return Err(io::Error::other("the server closed the connection")),
                read => return read.map(Some),
            }
        }
    }

    /// Takes what was read apart. `reply` is what HTTP/2 itself wants said.
    pub(super) fn digest(
        &mut self,
        bytes: &[u8],
        reply: &mut Vec<u8>,
        mut each: impl FnMut(Part<'_>),
    ) {
        let mut input = std::mem::take(&mut self.input);
        let mut rest = if input.is_empty() {
            bytes
        } else {
            input.extend_from_slice(bytes);
            &input[..]
        };
        while let Some((frame, more)) = frame::split(rest) {
            self.frame(&frame, reply, &mut each);
            rest = more;
        }
        // Most often nothing is left, and nothing is kept.
        self.input = rest.to_vec();
    }

    fn frame(&mut self, frame: &Frame<'_>, reply: &mut Vec<u8>, each: &mut impl FnMut(Part<'_>)) {
        match frame.kind {
            frame::DATA => {
                self.windows.read(frame.payload.len(), reply);
                let data = frame.data();
                self.assembly
                    .push(data, |message| each(Part::Message(message)));
            }
            frame::HEADERS if !frame.has(frame::END_STREAM) => each(Part::Head),
            frame::SETTINGS if !frame.has(frame::ACK) => {
                self.windows.settings(frame.payload);
                frame::put(reply, frame::SETTINGS, frame::ACK, 0, &[]);
            }
            frame::PING if !frame.has(frame::ACK) => {
                frame::put(reply, frame::PING, frame::ACK, 0, frame.payload);
            }
            frame::WINDOW_UPDATE => self.windows.updated(frame),
            frame::RST_STREAM => each(Part::Ended("the server reset the stream")),
            _ => {}
        }
        match frame.kind {
            frame::DATA | frame::HEADERS if frame.has(frame::END_STREAM) => {
                each(Part::Ended("the server ended the stream"));
            }
            // What is under way may go on; the stream's own end says when it is over.
            frame::GOAWAY if goes_away_now(frame.payload) => {
                each(Part::Ended("the server sent GOAWAY"));
            }
            _ => {}
        }
    }
}

/// Whether the last stream that the server still serves lies below ours.
fn goes_away_now(payload: &[u8]) -> bool {
    let last = payload.first_chunk().map(|last| u32::from_be_bytes(*last));
    last.is_none_or(|last| last & 0x7fff_ffff < crate::http2::STREAM)
}

/// As much as the socket takes now.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            written => sent += written?,
        }
    }
    Ok(sent)
}

/// What a non-blocking dial says at first.
fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

const _: () = assert!(MAX_UNSENT_BYTES > DEFAULT_WINDOW as usize);

/// What a client keeps from one session to the next.
#[derive(Default)]
pub(super) struct Client {
    pub(super) session: Option<Session>,
    pub(super) held: Held,
    pub(super) epoch: u64,
    /// Dials in a row that led nowhere.
    pub(super) failures: u32,
    pub(super) frozen: bool,
}
