//! A library that is put between a process and the C library, and makes its fsync slow for as long as a file says so.

use super::lab::run;
use std::path::{Path, PathBuf};

/// Reads milliseconds from the file that `SLOW_FSYNC_FILE` names, and leaves a byte in a second file for each call that it delayed.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void delay(void) {
    const char *path = getenv("SLOW_FSYNC_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    int millis = 0;
    if (!file) return;
    if (fscanf(file, "%d", &millis) != 1) millis = 0;
    fclose(file);
    if (millis <= 0) return;
    char counter[4096];
    snprintf(counter, sizeof counter, "%s.count", path);
    int count = open(counter, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (count >= 0) {
        if (write(count, ".", 1) < 0) perror("shim");
        close(count);
    }
    usleep((useconds_t)millis * 1000);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    delay();
    return real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    delay();
    return real(fd);
}
"#;

/// The compiled library; removed when dropped.
pub(crate) struct Shim {
    pub(crate) library: PathBuf,
    _folder: tempfile::TempDir,
}

/// Compiles it.
pub(crate) fn build() -> Shim {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("slow_fsync.c"), folder.path().join("slow_fsync.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let (source_text, library_text) = (source.display().to_string(), library.display().to_string());
    run("gcc", &["-shared", "-fPIC", "-O1", "-Wall", "-o", &library_text, &source_text, "-ldl"]);
    Shim { library, _folder: folder }
}

/// Where the calls that were delayed are counted, a byte each.
pub(crate) fn counter(delay: &Path) -> PathBuf {
    PathBuf::from(format!("{}.count", delay.display()))
}
