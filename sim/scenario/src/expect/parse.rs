//! Reading a condition.
//!
//! ```text
//! condition = side sign side                          sign: == != < <= > >= contains
//!           | side "~" side "within" percent
//! side      = [number "*"] value ["*" number]
//! value     = quantity | "text" | word
//!           | "flow." [variant "/"] name "." property
//!           | "matrix." [variant "/"] name "." property
//!           | "pool." [variant "/"] name "." property
//!           | [variant "/"] "errors" | "error." [variant "/"] kind "." property
//!           | "counter." [variant "/"] place "." counter
//! ```
//!
//! `*` inside a name stands for any characters.

use std::ops::Range;

use peerbus_machine::load::{list_words, nearest};
use peerbus_system::expand::Pattern;
use peerbus_system::outcome::COUNTERS;

use super::condition::{
    Condition, ErrorValue, FlowValue, MatrixValue, Measure, PoolValue, Problem, Side, SpaceValue, Term, Test,
    What,
};
use super::number::Ratio;
use super::token::{Kind, Token, tokens};
use super::value::{self, Dimension, Value, number_length, quantity, unit_scale};
use crate::codes;

const EXAMPLE: &str = "write it like `flow.NAME.throughput >= 24GB/s`";

/// Reads one condition.
///
/// # Errors
///
/// The first problem, with its place in `text`.
pub fn parse(text: &str) -> Result<Condition, Problem> {
    let tokens =
        tokens(text).map_err(|at| syntax(at..at + 1, "this quotation mark is not closed", "close it"))?;
    let mut reader = Reader { text, tokens: &tokens, at: 0 };
    let left = reader.side()?;
    let (test, sign) = reader.test()?;
    let right = reader.side()?;
    let test = if test == Near { Test::Near(reader.within()?) } else { test.plain() };
    if let Some(extra) = reader.peek() {
        let span = extra.span.clone();
        return Err(syntax(
            span,
            "the condition ends before this",
            "a condition is one comparison of two values",
        ));
    }
    let condition = Condition { text: text.to_owned(), left, test, right };
    check_kinds(&condition, sign)?;
    Ok(condition)
}

/// Reads a measured value alone, such as `flow.NAME.throughput`.
///
/// # Errors
///
/// What is wrong, with its place in `text`.
pub fn parse_measure(text: &str) -> Result<Measure, Problem> {
    let word = text.trim();
    let start = text.len() - text.trim_start().len();
    match name(word, start)? {
        Term::Measure(measure) => Ok(measure),
        Term::Constant(_) => {
            let help = "write it like `flow.NAME.throughput`";
            Err(syntax(0..text.len(), "this is measured by no run", help))
        }
    }
}

fn syntax(span: Range<usize>, message: &str, help: &str) -> Problem {
    Problem { code: codes::CONDITION_SYNTAX, span, message: message.to_owned(), help: help.to_owned() }
}

/// The two sides can be compared, and one of them is measured.
fn check_kinds(condition: &Condition, sign: Range<usize>) -> Result<(), Problem> {
    let (left, right) = (&condition.left, &condition.right);
    if left.measure().is_none() && right.measure().is_none() {
        let help =
            "one side must be measured: flow.…, matrix.…, pool.…, space.…, counter.…, errors or error.…";
        return Err(syntax(0..condition.text.len(), "nothing in this condition is measured by a run", help));
    }
    if condition.test.fits(left.kind(), right.kind()) {
        return Ok(());
    }
    let word = condition.test.sign();
    let message = format!("`{word}` cannot compare {} with {}", left.kind(), right.kind());
    let help = match (left.kind(), right.kind()) {
        (value::Kind::Number(_), value::Kind::Number(Dimension::Count)) => "write the number with its unit",
        (value::Kind::List, _) => "a list is asked with `contains \"…\"`",
        (value::Kind::Text, value::Kind::Text) => "texts are compared with ==, != or contains",
        _ => "compare values of the same kind",
    };
    Err(Problem { code: codes::CONDITION_KINDS, span: sign, message, help: help.to_owned() })
}

/// A test whose percentage is not read yet.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Sign {
    Plain(Test),
    Near,
}
use Sign::Near;

