//! Rust sources, read as the paths they name.
//!
//! A rule over imports must see `use` trees with all their braces, paths written out inside
//! functions, and `super` from within an inline module; and it must not see comments and strings.
//! So this reads tokens, not text. It knows no types: an alias is judged where it is imported.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use proc_macro2::{Delimiter, Ident, Punct, Spacing, TokenStream, TokenTree};

/// One file.
#[derive(Debug)]
pub struct Source {
    /// Its path below the crate's `src`, with slashes.
    pub file: String,
    /// Its module, from the crate's root.
    pub module: Vec<String>,
    /// Every path it names, in order.
    pub paths: Vec<NamedPath>,
}

/// A path of two or more segments, or any path in a `use`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// The line it begins on, from 1.
    pub line: usize,
    /// Whether `segments` count from the crate's own root: it began with `crate`, `self` or
    /// `super`. Otherwise it is as written: another crate's, or a name imported or declared nearby.
    pub own: bool,
    /// Its parts; `*` for a glob.
    pub segments: Vec<String>,
}

/// A text that is not Rust.
#[derive(Debug)]
pub struct InvalidSource {
    /// Its path below the crate's `src`.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Source {
    /// Reads one file; `file` is its path below the crate's `src`.
    pub fn parse(file: &str, text: &str) -> Result<Self, InvalidSource> {
        let tokens = TokenStream::from_str(text).map_err(|error| InvalidSource {
            file: file.to_owned(),
            reason: error.to_string(),
        })?;
        let module = module_of(file);
        let mut reader = Reader {
            module: module.clone(),
            paths: Vec::new(),
        };
        reader.read(tokens);
        Ok(Self {
            file: file.to_owned(),
            module,
            paths: reader.paths,
        })
    }

    /// The crate's top module that the file belongs to; empty for the crate's root itself.
    pub fn room(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }
}

/// What a module of tests is called.
const TESTS: &str = "tests";

/// Every source below a crate's `src`, by path, but for tests. None if there is no such directory.
///
/// # Panics
/// If a directory or file cannot be read.
pub fn read_tree(src: &Path) -> Vec<Result<Source, InvalidSource>> {
    let mut files = Vec::new();
    collect(src, "", &mut files);
    files.sort();
    let read = |file: &String| {
        let text = fs::read_to_string(src.join(file));
        Source::parse(
            file,
            &text.unwrap_or_else(|error| panic!("{file}: {error}")),
        )
    };
    files.iter().map(read).collect()
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let entry = entry.expect("a readable directory");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else if name.ends_with(".rs") && !module_of(&name).iter().any(|part| part == TESTS) {
            files.push(name);
        }
    }
}

/// `a/b.rs` and `a/b/mod.rs` are both `a::b`; the roots are nothing.
fn module_of(file: &str) -> Vec<String> {
    let stem = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if ["lib", "main", "mod"].contains(&stem) {
        return Vec::new();
    }
    stem.split('/').map(str::to_owned).collect()
}

struct Reader {
    module: Vec<String>,
    paths: Vec<NamedPath>,
}

