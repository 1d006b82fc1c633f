//! The effective configuration as text: what `zkpnet config check` prints.
//!
//! The text is YAML, so that it can be kept and compared; a comment says where each value came from that is not
//! built in. It is made from the normal forms that hold a placeholder for every secret: there is no secret here
//! that could be printed.

use std::fmt::Write;

use super::Loaded;
use super::errors::Origin;
use super::keys::KeySpec;
use super::sections::SECTIONS;

/// Column at which the comments begin, where the value leaves room.
const COMMENT_COLUMN: usize = 44;

/// The keys of the role with their values, and with where each value came from that is not a built-in default.
#[must_use]
pub fn render_effective(loaded: &Loaded) -> String {
    let mut text = format!("# effective configuration, role {}\n", loaded.role);
    for (section, _, keys) in SECTIONS {
        let mut header = Some(format!("{section}:\n"));
        for spec in keys.iter().filter(|spec| spec.roles.contains(loaded.role)) {
            text.push_str(&header.take().unwrap_or_default());
            text.push_str(&line(spec, loaded));
        }
    }
    text
}

fn line(spec: &KeySpec, loaded: &Loaded) -> String {
    let value = loaded.effective.get(spec.path).and_then(Option::as_deref);
    let mut line = match value {
        Some(value) => format!("  {}: {}", spec.name, yaml_value(spec, value)),
        None => format!("  # {}: not set", spec.name),
    };
    let mut remarks = Vec::new();
    if let Some(origin) = loaded.origins.get(spec.path).filter(|origin| **origin != Origin::Default) {
        remarks.push(origin.to_string());
    }
    if !remarks.is_empty() {
        let pad = COMMENT_COLUMN.saturating_sub(line.chars().count()).max(2);
        // Writing to a String cannot fail.
        let _ = write!(line, "{:pad$}# {}", "", remarks.join(", "));
    }
    line.push('\n');
    line
}

/// A normal form as YAML.
pub(crate) fn yaml_value(spec: &KeySpec, value: &str) -> String {
    if spec.list {
        let items: Vec<String> = value.split(',').filter(|item| !item.is_empty()).map(yaml_text).collect();
        return format!("[{}]", items.join(", "));
    }
    // Numbers and booleans stand as they are, texts that look like them in quotes.
    if spec.plain_only { value.to_owned() } else { yaml_text(value) }
}

/// A text as a YAML scalar: plain where every reader takes it for text, else in double quotes.
fn yaml_text(text: &str) -> String {
    let plain_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._/=-".contains(&byte) || byte == b':';
    let starts_plain = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    let looks_typed = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null"
    ) || text.parse::<f64>().is_ok();
    if starts_plain && text.bytes().all(plain_byte) && !text.ends_with(':') && !looks_typed {
        return text.to_owned();
    }
    // JSON's escapes are a subset of those of a double-quoted YAML scalar.
    serde_json::Value::from(text).to_string()
}
