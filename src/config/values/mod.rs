//! How a text becomes a typed value, and back.
//!
//! `Value` is the one trait: every type a key may have says what it expects, reads itself from a text, and prints
//! itself so that reading the print gives the same value. A text is never guessed into another type: `yes` is not a
//! boolean, `1e5` is not a number, and a text key keeps exactly the characters that were written.
//! Messages name the offending text, save for secrets.

mod names;
mod network;
mod scalars;
mod units;

pub use names::{CircuitName, Id};
pub use network::{Address, Host, HttpUrl, Peer};
pub use scalars::{LogFormat, LogLevel, SslMode};
pub use units::ByteSize;

use super::yaml::{Content, Node, Position};

/// Longest text of a single value: the longest path that Linux takes.
const TEXT_BYTES_MAX: usize = 4096;
/// Longest list. Raft groups beyond a dozen members are not sensible; preloaded circuits are fewer than this.
const LIST_ITEMS_MAX: usize = 64;
/// What a message shows of a text that is wrong.
const QUOTED_CHARS_MAX: usize = 60;

/// Why a text is not a value.
pub(crate) type Reason = String;

/// A fault inside a value of a file: where below the key (`[0].address`), and at which place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeFault {
    pub(crate) below: String,
    pub(crate) at: Position,
    pub(crate) reason: Reason,
    /// The name of an unknown key, when that is the fault.
    pub(crate) unknown: Option<String>,
}

impl NodeFault {
    pub(crate) fn new(node: &Node, reason: impl Into<Reason>) -> Self {
        NodeFault { below: String::new(), at: node.at, reason: reason.into(), unknown: None }
    }

    fn under(mut self, prefix: &str) -> Self {
        self.below.insert_str(0, prefix);
        self
    }
}

/// A type that a configuration key may have.
pub(crate) trait Value: Sized {
    /// What a text must be, as the object of "expected".
    const EXPECTED: &'static str;
    /// A YAML scalar in quotes is text: numbers and booleans refuse it.
    const PLAIN_ONLY: bool = false;
    /// Whether the key may be absent, or present and empty.
    const OPTIONAL: bool = false;
    /// Whether the value must not be shown.
    const SECRET: bool = false;
    /// Whether it is a list.
    const LIST: bool = false;

    /// Reads the value from the text of a variable, a flag or a default.
    fn from_text(text: &str) -> Result<Self, Reason>;

    /// The value when nothing is written at all.
    fn absent() -> Option<Self> {
        None
    }

    /// Reads the value from a node of a file.
    fn from_node(node: &Node) -> Result<Self, Vec<NodeFault>> {
        let text = scalar::<Self>(node).map_err(|fault| vec![fault])?;
        Self::from_text(text).map_err(|reason| vec![NodeFault::new(node, reason)])
    }

    /// The value on a scale on which its limits are given.
    fn magnitude(&self) -> Option<u128> {
        None
    }

    /// The value as text, the way it would be written; `None` when it is not set.
    fn render(&self) -> Option<String>;
}

/// Shows a text inside a message: escaped, and cut when long.
pub(crate) fn quote(text: &str) -> String {
    if text.chars().count() <= QUOTED_CHARS_MAX {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    format!("{head:?}…")
}

/// The message for a text of the wrong form.
fn expected<T: Value>(found: &str) -> Reason {
    if T::SECRET {
        return format!("expected {}", T::EXPECTED);
    }
    format!("expected {}, found the text {}", T::EXPECTED, quote(found))
}

/// The text of a node that must be a scalar.
fn scalar<T: Value>(node: &Node) -> Result<&str, NodeFault> {
    match &node.content {
        Content::Scalar { text, quoted } => {
            if node.is_blank() {
                return Err(NodeFault::new(
                    node,
                    format!("nothing is written here: expected {}", T::EXPECTED),
                ));
            }
            refuse_null(node)?;
            if *quoted && T::PLAIN_ONLY {
                return Err(NodeFault::new(node, format!("{} (without the quotes)", expected::<T>(text))));
            }
            Ok(text)
        }
        Content::List(_) => Err(NodeFault::new(node, format!("expected {}, found a list", T::EXPECTED))),
        Content::Map(_) => Err(NodeFault::new(node, format!("expected {}, found a mapping", T::EXPECTED))),
    }
}

/// A plain `null` is neither guessed to be nothing nor to be the text of that name.
fn refuse_null(node: &Node) -> Result<(), NodeFault> {
    match &node.content {
        Content::Scalar { text, quoted: false }
            if matches!(text.as_str(), "~" | "null" | "Null" | "NULL") =>
        {
            let reason = "null is not a value here: leave the key out, or put the text in quotes";
            Err(NodeFault::new(node, reason))
        }
        _ => Ok(()),
    }
}

impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const PLAIN_ONLY: bool = T::PLAIN_ONLY;
    const OPTIONAL: bool = true;
    const SECRET: bool = T::SECRET;

    fn from_text(text: &str) -> Result<Self, Reason> {
        if text.is_empty() { Ok(None) } else { T::from_text(text).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn from_node(node: &Node) -> Result<Self, Vec<NodeFault>> {
        let empty = matches!(&node.content, Content::Scalar { text, .. } if text.is_empty());
        if empty { Ok(None) } else { T::from_node(node).map(Some) }
    }

    fn magnitude(&self) -> Option<u128> {
        self.as_ref().and_then(Value::magnitude)
    }

    fn render(&self) -> Option<String> {
        self.as_ref().and_then(Value::render)
    }
}

/// A list in one text is separated by commas; an empty text is the empty list.
impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const OPTIONAL: bool = true;
    const SECRET: bool = T::SECRET;
    const LIST: bool = true;

    fn from_text(text: &str) -> Result<Self, Reason> {
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        let items: Vec<&str> = text.split(',').map(str::trim).collect();
        if items.len() > LIST_ITEMS_MAX {
            return Err(format!("at most {LIST_ITEMS_MAX} items, found {}", items.len()));
        }
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if item.is_empty() {
                return Err(format!("item {} of the list is empty", index + 1));
            }
            values.push(T::from_text(item).map_err(|reason| format!("item {}: {reason}", index + 1))?);
        }
        Ok(values)
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }

    /// A sequence, or one text in the form of a variable.
    fn from_node(node: &Node) -> Result<Self, Vec<NodeFault>> {
        let items = match &node.content {
            Content::List(items) => items,
            Content::Scalar { text, .. } => {
                refuse_null(node).map_err(|fault| vec![fault])?;
                return Self::from_text(text).map_err(|reason| vec![NodeFault::new(node, reason)]);
            }
            Content::Map(_) => {
                let reason = format!("expected a list, each item {}, found a mapping", T::EXPECTED);
                return Err(vec![NodeFault::new(node, reason)]);
            }
        };
        if items.len() > LIST_ITEMS_MAX {
            let reason = format!("at most {LIST_ITEMS_MAX} items, found {}", items.len());
            return Err(vec![NodeFault::new(node, reason)]);
        }
        let mut values = Vec::with_capacity(items.len());
        let mut faults = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match T::from_node(item) {
                Ok(value) => values.push(value),
                Err(below) => {
                    faults.extend(below.into_iter().map(|fault| fault.under(&format!("[{index}]"))))
                }
            }
        }
        if faults.is_empty() { Ok(values) } else { Err(faults) }
    }

    fn render(&self) -> Option<String> {
        Some(self.iter().filter_map(Value::render).collect::<Vec<_>>().join(","))
    }
}
