//! Backups: everything that a new cluster needs to serve the old one's tasks, in one file, but for the data key.
//!
//! In reading order: `container` (parts of a file, each with a hash of its own), `manifest` (what the file says of itself),
//! `take` (writing one, from a running node or from a stopped one's files), `check` (reading one to its end), `restore`.
//!
//! Owned here: what belongs to a backup, and that nothing of a file is used before all of it was checked. Refused: the data
//! key, which never enters a file, so that whoever finds one can open no input; and a restore with another data key than the
//! inputs in it are sealed with.

mod check;
mod container;
mod desk;
mod error;
mod manifest;
mod restore;
mod take;

pub use check::check;
pub use container::FORMAT;
pub use desk::{BackupDesk, BackupPieces, BackupRefusal};
pub use error::BackupError;
pub use manifest::{KeyEntry, KeysIncluded, Manifest};
pub use restore::{RestoreRequest, Restored, restore};
pub use take::{StoppedNode, create, take_from_stopped};
