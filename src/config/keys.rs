//! The table of keys: one declaration per key gives the struct's field, its type, its default, its limits, the roles
//! that read it, and its documentation.
//!
//! `section!` writes both the typed struct and the table, so that neither can be forgotten. Everything else in the
//! configuration (reading files and variables, hints for unknown keys, the effective print, the reference in
//! `docs/configuration.md`) walks the table and knows no key by name.

use super::roles::{Role, Roles};
use super::values::{NodeFault, Reason, Value};
use super::yaml::Node;

/// A built-in default, by role.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BuiltIn {
    /// Not set.
    Unset,
    /// The same text for every role.
    Same(&'static str),
    /// By role; a role that does not read the key gets the first.
    PerRole {
        demo: &'static str,
        dev: &'static str,
        coordinator: &'static str,
        worker: &'static str,
        gateway: &'static str,
    },
    /// Worked out from other values when the configuration is loaded; the text says how, for the documentation.
    Derived(&'static str),
}

impl BuiltIn {
    pub(crate) fn text(self, role: Role) -> Option<&'static str> {
        match self {
            BuiltIn::Unset | BuiltIn::Derived(_) => None,
            BuiltIn::Same(text) => Some(text),
            BuiltIn::PerRole { demo, dev, coordinator, worker, gateway } => Some(match role {
                Role::Demo => demo,
                Role::Dev => dev,
                Role::Coordinator => coordinator,
                Role::Worker => worker,
                Role::Gateway => gateway,
            }),
        }
    }
}

/// Limits of a value, written as the value itself is written; both ends are allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limits {
    /// Whatever the type allows.
    Type,
    /// From the first to the second.
    Between(&'static str, &'static str),
}

impl Limits {
    fn check<T: Value>(self, value: &T) -> Result<(), Reason> {
        let Limits::Between(low, high) = self else { return Ok(()) };
        let Some(size) = value.magnitude() else { return Ok(()) };
        let bound = |text: &str| T::from_text(text).ok().and_then(|bound| bound.magnitude());
        let fits = bound(low).is_none_or(|low| low <= size) && bound(high).is_none_or(|high| size <= high);
        if fits {
            return Ok(());
        }
        let shown = value.render().unwrap_or_default();
        Err(format!("{shown} is out of range: allowed is {low} to {high}"))
    }
}

/// What is written for a key: a text of a variable, a flag or a default, or a node of a file.
pub(crate) enum Raw<'a> {
    Text(&'a str),
    Node(&'a Node),
}

/// Why something written is not a value of its key.
pub(crate) enum RawFault {
    Text(Reason),
    Node(Vec<NodeFault>),
}

/// One key of the configuration.
#[derive(Debug)]
pub(crate) struct KeySpec {
    /// `section.key`.
    pub(crate) path: &'static str,
    /// The section.
    pub(crate) section: &'static str,
    /// The key within it.
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) expected: &'static str,
    pub(crate) default: BuiltIn,
    pub(crate) limits: Limits,
    pub(crate) roles: Roles,
    pub(crate) optional: bool,
    pub(crate) secret: bool,
    pub(crate) list: bool,
    pub(crate) plain_only: bool,
    /// Checks something written and gives it back in its normal form (`None`: not set; redacted for secrets).
    pub(crate) read: fn(&KeySpec, Raw<'_>) -> Result<Option<String>, RawFault>,
}

impl KeySpec {
    /// The variable `ZKPNET_<SECTION>__<KEY>`.
    pub(crate) fn variable(&self) -> String {
        format!("ZKPNET_{}__{}", self.section, self.name).to_ascii_uppercase()
    }
}

/// Reads a value of type `T` and applies the key's limits.
pub(crate) fn parse<T: Value>(spec: &KeySpec, raw: &Raw<'_>) -> Result<T, RawFault> {
    match raw {
        Raw::Text(text) => {
            let value = T::from_text(text).map_err(RawFault::Text)?;
            spec.limits.check(&value).map_err(RawFault::Text)?;
            Ok(value)
        }
        Raw::Node(node) => {
            let value = T::from_node(node).map_err(RawFault::Node)?;
            spec.limits.check(&value).map_err(|reason| RawFault::Node(vec![NodeFault::new(node, reason)]))?;
            Ok(value)
        }
    }
}

/// `parse` for those who only want to know whether it is right, and how it reads.
pub(crate) fn read<T: Value>(spec: &KeySpec, raw: Raw<'_>) -> Result<Option<String>, RawFault> {
    parse::<T>(spec, &raw).map(|value| value.render())
}

/// Gives out typed values by key while structs are filled.
pub(crate) trait Source {
    /// The value of a key; `None` when there is none, which the source has noted as an error.
    fn value<T: Value>(&mut self, spec: &'static KeySpec) -> Option<T>;
}

/// Declares one section: the struct, and its part of the table.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])+
        $name:ident = $section:literal
        $($(#[doc = $doc:literal])+
        $field:ident: $ty:ty = $default:expr, $limits:expr, $roles:expr;)+
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $ty,)+
        }

        impl $name {
            pub(crate) const DOC: &'static str = concat!($($section_doc, "\n"),+);
            pub(crate) const KEYS: &'static [$crate::config::keys::KeySpec] = &[
                $($crate::config::keys::KeySpec {
                    path: concat!($section, ".", stringify!($field)),
                    section: $section,
                    name: stringify!($field),
                    doc: concat!($($doc, "\n"),+),
                    expected: <$ty as $crate::config::values::Value>::EXPECTED,
                    default: $default,
                    limits: $limits,
                    roles: $roles,
                    optional: <$ty as $crate::config::values::Value>::OPTIONAL,
                    secret: <$ty as $crate::config::values::Value>::SECRET,
                    list: <$ty as $crate::config::values::Value>::LIST,
                    plain_only: <$ty as $crate::config::values::Value>::PLAIN_ONLY,
                    read: $crate::config::keys::read::<$ty>,
                },)+
            ];

            /// Every key is asked for before giving up, so that the source sees all that is missing.
            pub(crate) fn fill(source: &mut impl $crate::config::keys::Source) -> Option<Self> {
                let mut specs = Self::KEYS.iter();
                $(let $field = specs.next().and_then(|spec| source.value::<$ty>(spec));)+
                Some($name { $($field: $field?,)+ })
            }
        }
    };
}
pub(crate) use section;
