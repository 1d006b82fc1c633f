//! The layers of the configuration, laid one over the other: what is set, by whom, and what was wrong with it.
//!
//! Every value is checked when it is laid, also one that a later layer covers: a wrong line in a file stays wrong
//! when a variable hides it. A wrong value leaves the key at its default, marked as broken, so that the rest of the
//! configuration can still be judged and all errors come out together.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::errors::{ConfigError, Notice, Origin};
use super::keys::{KeySpec, Raw, RawFault, Source, parse};
use super::roles::Role;
use super::values::{Value, quote};
use super::yaml::{Node, Position};

/// Something written for a key, kept until the typed value is read from it.
pub(crate) enum Written {
    Text(Zeroizing<String>),
    Node(Node),
}

impl Written {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Written::Text(Zeroizing::new(text.into()))
    }

    fn raw(&self) -> Raw<'_> {
        match self {
            Written::Text(text) => Raw::Text(text),
            Written::Node(node) => Raw::Node(node),
        }
    }
}

/// The topmost value of a key.
struct Setting {
    written: Written,
    origin: Origin,
    /// The normal form, redacted for a secret; `None` when the key was set to nothing.
    normal: Option<String>,
}

/// What has been laid so far.
pub(crate) struct Layers {
    pub(crate) role: Role,
    settings: BTreeMap<&'static str, Setting>,
    broken: BTreeSet<&'static str>,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) notices: Vec<Notice>,
}

impl Layers {
    pub(crate) fn new(role: Role) -> Self {
        Layers {
            role,
            settings: BTreeMap::new(),
            broken: BTreeSet::new(),
            errors: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Lays a value over what the key had, or notes what is wrong with it.
    pub(crate) fn set(&mut self, spec: &'static KeySpec, written: Written, origin: Origin) {
        if let Written::Text(text) = &written
            && text.is_empty()
            && !spec.optional
        {
            self.break_key(spec);
            let reason = "is empty; leave it out to use the default".to_owned();
            self.errors.push(ConfigError::Invalid { key: spec.path.to_owned(), origin, reason });
            return;
        }
        match (spec.read)(spec, written.raw()) {
            Ok(normal) => {
                self.settings.insert(spec.path, Setting { written, origin, normal });
            }
            Err(fault) => {
                self.break_key(spec);
                self.note_fault(spec, fault, &origin);
            }
        }
    }

    fn note_fault(&mut self, spec: &KeySpec, fault: RawFault, origin: &Origin) {
        let faults = match fault {
            RawFault::Text(reason) => {
                let (key, origin) = (spec.path.to_owned(), origin.clone());
                self.errors.push(ConfigError::Invalid { key, origin, reason });
                return;
            }
            RawFault::Node(faults) => faults,
        };
        for fault in faults {
            let key = format!("{}{}", spec.path, fault.below);
            let origin = match origin {
                Origin::File { file, .. } => file_origin(file, fault.at),
                other => other.clone(),
            };
            self.errors.push(match fault.unknown {
                // Peers are the only values with keys of their own.
                Some(name) => ConfigError::UnknownKey {
                    nearest: super::hints::nearest(&name, ["id", "address"])
                        .map(|near| format!("{key}.{near}")),
                    key: format!("{key}.{}", shown_key(&name)),
                    origin,
                },
                None => ConfigError::Invalid { key, origin, reason: fault.reason },
            });
        }
    }

    /// Marks a key whose value cannot be known.
    pub(crate) fn break_key(&mut self, spec: &'static KeySpec) {
        self.broken.insert(spec.path);
    }

    pub(crate) fn is_broken(&self, path: &str) -> bool {
        self.broken.contains(path)
    }

    /// Whether any layer gave the key a value, be it "nothing".
    pub(crate) fn is_set(&self, path: &str) -> bool {
        self.settings.contains_key(path)
    }

    /// The key's value in normal form, redacted for a secret.
    pub(crate) fn normal(&self, spec: &KeySpec) -> Option<String> {
        match self.settings.get(spec.path) {
            Some(setting) => setting.normal.clone(),
            None => (spec.read)(spec, Raw::Text(spec.default.text(self.role)?)).ok()?,
        }
    }

    /// Where the key's value came from.
    pub(crate) fn origin(&self, path: &str) -> Origin {
        self.settings.get(path).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// The keys that were set by someone, in the order of their paths.
    fn set_by_someone(&self) -> impl Iterator<Item = (&'static KeySpec, Origin)> {
        super::sections::keys().filter_map(|spec| match self.settings.get(spec.path)?.origin.clone() {
            Origin::Default | Origin::Derived(_) => None,
            origin => Some((spec, origin)),
        })
    }

    /// A notice for keys that were set and mean nothing for the role.
    pub(crate) fn note_keys_without_effect(&mut self) {
        let mut not_for_role = Vec::new();
        for (spec, origin) in self.set_by_someone() {
            if !spec.roles.contains(self.role) {
                not_for_role.push((spec.path, origin));
            }
        }
        if !not_for_role.is_empty() {
            self.notices.push(Notice::NotForRole { role: self.role.name(), keys: not_for_role });
        }
    }
}

/// A place in a file.
pub(crate) fn file_origin(file: &str, at: Position) -> Origin {
    Origin::File { file: file.to_owned(), line: at.line, column: at.column }
}

/// A key as a message shows it: plain names as they are, anything else escaped and cut.
pub(crate) fn shown_key(name: &str) -> String {
    let plain =
        name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if plain { name.to_owned() } else { quote(name) }
}

impl Source for Layers {
    fn value<T: Value>(&mut self, spec: &'static KeySpec) -> Option<T> {
        let parsed = match self.settings.get(spec.path) {
            Some(setting) => Some(parse::<T>(spec, &setting.written.raw())),
            None => spec.default.text(self.role).map(|text| parse::<T>(spec, &Raw::Text(text))),
        };
        match parsed {
            Some(Ok(value)) => Some(value),
            // What is written was checked when it was laid, and a test checks every default: this is a defect.
            Some(Err(_)) => {
                let reason = "its value cannot be read".to_owned();
                self.errors.push(ConfigError::Missing { key: spec.path.to_owned(), reason });
                None
            }
            None => T::absent().or_else(|| {
                if self.errors.is_empty() {
                    let reason = "it has no default".to_owned();
                    self.errors.push(ConfigError::Missing { key: spec.path.to_owned(), reason });
                }
                None
            }),
        }
    }
}