impl Sign {
    fn plain(self) -> Test {
        match self {
            Sign::Plain(test) => test,
            Near => Test::Equal,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn word(&self, token: &Token) -> &'a str {
        &self.text[token.span.clone()]
    }

    /// The end of the text, where something is missing.
    fn end(&self) -> Range<usize> {
        let end = self.text.trim_end().len();
        end..end
    }

    fn side(&mut self) -> Result<Side, Problem> {
        let start = self.peek().map_or(self.end().start, |token| token.span.start);
        let mut terms = vec![self.value()?];
        while self.peek().is_some_and(|token| token.kind == Kind::Times) {
            self.at += 1;
            terms.push(self.value()?);
        }
        let span = start..self.tokens[self.at - 1].span.end;
        product(terms, span)
    }

    fn value(&mut self) -> Result<Term, Problem> {
        let Some(token) = self.peek() else {
            return Err(syntax(self.end(), "a value is missing at the end", EXAMPLE));
        };
        self.at += 1;
        let word = self.word(token);
        match token.kind {
            Kind::Sign | Kind::Times => {
                Err(syntax(token.span.clone(), &format!("a value is missing before `{word}`"), EXAMPLE))
            }
            Kind::Quoted => Ok(Term::Constant(Value::Text(word[1..word.len() - 1].to_owned()))),
            Kind::Word if number_length(word) > 0 => self.number(token),
            Kind::Word => name(word, token.span.start),
        }
    }

    /// A number, whose unit may be the next word.
    fn number(&mut self, token: &Token) -> Result<Term, Problem> {
        let mut span = token.span.clone();
        let unit =
            self.peek().filter(|next| next.kind == Kind::Word && unit_scale(self.word(next)).is_some());
        if let Some(unit) = unit.filter(|_| number_length(self.word(token)) == span.len()) {
            self.at += 1;
            span.end = unit.span.end;
        }
        let help = "units are B, KiB, MiB, GiB, KB, MB, GB; ps, ns, us, ms, s; B/s, MB/s, GB/s, Gbit/s";
        quantity(&self.text[span.clone()]).map(Term::Constant).map_err(|message| syntax(span, &message, help))
    }

    fn test(&mut self) -> Result<(Sign, Range<usize>), Problem> {
        let help = "signs are ==, !=, <, <=, >, >=, contains, and `a ~ b within 5%`";
        let Some(token) = self.peek() else {
            return Err(syntax(self.end(), "a comparison is missing at the end", help));
        };
        let tests = [
            Test::Equal,
            Test::NotEqual,
            Test::Less,
            Test::AtMost,
            Test::Greater,
            Test::AtLeast,
            Test::Contains,
        ];
        let word = self.word(token);
        let sign = match tests.into_iter().find(|test| test.sign() == word) {
            _ if token.kind == Kind::Quoted => None,
            Some(test) => Some(Sign::Plain(test)),
            None if word == "~" => Some(Near),
            None => None,
        };
        let Some(sign) = sign else {
            return Err(syntax(token.span.clone(), &format!("expected a comparison, found `{word}`"), help));
        };
        self.at += 1;
        Ok((sign, token.span.clone()))
    }

    /// `within 5%`, as a share.
    fn within(&mut self) -> Result<Ratio, Problem> {
        let help = "write it like `a ~ b within 5%`";
        let missing = |reader: &Reader<'_>| {
            let span = reader.peek().map_or(reader.end(), |token| token.span.clone());
            syntax(span, "`~` needs `within` and a percentage", help)
        };
        if self.peek().is_none_or(|token| self.word(token) != "within") {
            return Err(missing(self));
        }
        self.at += 1;
        let token = self.peek().ok_or_else(|| missing(self))?;
        let percent = self.word(token).strip_suffix('%').and_then(Ratio::decimal);
        let share = percent.and_then(|percent| percent.times(Ratio::new(1, 100)?));
        let share = share.ok_or_else(|| missing(self))?;
        self.at += 1;
        Ok(share)
    }
}

/// Values multiplied: at most one that is more than a plain number.
fn product(terms: Vec<Term>, span: Range<usize>) -> Result<Side, Problem> {
    let wrong =
        |message: &str| syntax(span.clone(), message, "multiply one value with a plain number, `0.9 * …`");
    let mut factor: Option<Ratio> = None;
    let mut single: Option<Term> = None;
    for term in terms {
        if let Term::Constant(Value::Number(number, Dimension::Count)) = term {
            let product = factor.map_or(Some(number), |known| known.times(number));
            factor = Some(product.ok_or_else(|| wrong("the number is too large"))?);
        } else if single.replace(term).is_some() {
            return Err(wrong("two values with units cannot be multiplied"));
        }
    }
    match (single, factor) {
        (None, factor) => {
            let number = factor.unwrap_or(Ratio::whole(0));
            Ok(Side { factor: None, term: Term::Constant(Value::Number(number, Dimension::Count)), span })
        }
        (Some(term), factor) => {
            let side = Side { factor, term, span: span.clone() };
            if side.factor.is_some() && !matches!(side.kind(), value::Kind::Number(_)) {
                return Err(wrong("a text cannot be multiplied"));
            }
            constant(side).ok_or_else(|| wrong("the number is too large"))
        }
    }
}

