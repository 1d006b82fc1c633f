//! Where the next page of a list begins, as opaque text.
//!
//! A cursor holds a version, the place, and a check over both and the list's filters, in base64url. The check is no
//! secret: it finds cursors that were cut, mistyped, or used with other filters, each of which would give a wrong page in
//! silence. Whose tasks are listed does not depend on the cursor, so a forged one gains nothing.

use crate::actors::tasks::messages::ListPlace;
use crate::ledger::TaskFilter;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const VERSION: u8 = 2;
const CHECK_BYTES: usize = 8;
const PLACE_BYTES: usize = 8 + 8;
const CURSOR_BYTES: usize = 1 + PLACE_BYTES + CHECK_BYTES;

/// A text is no cursor of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor of a list with these filters; begin again without one")]
pub(super) struct CursorError;

/// Writes the cursor of the page that begins below `before`.
pub(super) fn encode(before: ListPlace, filter: &TaskFilter) -> String {
    let place = place_bytes(before);
    let mut bytes = Vec::with_capacity(CURSOR_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&place);
    bytes.extend_from_slice(&check(place, filter));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The epoch, 0 for this cluster's own (the archive counts from 1), and the sequence number.
fn place_bytes(place: ListPlace) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    let (epoch, sequence) = bytes.split_at_mut(8);
    epoch.copy_from_slice(&place.epoch.unwrap_or(0).to_be_bytes());
    sequence.copy_from_slice(&place.sequence.unwrap_or(u64::MAX).to_be_bytes());
    bytes
}

/// Reads a cursor.
///
/// # Errors
/// It is none of this list.
pub(super) fn decode(text: &str, filter: &TaskFilter) -> Result<ListPlace, CursorError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
    let bytes: [u8; CURSOR_BYTES] = bytes.try_into().map_err(|_| CursorError)?;
    let [version, rest @ ..] = bytes;
    let (place, found) = rest.split_at(PLACE_BYTES);
    let place: [u8; PLACE_BYTES] = place.try_into().map_err(|_| CursorError)?;
    if version != VERSION || found != check(place, filter) {
        return Err(CursorError);
    }
    let (epoch, sequence) = place.split_at(8);
    let epoch = i64::from_be_bytes(epoch.try_into().map_err(|_| CursorError)?);
    let sequence = u64::from_be_bytes(sequence.try_into().map_err(|_| CursorError)?);
    Ok(ListPlace { epoch: Some(epoch).filter(|epoch| *epoch != 0), sequence: Some(sequence) })
}

fn check(place: [u8; PLACE_BYTES], filter: &TaskFilter) -> [u8; CHECK_BYTES] {
    let mut hash = blake3::Hasher::new_derive_key("zkpnet task list cursor 2");
    hash.update(&place);
    let status = filter.status.map_or("", |status| status.as_str());
    let circuit = filter.circuit.as_ref().map_or("", |circuit| circuit.as_str());
    // Names have no line breaks, so that the parts cannot run into each other.
    hash.update(format!("{status}\n{circuit}\n{:?}", filter.since.map(|since| since.0)).as_bytes());
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash.finalize().as_bytes()[..CHECK_BYTES]);
    check
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::{CircuitId, TaskStatus, UnixMillis};
    use proptest::prelude::*;

    fn filters() -> Vec<TaskFilter> {
        vec![
            TaskFilter::default(),
            TaskFilter { status: Some(TaskStatus::Pending), ..TaskFilter::default() },
            TaskFilter { circuit: Some(CircuitId::new("pending").unwrap()), ..TaskFilter::default() },
            TaskFilter { since: Some(UnixMillis(0)), ..TaskFilter::default() },
        ]
    }

    fn place() -> impl Strategy<Value = ListPlace> {
        (prop::option::of(1..i64::MAX), any::<u64>())
            .prop_map(|(epoch, sequence)| ListPlace { epoch, sequence: Some(sequence) })
    }

    proptest! {
        #[test]
        fn a_cursor_is_good_for_its_own_filters_only(before in place(), own in 0_usize..4, other in 0_usize..4) {
            let filters = filters();
            let text = encode(before, &filters[own]);
            prop_assert_eq!(decode(&text, &filters[other]).ok(), (own == other).then_some(before));
        }

        #[test]
        fn a_changed_character_is_noticed(before in place(), place in 0_usize..34, to in "[A-Za-z0-9_-]") {
            let text = encode(before, &TaskFilter::default());
            let mut changed = text.clone();
            changed.replace_range(place..=place, &to);
            prop_assume!(changed != text);
            prop_assert_eq!(decode(&changed, &TaskFilter::default()), Err(CursorError));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            prop_assert!(decode(&text, &TaskFilter::default()).is_err());
        }
    }

    #[test]
    fn a_cut_or_padded_cursor_is_refused() {
        let text = encode(ListPlace { epoch: None, sequence: Some(7) }, &TaskFilter::default());
        assert!(decode(&text[..text.len() - 1], &TaskFilter::default()).is_err());
        assert!(decode(&format!("{text}="), &TaskFilter::default()).is_err());
        assert!(decode("", &TaskFilter::default()).is_err());
    }
}
