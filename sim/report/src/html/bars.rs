//! Throughput of flows as horizontal bars, each with its name and number.

use maud::{Markup, html};

use crate::number;

/// Bars of one chart at most.
pub const BARS: usize = 40;
const WIDTH: usize = 960;
const ROW: usize = 26;
/// Letters of a name; the whole name is in the bar's title and in the table below.
const LETTERS: usize = 44;

/// Bars of name and throughput in millionths of a GB/s, in the order given; `None` when nothing was delivered.
pub fn chart(bars: &[(String, Option<u64>)]) -> Markup {
    let max = bars.iter().filter_map(|bar| bar.1).max().unwrap_or(0).max(1);
    let letters = bars.iter().map(|bar| bar.0.chars().count()).max().unwrap_or(0).min(LETTERS);
    let left = letters * 8 + 12;
    let room = WIDTH - left - 80;
    let height = bars.len() * ROW + 4;
    html! {
        figure role="img" aria-label="Throughput of flows, GB/s" {
            svg viewBox=(format!("0 0 {WIDTH} {height}")) font-size="13" {
                @for (at, (name, value)) in bars.iter().enumerate() {
                    @let (y, base) = (at * ROW + 4, at * ROW + 20);
                    @let length = length(value.unwrap_or(0), max, room);
                    @let text = value.map_or("nothing delivered".to_owned(), number::gbytes_text);
                    g {
                        title { (name) ": " (text) }
                        text.ink x=(left - 8) y=(base) text-anchor="end" { (shortened(name)) }
                        rect x=(left) y=(y) width=(length) height=(ROW - 6) fill="var(--bar)" {}
                        text.ink x=(left + length + 6) y=(base) { (text) }
                    }
                }
                line x1=(left) y1="0" x2=(left) y2=(height) stroke="var(--ink)" {}
            }
            p.note { "Throughput of each flow in GB/s (10⁹ bytes per second)." }
        }
    }
}

fn length(value: u64, max: u64, room: usize) -> usize {
    let room = u128::try_from(room).unwrap_or(0);
    usize::try_from(u128::from(value) * room / u128::from(max)).unwrap_or(0)
}

/// A name's end tells more than its middle.
pub fn shortened(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= LETTERS {
        return name.to_owned();
    }
    let (head, tail) = (&letters[..LETTERS / 2 - 1], &letters[letters.len() - LETTERS / 2..]);
    format!("{}…{}", head.iter().collect::<String>(), tail.iter().collect::<String>())
}