/// Multiplies what is known already.
fn constant(side: Side) -> Option<Side> {
    match (&side.term, side.factor) {
        (Term::Constant(value), Some(factor)) => {
            Some(Side { factor: None, term: Term::Constant(value.times(factor)?), span: side.span })
        }
        _ => Some(side),
    }
}

/// A measured value, or a word that stands for itself, such as `BUS_ADDR`.
fn name(word: &str, at: usize) -> Result<Term, Problem> {
    let span = at..at + word.len();
    let measure = |what, variant: Option<&str>, name: &str| {
        Term::Measure(Measure {
            what,
            variant: variant.map(Pattern::new),
            name: Pattern::new(name),
            span: span.clone(),
        })
    };
    if word == "errors" {
        return Ok(measure(What::Errors, None, ""));
    }
    if let Some(variant) = word.strip_suffix("/errors") {
        return Ok(measure(What::Errors, Some(variant), ""));
    }
    let Some((family, rest)) = word.split_once('.') else {
        return Ok(Term::Constant(Value::Text(word.to_owned())));
    };
    let at = at + family.len() + 1;
    let (what, target) = match family {
        "flow" => property(rest, at, FlowValue::ALL, What::Flow)?,
        "matrix" => property(rest, at, MatrixValue::ALL, What::Matrix)?,
        "pool" => property(rest, at, PoolValue::ALL, What::Pool)?,
        "space" => property(rest, at, SpaceValue::ALL, What::Space)?,
        "error" => property(rest, at, ErrorValue::ALL, What::Error)?,
        "counter" => property(rest, at, &COUNTERS.map(|word| (word, word)), What::Counter)?,
        _ => return Err(unknown_family(family, span)),
    };
    let (variant, name) = match target.split_once('/') {
        Some((variant, name)) => (Some(variant), name),
        None => (None, target),
    };
    if name.is_empty() || variant == Some("") {
        return Err(syntax(span, "a name is missing", &format!("write it like `{family}.NAME.…`")));
    }
    Ok(measure(what, variant, name))
}

fn unknown_family(family: &str, span: Range<usize>) -> Problem {
    let families = ["flow", "matrix", "pool", "space", "error", "counter"];
    let known = match nearest(family, families) {
        Some(near) => format!("did you mean `{near}.…`?"),
        None => {
            "measured values are flow.…, matrix.…, pool.…, space.…, counter.…, errors and error.…; put texts in quotation marks"
                .to_owned()
        }
    };
    let span = span.start..span.start + family.len();
    Problem {
        code: codes::CONDITION_VALUE,
        span,
        message: format!("there are no values of `{family}`"),
        help: known,
    }
}

/// Cuts the property off the end of `rest`; the remainder is the name it belongs to.
fn property<'a, T: Copy>(
    rest: &'a str,
    at: usize,
    properties: &[(T, &str)],
    what: fn(T) -> What,
) -> Result<(What, &'a str), Problem> {
    for (property, word) in properties {
        if let Some(name) = rest.strip_suffix(word).and_then(|name| name.strip_suffix('.')) {
            return Ok((what(*property), name));
        }
    }
    let words: Vec<&str> = properties.iter().map(|(_, word)| *word).collect();
    let found = rest.rsplit_once('.').map_or(rest, |(_, found)| found);
    let start = at + rest.len() - found.len();
    let list = list_words(&words, words.len());
    let help = match nearest(found, words.iter().copied()) {
        _ if found.contains('*') => "put blanks around `*` to multiply".to_owned(),
        Some(near) => format!("did you mean `{near}`? values are {list}"),
        None => format!("values are {list}"),
    };
    let message = match rest.contains('.') {
        true => format!("there is no value `{found}`"),
        false => format!("`{rest}` has no value behind its name"),
    };
    Err(Problem { code: codes::CONDITION_VALUE, span: start..at + rest.len(), message, help })
}
