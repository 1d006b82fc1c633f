//! The archive's handle.

use super::connection::Connections;
use super::error::ArchiveError;
use super::settings::ArchiveSettings;
use std::fmt;

/// The archive. Clones share its connections.
#[derive(Clone)]
pub struct ArchiveStore {
    pub(super) connections: Connections,
    settings: ArchiveSettings,
}

impl fmt::Debug for ArchiveStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ArchiveStore {
    /// Makes the store ready; contacts nobody, since the server may be down while a coordinator starts.
    ///
    /// # Errors
    /// `Rejected` when TLS cannot be set up as the settings want it: the CA file is missing or cannot be used.
    pub fn open(settings: ArchiveSettings) -> Result<Self, ArchiveError> {
        Ok(Self { connections: Connections::new(&settings)?, settings })
    }
}
