//! Any serialisable value as a tree of RON nodes, with numbers written the way their field is read.

use std::fmt;

use serde::Serialize;
use serde::ser::{self, Serializer};

/// A RON value, not yet laid out.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Node {
    /// No value: an optional field without one, or a leaf that was not understood.
    Absent,
    /// A number, string, boolean or name.
    Atom(String),
    /// `[…]`
    List(Vec<Node>),
    /// `(name: …)`
    Fields(Vec<(String, Node)>),
    /// `{key: …}`
    Map(Vec<(String, Node)>),
    /// `Name(…)`; the value brings its own brackets.
    Variant(String, Box<Node>),
}

/// The tree of `value`; `None` for values RON cannot write.
pub(super) fn of<T: Serialize>(value: &T) -> Option<Node> {
    value.serialize(Writer { form: Form::Plain }).ok()
}

/// How a field's number is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    /// Hexadecimal with at least that many digits.
    Hex(usize),
    /// Hexadecimal with an underscore every four digits; comes as a string.
    Address,
}

/// The form of `field` of the struct `owner`.
fn form(owner: &str, field: &str) -> Form {
    match (owner, field) {
        ("PciId", _) | ("Acs", _) | (_, "acs" | "domain") => Form::Hex(4),
        ("Config", "revision") | ("Buses", _) => Form::Hex(2),
        ("Sriov", "device") => Form::Hex(4),
        ("Config", "command") | ("Sriov", "page_sizes") => Form::Hex(1),
        ("MemoryRange", "cpu") | ("BridgeWindow", "first" | "last") | ("Rom", "address") => Form::Address,
        (_, "class") => Form::Hex(6),
        ("HostBridge", "bus" | "bus_last") => Form::Hex(2),
        ("CpuPart", "family" | "models") => Form::Hex(1),
        ("Window", "cpu" | "bus") | ("Bar", "address") => Form::Address,
        (_, "resizable") => Form::Hex(1),
        _ => Form::Plain,
    }
}

/// Why a value has no node: it is a leaf that was not understood, or of a kind RON does not write.
#[derive(Debug)]
pub(super) struct NoNode;

impl fmt::Display for NoNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a value that can be written")
    }
}

impl std::error::Error for NoNode {}

impl ser::Error for NoNode {
    fn custom<T: fmt::Display>(_: T) -> NoNode {
        NoNode
    }
}

#[derive(Clone, Copy)]
struct Writer {
    form: Form,
}

impl Writer {
    fn number(self, value: u64) -> Node {
        Node::Atom(match self.form {
            Form::Hex(digits) => format!("{value:#0width$x}", width = digits + 2),
            Form::Plain | Form::Address => value.to_string(),
        })
    }
}

/// `0x380_0000_0000` of `0x38000000000`; anything else in quotes.
fn address(text: &str) -> Option<String> {
    let digits = text.strip_prefix("0x")?;
    let mut out = "0x".to_owned();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position) % 4 == 0 {
            out.push('_');
        }
        out.push(digit);
    }
    Some(out)
}

/// A list, struct or map under construction.
struct Parts {
    owner: &'static str,
    variant: Option<&'static str>,
    form: Form,
    items: Vec<Node>,
    fields: Vec<(String, Node)>,
    key: String,
}

impl Parts {
    fn new(owner: &'static str, variant: Option<&'static str>, form: Form) -> Parts {
        Parts { owner, variant, form, items: Vec::new(), fields: Vec::new(), key: String::new() }
    }

    fn wrap(variant: Option<&'static str>, node: Node) -> Node {
        match variant {
            Some(name) => Node::Variant(name.to_owned(), Box::new(node)),
            None => node,
        }
    }
}

/// The node of `value`, or nothing when it cannot be written.
fn node<T: Serialize + ?Sized>(value: &T, form: Form) -> Node {
    value.serialize(Writer { form }).unwrap_or(Node::Absent)
}

impl ser::SerializeSeq for Parts {
    type Ok = Node;
    type Error = NoNode;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoNode> {
        self.items.push(node(value, self.form));
        Ok(())
    }
    fn end(mut self) -> Result<Node, NoNode> {
        self.items.retain(|item| *item != Node::Absent);
        Ok(Node::List(self.items))
    }
}

