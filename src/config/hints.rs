//! The nearest known name for one that is unknown.

/// The candidate that looks most like `wrong`, or `None` when nothing looks like it.
///
/// Edits are counted with neighbouring swaps as one; a third of the name may be wrong. Names that only lack their
/// section (`port` for `http.port`), or stand in a wrong one, are recognised by their last part.
pub(crate) fn nearest<S: AsRef<str>>(wrong: &str, candidates: impl IntoIterator<Item = S>) -> Option<String> {
    // Longer than any known name: comparing would only cost time.
    if wrong.len() > 128 {
        return None;
    }
    let folded = wrong.to_ascii_lowercase().replace('-', "_");
    let allowed = (folded.chars().count() / 3).max(1);
    let mut best: Option<(usize, String)> = None;
    for candidate in candidates {
        let name = candidate.as_ref();
        let known = name.to_ascii_lowercase();
        let same_last = last_part(&known) == last_part(&folded);
        let edits = strsim::damerau_levenshtein(&folded, &known);
        // A right last part in a wrong or missing section ranks behind any small typing error.
        let rank = if edits <= allowed {
            edits
        } else if same_last {
            1_000 + edits
        } else {
            continue;
        };
        if best.as_ref().is_none_or(|(known_rank, _)| rank < *known_rank) {
            best = Some((rank, name.to_owned()));
        }
    }
    best.map(|(_, name)| name)
}

fn last_part(name: &str) -> &str {
    let after_dot = name.rsplit('.').next().unwrap_or(name);
    after_dot.rsplit("__").next().unwrap_or(after_dot)
}
