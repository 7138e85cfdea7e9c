//! How long clients waited, as a picture: the share of them that had a push by then.

use std::fmt::Write as _;

use crate::times::Times;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Points of a curve.
const POINTS: usize = 200;
const TICKS: usize = 5;
const COLOURS: [&str; 3] = ["#1f77b4", "#7f7f7f", "#d62728"];

/// The times of one server.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    name: &'static str,
    /// From the shortest to the longest, in milliseconds, at equal steps of the share.
    millis: Vec<f64>,
}

impl Curve {
    pub(crate) fn new(name: &'static str, times: &Times) -> Self {
        let sorted = times.sorted_millis();
        let at = |point: usize| {
            let rank = (sorted.len().saturating_sub(1)) * point / (POINTS - 1);
            sorted.get(rank).copied()
        };
        Self {
            name,
            millis: (0..POINTS).filter_map(at).collect(),
        }
    }
}

/// All curves over the same axes, as SVG.
pub(crate) fn svg(title: &str, curves: &[Curve]) -> String {
    let longest = curves.iter().flat_map(|curve| &curve.millis);
    let most = round_up(longest.copied().fold(1.0, f64::max));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{title}</text>\n"
    );
    axes(&mut out, most);
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        line(&mut out, curve, most, colour);
        legend(&mut out, curve, index, colour);
    }
    out + "</svg>\n"
}

fn x(millis: f64, most: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * millis / most
}

fn y(share: f64) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
}

fn axes(out: &mut String, most: f64) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in 0..=TICKS {
        let share = tick as f64 / TICKS as f64;
        let (x, y) = (x(most * share, most), y(share));
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {y:.1}H{right}M{x:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>\n\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{:.0}</text>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>",
            bottom + 18.0,
            most * share,
            LEFT - 8.0,
            y + 4.0,
            share * 100.0,
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">ms from the write until applied and acknowledged</text>",
        (LEFT + right) / 2.0,
        HEIGHT - 12.0,
    );
}

fn line(out: &mut String, curve: &Curve, most: f64, colour: &str) {
    let last = curve.millis.len().saturating_sub(1).max(1) as f64;
    let mut points = String::new();
    for (index, millis) in curve.millis.iter().enumerate() {
        let _ = write!(
            points,
            "{:.1},{:.1} ",
            x(*millis, most),
            y(index as f64 / last)
        );
    }
    let points = points.trim_end();
    let _ = writeln!(
        out,
        "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
}

fn legend(out: &mut String, curve: &Curve, index: usize, colour: &str) {
    let (x, y) = (
        WIDTH - RIGHT - 110.0,
        HEIGHT - BOTTOM - 60.0 + 18.0 * index as f64,
    );
    let _ = writeln!(
        out,
        "<path d=\"M{x} {y}h24\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
         <text x=\"{}\" y=\"{}\">{}</text>",
        x + 32.0,
        y + 4.0,
        curve.name,
    );
}

/// The next of 1, 2, 5, 10, 20, 50, ... by which the axis divides well.
fn round_up(most: f64) -> f64 {
    let scale = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0];
    let fits = steps
        .into_iter()
        .map(|step| step * scale)
        .find(|step| *step >= most);
    fits.unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_curve_has_its_line_and_its_name_within_the_axes() {
        let mut times = Times::default();
        for millis in 1..=120 {
            times.add(Duration::from_millis(millis));
        }
        let curves = [
            Curve::new("ours", &times),
            Curve::new("theirs", &Times::default()),
        ];
        let svg = svg("A title", &curves);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains(">ours<") && svg.contains(">theirs<") && svg.contains(">150<"));
    }
}
