//! A YAML file as a tree of nodes that know their line and column.
//!
//! It owns the file's limits: size, depth, number of nodes. It refuses what a configuration has no use for and what
//! makes YAML surprising: anchors and aliases (and with them every expansion bomb), tags, several documents, duplicate
//! keys, keys that are not text. A scalar stays the text that stands in the file; nothing here guesses a type.

use std::fmt;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};
use zeroize::Zeroizing;

/// The largest file that is read. The longest sensible configuration is a few tens of kilobytes.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The configuration is three levels deep (`raft.peers[0].id`); the rest is slack for a good message.
const DEPTH_MAX: usize = 16;
/// Ten times what the longest sensible peer list needs.
const NODES_MAX: usize = 10_000;
/// Faults of form that are listed before reading on is pointless.
const FAULTS_MAX: usize = 50;

/// A place in a file, both counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl From<Marker> for Position {
    fn from(marker: Marker) -> Self {
        Position { line: marker.line(), column: marker.col() + 1 }
    }
}

/// A fault of form, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct YamlFault {
    pub(crate) at: Position,
    pub(crate) reason: String,
}

impl YamlFault {
    fn new(at: Position, reason: impl Into<String>) -> Self {
        YamlFault { at, reason: reason.into() }
    }
}

impl From<ScanError> for YamlFault {
    fn from(error: ScanError) -> Self {
        YamlFault::new((*error.marker()).into(), format!("not valid YAML: {}", error.info()))
    }
}

/// A key of a mapping.
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) at: Position,
}

/// What a node holds.
pub(crate) enum Content {
    /// The source text of a scalar; `quoted` when it is not a plain one.
    Scalar { text: Zeroizing<String>, quoted: bool },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the file's order, its keys distinct.
    Map(Vec<(Key, Node)>),
}

/// A node of the tree.
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) content: Content,
}

impl Node {
    /// Whether the node is an empty plain scalar, as in `key:`.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, quoted: false } if text.is_empty())
    }
}

// A scalar may be a password: the tree is never printed with its contents.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.content {
            Content::Scalar { .. } => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        };
        write!(f, "{kind} at {}:{}", self.at.line, self.at.column)
    }
}

/// Reads one document. An empty file is `None`.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, Vec<YamlFault>> {
    let mut reader = Reader { parser: Parser::new_from_str(text), nodes: 0, faults: Vec::new() };
    match reader.document() {
        Ok(root) if reader.faults.is_empty() => Ok(root),
        Ok(_) => Err(reader.faults),
        Err(fatal) => {
            reader.faults.push(fatal);
            Err(reader.faults)
        }
    }
}

/// Faults that leave the parser usable go to `faults`; those that do not are returned.
struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    nodes: usize,
    faults: Vec<YamlFault>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlFault> {
        match self.parser.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(error.into()),
            None => Err(YamlFault::new(Position { line: 1, column: 1 }, "the file ends too early")),
        }
    }

    fn fault(&mut self, at: Position, reason: impl Into<String>) -> Result<(), YamlFault> {
        let fault = YamlFault::new(at, reason);
        if self.faults.len() + 1 >= FAULTS_MAX {
            return Err(fault);
        }
        self.faults.push(fault);
        Ok(())
    }

    fn document(&mut self) -> Result<Option<Node>, YamlFault> {
        let mut root = None;
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(YamlFault::new(
                            span.start.into(),
                            "a second document (`---`): a configuration file holds one",
                        ));
                    }
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, YamlFault> {
        let at = Position::from(span.start);
        self.nodes += 1;
        if depth > DEPTH_MAX {
            return Err(YamlFault::new(at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        if self.nodes > NODES_MAX {
            return Err(YamlFault::new(at, format!("more than {NODES_MAX} values")));
        }
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 {
            self.fault(at, "anchors (`&name`) and aliases (`*name`) are not supported; a text that begins so needs quotes")?;
        }
        if tagged {
            self.fault(at, "tags (`!name`) are not supported; a text that begins with `!` needs quotes")?;
        }
        let content = match event {
            Event::Scalar(text, style, _, _) => Content::Scalar {
                text: Zeroizing::new(text.into_owned()),
                quoted: style != ScalarStyle::Plain,
            },
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(_) => {
                self.fault(at, "aliases (`*name`) are not supported; a text that begins so needs quotes")?;
                Content::List(Vec::new())
            }
            _ => return Err(YamlFault::new(at, "not valid YAML: expected a value")),
        };
        Ok(Node { at, content })
    }

    fn list(&mut self, depth: usize) -> Result<Content, YamlFault> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Content::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Content, YamlFault> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Content::Map(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let Content::Scalar { text, .. } = key.content else {
                self.fault(key.at, "a key must be a text")?;
                continue;
            };
            let earlier = entries.iter().find(|(known, _)| known.text == *text).map(|(known, _)| known.at);
            if let Some(first) = earlier {
                let reason = format!("the key {:?} stands here twice, first in line {}", *text, first.line);
                self.fault(key.at, reason)?;
                continue;
            }
            entries.push((Key { text: text.to_string(), at: key.at }, value));
        }
    }
}