impl ser::SerializeStruct for Parts {
    type Ok = Node;
    type Error = NoNode;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), NoNode> {
        self.fields.push((name.to_owned(), node(value, form(self.owner, name))));
        Ok(())
    }
    fn end(self) -> Result<Node, NoNode> {
        Ok(Parts::wrap(self.variant, Node::Fields(self.fields)))
    }
}

impl ser::SerializeStructVariant for Parts {
    type Ok = Node;
    type Error = NoNode;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), NoNode> {
        ser::SerializeStruct::serialize_field(self, name, value)
    }
    fn end(self) -> Result<Node, NoNode> {
        ser::SerializeStruct::end(self)
    }
}

impl ser::SerializeMap for Parts {
    type Ok = Node;
    type Error = NoNode;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NoNode> {
        let Node::Atom(key) = key.serialize(Writer { form: Form::Plain })? else { return Err(NoNode) };
        self.key = key;
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoNode> {
        let key = std::mem::take(&mut self.key);
        self.fields.push((key, node(value, Form::Plain)));
        Ok(())
    }
    fn end(self) -> Result<Node, NoNode> {
        Ok(Node::Map(self.fields))
    }
}

type Never = ser::Impossible<Node, NoNode>;

impl Serializer for Writer {
    type Ok = Node;
    type Error = NoNode;
    type SerializeSeq = Parts;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    fn serialize_bool(self, value: bool) -> Result<Node, NoNode> {
        Ok(Node::Atom(value.to_string()))
    }
    fn serialize_i8(self, value: i8) -> Result<Node, NoNode> {
        self.serialize_i64(value.into())
    }
    fn serialize_i16(self, value: i16) -> Result<Node, NoNode> {
        self.serialize_i64(value.into())
    }
    fn serialize_i32(self, value: i32) -> Result<Node, NoNode> {
        self.serialize_i64(value.into())
    }
    fn serialize_i64(self, value: i64) -> Result<Node, NoNode> {
        Ok(Node::Atom(value.to_string()))
    }
    fn serialize_u8(self, value: u8) -> Result<Node, NoNode> {
        Ok(self.number(value.into()))
    }
    fn serialize_u16(self, value: u16) -> Result<Node, NoNode> {
        Ok(self.number(value.into()))
    }
    fn serialize_u32(self, value: u32) -> Result<Node, NoNode> {
        Ok(self.number(value.into()))
    }
    fn serialize_u64(self, value: u64) -> Result<Node, NoNode> {
        Ok(self.number(value))
    }
    fn serialize_f32(self, _: f32) -> Result<Node, NoNode> {
        Err(NoNode)
    }
    fn serialize_f64(self, _: f64) -> Result<Node, NoNode> {
        Err(NoNode)
    }
    fn serialize_char(self, value: char) -> Result<Node, NoNode> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, value: &str) -> Result<Node, NoNode> {
        let literal = (self.form == Form::Address).then(|| address(value)).flatten();
        let quoted = || ron::to_string(value).map_err(|_| NoNode);
        literal.map_or_else(quoted, Ok).map(Node::Atom)
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<Node, NoNode> {
        Err(NoNode)
    }
    fn serialize_none(self) -> Result<Node, NoNode> {
        Ok(Node::Absent)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Node, NoNode> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Node, NoNode> {
        Err(NoNode)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Node, NoNode> {
        Err(NoNode)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Node, NoNode> {
        Ok(Node::Atom(variant.to_owned()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Node, NoNode> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Node, NoNode> {
        Ok(Parts::wrap(Some(variant), value.serialize(self)?))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Parts, NoNode> {
        Ok(Parts::new("", None, self.form))
    }
    fn serialize_tuple(self, _: usize) -> Result<Never, NoNode> {
        Err(NoNode)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Never, NoNode> {
        Err(NoNode)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, NoNode> {
        Err(NoNode)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Parts, NoNode> {
        Ok(Parts::new("", None, Form::Plain))
    }
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts, NoNode> {
        Ok(Parts::new(name, None, Form::Plain))
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts, NoNode> {
        Ok(Parts::new(name, Some(variant), Form::Plain))
    }
}