impl Reader {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        // Whether what came before ends in `::`, and if so whether that opened a path.
        let mut before = Before::Nothing;
        while let Some((first, tail)) = rest.split_first() {
            (rest, before) = match first {
                TokenTree::Ident(word) if word == "use" && !is_punct(tail.first(), '<') => {
                    let end = tail.iter().position(|token| is_punct(Some(token), ';'));
                    let (tree, after) = tail.split_at(end.unwrap_or(tail.len()));
                    self.use_tree(tree, &[]);
                    (after, Before::Nothing)
                }
                TokenTree::Ident(word) if word == "mod" => {
                    (self.inline_module(tail), Before::Nothing)
                }
                TokenTree::Ident(word) if before != Before::Segment => {
                    (self.path(word, tail, before == Before::Root), Before::Name)
                }
                TokenTree::Ident(_) => (tail, Before::Name),
                TokenTree::Group(group) => {
                    self.read(group.stream());
                    (tail, Before::Nothing)
                }
                TokenTree::Punct(_) if is_separator(rest) => {
                    let continues = matches!(before, Before::Name | Before::Angle);
                    (
                        &rest[2..],
                        if continues {
                            Before::Segment
                        } else {
                            Before::Root
                        },
                    )
                }
                TokenTree::Punct(_) if is_arrow(rest) => (&rest[2..], Before::Nothing),
                TokenTree::Punct(punct) if punct.as_char() == '>' => (tail, Before::Angle),
                _ => (tail, Before::Nothing),
            };
        }
    }

    /// `mod name { ... }` is read as a module deeper; `mod name;` is another file. Tests may reach
    /// where they like.
    fn inline_module<'a>(&mut self, tail: &'a [TokenTree]) -> &'a [TokenTree] {
        let [TokenTree::Ident(name), TokenTree::Group(body), after @ ..] = tail else {
            return tail;
        };
        if name != TESTS {
            self.module.push(name.to_string());
            self.read(body.stream());
            self.module.pop();
        }
        after
    }

    /// A path that begins at `first`; gives what follows it.
    fn path<'a>(
        &mut self,
        first: &Ident,
        mut tail: &'a [TokenTree],
        from_root: bool,
    ) -> &'a [TokenTree] {
        let mut segments = vec![first.to_string()];
        while is_separator(tail)
            && let Some(TokenTree::Ident(next)) = tail.get(2)
        {
            segments.push(next.to_string());
            tail = &tail[3..];
        }
        if segments.len() > 1 {
            self.name(line_of(first), segments, from_root);
        }
        tail
    }

    fn use_tree(&mut self, mut tree: &[TokenTree], prefix: &[String]) {
        let from_root = prefix.is_empty() && is_separator(tree);
        let mut segments = prefix.to_vec();
        let mut line = None;
        while let Some((first, tail)) = tree.split_first() {
            tree = tail;
            match first {
                TokenTree::Ident(word) if word == "as" => break,
                TokenTree::Ident(word) => {
                    line = Some(line_of(word));
                    segments.push(word.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == '*' => {
                    line = Some(punct.span().start().line);
                    segments.push("*".to_owned());
                }
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    let branches: Vec<_> = group.stream().into_iter().collect();
                    let branches = branches.split(|token| is_punct(Some(token), ','));
                    branches.for_each(|branch| self.use_tree(branch, &segments));
                    return;
                }
                _ => {}
            }
        }
        // No line: the nothing after a trailing comma.
        if let Some(line) = line {
            self.name(line, segments, from_root);
        }
    }

    fn name(&mut self, line: usize, mut segments: Vec<String>, from_root: bool) {
        // `use a::b::{self}` names `a::b`.
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        let own = !from_root && ["crate", "self", "super"].contains(&segments[0].as_str());
        if own {
            segments = self.resolve(&segments);
        }
        self.paths.push(NamedPath {
            line,
            own,
            segments,
        });
    }

    fn resolve(&self, segments: &[String]) -> Vec<String> {
        let mut place = self.module.clone();
        for segment in segments {
            match segment.as_str() {
                "crate" => place.clear(),
                "super" => drop(place.pop()),
                "self" => {}
                name => place.push(name.to_owned()),
            }
        }
        place
    }
}

/// What stands before a token, as far as it matters for paths.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A name, after which `::` goes on.
    Name,
    /// `>`, after which `::` goes on too, as in `<T as Trait>::name`.
    Angle,
    /// A `::` that goes on: the next name is no beginning.
    Segment,
    /// A `::` that opens a path.
    Root,
}

fn is_punct(token: Option<&TokenTree>, char: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    is_pair(tokens, ':', ':')
}

