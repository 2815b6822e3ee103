//! Which differences are allowed, and why.
//!
//! ```
//! use peerbus_report::compare::Policy;
//! let policy = Policy::parse(r#"Policy(rules: [
//!     (key: "run.events", change: Ignore, reason: "how the queue works is not a result"),
//!     (key: "flows[*].throughput_gbytes_per_s", change: Increase(), reason: "faster is welcome"),
//!     (key: "flows[*].latency_ns.p99", change: Within(max_percent: 2.0), reason: "depends on arbitration"),
//! ])"#);
//! assert_eq!(policy.map(|policy| policy.rules.len()), Ok(3));
//! ```
//!
//! `*` in a key stands for any letters, none included. A difference is allowed by the first rule that matches and
//! permits it. All but `Ignore` permit changed numbers only: a value or entry that comes or goes needs `Ignore`. A
//! matrix cell and its flow are two values; a rule for one says nothing of the other.

use ron::Options;
use ron::extensions::Extensions;
use serde::Deserialize;

use super::{Change, Difference};

/// The rules of a policy file.
#[derive(Clone, PartialEq, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// In the order of the file.
    pub rules: Vec<Rule>,
}

/// One allowed change.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Pattern of [`super::Key`]'s text.
    pub key: String,
    /// What is allowed.
    pub change: Allowed,
    /// Why, for the reader of the report.
    pub reason: String,
}

/// A change that is allowed; percentages are of the base's value, 0 and up.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Allowed {
    /// Any difference, also a value or entry that comes or goes.
    Ignore,
    /// A larger number, by at most `max_percent` if given.
    Increase {
        /// Limit.
        #[serde(default)]
        max_percent: Option<f64>,
    },
    /// A smaller number, by at most `max_percent` if given.
    Decrease {
        /// Limit.
        #[serde(default)]
        max_percent: Option<f64>,
    },
    /// A number at most `max_percent` away in either direction.
    Within {
        /// Limit.
        max_percent: f64,
    },
}

/// A policy file that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not a policy in RON; the message begins with line and column.
    #[error("the compare policy cannot be read: {0}")]
    Syntax(String),
    /// A rule that says too little.
    #[error("rule {number} of the compare policy (key {key:?}): {problem}")]
    Rule {
        /// Counting from 1.
        number: usize,
        /// Its pattern.
        key: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyError`]: bad RON, an empty key or reason, a percentage below zero or not a number.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let options = Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
        let policy: Policy =
            options.from_str(text).map_err(|error| PolicyError::Syntax(error.to_string()))?;
        for (at, rule) in policy.rules.iter().enumerate() {
            if let Some(problem) = rule.problem() {
                return Err(PolicyError::Rule { number: at + 1, key: rule.key.clone(), problem });
            }
        }
        Ok(policy)
    }

    /// The reason for which a difference is allowed, if it is.
    pub fn reason_for(&self, difference: &Difference) -> Option<&str> {
        let key = difference.key.to_string();
        let rule =
            self.rules.iter().find(|rule| matches(&rule.key, &key) && rule.change.permits(difference))?;
        Some(&rule.reason)
    }
}

impl Rule {
    fn problem(&self) -> Option<&'static str> {
        let limit = match self.change {
            Allowed::Ignore => None,
            Allowed::Increase { max_percent } | Allowed::Decrease { max_percent } => max_percent,
            Allowed::Within { max_percent } => Some(max_percent),
        };
        if self.key.is_empty() {
            Some("the key is empty; write a pattern such as \"flows[*].latency_ns.p99\"")
        } else if self.reason.trim().is_empty() {
            Some("the reason is empty; say why the change is allowed")
        } else if limit.is_some_and(|percent| !(percent.is_finite() && percent >= 0.0)) {
            Some("max_percent must be a number from 0 up")
        } else {
            None
        }
    }
}

impl Allowed {
    fn permits(&self, difference: &Difference) -> bool {
        if matches!(self, Allowed::Ignore) {
            return true;
        }
        let number = |value: &Option<serde_json::Value>| value.as_ref().and_then(serde_json::Value::as_f64);
        let (Change::Changed, Some(old), Some(new)) =
            (difference.change, number(&difference.old), number(&difference.new))
        else {
            return false;
        };
        let within = |limit: f64| (new - old).abs() * 100.0 <= old.abs() * limit;
        match self {
            Allowed::Ignore => true,
            Allowed::Increase { max_percent } => new > old && max_percent.is_none_or(within),
            Allowed::Decrease { max_percent } => new < old && max_percent.is_none_or(within),
            Allowed::Within { max_percent } => within(*max_percent),
        }
    }
}

/// True when `text` is `pattern` with each `*` replaced by some letters or none.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_any_letters() {
        for (pattern, text, expect) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("", "", true),
            ("*", "anything", true),
            ("flows[*].p99", "flows[x/y].p99", true),
            ("flows[*].p99", "flows[x].p50", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*b*b", "ab", false),
            ("links[*]*", "links[gpu0 up].digest", true),
            ("*é*", "caché", true),
        ] {
            assert_eq!(matches(pattern, text), expect, "{pattern} on {text}");
        }
    }

    #[test]
    fn policies_that_say_too_little_are_refused() {
        for (text, problem) in [
            ("Policy(rules: [(key: \"\", change: Ignore, reason: \"x\")])", "key is empty"),
            ("Policy(rules: [(key: \"*\", change: Ignore, reason: \" \")])", "reason is empty"),
            ("Policy(rules: [(key: \"*\", change: Within(max_percent: -1), reason: \"x\")])", "from 0 up"),
            ("Policy(rules: [(key: \"*\", change: Within(max_percent: NaN), reason: \"x\")])", "from 0 up"),
            ("Policy(rules: [(key: \"*\", change: Within(), reason: \"x\")])", "max_percent"),
            ("Policy(rules: [(key: \"*\", change: Never, reason: \"x\")])", "Never"),
            ("Policy(rules: [], more: 1)", "more"),
            ("", "1:1"),
        ] {
            let error = Policy::parse(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
