//! Charts with axes, as inline SVG. The only file that knows how they are drawn.
//!
//! Colours are variables of the page's style sheet (`--ink`, `--grid`, `--s0` to `--s7`), so that one chart is right on
//! a light page, a dark one and on paper. Text has no measured width here: nothing may depend on it but the axes'
//! numbers, so legends belong to the page.

use peerbus_units::{Bytes, Picos};
use plotters::coord::Shift;
use plotters::prelude::{
    BLACK, ChartBuilder, Color, DrawingArea, IntoDrawingArea, IntoFont, LineSeries, RGBColor, SVGBackend,
    TextStyle,
};

use crate::number;

/// Lines of one chart at most; there are as many colours.
pub const LINES: usize = 8;
const SIZE: (u32, u32) = (960, 300);
/// Steps of a line at most; more intervals are joined.
const STEPS: usize = 240;

const INK: RGBColor = RGBColor(2, 0, 0);
const GRID: RGBColor = RGBColor(2, 0, 1);

/// Time a link was sending, per interval.
pub struct Line<'a> {
    /// One entry per interval.
    pub busy: &'a [Picos],
}

/// Share of time links were sending, over simulated time: at most [`LINES`] lines in the order given, with the colours
/// `--s0`, `--s1`, …. `None` when there is no time or nothing to draw.
pub fn utilisation(end: Picos, interval: Picos, lines: &[Line<'_>]) -> Option<String> {
    let longest = lines.iter().map(|line| line.busy.len()).max().unwrap_or(0);
    if end == Picos::ZERO || interval == Picos::ZERO || longest == 0 {
        return None;
    }
    let (unit, scale) = axis_unit(end);
    let joined = longest.div_ceil(STEPS);
    let lines: Vec<Vec<(f64, f64)>> =
        lines.iter().take(LINES).map(|line| steps(line.busy, joined, interval, end, scale)).collect();
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let axes = Axes { end: decimal(end.0, scale), unit, top: 100.0, what: "link busy, %".to_owned() };
    let drawn = draw(&root, &axes, lines);
    drop(root);
    assert!(drawn, "drawing into a string cannot fail");
    Some(for_page(&svg))
}

/// Sizes over simulated time, sampled at multiples of `interval` from 0 on: at most [`LINES`] lines, the axis up to
/// `most`. `None` when there is no time or nothing to draw.
pub fn sizes(end: Picos, interval: Picos, most: Bytes, lines: &[&[u64]]) -> Option<String> {
    let longest = lines.iter().map(|line| line.len()).max().unwrap_or(0);
    if end == Picos::ZERO || interval == Picos::ZERO || most == Bytes::ZERO || longest == 0 {
        return None;
    }
    let (unit, scale) = axis_unit(end);
    let (name, shift) = size_unit(most);
    let every = longest.div_ceil(STEPS);
    let corner = |(at, size): (u64, &u64)| {
        (decimal(interval.0.saturating_mul(at).min(end.0), scale), decimal(*size, 1 << shift))
    };
    let line = |line: &&[u64]| (0u64..).zip(line.iter()).step_by(every).map(corner).collect();
    let lines: Vec<Vec<(f64, f64)>> = lines.iter().take(LINES).map(line).collect();
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let (end, top) = (decimal(end.0, scale), decimal(most.0, 1 << shift));
    let drawn = draw(&root, &Axes { end, unit, top, what: format!("memory, {name}") }, lines);
    drop(root);
    assert!(drawn, "drawing into a string cannot fail");
    Some(for_page(&svg))
}

/// Packets that waited, at the ends of intervals: at most [`LINES`] lines. `None` when there is no time or none waited.
pub fn queues(end: Picos, interval: Picos, lines: &[&[u32]]) -> Option<String> {
    let longest = lines.iter().map(|line| line.len()).max().unwrap_or(0);
    let most = lines.iter().flat_map(|line| line.iter()).max().copied().unwrap_or(0);
    if end == Picos::ZERO || interval == Picos::ZERO || most == 0 {
        return None;
    }
    let (unit, scale) = axis_unit(end);
    let every = longest.div_ceil(STEPS);
    let line = |line: &&[u32]| {
        let groups = (1u64..).zip(line.chunks(every)).map(|(at, group)| {
            let intervals = at.saturating_mul(u64::try_from(every).unwrap_or(u64::MAX));
            let time = interval.0.saturating_mul(intervals).min(end.0);
            (decimal(time, scale), f64::from(group.iter().max().copied().unwrap_or(0)))
        });
        std::iter::once((0.0, 0.0)).chain(groups).collect()
    };
    let lines: Vec<Vec<(f64, f64)>> = lines.iter().take(LINES).map(line).collect();
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let axes =
        Axes { end: decimal(end.0, scale), unit, top: f64::from(most), what: "packets waiting".to_owned() };
    let drawn = draw(&root, &axes, lines);
    drop(root);
    assert!(drawn, "drawing into a string cannot fail");
    Some(for_page(&svg))
}

/// Name of the unit in which the size is between 1 and 1024, and its power of two.
fn size_unit(size: Bytes) -> (&'static str, u32) {
    const UNITS: [(&str, u32); 6] =
        [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    UNITS.into_iter().find(|(_, shift)| size.0 >> shift > 0).unwrap_or(("B", 0))
}

/// Name and picoseconds of the unit in which the axis ends between 1 and 1000.
fn axis_unit(end: Picos) -> (&'static str, u64) {
    const UNITS: [(&str, u64); 4] =
        [("s", 1_000_000_000_000), ("ms", 1_000_000_000), ("us", 1_000_000), ("ns", 1_000)];
    UNITS.into_iter().find(|(_, scale)| end.0 >= *scale).unwrap_or(("ps", 1))
}

fn decimal(value: u64, scale: u64) -> f64 {
    number::from_millionths(u128::from(value) * 1_000_000 / u128::from(scale))
}

/// A line's corners: level over each interval, in units of the axis and per cent.
fn steps(busy: &[Picos], joined: usize, interval: Picos, end: Picos, scale: u64) -> Vec<(f64, f64)> {
    let mut corners = Vec::new();
    let mut from = 0u64;
    for group in busy.chunks(joined) {
        let intervals = u64::try_from(group.len()).unwrap_or(u64::MAX);
        let to = from.saturating_add(interval.0.saturating_mul(intervals)).min(end.0);
        if to <= from {
            break;
        }
        let sending: u128 = group.iter().map(|time| u128::from(time.0)).sum();
        let percent = number::from_millionths(sending * 100_000_000 / u128::from(to - from));
        corners.push((decimal(from, scale), percent.min(100.0)));
        corners.push((decimal(to, scale), percent.min(100.0)));
        from = to;
    }
    corners
}

/// Both axes begin at 0.
struct Axes<'a> {
    /// End of the axis of time.
    end: f64,
    /// Its unit.
    unit: &'a str,
    /// End of the other axis.
    top: f64,
    /// What it shows, with its unit.
    what: String,
}

/// True when the chart is in the buffer.
fn draw(root: &DrawingArea<SVGBackend<'_>, Shift>, axes: &Axes<'_>, lines: Vec<Vec<(f64, f64)>>) -> bool {
    let text = || TextStyle::from(("sans-serif", 14).into_font()).color(&INK);
    let chart = ChartBuilder::on(root)
        .margin_top(12)
        .margin_right(24)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..axes.end, 0.0..axes.top);
    let Ok(mut chart) = chart else { return false };
    let mesh = chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(BLACK.mix(0.0))
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(text())
        .axis_desc_style(text())
        .x_labels(10)
        .y_labels(6)
        .x_desc(format!("simulated time, {}", axes.unit))
        .y_desc(axes.what.as_str())
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .draw();
    if mesh.is_err() {
        return false;
    }
    for (colour, line) in (0u8..).zip(lines) {
        let style = plotters::style::ShapeStyle::from(RGBColor(1, 0, colour)).stroke_width(2);
        if chart.draw_series(LineSeries::new(line, style)).is_err() {
            return false;
        }
    }
    root.present().is_ok()
}

