//! Tables: the only file that knows how they are drawn.

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

/// Widest line of a table whose columns may wrap.
pub const WIDTH: u16 = 120;

/// A column's title and side.
#[derive(Clone, Copy)]
pub enum Column<'a> {
    /// Words.
    Left(&'a str),
    /// Numbers.
    Right(&'a str),
}

/// Wrapped to [`WIDTH`] or as wide as its contents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Long words are broken over lines.
    Wrapped,
    /// Never broken.
    Natural,
}

const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A header, a rule and the rows; no trailing blanks, no newline at the end.
pub fn table(columns: &[Column<'_>], rows: Vec<Vec<String>>, fit: Fit) -> String {
    let mut table = Table::new();
    table.load_style(STYLE);
    if fit == Fit::Wrapped {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    }
    let cell = |column: &Column<'_>, text: &str| match column {
        Column::Left(_) => Cell::new(text),
        Column::Right(_) => Cell::new(text).set_alignment(CellAlignment::Right),
    };
    table.set_header(columns.iter().map(|column| match column {
        Column::Left(title) | Column::Right(title) => cell(column, title),
    }));
    for row in rows {
        table.add_row(columns.iter().zip(&row).map(|(column, text)| cell(column, text)));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// `text` broken at blanks into lines of at most `width` letters, each after `indent` blanks. A longer word
/// stays whole.
pub fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width.saturating_sub(indent)
        {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    let margin = " ".repeat(indent);
    lines.iter().map(|line| format!("{margin}{line}")).collect::<Vec<_>>().join("\n")
}

/// A value under a label of 16 letters, wrapped below itself.
pub fn labelled(label: &str, text: &str) -> String {
    let block = wrapped(text, 18, usize::from(WIDTH));
    let between = if label.chars().count() < 16 { "" } else { "  " };
    format!("  {label:<16}{between}{}", block.trim_start())
}
