//! The two addresses a server listens on, and what to do if one cannot be had.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use super::StartError;
use crate::config::Config;

/// Connections that the system may hold back for each port while they are accepted: a fleet that
/// reconnects comes all at once.
const BACKLOG: u32 = 4096;

/// Both listeners, bound but not yet answering.
pub(super) struct Ports {
    pub(super) grpc: TcpListener,
    pub(super) grpc_addr: SocketAddr,
    pub(super) http: TcpListener,
    pub(super) http_addr: SocketAddr,
}

impl Ports {
    /// Takes both addresses, or neither.
    pub(super) fn bind(config: &Config) -> Result<Self, StartError> {
        let (grpc, grpc_addr) = bind("grpc_addr", config.grpc_addr)?;
        let (http, http_addr) = bind("http_addr", config.http_addr)?;
        Ok(Self {
            grpc,
            grpc_addr,
            http,
            http_addr,
        })
    }
}

fn bind(key: &'static str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = || {
        let socket = match addr {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for the last server's connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let listener = socket.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    };
    bound().map_err(|source| StartError::Bind { key, addr, source })
}

/// What to do about an address that cannot be had; goes on behind "grpc_addr is ADDR,".
pub(super) fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "which is in use: stop what listens there, or name another address".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "which is no address of this machine".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "where this process's user may not listen: take a port above 1023".to_owned()
        }
        _ => format!("where it cannot listen: {error}"),
    }
}
