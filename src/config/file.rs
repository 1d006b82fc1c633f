//! The file's layer: reads a YAML file of bounded size and lays each of its keys.
//!
//! It refuses keys that do not exist, wherever they stand, with the nearest one that does.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::errors::{ConfigError, Origin};
use super::hints::nearest;
use super::layers::{Layers, Written, file_origin, shown_key};
use super::sections::{SECTIONS, key, keys};
use super::yaml::{Content, FILE_BYTES_MAX, Node, Position, parse};

/// Lays the keys of a file, or notes why it cannot be read.
pub(crate) fn lay(path: &Path, layers: &mut Layers) {
    let name = path.display().to_string();
    match read(path, &name) {
        Ok(text) => lay_text(&text, &name, layers),
        Err(error) => layers.errors.push(error),
    }
}

fn read(path: &Path, name: &str) -> Result<Zeroizing<String>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { file: name.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { file: name.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.trim_start_matches('\u{feff}').to_owned())),
        Err(error) => Err(ConfigError::NotUtf8 { file: name.to_owned(), offset: error.valid_up_to() }),
    }
}

/// Lays the keys of a file's text; `name` stands for the file in messages.
pub(crate) fn lay_text(text: &str, name: &str, layers: &mut Layers) {
    let root = match parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => return,
        Err(faults) => {
            let malformed = |fault: super::yaml::YamlFault| ConfigError::Malformed {
                at: file_origin(name, fault.at),
                reason: fault.reason,
            };
            layers.errors.extend(faults.into_iter().map(malformed));
            return;
        }
    };
    if root.is_blank() {
        return;
    }
    let Content::Map(sections) = root.content else {
        let at = file_origin(name, root.at);
        let reason = "expected sections such as `http:` with keys beneath them".to_owned();
        layers.errors.push(ConfigError::Malformed { at, reason });
        return;
    };
    for (section, node) in sections {
        if SECTIONS.iter().any(|(known, _, _)| *known == section.text) {
            lay_section(&section.text, node, name, layers);
        } else {
            unknown(&section.text, section.at, name, layers);
        }
    }
}

fn lay_section(section: &str, node: Node, name: &str, layers: &mut Layers) {
    if node.is_blank() {
        return;
    }
    let Content::Map(entries) = node.content else {
        let origin = file_origin(name, node.at);
        let reason = "expected keys beneath it".to_owned();
        layers.errors.push(ConfigError::Invalid { key: section.to_owned(), origin, reason });
        return;
    };
    for (entry, value) in entries {
        let path = format!("{section}.{}", entry.text);
        match key(&path) {
            Some(spec) => {
                let origin = file_origin(name, value.at);
                layers.set(spec, Written::Node(value), origin);
            }
            None => unknown(&path, entry.at, name, layers),
        }
    }
}

fn unknown(path: &str, at: Position, name: &str, layers: &mut Layers) {
    let origin: Origin = file_origin(name, at);
    let sections = SECTIONS.iter().map(|(section, _, _)| *section);
    let nearest = match path.split_once('.') {
        Some(_) => nearest(path, keys().map(|spec| spec.path)),
        None => nearest(path, sections.chain(keys().map(|spec| spec.path))),
    };
    layers.errors.push(ConfigError::UnknownKey { key: shown_key(path), origin, nearest });
}
