//! A small disk of its own for one host's data, so that it can be full without harming anybody else.

use super::lab::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted disk; unmounted when dropped, which must be after the process that uses it has ended.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a disk of so many mebibytes on a folder.
    pub(crate) fn mount(folder: &Path, mebibytes: u32) -> Self {
        let path = folder.display().to_string();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "zkpnet-scenario", &path]);
        Self(folder.to_owned())
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        // Ends with "no space left", which is what is wanted.
        let ballast = format!("of={}", self.ballast().display());
        let _ = Command::new("dd").args(["if=/dev/zero", &ballast, "bs=4k"]).output().unwrap();
    }

    /// Makes room again.
    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
