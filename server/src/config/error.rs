//! Why a configuration is refused: always where, which key, which value, and what would do.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::source::ENV_PREFIX;

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// In a configuration file.
    File(PathBuf),
    /// In the process's environment.
    Environment,
    /// On the command line.
    Flag,
}

impl Origin {
    /// A key's name as it is written there.
    pub fn spell(&self, key: &str) -> String {
        match self {
            Self::Default | Self::File(_) => key.to_owned(),
            Self::Environment => format!("{ENV_PREFIX}{}", key.to_uppercase()),
            Self::Flag => format!("--{}", key.replace('_', "-")),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("defaults"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named cannot be read.
    #[error("{}: cannot be read: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// The file is not TOML.
    #[error("{}: is not valid TOML: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what, in one line.
        problem: String,
    },
    /// No such key.
    #[error("{origin}: unknown key {}; did you mean {}?", origin.spell(key), origin.spell(nearest))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key as it would be written in the file.
        key: String,
        /// The known key it resembles most.
        nearest: &'static str,
    },
    /// The key cannot have that value.
    #[error("{origin}: {} is {value:?}; allowed is {allowed}", origin.spell(key))]
    InvalidValue {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// The value as it was written.
        value: String,
        /// What would do.
        allowed: String,
    },
    /// The key does not go together with another one.
    #[error("{origin}: {conflict}")]
    Conflict {
        /// Where the key stands.
        origin: Origin,
        /// What is wrong.
        conflict: Conflict,
    },
}

impl ConfigError {
    /// Whether the command line is to blame.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownKey {
                origin: Origin::Flag,
                ..
            } | Self::InvalidValue {
                origin: Origin::Flag,
                ..
            }
        )
    }
}

/// Which keys do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Beyond loopback in plain text, and nobody said that this is meant.
    #[error(
        "{key} is {addr}, which other machines can reach, without TLS or authentication; \
         bind to 127.0.0.1, or say --allow-remote-plaintext"
    )]
    RemotePlaintext {
        /// The key.
        key: &'static str,
        /// Its value.
        addr: SocketAddr,
    },
    /// Both listeners on one port.
    #[error("http_addr is {0}, and so is grpc_addr; give each its own port")]
    SameAddress(SocketAddr),
}

impl Conflict {
    /// The key to blame.
    pub fn key(&self) -> &'static str {
        match self {
            Self::RemotePlaintext { key, .. } => key,
            Self::SameAddress(_) => "http_addr",
        }
    }
}
