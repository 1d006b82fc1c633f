//! Where a value came from, what was wrong, and what deserves a notice.
//!
//! Every message names the key and its source: file, line and column, or the variable, or the flag. None repeats
//! the text of a secret. All errors of a load are reported together.

use std::fmt;
use std::io;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// Worked out from what is named.
    Derived(&'static str),
    /// A place in the configuration file.
    File {
        /// The file as it was named.
        file: String,
        /// Line, from one.
        line: usize,
        /// Column, from one.
        column: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Derived(from) => write!(f, "from {from}"),
            Origin::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Origin::Variable(name) => write!(f, "variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("cannot read the configuration file {file}: {source}")]
    Unreadable {
        /// The file as it was named.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("the configuration file {file} is larger than {bytes_max} bytes")]
    TooLarge {
        /// The file as it was named.
        file: String,
        /// What is allowed.
        bytes_max: u64,
    },
    /// The file is not text.
    #[error("the configuration file {file} is not UTF-8: byte {offset} is wrong")]
    NotUtf8 {
        /// The file as it was named.
        file: String,
        /// Offset of the first wrong byte.
        offset: usize,
    },
    /// The file's form is wrong.
    #[error("{at}: {reason}")]
    Malformed {
        /// Where.
        at: Origin,
        /// What is wrong.
        reason: String,
    },
    /// A key that does not exist.
    #[error("unknown key `{key}` ({origin}){}", hint(nearest.as_deref()))]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// Where it was written.
        origin: Origin,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A variable `ZKPNET_…` that does not exist.
    #[error("unknown variable {name}{}", hint(nearest.as_deref()))]
    UnknownVariable {
        /// The variable's name.
        name: String,
        /// The known variable that looks most like it.
        nearest: Option<String>,
    },
    /// A variable's name or value is not UTF-8.
    #[error("the variable {name} is not UTF-8")]
    VariableNotUtf8 {
        /// The variable's name, its wrong bytes replaced.
        name: String,
    },
    /// A value that its key does not take.
    #[error("`{key}` ({origin}): {reason}")]
    Invalid {
        /// The key.
        key: String,
        /// Where the value was written.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// A value that has no default here.
    #[error("`{key}` is not set: {reason}")]
    Missing {
        /// The key.
        key: String,
        /// Why there is no default, and what to write.
        reason: String,
    },
    /// Values that are right alone and wrong together.
    #[error("{}: {reason}", together(keys))]
    Conflict {
        /// The keys and where their values came from.
        keys: Vec<(&'static str, Origin)>,
        /// What is wrong.
        reason: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

fn together(keys: &[(&'static str, Origin)]) -> String {
    keys.iter().map(|(key, origin)| format!("`{key}` ({origin})")).collect::<Vec<_>>().join(", ")
}

/// All that is wrong with the configuration, at least one error.
#[derive(Debug)]
pub struct ConfigErrors(pub(crate) Vec<ConfigError>);

impl ConfigErrors {
    /// The errors: those of the file first, then variables, flags, and what is wrong together.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "the configuration has an error: {only}"),
            all => {
                write!(f, "the configuration has {} errors:", all.len())?;
                all.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Something that is accepted and yet worth telling the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Keys that mean nothing for the role.
    NotForRole {
        /// The role's name.
        role: &'static str,
        /// The keys and where they were set.
        keys: Vec<(&'static str, Origin)>,
    },
    /// A variable that meant something in earlier documents and no longer does.
    RetiredVariable {
        /// The variable.
        name: &'static str,
        /// Why it means nothing now.
        reason: &'static str,
    },
    /// A variable that looks like one of ours and is not read.
    IgnoredVariable {
        /// The variable.
        name: String,
        /// The variable that is read instead.
        instead: Option<String>,
    },
    /// A variable that another one overrides.
    OverriddenVariable {
        /// The one that loses.
        name: String,
        /// The one that wins.
        by: String,
    },
    /// Anything else about the values themselves.
    Advice {
        /// The key.
        key: &'static str,
        /// Where it was set.
        origin: Origin,
        /// What to know.
        text: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::NotForRole { role, keys } => {
                write!(f, "without meaning for the role {role}: {}", together(keys))
            }
            Notice::RetiredVariable { name, reason } => {
                write!(f, "variable {name} is accepted and ignored: {reason}")
            }
            Notice::IgnoredVariable { name, instead: Some(instead) } => {
                write!(f, "variable {name} is not read; did you mean {instead}?")
            }
            Notice::IgnoredVariable { name, instead: None } => write!(f, "variable {name} is not read"),
            Notice::OverriddenVariable { name, by } => write!(f, "variable {name} is overridden by {by}"),
            Notice::Advice { key, origin, text } => write!(f, "`{key}` ({origin}): {text}"),
        }
    }
}
