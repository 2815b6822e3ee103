//! Paths into the tree of a file: `host_bridges[*].ports[0].link.gen`, `**.link.gen`.
//!
//! A tree is a file's content as JSON has it. A path sets a value at every place it leads to. Fields that are absent are
//! added, since most have defaults; whether there is such a field is said by whoever reads the tree back. The name of a
//! choice needs not be written: `workloads[0].to` finds the field of `{"Copy": {…}}`.

use peerbus_machine::load::nearest;
use serde_json::{Map, Value};

/// A step of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    /// A field.
    Field(String),
    /// An element of a list.
    Index(usize),
    /// All elements of a list.
    Each,
    /// Everything below that has the next field.
    Deep,
}

/// A path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TreePath(Vec<Step>);

impl TreePath {
    /// Reads a path. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<TreePath, String> {
        let mut steps = Vec::new();
        for part in text.split('.') {
            if part == "**" {
                steps.push(Step::Deep);
                continue;
            }
            let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("`{part}` is no field"));
            }
            steps.push(Step::Field(name.to_owned()));
            while let Some((index, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                steps.push(match (index, index.parse()) {
                    ("*", _) => Step::Each,
                    (_, Ok(number)) => Step::Index(number),
                    _ => return Err(format!("`[{index}]` is no number from 0 and no `*`")),
                });
                rest = behind;
            }
            if !rest.is_empty() {
                return Err(format!("`{part}` does not end with a name or `]`"));
            }
        }
        match steps.last() {
            Some(Step::Field(_) | Step::Index(_) | Step::Each) => Ok(TreePath(steps)),
            _ => Err("a path ends with a field".to_owned()),
        }
    }

    /// True when its first step is the field `name`, and others follow.
    pub fn is_below(&self, name: &str) -> bool {
        self.0.len() > 1 && self.0[0] == Step::Field(name.to_owned())
    }

    /// The same without its first step.
    pub fn inner(&self) -> TreePath {
        TreePath(self.0.iter().skip(1).cloned().collect())
    }

    /// Puts `value` at every place of `tree` that the path leads to, and says how many there are. The error says where
    /// the path ends too early, when there are none.
    pub fn set(&self, tree: &mut Value, value: &Value) -> Result<usize, Miss> {
        let mut miss = None;
        match put(tree, &self.0, value, &mut miss) {
            0 => Err(miss.unwrap_or(Miss { message: "it leads to nothing".to_owned(), near: None })),
            count => Ok(count),
        }
    }
}

/// Why a path leads nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Miss {
    /// Where it ends.
    pub message: String,
    /// What may have been meant.
    pub near: Option<String>,
}

fn put(node: &mut Value, steps: &[Step], value: &Value, miss: &mut Option<Miss>) -> usize {
    let Some((step, rest)) = steps.split_first() else {
        *node = value.clone();
        return 1;
    };
    match step {
        Step::Field(name) => put_field(inside_choice(node, name), name, rest, value, miss),
        Step::Each => match node {
            Value::Array(items) => items.iter_mut().map(|item| put(item, rest, value, miss)).sum(),
            _ => missed(miss, "`[*]` stands behind what is no list".to_owned(), None),
        },
        Step::Index(index) => {
            let count = node.as_array().map(Vec::len);
            match (node.get_mut(index), count) {
                (Some(item), _) => put(item, rest, value, miss),
                (None, Some(count)) => {
                    missed(miss, format!("the list has {count} elements, and none is [{index}]"), None)
                }
                (None, None) => missed(miss, format!("`[{index}]` stands behind what is no list"), None),
            }
        }
        Step::Deep => put_deep(node, rest, value, miss),
    }
}

fn put_field(node: &mut Value, name: &str, rest: &[Step], value: &Value, miss: &mut Option<Miss>) -> usize {
    let Value::Object(fields) = node else {
        return missed(miss, format!("`{name}` stands behind what has no fields"), None);
    };
    if !fields.contains_key(name) {
        match rest.first() {
            None => {}
            Some(Step::Field(_)) => {
                fields.insert(name.to_owned(), Value::Object(Map::new()));
            }
            Some(_) => {
                let near = nearest(name, fields.keys().map(String::as_str)).map(str::to_owned);
                return missed(miss, format!("there is no list `{name}`"), near);
            }
        }
    }
    put(fields.entry(name).or_insert(Value::Null), rest, value, miss)
}

