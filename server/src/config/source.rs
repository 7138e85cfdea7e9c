//! The places a setting can stand, laid over each other by figment.
//!
//! figment merges and remembers which layer each value came from; that is all it is asked. The
//! types are given by the table of keys, from text.

use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use super::Config;
use super::error::{ConfigError, Origin};
use super::key::{self, Key};

/// What the environment's variables for a server begin with.
pub(super) const ENV_PREFIX: &str = "FUSEBOX_SERVER_";
/// The file that is read if none is named.
const DEFAULT_FILE: &str = "fusebox.toml";

const ENVIRONMENT: &str = "environment";
const FLAGS: &str = "flags";

/// Where to look for settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that must be there; `None`: `fusebox.toml` in `directory`, if there is one.
    pub file: Option<PathBuf>,
    /// The working directory.
    pub directory: PathBuf,
    /// The process's environment; only `FUSEBOX_SERVER_*` is looked at.
    pub environment: Vec<(String, String)>,
    /// From the command line: keys as they are written in the file, and their text.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    fn file(&self) -> Option<PathBuf> {
        let default = self.directory.join(DEFAULT_FILE);
        self.file
            .clone()
            .or_else(|| default.exists().then_some(default))
    }
}

/// All sources, the later over the earlier.
#[derive(Debug)]
pub(super) struct Layers(Figment);

impl Layers {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let file = sources.file().map(|path| read_file(&path)).transpose()?;
        let environment = sources.environment.iter().filter_map(|(name, text)| {
            let key = name.strip_prefix(ENV_PREFIX)?;
            Some((key.to_lowercase(), text))
        });
        let flags = sources
            .flags
            .iter()
            .map(|(key, text)| ((*key).to_owned(), text));
        let base = file.map_or_else(Figment::new, Figment::from);
        Ok(Self(
            base.merge(Texts::new(ENVIRONMENT, environment))
                .merge(Texts::new(FLAGS, flags)),
        ))
    }

    /// What is set, each key once, in the order of their names.
    pub(super) fn settings(&self) -> Result<Vec<Setting>, ConfigError> {
        // Each layer was read before, and none fails once it was.
        let mut profiles = self.0.data().unwrap_or_default();
        let dict = profiles.remove(&Profile::Default).unwrap_or_default();
        dict.into_iter()
            .map(|(name, value)| self.setting(&name, &value))
            .collect()
    }

    /// Where the key's final value stands.
    pub(super) fn origin(&self, key: &str) -> Origin {
        origin(self.0.find_metadata(key))
    }

    fn setting(&self, name: &str, value: &Value) -> Result<Setting, ConfigError> {
        let origin = origin(self.0.get_metadata(value.tag()));
        match key::find(name) {
            Some(key) => Ok(Setting {
                key,
                origin,
                text: in_words(value),
            }),
            None => Err(ConfigError::UnknownKey {
                origin,
                key: name.to_owned(),
                nearest: key::nearest(name),
            }),
        }
    }
}

/// A key's final value, still as text.
#[derive(Debug)]
pub(super) struct Setting {
    key: &'static Key,
    origin: Origin,
    text: String,
}

impl Setting {
    pub(super) fn apply(self, config: &mut Config) -> Result<(), ConfigError> {
        (self.key.set)(config, &self.text).ok_or_else(|| ConfigError::InvalidValue {
            origin: self.origin,
            key: self.key.name,
            value: self.text,
            allowed: (self.key.allowed)(),
        })
    }
}

fn origin(metadata: Option<&Metadata>) -> Origin {
    match metadata {
        Some(Metadata {
            source: Some(Source::File(path)),
            ..
        }) => Origin::File(path.clone()),
        Some(metadata) if metadata.name == ENVIRONMENT => Origin::Environment,
        Some(metadata) if metadata.name == FLAGS => Origin::Flag,
        _ => Origin::Default,
    }
}

/// A list or a table becomes its name in brackets, which no key allows.
fn in_words(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Char(_, char) => char.to_string(),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => number
            .to_i128()
            .map(|whole| whole.to_string())
            .or_else(|| number.to_u128().map(|whole| whole.to_string()))
            .or_else(|| number.to_f64().map(|float| float.to_string()))
            .unwrap_or_default(),
        Value::Empty(..) => String::new(),
        Value::Dict(..) => "[table]".to_owned(),
        Value::Array(..) => "[array]".to_owned(),
    }
}

/// Reads the file at once, so that what is wrong with it is told as such.
fn read_file(path: &Path) -> Result<Figment, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        problem: error.to_string(),
    })?;
    let figment = Figment::from(Toml::file_exact(path));
    match figment.data() {
        Ok(_) => Ok(figment),
        Err(error) => Err(ConfigError::Syntax {
            path: path.to_owned(),
            problem: one_line(&error.to_string()),
        }),
    }
}

/// The first line says where, the last one what; between them the parser draws the line.
fn one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next_back()) {
        (Some(place), Some(problem)) => format!("{place}: {problem}"),
        (place, _) => place.unwrap_or_default().to_owned(),
    }
}

/// A layer of texts by key.
struct Texts {
    name: &'static str,
    dict: Dict,
}

impl Texts {
    fn new<'a>(name: &'static str, texts: impl Iterator<Item = (String, &'a String)>) -> Self {
        let dict = texts
            .map(|(key, text)| (key, Value::from(text.as_str())))
            .collect();
        Self { name, dict }
    }
}

impl Provider for Texts {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}
