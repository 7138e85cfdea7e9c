//! The table of keys: each one's name, what it allows, and how its text becomes a value.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::duration;
use super::{
    CONNECTION_LIMITS, Config, HEARTBEAT_INTERVALS, HISTORY_BYTES, HISTORY_CHANGES,
    HISTORY_VERSIONS, LogFormat, REPORT_INTERVALS, SESSION_AGES, StoreKind,
};

/// One thing that can be told.
#[derive(Debug)]
pub(super) struct Key {
    /// As it is written in the file.
    pub(super) name: &'static str,
    /// What would do, for people.
    pub(super) allowed: fn() -> String,
    /// Sets it; `None` if the text will not do.
    pub(super) set: fn(&mut Config, &str) -> Option<()>,
}

/// All that can be told.
pub(super) const KEYS: [Key; 14] = [
    Key {
        name: "grpc_addr",
        allowed: address,
        set: |config, text| put(&mut config.grpc_addr, parsed(text)),
    },
    Key {
        name: "http_addr",
        allowed: address,
        set: |config, text| put(&mut config.http_addr, parsed(text)),
    },
    Key {
        name: "data_dir",
        allowed: || "a directory's path".to_owned(),
        set: |config, text| put(&mut config.data_dir, filled(text).map(Into::into)),
    },
    Key {
        name: "store",
        allowed: || "sled or memory".to_owned(),
        set: |config, text| put(&mut config.store, store(text)),
    },
    Key {
        name: "allow_remote_plaintext",
        allowed: || "true or false".to_owned(),
        set: |config, text| put(&mut config.allow_remote_plaintext, parsed(text)),
    },
    Key {
        name: "report_interval",
        allowed: || span(&REPORT_INTERVALS),
        set: |config, text| put(&mut config.report_interval, within(text, &REPORT_INTERVALS)),
    },
    Key {
        name: "heartbeat_interval",
        allowed: || span(&HEARTBEAT_INTERVALS),
        set: |config, text| {
            put(
                &mut config.heartbeat_interval,
                within(text, &HEARTBEAT_INTERVALS),
            )
        },
    },
    Key {
        name: "max_session_age",
        allowed: || span(&SESSION_AGES),
        set: |config, text| put(&mut config.max_session_age, within(text, &SESSION_AGES)),
    },
    Key {
        name: "max_connections",
        allowed: || count(&CONNECTION_LIMITS),
        set: |config, text| {
            put(
                &mut config.max_connections,
                counted(text, &CONNECTION_LIMITS),
            )
        },
    },
    Key {
        name: "history_changes",
        allowed: || count(&HISTORY_CHANGES),
        set: |config, text| put(&mut config.history_changes, counted(text, &HISTORY_CHANGES)),
    },
    Key {
        name: "history_versions",
        allowed: || count(&HISTORY_VERSIONS),
        set: |config, text| {
            put(
                &mut config.history_versions,
                counted(text, &HISTORY_VERSIONS),
            )
        },
    },
    Key {
        name: "history_bytes",
        allowed: || count(&HISTORY_BYTES),
        set: |config, text| put(&mut config.history_bytes, counted(text, &HISTORY_BYTES)),
    },
    Key {
        name: "log",
        allowed: || "a filter such as info or warn,fusebox_server=debug".to_owned(),
        set: |config, text| put(&mut config.log, filter(text).map(Some)),
    },
    Key {
        name: "log_format",
        allowed: || "text or json".to_owned(),
        set: |config, text| put(&mut config.log_format, log_format(text)),
    },
];

/// The key of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known key that resembles `name` most.
pub(super) fn nearest(name: &str) -> &'static str {
    let similarity = |key: &Key| strsim::jaro_winkler(key.name, name);
    let nearer = |a: &&Key, b: &&Key| similarity(a).total_cmp(&similarity(b));
    KEYS.iter().max_by(nearer).map_or("", |key| key.name)
}

fn put<T>(slot: &mut T, value: Option<T>) -> Option<()> {
    *slot = value?;
    Some(())
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn within(text: &str, range: &RangeInclusive<Duration>) -> Option<Duration> {
    duration::parse(text).filter(|value| range.contains(value))
}

fn counted(text: &str, range: &RangeInclusive<usize>) -> Option<usize> {
    parsed(text).filter(|value| range.contains(value))
}

fn store(text: &str) -> Option<StoreKind> {
    match text {
        "sled" => Some(StoreKind::Sled),
        "memory" => Some(StoreKind::Memory),
        _ => None,
    }
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn filter(text: &str) -> Option<String> {
    EnvFilter::try_new(text).ok().map(|_| text.to_owned())
}

fn address() -> String {
    "an IP address and a port such as 127.0.0.1:7070 or [::1]:7070".to_owned()
}

fn span(range: &RangeInclusive<Duration>) -> String {
    let [low, high] = [range.start(), range.end()].map(|end| format!("{}s", end.as_secs_f64()));
    between("a duration such as 500ms, 2s or 2 (seconds)", &low, &high)
}

fn count(range: &RangeInclusive<usize>) -> String {
    between("a number", range.start(), range.end())
}

fn between(what: &str, low: &impl Display, high: &impl Display) -> String {
    format!("{what} from {low} to {high}")
}
