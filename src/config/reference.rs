//! The table of keys as documentation: the reference in `docs/configuration.md`, and a commented file of defaults.
//!
//! Both are made from the declarations, and tests hold the committed copies to them, so that neither can rot.

use std::fmt::Write;

use super::keys::{BuiltIn, KeySpec, Limits};
use super::render::yaml_value;
use super::roles::Role;
use super::sections::{SECTIONS, keys};
use super::variables::prefixed;

/// Width of the commented file's lines.
const COMMENT_CHARS_MAX: usize = 100;

/// The reference of all keys, in Markdown: what they mean, their defaults and limits, and their variables.
#[must_use]
pub fn reference_markdown() -> String {
    let mut text = String::new();
    for (section, about, keys) in SECTIONS {
        // Writing to a String cannot fail, here and below.
        let _ = write!(text, "### `{section}`\n\n{}\n\n", one_line(about));
        text.push_str("| key | value | default | roles | meaning |\n|---|---|---|---|---|\n");
        for spec in *keys {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} |",
                spec.name,
                value_cell(spec),
                default_cell(spec),
                roles_cell(spec),
                one_line(spec.doc),
            );
        }
        text.push('\n');
    }
    text.push_str(&variables_table());
    text
}

/// Every key with its variables.
fn variables_table() -> String {
    let mut text = String::from("### Variables\n\n| key | variable | prefixed names |\n|---|---|---|\n");
    for spec in keys() {
        let mut names: Vec<String> = Vec::new();
        for role in Role::ALL {
            if let Some(name) = prefixed(role, spec)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "| `{}` | `{}` | {} |", spec.path, spec.variable(), names.join(", "));
    }
    text
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn value_cell(spec: &KeySpec) -> String {
    let list = if spec.list { "list, each " } else { "" };
    let secret = if spec.secret { " (secret)" } else { "" };
    // The units of durations and sizes are told once, above the tables.
    let expected = match spec.limits {
        Limits::Type => spec.expected,
        Limits::Between(..) => spec.expected.split(" such as ").next().unwrap_or(spec.expected),
    };
    match spec.limits {
        Limits::Type => format!("{list}{expected}{secret}"),
        Limits::Between(low, high) => format!("{list}{expected}{secret}, {low} to {high}"),
    }
}

fn default_cell(spec: &KeySpec) -> String {
    match spec.default {
        BuiltIn::Unset => "not set".to_owned(),
        BuiltIn::Same(text) => format!("`{text}`"),
        BuiltIn::Derived(how) => how.to_owned(),
        BuiltIn::PerRole { .. } => {
            let roles = Role::ALL.into_iter().filter(|role| spec.roles.contains(*role));
            let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
            for (role, text) in roles.filter_map(|role| Some((role, spec.default.text(role)?))) {
                match groups.iter_mut().find(|(known, _)| *known == text) {
                    Some((_, names)) => names.push(role.name()),
                    None => groups.push((text, vec![role.name()])),
                }
            }
            let cell = |(text, names): (&str, Vec<&str>)| format!("`{text}` ({})", names.join(", "));
            groups.into_iter().map(cell).collect::<Vec<_>>().join(", ")
        }
    }
}

fn roles_cell(spec: &KeySpec) -> String {
    let roles = Role::ALL.into_iter().filter(|role| spec.roles.contains(*role));
    let names: Vec<&str> = roles.map(Role::name).collect();
    if names.len() == Role::ALL.len() { "all".to_owned() } else { names.join(", ") }
}

/// A commented file with every key that the role reads, at its default; keys without a fixed default
/// stand in comments.
#[must_use]
pub fn commented_defaults(role: Role) -> String {
    let mut text = String::new();
    for (section, about, keys) in SECTIONS {
        let wanted = |spec: &&KeySpec| spec.roles.contains(role);
        let keys: Vec<&KeySpec> = keys.iter().filter(wanted).collect();
        if keys.is_empty() {
            continue;
        }
        text.push('\n');
        comment(&mut text, "", about);
        let _ = writeln!(text, "{section}:");
        for spec in keys {
            let mut doc = spec.doc.to_owned();
            if let BuiltIn::Derived(how) = spec.default {
                let _ = write!(doc, " Default: {how}.");
            }
            comment(&mut text, "  ", &doc);
            let _ = match spec.default.text(role) {
                Some(default) => writeln!(text, "  {}: {}", spec.name, yaml_value(spec, default)),
                None => writeln!(text, "  # {}:", spec.name),
            };
        }
    }
    text
}

/// Appends a text as comment lines, broken between words.
fn comment(text: &mut String, indent: &str, doc: &str) {
    let mut line = format!("{indent}#");
    for word in doc.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COMMENT_CHARS_MAX {
            text.push_str(&line);
            text.push('\n');
            line = format!("{indent}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
