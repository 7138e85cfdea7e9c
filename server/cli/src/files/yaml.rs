//! Text in YAML 1.2, which JSON is a part of, as a tree that knows where everything stands.
//!
//! Less than YAML may say is read here, so that nothing means something else than it looks like:
//! anchors, aliases, merge keys and tags are refused, and depth and size are bounded, whatever the text. Words
//! that other versions of YAML take for numbers or truth values are told apart from those that all
//! agree about ([`Word`]); what to make of them is the reader's to decide, who knows what is wanted.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

/// Longest text, in bytes.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Deepest nesting; a policy needs a quarter of it.
pub(crate) const MAX_DEPTH: usize = 24;
/// Most values and names in one text.
pub(crate) const MAX_NODES: usize = 200_000;
/// Most problems told of one text.
const MAX_PROBLEMS: usize = 100;

/// A value, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) is: Is,
}

/// Line and column, from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Is {
    /// A single word; quoted, or what else cannot be anything but text.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// Something that has been told already.
    Refused,
}

/// A name in a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) at: At,
    pub(crate) name: String,
}

/// What a word without quotes means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Null,
    Bool(bool),
    /// A number as JSON writes them.
    Number,
    /// A number in YAML only, or another one than JSON would read: 0x1F, 007, .5, +4, .inf.
    OddNumber,
    Text,
}

/// Something that keeps a text from being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) at: At,
    pub(crate) message: String,
}

impl At {
    fn of(marker: &Marker) -> Self {
        Self {
            line: marker.line(),
            column: marker.col() + 1,
        }
    }
}

impl Is {
    /// The word, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What the word means; quoted it is text, whatever it says.
    pub(crate) fn word(&self) -> Option<Word> {
        match self {
            Self::Scalar { quoted: true, .. } => Some(Word::Text),
            Self::Scalar { text, .. } => Some(Word::of(text)),
            _ => None,
        }
    }
}

impl Word {
    /// By the core schema of YAML 1.2 (chapter 10.3.2).
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            _ if is_json_number(text) => Self::Number,
            _ if is_core_number(text) => Self::OddNumber,
            _ => Self::Text,
        }
    }
}

fn is_json_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = unsigned.len() > 1
        && unsigned.starts_with('0')
        && unsigned[1..].starts_with(|c: char| c.is_ascii_digit());
    let (whole, rest) = digits(unsigned);
    let fraction = rest.strip_prefix('.').map(digits);
    let no_digit = whole.is_empty() || fraction.is_some_and(|(digits, _)| digits.is_empty());
    let rest = fraction.map_or(rest, |(_, rest)| rest);
    !leading_zero && !no_digit && (rest.is_empty() || is_exponent(rest))
}

fn is_core_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(
        unsigned,
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    ) {
        return true;
    }
    let of_base =
        |digits: &str, base| !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        return of_base(hexadecimal, 16);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return of_base(octal, 8);
    }
    let (whole, rest) = digits(unsigned);
    let fraction = rest.strip_prefix('.').map_or(("", rest), digits);
    let some_digit = !whole.is_empty() || !fraction.0.is_empty();
    some_digit && (fraction.1.is_empty() || is_exponent(fraction.1))
}