/// Sets it below everything in `node` that has the first field of `steps`.
fn put_deep(node: &mut Value, steps: &[Step], value: &Value, miss: &mut Option<Miss>) -> usize {
    let Some(Step::Field(name)) = steps.first() else {
        return missed(miss, "a field follows `**`".to_owned(), None);
    };
    let here = match node.get(name) {
        Some(_) => put(node, steps, value, miss),
        None => 0,
    };
    let below: usize = match node {
        Value::Array(items) => items.iter_mut().map(|item| put_deep(item, steps, value, miss)).sum(),
        Value::Object(fields) => fields.values_mut().map(|item| put_deep(item, steps, value, miss)).sum(),
        _ => 0,
    };
    if here + below == 0 && miss.is_none() {
        missed(miss, format!("nothing has a field `{name}`"), None);
    }
    here + below
}

/// What the name of a choice stands for, unless it is `name` itself.
fn inside_choice<'v>(node: &'v mut Value, name: &str) -> &'v mut Value {
    let choice = node.as_object().filter(|fields| fields.len() == 1).and_then(|fields| {
        let (key, value) = fields.iter().next()?;
        let named = key != name && value.is_object() && key.starts_with(|c: char| c.is_ascii_uppercase());
        named.then(|| key.clone())
    });
    match choice {
        Some(key) => &mut node[key],
        None => node,
    }
}

fn missed(miss: &mut Option<Miss>, message: String, near: Option<String>) -> usize {
    miss.get_or_insert(Miss { message, near });
    0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree() -> Value {
        json!({"ports": [{"link": {"gen": 3}, "below": {"Switch": {"ports": [{"link": {"gen": 3}}]}}}, {}], "seed": 1})
    }

    #[test]
    fn paths_set_every_place() {
        for (path, count, expected) in [
            ("seed", 1, json!({"ports": tree()["ports"], "seed": 5})),
            (
                "ports[0].below.ports[*].link.gen",
                1,
                json!({"ports": [{"link": {"gen": 3}, "below": {"Switch": {"ports": [{"link": {"gen": 5}}]}}}, {}], "seed": 1}),
            ),
            (
                "ports[*].link.gen",
                2,
                json!({"ports": [
                    {"link": {"gen": 5}, "below": {"Switch": {"ports": [{"link": {"gen": 3}}]}}},
                    {"link": {"gen": 5}}], "seed": 1}),
            ),
            (
                "**.link.gen",
                2,
                json!({"ports": [
                    {"link": {"gen": 5}, "below": {"Switch": {"ports": [{"link": {"gen": 5}}]}}}, {}], "seed": 1}),
            ),
        ] {
            let mut tree = tree();
            let path = TreePath::parse(path).unwrap();
            assert_eq!(path.set(&mut tree, &json!(5)), Ok(count), "{path:?}");
            assert_eq!(tree, expected, "{path:?}");
        }
    }

    #[test]
    fn paths_that_lead_nowhere_say_where_they_end() {
        for (path, message, near) in [
            ("port[*].gen", "there is no list `port`", Some("ports")),
            ("ports[7].gen", "the list has 2 elements, and none is [7]", None),
            ("seed[*]", "`[*]` stands behind what is no list", None),
            ("seed.gen", "`gen` stands behind what has no fields", None),
            ("**.lnk.gen", "nothing has a field `lnk`", None),
        ] {
            let miss = TreePath::parse(path).unwrap().set(&mut tree(), &json!(5)).unwrap_err();
            assert_eq!((miss.message.as_str(), miss.near.as_deref()), (message, near), "{path}");
        }
        for path in ["", "a..b", "a[", "a[x]", "a[0]b", "**", "a.**", "a b"] {
            assert!(TreePath::parse(path).is_err(), "{path}");
        }
    }
}
