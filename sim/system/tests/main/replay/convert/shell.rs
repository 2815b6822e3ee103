//! What was done on a booted machine is written down as lines of a shell. [`expand`] runs the little of it that decides
//! which commands were given: loops over words, functions, variables.

use std::collections::{BTreeMap, VecDeque};

/// The commands in order, and the first line that depends on what a program printed, where they end.
pub struct Commands {
    pub known: Vec<String>,
    pub unknown: Option<String>,
}

pub fn expand(script: &str) -> Commands {
    let mut shell = Shell::default();
    let unknown = shell.run(&statements(script)).err();
    Commands { known: shell.commands, unknown }
}

/// Lines, and what semicolons separate, but for what stands in quotation marks or `$(…)`. `do` and `{` begin a
/// statement of their own.
fn statements(script: &str) -> Vec<String> {
    let (mut all, mut current) = (Vec::new(), String::new());
    let (mut depth, mut quoted) = (0, false);
    for letter in script.chars() {
        match letter {
            '"' => quoted = !quoted,
            '(' if current.ends_with('$') || depth > 0 => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ => {}
        }
        let ended = matches!(letter, ';' | '\n') || letter == ' ' && current.trim() == "do";
        if depth == 0 && !quoted && ended {
            all.push(std::mem::take(&mut current));
        } else {
            current.push(letter);
        }
        if current.ends_with("() {") {
            all.push(std::mem::take(&mut current));
        }
    }
    all.push(current);
    all.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

#[derive(Default)]
struct Shell {
    variables: BTreeMap<String, String>,
    functions: BTreeMap<String, Vec<String>>,
    commands: Vec<String>,
}

impl Shell {
    /// Runs `statements`; the error is the one that cannot be run.
    fn run(&mut self, statements: &[String]) -> Result<(), String> {
        let mut rest: VecDeque<&String> = statements.iter().collect();
        while let Some(statement) = rest.pop_front() {
            if let Some(name) = statement.strip_suffix("() {") {
                let body = block(&mut rest, |_| false, "}");
                self.functions.insert(name.to_owned(), body);
            } else if let Some((variable, words)) =
                statement.strip_prefix("for ").and_then(|line| line.split_once(" in "))
            {
                let body = block(&mut rest, |line| line.starts_with("for "), "done");
                if words.contains("$(") {
                    return Err(statement.clone());
                }
                for word in self.substitute(words).split(' ') {
                    self.variables.insert(variable.to_owned(), word.to_owned());
                    self.run(&body)?;
                }
            } else if statement != "do" {
                self.command(statement)?;
            }
        }
        Ok(())
    }

    fn command(&mut self, statement: &str) -> Result<(), String> {
        let name = statement.split([' ', '=']).next().unwrap_or_default();
        if statement[name.len()..].starts_with('=') {
            let value = self.substitute(&statement[name.len() + 1..]);
            self.variables.insert(name.to_owned(), value);
            return Ok(());
        }
        let line = self.substitute(statement);
        if let Some(body) = self.functions.get(name).cloned() {
            for (number, word) in line.split(' ').enumerate().skip(1) {
                self.variables.insert(number.to_string(), word.to_owned());
            }
            return self.run(&body);
        }
        if !["o", "setpci"].contains(&name) {
            return Err(statement.to_owned());
        }
        self.commands.push(line);
        Ok(())
    }

    /// `$name`, `${name}`, `${name%:*}` (what stands before the last colon) and `${name#*:}` (behind the first one).
    fn substitute(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some((inside, after)) = after.strip_prefix('{').and_then(|text| text.split_once('}')) {
                out.push_str(self.part(inside));
                rest = after;
                continue;
            }
            let end = after.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(after.len());
            match self.variables.get(&after[..end]) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("${}", &after[..end])),
            }
            rest = &after[end..];
        }
        out + rest
    }

    fn part(&self, inside: &str) -> &str {
        let value = |name: &str| self.variables.get(name).map_or("", String::as_str);
        if let Some(name) = inside.strip_suffix("%:*") {
            value(name).rsplit_once(':').map_or(value(name), |(before, _)| before)
        } else if let Some(name) = inside.strip_suffix("#*:") {
            value(name).split_once(':').map_or(value(name), |(_, behind)| behind)
        } else {
            value(inside)
        }
    }
}

/// Takes statements up to the one that is `end`, which is taken and not returned; those for which `opens` is true have
/// one of their own.
fn block(rest: &mut VecDeque<&String>, opens: impl Fn(&str) -> bool, end: &str) -> Vec<String> {
    let (mut body, mut depth) = (Vec::new(), 0);
    while let Some(statement) = rest.pop_front() {
        if statement == end {
            if depth == 0 {
                break;
            }
            depth -= 1;
        } else if opens(statement) {
            depth += 1;
        }
        body.push(statement.clone());
    }
    body
}

#[test]
fn loops_functions_and_variables_are_expanded() {
    let check = |script: &str, expected: &[&str], unknown: Option<&str>| {
        let found = expand(script);
        assert_eq!(found.known, expected, "{script}");
        assert_eq!(found.unknown.as_deref(), unknown, "{script}");
    };
    check("o reg 2M\no dist base", &["o reg 2M", "o dist base"], None);
    check(
        "A=1; B=2\na() { setpci -s $1 w=$2; }\na $A $B; a $B x",
        &["setpci -s 1 w=2", "setpci -s 2 w=x"],
        None,
    );
    check(
        "for i in 1 2; do\n o a $i; o b ${i}x\ndone\no c",
        &["o a 1", "o b 1x", "o a 2", "o b 2x", "o c"],
        None,
    );
    check("for v in 8086:29c0; do o spoof ${v%:*} ${v#*:}; done", &["o spoof 8086 29c0"], None);
    check("for a in 1 2; do for b in 3; do o $a $b; done; done", &["o 1 3", "o 2 3"], None);
    check("W=$(dmesg | sed \"s/;/ /\"); o w $W x", &["o w $(dmesg | sed \"s/;/ /\") x"], None);
    check("o a\nfor d in $(ls); do o $d; done\no b", &["o a"], Some("for d in $(ls)"));
    check("o a; [ $n = 1 ] && break", &["o a"], Some("[ $n = 1 ] && break"));
}
