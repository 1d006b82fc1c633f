//! Holds the rules of the source tree that the compiler does not: which way imports run, how long files are, what the
//! pure modules may name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the crate from the ground up; each may use those before it in the list, and itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("planted", &[]),
    ("telemetry", &[]),
    ("ledger", &["planted"]),
    ("proof", &["planted"]),
    ("codec", &[]),
    ("tls", &[]),
    ("sealing", &["ledger"]),
    ("config", &[]),
    ("raft", &["planted", "telemetry", "ledger", "codec", "tls"]),
    ("archive", &["ledger"]),
    ("backup", &["ledger", "proof", "sealing", "raft"]),
    ("actors", &["planted", "telemetry", "ledger", "proof", "codec", "sealing", "raft", "archive"]),
    ("http", &["telemetry", "ledger", "proof", "raft", "backup", "actors"]),
    ("rpc", &["telemetry", "ledger", "proof", "codec", "tls", "actors"]),
    ("gateway", &["telemetry", "ledger", "http"]),
    ("cli", &["ledger", "proof", "config", "http", "raft", "backup", "tls"]),
    (
        "node",
        &[
            "telemetry",
            "ledger",
            "proof",
            "codec",
            "tls",
            "sealing",
            "config",
            "raft",
            "archive",
            "backup",
            "actors",
            "http",
            "rpc",
            "gateway",
            "cli",
        ],
    ),
];

/// Where the code is asked to be split.
const LINES_MAX: usize = 500;

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    assert!(!files.is_empty(), "{} holds no Rust file", folder.display());
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// A module's files: a folder, or a file of its name.
fn files_of(module: &str) -> Vec<PathBuf> {
    let folder = source().join(module);
    if folder.is_dir() { rust_files(&folder) } else { vec![source().join(format!("{module}.rs"))] }
}

/// The code without comments, and without what stands behind `#[cfg(test)]` at the end of a file.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code: Vec<&str> = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .filter(|line| !line.trim().starts_with("//"))
        .collect();
    code.join("\n")
}

fn is_test_file(file: &Path) -> bool {
    let stem = file.file_stem().unwrap().to_string_lossy();
    file.components().any(|part| part.as_os_str() == "tests") || stem == "tests" || stem.ends_with("_tests")
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for (module, allowed) in LAYERS {
        for file in files_of(module).iter().filter(|file| !is_test_file(file)) {
            let code = code_of(file);
            for (other, _) in LAYERS.iter().filter(|(other, _)| other != module && !allowed.contains(other)) {
                if code.contains(&format!("crate::{other}::")) || code.contains(&format!("crate::{other};")) {
                    wrong.push(format!("{} uses {other}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_layers() {
    let listed: Vec<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    let root = fs::read_to_string(source().join("lib.rs")).unwrap();
    for module in root.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(listed.contains(&module), "{module} is not in LAYERS");
    }
}

#[test]
fn the_pure_modules_name_no_runtime_and_read_no_clock() {
    let forbidden = [
        "actix",
        "tokio::",
        "openraft",
        "tonic",
        "redb",
        "std::time::Instant",
        "SystemTime",
        "Instant::now",
        "thread::",
    ];
    let mut wrong = Vec::new();
    for module in ["ledger", "proof"] {
        for file in files_of(module).iter().filter(|file| !is_test_file(file)) {
            let code = code_of(file);
            wrong.extend(
                forbidden
                    .iter()
                    .filter(|word| code.contains(**word))
                    .map(|word| format!("{}: {word}", file.display())),
            );
        }
    }
    // The archive has a runtime, since its connections are the runtime's, and no actors.
    for file in files_of("archive") {
        if code_of(&file).contains("actix") {
            wrong.push(format!("{}: actix", file.display()));
        }
    }
    // The ledger does no I/O either, and draws no randomness.
    for file in files_of("ledger") {
        let code = code_of(&file);
        let words = ["std::fs", "std::net", "rand_core", "OsRng", "HashMap", "HashSet"];
        wrong.extend(
            words
                .iter()
                .filter(|word| code.contains(**word))
                .map(|word| format!("{}: {word}", file.display())),
        );
    }
    assert!(wrong.is_empty(), "impure:\n{}", wrong.join("\n"));
}

#[test]
fn libraries_that_have_one_home_are_named_nowhere_else() {
    let homes = [
        ("bincode::", "codec.rs"),
        ("openraft::", "raft"),
        ("redb::", "raft"),
        ("tonic::", "rpc"),
        ("prost::", "rpc"),
        ("tokio_postgres", "archive"),
        ("deadpool_postgres", "archive"),
        ("refinery", "archive"),
    ];
    for (word, home) in homes {
        for file in rust_files(&source()).into_iter().filter(|file| !is_test_file(file)) {
            let is_home = file.strip_prefix(source()).unwrap().starts_with(home);
            assert!(is_home || !code_of(&file).contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let mut wrong = Vec::new();
    for file in rust_files(&source()) {
        let text = fs::read_to_string(&file).unwrap();
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not begin with //!", file.display()));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The modules that may contain `unsafe`, one for each concern; all under `src/`.
const UNSAFE: &[&str] = &[
    // Calls of blst's field functions.
    "proof/arith/field.rs",
    // Pairings and sums in G1 by blst.
    "proof/groth16/miller.rs",
    // Aligned loads and stores.
    "proof/arith/ifma/memory.rs",
    "proof/arith/fma/memory.rs",
    // Products of vectors, in assembly.
    "proof/arith/fma/product.rs",
    // The ways into code that is compiled for AVX512-IFMA, and into that for AVX2 and FMA, by the macro in `simd.rs`.
    "proof/arith/ifma/mod.rs",
    "proof/arith/fma/mod.rs",
    // Prefetching.
    "proof/arith/memory.rs",
    // Eight Poseidon hashes at a time.
    "proof/poseidon/vector.rs",
    // Aligned loads and stores of scalars, eight at a time.
    "proof/groth16/domain/vector/block.rs",
    // The one entry into transforms that are compiled for AVX512-IFMA.
    "proof/groth16/domain/vector/mod.rs",
];

#[test]
fn unsafe_code_is_allowed_in_the_listed_modules_alone() {
    for file in rust_files(&source()) {
        let listed = UNSAFE.iter().any(|name| file == source().join(name));
        assert_eq!(code_of(&file).contains("allow(unsafe_code)"), listed, "{}", file.display());
    }
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    for file in rust_files(&source()) {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("unsafe {")) {
            let reason = lines[i.saturating_sub(4)..i].iter().any(|line| line.contains("// SAFETY:"));
            assert!(reason || line.trim_start().starts_with("//"), "{}:{}", file.display(), i + 1);
        }
    }
}
