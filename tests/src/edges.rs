//! Rules over who may import whom, as tables, and what breaks them.
//!
//! | rule | holds |
//! |---|---|
//! | [`Package`] | which packages of the workspace one may depend on |
//! | [`Banned`] | which foreign crates one may not depend on |
//! | [`Room`] | which top modules of its crate one may name; all others are closed to it |
//! | [`Door`] | which top modules of a crate may name this one; all others may not |
//! | [`Word`] | which path nobody may write, but for some modules |
//!
//! Each checker gives every breach at once. It knows nothing of Fusebox: the tables do.

use std::fmt;

use serde_json::Value;

use crate::source::{NamedPath, Source};

/// Something that breaks a rule, with where it stands and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// `file:line`, or a package.
    pub at: String,
    /// What is wrong, and the rule.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// A package of the workspace.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// The packages of the workspace that it may depend on, in whatever way.
    pub sees: &'static [&'static str],
}

/// Foreign crates that a package may not depend on but for its own tests.
#[derive(Clone, Copy, Debug)]
pub struct Banned {
    /// The packages held to it.
    pub packages: &'static [&'static str],
    /// The crates, each with all whose name goes on after it with a hyphen.
    pub crates: &'static [&'static str],
    /// Why.
    pub why: &'static str,
}

/// A top module, by what it may name.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Its name.
    pub name: &'static str,
    /// The top modules beside itself that it may name.
    pub sees: &'static [&'static str],
}

/// A top module, by who may name it. The crate's root may name all.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// Its name.
    pub name: &'static str,
    /// The top modules beside itself that may name it.
    pub opens_to: &'static [&'static str],
}

/// A path that is not to be written.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Where in a path it counts.
    pub what: Pattern,
    /// The modules that may write it, with all below them, as paths from the crate's root.
    pub except: &'static [&'static [&'static str]],
    /// Why, or what to write instead.
    pub why: &'static str,
}

/// Where in a path a [`Word`] counts.
#[derive(Clone, Copy, Debug)]
pub enum Pattern {
    /// As its first segment: another crate, or a module that goes by the same name.
    Crate(&'static str),
    /// These segments in a row, anywhere.
    Segments(&'static [&'static str]),
}

/// Holds the dependencies of the workspace, as `cargo metadata` tells them, to a table in which
/// every package stands.
pub fn check_packages(metadata: &Value, table: &[Package]) -> Vec<Breach> {
    let packages = list(metadata, "packages");
    let own: Vec<_> = packages.iter().map(name).collect();
    let mut breaches = Vec::new();
    for package in packages {
        let Some(rule) = table.iter().find(|rule| rule.name == name(package)) else {
            breaches.push(unlisted(format!("package {}", name(package))));
            continue;
        };
        let seen = list(package, "dependencies").iter().map(name);
        let wrong = seen.filter(|seen| own.contains(seen) && !rule.sees.contains(seen));
        breaches.extend(wrong.map(|seen| Breach {
            at: format!("package {}", rule.name),
            what: format!("depends on {seen}; {}", may_see(rule.sees)),
        }));
    }
    breaches
}

/// Holds the dependencies of the workspace, but for those of tests, to the bans.
pub fn check_bans(metadata: &Value, table: &[Banned]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for ban in table {
        let all = list(metadata, "packages").iter();
        for package in all.filter(|package| ban.packages.contains(&name(package))) {
            let used = list(package, "dependencies").iter();
            let used = used
                .filter(|dependency| dependency["kind"] != "dev")
                .map(name);
            breaches.extend(used.filter(|used| ban.holds(used)).map(|used| Breach {
                at: format!("package {}", name(package)),
                what: format!("depends on {used}; {}", ban.why),
            }));
        }
    }
    breaches
}

/// Holds what each room of a crate names to a table in which every room stands. The crate's root
/// is free.
pub fn check_rooms(sources: &[Source], table: &[Room]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| !source.room().is_empty()) {
        let Some(rule) = table.iter().find(|rule| rule.name == source.room()) else {
            breaches.push(unlisted(source.file.clone()));
            continue;
        };
        for (path, seen) in foreign_rooms(source) {
            if !rule.sees.contains(&seen) {
                breaches.push(breach(source, path, &may_see(rule.sees)));
            }
        }
    }
    breaches
}

/// Holds who names the rooms of the table.
pub fn check_doors(sources: &[Source], table: &[Door]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| !source.room().is_empty()) {
        for (path, seen) in foreign_rooms(source) {
            // The whole crate is every room at once.
            let whole = seen.is_empty() || seen == "*";
            let closed = |door: &&Door| !door.opens_to.contains(&source.room());
            let mut doors = table.iter().filter(|door| whole || door.name == seen);
            if let Some(door) = doors.find(closed) {
                let who = door.opens_to.join(", ");
                breaches.push(breach(
                    source,
                    path,
                    &format!("only {who} may name {}", door.name),
                ));
            }
        }
    }
    breaches
}

/// Holds what no file but the excepted may write.
pub fn check_words(sources: &[Source], table: &[Word]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for word in table {
        for source in sources.iter().filter(|source| !word.spares(source)) {
            let written = source.paths.iter().filter(|path| word.what.is_in(path));
            breaches.extend(written.map(|path| breach(source, path, word.why)));
        }
    }
    breaches
}

/// The paths by which a source names its crate outside its own room, each with the room. A file
/// that names the crate as a whole has an empty room or `*` there.
fn foreign_rooms(source: &Source) -> impl Iterator<Item = (&NamedPath, &str)> {
    let own = source.paths.iter().filter(|path| path.own);
    let with_room = own.map(|path| (path, path.segments.first().map_or("", String::as_str)));
    with_room.filter(|(_, room)| *room != source.room())
}

impl Banned {
    fn holds(&self, used: &str) -> bool {
        let starts = |banned: &&&str| {
            let rest = used.strip_prefix(**banned);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.crates.iter().find(starts).is_some()
    }
}

impl Word {
    fn spares(&self, source: &Source) -> bool {
        let mut spared = self.except.iter();
        spared.any(|module| source.module.iter().take(module.len()).eq(*module))
    }
}

impl Pattern {
    fn is_in(&self, path: &NamedPath) -> bool {
        match self {
            Self::Crate(name) => !path.own && path.segments[0] == *name,
            Self::Segments(row) => path.segments.windows(row.len()).any(|part| part == *row),
        }
    }
}

fn breach(source: &Source, path: &NamedPath, rule: &str) -> Breach {
    let own = if path.own { "crate::" } else { "" };
    Breach {
        at: format!("{}:{}", source.file, path.line),
        what: format!("names {own}{}; {rule}", path.segments.join("::")),
    }
}

fn unlisted(at: String) -> Breach {
    Breach {
        at,
        what: "stands in no table; give it a line that says what it may see".to_owned(),
    }
}

fn may_see(names: &[&str]) -> String {
    match names {
        [] => "it may see none".to_owned(),
        names => format!("it may see only {}", names.join(", ")),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
