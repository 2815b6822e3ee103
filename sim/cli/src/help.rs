//! `schema`, `explain`, `completions`, `man`: what the tool knows about itself.

use std::fmt::Write;

use anyhow::bail;
use clap::CommandFactory;
use peerbus_machine::codes::Entry;

use crate::args::{self, FileKind, Root};
use crate::{Answer, codes, files};

/// Prints a JSON schema or a template.
pub fn schema(args: &args::Schema) -> anyhow::Result<Answer> {
    let text = match (args.kind, args.template) {
        (FileKind::Machine, true) => peerbus_machine::schema::TEMPLATE.to_owned(),
        (FileKind::Scenario, true) => peerbus_scenario::schema::TEMPLATE.to_owned(),
        (FileKind::Replay, true) => peerbus_system::replay::schema::TEMPLATE.to_owned(),
        (FileKind::Replay, false) => {
            serde_json::to_string_pretty(&peerbus_system::replay::schema::schema())? + "\n"
        }
        (FileKind::Machine, false) => {
            serde_json::to_string_pretty(&peerbus_machine::schema::schema())? + "\n"
        }
        (FileKind::Scenario, false) => {
            serde_json::to_string_pretty(&peerbus_scenario::schema::schema())? + "\n"
        }
    };
    files::answer(&text)?;
    Ok(Answer::Yes)
}

/// Explains a code.
pub fn explain(args: &args::Explain) -> anyhow::Result<Answer> {
    match codes::explain(&args.code) {
        Some(entry) => files::answer(&explanation(entry))?,
        None => bail!(
            "there is no code `{}`; codes are like M0101 and stand in `[ ]` before a message",
            args.code
        ),
    }
    Ok(Answer::Yes)
}

fn explanation(entry: &Entry) -> String {
    let mut text = format!("{}: {}\n\n", entry.code, entry.title);
    text.push_str(&wrapped(entry.explanation));
    for (heading, example) in [("Wrong", entry.wrong), ("Right", entry.right)] {
        let written = write!(text, "\n{heading}:\n\n");
        assert!(written.is_ok(), "writing to a string cannot fail");
        for line in example.lines() {
            text.push_str(format!("    {line}").trim_end());
            text.push('\n');
        }
    }
    text
}

/// `text` in lines of at most 80 columns.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= 80 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

/// Prints a shell's completion script.
pub fn completions(args: &args::Completions) -> anyhow::Result<Answer> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Root::command(), "peerbus", &mut script);
    files::answer(&String::from_utf8(script)?)?;
    Ok(Answer::Yes)
}

/// Prints the manual page of the tool or of one command.
pub fn man(args: &args::Man) -> anyhow::Result<Answer> {
    let mut root = Root::command();
    root.build();
    let command = match &args.command {
        None => root,
        Some(name) => match root.find_subcommand(name) {
            Some(found) => found.clone(),
            None => bail!("there is no command `{name}`; `peerbus --help` lists them"),
        },
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    files::answer(&String::from_utf8(page)?)?;
    Ok(Answer::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_at_most_80_columns() {
        let text = wrapped(&"µµµµ word ".repeat(60));
        assert!(text.lines().all(|line| line.chars().count() <= 80));
        assert_eq!(text.split_whitespace().count(), 120);
        assert_eq!(wrapped("a\n b"), "a b\n");
    }
}