fn is_exponent(text: &str) -> bool {
    let Some(power) = text.strip_prefix(['e', 'E']) else {
        return false;
    };
    let (power, rest) = digits(power.strip_prefix(['-', '+']).unwrap_or(power));
    !power.is_empty() && rest.is_empty()
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// The documents of a text, and everything that keeps it from being read; after a mistake in YAML
/// itself, what stood before it.
pub(crate) fn documents(bytes: &[u8]) -> (Vec<Node>, Vec<Problem>) {
    match text(bytes) {
        Ok(text) => Tree::default().grow(text),
        Err(problem) => (Vec::new(), vec![problem]),
    }
}

/// The bytes as text without a byte order mark, or where they are none.
fn text(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > MAX_BYTES {
        let message = format!("must be at most {MAX_BYTES} bytes; split the file");
        let at = At { line: 0, column: 0 };
        return Err(Problem { at, message });
    }
    let problem = |before: &[u8], message: &str| Problem {
        at: end_of(&String::from_utf8_lossy(before)),
        message: message.to_owned(),
    };
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        problem(before, "is not UTF-8 text; save the file as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let strange = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}');
    match text.find(strange) {
        Some(end) => {
            let message = "has a control character; policies are written in plain text";
            Err(problem(&text.as_bytes()[..end], message))
        }
        None => Ok(text),
    }
}

/// The place behind a text.
fn end_of(text: &str) -> At {
    let last = text.rsplit('\n').next().unwrap_or_default();
    At {
        line: text.matches('\n').count() + 1,
        column: last.chars().count() + 1,
    }
}

/// Grows from a parser's events.
#[derive(Default)]
struct Tree {
    roots: Vec<Node>,
    open: Vec<Open>,
    problems: Vec<Problem>,
    nodes: usize,
}

/// A list or map that has not ended yet.
struct Open {
    at: At,
    is: Inside,
}

enum Inside {
    List(Vec<Node>),
    /// With the name whose value comes next.
    Map(Vec<(Key, Node)>, Option<Key>),
}

impl Tree {
    fn grow(mut self, text: &str) -> (Vec<Node>, Vec<Problem>) {
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let grown = match event {
                Ok((event, span)) => self.take(event, At::of(&span.start)),
                Err(error) => Err(Problem {
                    at: At::of(error.marker()),
                    message: in_words(text, error.marker(), error.info()),
                }),
            };
            if let Err(problem) = grown {
                self.problems.push(problem);
                break;
            }
        }
        (self.roots, self.problems)
    }

    /// One event; an error ends the reading.
    fn take(&mut self, event: Event<'_>, at: At) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse(at, anchor, tag.is_some());
                let text = text.into_owned();
                let quoted = style != ScalarStyle::Plain;
                self.place(at, Is::Scalar { text, quoted })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse(at, anchor, tag.is_some());
                self.open(at, Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse(at, anchor, tag.is_some());
                self.open(at, Inside::Map(Vec::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(_) => {
                self.problem(at, "aliases are not read here: write the value out");
                self.place(at, Is::Refused)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn refuse(&mut self, at: At, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.problem(
                at,
                "anchors are not read here: write the value out where it is needed",
            );
        }
        if tagged {
            self.problem(at, "tags are not read here: leave the tag out");
        }
    }

    fn problem(&mut self, at: At, message: &str) {
        if self.problems.len() < MAX_PROBLEMS {
            let message = message.to_owned();
            self.problems.push(Problem { at, message });
        }
    }

    fn open(&mut self, at: At, is: Inside) -> Result<(), Problem> {
        if self.open.len() == MAX_DEPTH {
            let message = format!("is nested deeper than {MAX_DEPTH} levels");
            return Err(Problem { at, message });
        }
        self.open.push(Open { at, is });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(Open { at, is }) = self.open.pop() else {
            return Ok(());
        };
        let is = match is {
            Inside::List(items) => Is::List(items),
            Inside::Map(entries, _) => Is::Map(entries),
        };
        self.place(at, is)
    }

    /// Puts a whole value where it belongs.
    fn place(&mut self, at: At, is: Is) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("has more than {MAX_NODES} values; split the file");
            return Err(Problem { at, message });
        }
        let node = Node { at, is };
        match self.open.last_mut().map(|open| &mut open.is) {
            None => self.roots.push(node),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map(entries, name)) => match name.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let text = node.is.text();
                    *name = Some(Key {
                        at,
                        name: text.unwrap_or_default().to_owned(),
                    });
                    if let Some(message) = no_name(&node.is) {
                        self.problem(at, message);
                    }
                }
            },
        }
        Ok(())
    }
}

/// Why something cannot be a name in a map, unless that has been told already.
fn no_name(is: &Is) -> Option<&'static str> {
    match is {
        // To readers of YAML's first version it is none, but brings in the names of another map.
        Is::Scalar {
            text,
            quoted: false,
        } if text == "<<" => Some(
            "merge keys are not read here: write the values out; a name that is << goes in quotes",
        ),
        Is::List(_) | Is::Map(_) => Some("must be a name, not a list or a section"),
        Is::Scalar { .. } | Is::Refused => None,
    }
}

/// What the parser says of a mistake, and what mostly is the reason.
fn in_words(text: &str, at: &Marker, info: &str) -> String {
    let line = text.lines().nth(at.line().saturating_sub(1));
    let indent = line.map(|line| &line[..line.len() - line.trim_start().len()]);
    if indent.is_some_and(|indent| indent.contains('\t')) {
        return format!("is not YAML: {info}; indent with spaces, not with tabs");
    }
    format!("is not YAML: {info}")
}

#[cfg(test)]
mod tests;
