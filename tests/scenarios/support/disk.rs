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

    /// Fills it so that so many mebibytes are left.
    pub(crate) fn fill_but(&self, mebibytes: u64) {
        let df = Command::new("df").args(["--output=avail", "-B1M"]).arg(&self.0).output().unwrap();
        let said = String::from_utf8(df.stdout).unwrap();
        let free: u64 = said.lines().last().unwrap().trim().parse().unwrap();
        assert!(free > mebibytes, "only {free} MiB are free");
        let ballast = format!("of={}", self.ballast().display());
        run("dd", &["if=/dev/zero", &ballast, "bs=1M", &format!("count={}", free - mebibytes)]);
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
