//! The text report.

use peerbus_report::text::{TextOptions, render};

use crate::sample;

#[test]
fn print() {
    println!("{}", render(&sample::small(), TextOptions::PLAIN));
    println!("{}", render(&sample::matrix(8), TextOptions::PLAIN));
    println!("{}", render(&sample::variants(), TextOptions::PLAIN));
}