/// An axis number without needless decimals.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Marks become variables of the page; size and name space are the page's business.
fn for_page(svg: &str) -> String {
    let (width, height) = SIZE;
    let mut svg = svg
        .replacen(&format!(" width=\"{width}\" height=\"{height}\""), "", 1)
        .replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1)
        .replace("#020000", "var(--ink)")
        .replace("#020001", "var(--grid)");
    for colour in 0..LINES {
        svg = svg.replace(&format!("#01000{colour}"), &format!("var(--s{colour})"));
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_cover_the_time_there_was() {
        // Two whole intervals of 10 ns and one of 5 ns, half of each busy.
        let busy = [Picos(5_000), Picos(5_000), Picos(2_500)];
        let corners = steps(&busy, 1, Picos::nanos(10), Picos::nanos(25), 1_000);
        assert_eq!(
            corners,
            [(0.0, 50.0), (10.0, 50.0), (10.0, 50.0), (20.0, 50.0), (20.0, 50.0), (25.0, 50.0)]
        );
        let joined = steps(&busy, 2, Picos::nanos(10), Picos::nanos(25), 1_000);
        assert_eq!(joined, [(0.0, 50.0), (20.0, 50.0), (20.0, 50.0), (25.0, 50.0)]);
    }

    #[test]
    fn a_chart_is_the_same_twice_and_has_no_colours_of_its_own() {
        let busy = vec![Picos(3_000); 1_000];
        let lines = || (0..9).map(|_| Line { busy: &busy }).collect::<Vec<_>>();
        let chart = || utilisation(Picos::micros(10), Picos::nanos(10), &lines()).unwrap_or_default();
        assert_eq!(chart(), chart());
        for wanted in ["var(--s0)", "var(--s7)", "var(--ink)", "var(--grid)", "simulated time, us"] {
            assert!(chart().contains(wanted), "{wanted}");
        }
        assert!(!chart().contains('#') && !chart().contains("http"));
    }

    #[test]
    fn sizes_have_an_axis_of_their_own() {
        let (free, hole) = (vec![3 << 20; 600], vec![1 << 20; 600]);
        let chart = |most| sizes(Picos::micros(600), Picos::micros(1), most, &[&free, &hole]);
        let drawn = chart(Bytes::mib(4)).unwrap_or_default();
        for wanted in ["memory, MiB", "simulated time, us", "var(--s0)", "var(--s1)"] {
            assert!(drawn.contains(wanted), "{wanted}");
        }
        assert_eq!(chart(Bytes::mib(4)), chart(Bytes::mib(4)));
        assert_eq!(chart(Bytes::ZERO), None);
        assert_eq!(sizes(Picos::micros(1), Picos::micros(1), Bytes(1), &[]), None);
        assert_eq!(size_unit(Bytes(1023)), ("B", 0));
        assert_eq!(size_unit(Bytes(u64::MAX)), ("EiB", 60));
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        let busy = [Picos(1)];
        assert_eq!(utilisation(Picos::ZERO, Picos(1), &[Line { busy: &busy }]), None);
        assert_eq!(utilisation(Picos(1), Picos::ZERO, &[Line { busy: &busy }]), None);
        assert_eq!(utilisation(Picos(1), Picos(1), &[Line { busy: &[] }]), None);
        assert_eq!(utilisation(Picos(1), Picos(1), &[]), None);
        assert!(
            utilisation(Picos(u64::MAX), Picos(u64::MAX), &[Line { busy: &[Picos(u64::MAX); 3] }]).is_some()
        );
    }
}
