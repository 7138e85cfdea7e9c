//! Figures as people read them in a view.

use std::time::Duration;

use fusebox_proto::convert::time::duration_from_wire;

/// A latency, to three figures; `-` if there is none.
pub(crate) fn latency(wire: Option<prost_types::Duration>) -> String {
    match wire.and_then(|wire| duration_from_wire(&wire).ok()) {
        None => "-".to_owned(),
        Some(latency) => match latency.as_secs_f64() {
            secs if secs >= 1.0 => format!("{secs:.1} s"),
            secs => format!("{:.0} ms", secs * 1000.0),
        },
    }
}

/// A length of time on the wire; none if it is unset or negative.
pub(crate) fn duration(wire: Option<prost_types::Duration>) -> Duration {
    let known = wire.and_then(|wire| duration_from_wire(&wire).ok());
    known.unwrap_or_default()
}

/// A length of time in its largest whole unit, at most 4 wide below 10,000 days.
pub(crate) fn span(span: Duration) -> String {
    match span.as_secs() {
        secs @ 0..=119 => format!("{secs}s"),
        secs @ 120..=7199 => format!("{}m", secs / 60),
        secs @ 7200..=172_799 => format!("{}h", secs / 3600),
        secs => format!("{}d", secs / 86_400),
    }
}

/// Calls per second: whole where that is enough.
pub(crate) fn rate(rate: f64) -> String {
    match rate {
        rate if rate > 0.0 && rate < 9.95 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

/// A share of 1 in percent; `-` where nothing was counted.
pub(crate) fn percent(ratio: f64, sample: u64) -> String {
    match sample {
        0 => "-".to_owned(),
        _ => format!("{:.1}", ratio * 100.0),
    }
}

/// `text` in at most `width` characters, cut in the middle, where names differ least.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else {
        return String::new();
    };
    let head = kept.div_ceil(2);
    let tail = length - (kept - head);
    let head = text.chars().take(head);
    head.chain(['…']).chain(text.chars().skip(tail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_too_long_keeps_its_head_and_its_tail() {
        assert_eq!(cut("checkout/payments.charge", 11), "check…harge");
        assert_eq!(cut("short", 5), "short");
        assert_eq!(
            (cut("long", 1), cut("long", 0)),
            ("…".into(), String::new())
        );
    }

    #[test]
    fn a_span_is_told_in_one_unit() {
        let told = [0, 119, 120, 7200, 200_000].map(|secs| span(Duration::from_secs(secs)));
        assert_eq!(told, ["0s", "119s", "2m", "2h", "2d"]);
    }

    #[test]
    fn a_ratio_of_nothing_is_no_figure() {
        assert_eq!(percent(0.0, 0), "-");
        assert_eq!(percent(0.1234, 9), "12.3");
    }
}
