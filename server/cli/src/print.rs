//! What an ApplyPolicies changed, as people read it.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write as _};

use fusebox_proto::v1;
use fusebox_proto::v1::policy_diff::Action;

/// Writes with colours, or without.
pub(crate) struct Printer {
    colours: bool,
}

/// What a colour stands for.
#[derive(Clone, Copy)]
enum Tone {
    New,
    Gone,
    Odd,
}

impl Printer {
    /// With colours only where somebody sees them who has not refused them (<https://no-color.org>).
    pub(crate) fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colours: !refused && io::stdout().is_terminal(),
        }
    }

    /// Policy by policy, and all in all.
    pub(crate) fn response(&self, response: &v1::ApplyPoliciesResponse, dry: bool) -> String {
        let mut text = String::new();
        for diff in &response.diffs {
            self.diff(&mut text, diff);
        }
        let count = |action| {
            let diffs = response.diffs.iter();
            diffs.filter(|diff| diff.action() == action).count()
        };
        let parts = [
            (count(Action::Create), "create", "created"),
            (count(Action::Update), "update", "updated"),
            (count(Action::Delete), "delete", "deleted"),
        ];
        let parts = parts.map(|(number, would, done)| match dry {
            true => format!("{number} to {would}"),
            false => format!("{number} {done}"),
        });
        let unchanged = count(Action::Unchanged);
        if let Some(reach) = response.reach
            && unchanged < response.diffs.len()
        {
            line(&mut text, concerns(reach));
        }
        let revision = response.revision;
        line(
            &mut text,
            format_args!(
                "{}, {unchanged} unchanged; revision {revision}",
                parts.join(", ")
            ),
        );
        text
    }

    fn diff(&self, text: &mut String, diff: &v1::PolicyDiff) {
        let (verb, tone) = match diff.action() {
            Action::Create => ("create", Some(Tone::New)),
            Action::Update => ("update", Some(Tone::Odd)),
            Action::Delete => ("delete", Some(Tone::Gone)),
            Action::Unchanged | Action::Unspecified => ("unchanged", None),
        };
        let name = format!(
            "{verb} {}/{}",
            one_line(&diff.namespace),
            one_line(&diff.name)
        );
        line(text, self.paint(tone, name));
        for change in &diff.changes {
            let field = one_line(&change.field);
            for (sign, value, tone) in [
                ('-', &change.before, Tone::Gone),
                ('+', &change.after, Tone::New),
            ] {
                if !value.is_empty() {
                    let change = format!("{sign} {field}: {}", one_line(value));
                    line(text, format_args!("  {}", self.paint(Some(tone), change)));
                }
            }
        }
        for warning in &diff.warnings {
            let field = one_line(&warning.field);
            let warning = format!("warning: {field}: {}", one_line(&warning.description));
            line(
                text,
                format_args!("  {}", self.paint(Some(Tone::Odd), warning)),
            );
        }
    }

    fn paint(&self, tone: Option<Tone>, text: String) -> String {
        let Some(tone) = tone.filter(|_| self.colours) else {
            return text;
        };
        let colour = match tone {
            Tone::Gone => 31,
            Tone::New => 32,
            Tone::Odd => 33,
        };
        format!("\x1b[{colour}m{text}\x1b[0m")
    }
}

/// How many processes that are connected.
pub(crate) fn concerns(reach: v1::Reach) -> String {
    let v1::Reach { instances, too_old } = reach;
    let processes = counted_processes(instances);
    match too_old {
        0 => format!("concerns {processes}"),
        too_old => format!("concerns {processes} ({too_old} too old to enforce it)"),
    }
}

fn counted_processes(count: u32) -> String {
    match count {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    }
}

fn line(text: &mut String, content: impl Display) {
    // Cannot fail: a string takes everything.
    writeln!(text, "{content}").ok();
}

/// A line on standard output that nobody has to read.
pub(crate) fn say(line: &str) {
    writeln!(io::stdout(), "{line}").ok();
}

/// A line on standard error that decides nothing, not even where nobody can read it.
pub(crate) fn warn(line: &str) {
    writeln!(io::stderr(), "{line}").ok();
}

/// Whatever a server sends, it moves no cursor.
pub(crate) fn one_line(text: &str) -> String {
    match text.contains(char::is_control) {
        true => format!("{text:?}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response() -> v1::ApplyPoliciesResponse {
        let diff = |name: &str, action: Action| v1::PolicyDiff {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            action: action.into(),
            ..v1::PolicyDiff::default()
        };
        let change = |field: &str, before: &str, after: &str| v1::FieldChange {
            field: field.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        let mut update = diff("payments", Action::Update);
        update.changes = vec![
            change("description", "", "two\nlines"),
            change("rules.timeout.attempt", "0.800s", "1s"),
        ];
        update.warnings = vec![v1::Warning {
            field: "rules.retry".to_owned(),
            description: "stays idle".to_owned(),
        }];
        v1::ApplyPoliciesResponse {
            diffs: vec![
                update,
                diff("ledger", Action::Unchanged),
                diff("old", Action::Delete),
            ],
            revision: 12,
            reach: None,
        }
    }

    #[test]
    fn a_difference_reads_as_what_goes_and_what_comes() {
        let text = Printer { colours: false }.response(&response(), false);
        assert_eq!(
            text,
            "update default/payments\n\
             \x20 + description: \"two\\nlines\"\n\
             \x20 - rules.timeout.attempt: 0.800s\n\
             \x20 + rules.timeout.attempt: 1s\n\
             \x20 warning: rules.retry: stays idle\n\
             unchanged default/ledger\n\
             delete default/old\n\
             0 created, 1 updated, 1 deleted, 1 unchanged; revision 12\n"
        );
    }

    #[test]
    fn what_was_only_checked_is_told_as_what_would_be() {
        let text = Printer { colours: false }.response(&response(), true);
        assert!(
            text.ends_with("0 to create, 1 to update, 1 to delete, 1 unchanged; revision 12\n")
        );
    }

    #[test]
    fn how_many_processes_it_concerns_is_told_if_anything_changes() {
        for (instances, too_old, expected) in [
            (0, 0, "\nconcerns 0 processes\n0 created, "),
            (1, 0, "\nconcerns 1 process\n0 created, "),
            (
                12,
                1,
                "\nconcerns 12 processes (1 too old to enforce it)\n0 created, ",
            ),
        ] {
            let mut response = response();
            response.reach = Some(v1::Reach { instances, too_old });
            let text = Printer { colours: false }.response(&response, false);
            assert!(text.contains(expected), "{text}");
            response
                .diffs
                .retain(|diff| diff.action() == Action::Unchanged);
            let text = Printer { colours: false }.response(&response, false);
            assert!(!text.contains("concerns"), "{text}");
        }
    }

    #[test]
    fn colours_change_no_word() {
        let plain = Printer { colours: false }.response(&response(), false);
        let mut painted = Printer { colours: true }.response(&response(), false);
        assert_ne!(plain, painted);
        for code in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"] {
            painted = painted.replace(code, "");
        }
        assert_eq!(plain, painted);
    }
}
