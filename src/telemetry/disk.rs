//! How much room a folder's file system has.

use std::path::Path;

/// The room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes of the whole file system.
    pub size_bytes: u64,
}

/// The room of the file system that a folder lies on; none when it cannot be told. Blocks.
#[must_use]
#[cfg(unix)]
pub fn disk_space(folder: &Path) -> Option<DiskSpace> {
    let about = rustix::fs::statvfs(folder).ok()?;
    Some(DiskSpace {
        // `f_bavail` leaves out what is kept for the superuser.
        free_bytes: about.f_bavail.saturating_mul(about.f_frsize),
        size_bytes: about.f_blocks.saturating_mul(about.f_frsize),
    })
}

/// The room of the file system that a folder lies on: not told on this system.
#[must_use]
#[cfg(not(unix))]
pub fn disk_space(_: &Path) -> Option<DiskSpace> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_there_has_room_and_one_that_is_not_has_none_to_tell() {
        let space = disk_space(&std::env::temp_dir());
        assert!(space.is_some_and(|space| 0 < space.size_bytes && space.free_bytes <= space.size_bytes));
        assert_eq!(disk_space(Path::new("/no/such/folder")), None);
    }
}