/// `->` and `=>`, whose second half closes no angle.
fn is_arrow(tokens: &[TokenTree]) -> bool {
    is_pair(tokens, '-', '>') || is_pair(tokens, '=', '>')
}

/// Two signs without a space between them.
fn is_pair(tokens: &[TokenTree], first: char, second: char) -> bool {
    let joint = |punct: &Punct| punct.as_char() == first && punct.spacing() == Spacing::Joint;
    matches!(tokens.first(), Some(TokenTree::Punct(punct)) if joint(punct))
        && is_punct(tokens.get(1), second)
}

fn line_of(ident: &Ident) -> usize {
    ident.span().start().line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(file: &str, text: &str) -> Vec<String> {
        let source = Source::parse(file, text).unwrap();
        let show = |path: NamedPath| {
            let own = if path.own { "crate::" } else { "" };
            format!("{own}{}", path.segments.join("::"))
        };
        source.paths.into_iter().map(show).collect()
    }

    #[test]
    fn a_use_tree_is_spread_out() {
        let text = "use crate::{a::{self, B as C}, d::*,}; pub(crate) use e;";
        let spread = ["crate::a", "crate::a::B", "crate::d::*", "e"];
        assert_eq!(paths("lib.rs", text), spread);
    }

    #[test]
    fn paths_written_out_are_seen_wherever_they_stand() {
        let text = "fn f(x: crate::a::B) { m!(c::d()); <E as f::G>::h::<i::J>(); ::k::l }";
        let seen = ["crate::a::B", "c::d", "f::G", "i::J", "k::l"];
        assert_eq!(paths("lib.rs", text), seen);
    }

    #[test]
    fn a_path_from_the_outermost_root_is_seen_after_colons_and_arrows() {
        let text = "fn f(x: ::a::b) -> ::c::d { match x { y => ::e::f } }";
        assert_eq!(paths("lib.rs", text), ["a::b", "c::d", "e::f"]);
    }

    #[test]
    fn comments_and_strings_name_nothing() {
        let text = "/// [`a::b`]\n// a::b\n/* a::b */ fn f() { \"a::b\"; r#\"a::b\"#; 'a'; }";
        assert!(paths("lib.rs", text).is_empty());
    }

    #[test]
    fn super_and_self_are_resolved_from_the_module_they_stand_in() {
        let text = "use super::x; use self::y; mod inner { use super::*; use super::super::z; }";
        let seen = [
            "crate::a::x",
            "crate::a::b::y",
            "crate::a::b::*",
            "crate::a::z",
        ];
        assert_eq!(paths("a/b.rs", text), seen);
        assert_eq!(paths("a/b/mod.rs", text), seen);
    }

    #[test]
    fn modules_of_tests_may_name_what_they_like() {
        assert!(paths("a/b.rs", "mod tests { use crate::c::D; }").is_empty());
    }

    #[test]
    fn the_whole_crate_under_another_name_is_seen() {
        assert_eq!(
            paths("a.rs", "use crate as c; use super::*;"),
            ["crate::", "crate::*"]
        );
    }

    #[test]
    fn a_capture_list_is_no_import() {
        assert!(paths("a.rs", "fn f() -> impl Sized + use<'_> { let x = 1; }").is_empty());
    }

    #[test]
    fn lines_count_from_one() {
        let source = Source::parse("a.rs", "\nuse b::{\n  c,\n};\n").unwrap();
        assert_eq!(source.paths[0].line, 3);
    }

    #[test]
    fn what_is_not_rust_is_said_to_be_none() {
        let error = Source::parse("a.rs", "fn f( {").unwrap_err();
        assert_eq!(error.file, "a.rs");
    }

    #[test]
    fn a_room_is_the_top_module() {
        for (file, room) in [
            ("lib.rs", ""),
            ("a.rs", "a"),
            ("a/mod.rs", "a"),
            ("a/b/c.rs", "a"),
        ] {
            assert_eq!(Source::parse(file, "").unwrap().room(), room);
        }
    }
}
