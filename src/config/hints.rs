//! The nearest known name for one that is unknown.

/// The candidate that looks most like `wrong`, or `None` when nothing looks like it.
///
/// Edits are counted with neighbouring swaps as one; a third of the name may be wrong, the section not counted where
/// it is right. Behind those rank names of the same section of which a part is missing (`raft.id` for
/// `raft.node_id`), and last those that lack their section (`port` for `http.port`) or stand in a wrong one.
pub(crate) fn nearest<S: AsRef<str>>(wrong: &str, candidates: impl IntoIterator<Item = S>) -> Option<String> {
    // Longer than any known name: comparing would only cost time.
    if wrong.len() > 128 {
        return None;
    }
    let folded = wrong.to_ascii_lowercase().replace('-', "_");
    let mut best: Option<(usize, String)> = None;
    for candidate in candidates {
        let name = candidate.as_ref();
        let known = name.to_ascii_lowercase();
        let same_section = section(&known) == section(&folded);
        let (wrong_part, known_part) =
            if same_section { (last(&folded), last(&known)) } else { (folded.as_str(), known.as_str()) };
        let edits = strsim::damerau_levenshtein(wrong_part, known_part);
        let rank = if edits <= (wrong_part.chars().count() / 3).max(1) {
            edits
        } else if same_section && is_part(last(&folded), last(&known)) {
            1_000 + edits
        } else if last(&known) == last(&folded) {
            2_000 + edits
        } else {
            continue;
        };
        if best.as_ref().is_none_or(|(known_rank, _)| rank < *known_rank) {
            best = Some((rank, name.to_owned()));
        }
    }
    best.map(|(_, name)| name)
}

/// Whether a name is made of whole words of another.
fn is_part(part: &str, whole: &str) -> bool {
    !part.is_empty() && format!("_{whole}_").contains(&format!("_{part}_"))
}

fn last(name: &str) -> &str {
    let after_dot = name.rsplit('.').next().unwrap_or(name);
    after_dot.rsplit("__").next().unwrap_or(after_dot)
}

fn section(name: &str) -> &str {
    name.strip_suffix(last(name)).unwrap_or_default()
}
