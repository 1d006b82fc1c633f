//! What stands beside the code agrees with it. The batch files are twins of the shell scripts, as far as that can be seen without
//! Windows: each has its twin, and twins name the same options, configuration files, settings, ports and commands. Messages
//! that `docs/troubleshooting.md` quotes are those that the program says. systemd takes the units, the script beside them keeps the
//! backups that it is to keep, and files come out of a checkout as they went in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(kind)
}

fn names(kind: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder(kind)).unwrap().map(|entry| entry.unwrap().path());
    let scripts = entries.filter(|path| path.extension().is_some_and(|extension| extension == kind));
    scripts.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn text(kind: &str, name: &str) -> String {
    std::fs::read_to_string(folder(kind).join(format!("{name}.{kind}"))).unwrap()
}

/// What begins with `prefix` and goes on with `more`, wherever it is in the text.
fn words(text: &str, prefix: &str, more: fn(char) -> bool) -> BTreeSet<String> {
    let ends = text.match_indices(prefix).map(|(at, _)| {
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c| !more(c)).unwrap_or(rest.len());
        format!("{prefix}{}", &rest[..end])
    });
    ends.collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[test]
fn every_shell_script_has_its_twin_and_no_twin_is_alone() {
    assert_eq!(names("sh"), names("bat"));
    assert!(names("sh").contains("start-local-cluster"));
}

#[test]
fn twins_name_the_same_options_settings_files_and_commands() {
    for name in names("sh") {
        let (sh, bat) = (text("sh", &name), text("bat", &name));
        let settings = |text: &str| words(text, "ZKPNET_", is_name);
        assert_eq!(settings(&sh), settings(&bat), "settings of {name}");
        let options = |text: &str| -> BTreeSet<String> {
            let found = words(text, "--", |c| c.is_ascii_lowercase() || c == '-').into_iter();
            found.filter(|word| word.len() > 2).collect()
        };
        assert_eq!(options(&sh), options(&bat), "options of {name}");
        let files = |text: &str| -> BTreeSet<String> {
            let text = text.replace('\\', "/");
            let words: Vec<String> = text
                .split(|c: char| !(is_name(c) || "-./".contains(c)))
                .filter(|word| word.ends_with(".yaml") || word.ends_with(".key"))
                .map(|word| word.rsplit('/').next().unwrap().to_owned())
                .filter(|word| !word.starts_with('.'))
                .collect();
            words.into_iter().collect()
        };
        assert_eq!(files(&sh), files(&bat), "files that {name} names");
        for command in ["tls data-key", "healthcheck --ready", "cargo build --release --quiet"] {
            assert_eq!(sh.contains(command), bat.contains(command), "{command} in {name}");
        }
        for number in ["89", "1089", "1001", "69", "80", "2024", "64000"] {
            let has = |text: &str| text.split(|c: char| !c.is_ascii_digit()).any(|word| word == number);
            assert_eq!(has(&sh), has(&bat), "{number} in {name}");
        }
    }
}

#[test]
fn what_a_batch_file_calls_is_there() {
    let lib = text("bat", "lib");
    for name in names("bat") {
        let own = text("bat", &name);
        for line in own.lines() {
            if let Some((_, call)) = line.split_once("\"%~dp0lib.bat\" :") {
                let label = call.split_whitespace().next().unwrap();
                assert!(lib.lines().any(|line| line == format!(":{label}")), "{name} calls :{label} of lib");
            }
            let jumps = ["call :", "goto "].iter().filter_map(|word| Some(line.split_once(word)?.1));
            for jump in jumps.filter(|_| !line.starts_with("rem ")) {
                let label = jump.split(|c: char| !is_name(c)).next().unwrap();
                let is_there = own.lines().any(|line| line == format!(":{label}"));
                assert!(is_there || line.contains("goto %"), "{name} goes to :{label}, which it has not");
            }
        }
    }
    let labels: Vec<&str> = lib.lines().filter(|line| line.starts_with(':')).collect();
    let distinct: BTreeSet<&&str> = labels.iter().collect();
    assert_eq!(labels.len(), distinct.len(), "a label occurs twice, and cmd finds the first one only");
}

#[test]
fn batch_files_are_of_cmd_in_form_and_in_words() {
    for name in names("bat") {
        let text = text("bat", &name);
        assert!(text.starts_with("@echo off\r\nrem "), "{name} does not begin as the others");
        let wrong = text.split_inclusive('\n').find(|line| !line.ends_with("\r\n"));
        assert_eq!(wrong, None, "{name} has a line that does not end with CR LF");
        assert!(text.is_ascii(), "{name} has letters that a code page may show as others");
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().starts_with("rem ")) {
            let foreign = ["$(", "${", "/dev/null", "#!", "; then", "done", "export ", "set -e", "[[", "`"];
            let found = foreign.iter().find(|word| line.contains(**word));
            assert_eq!(found, None, "{name}.bat:{}: {line}", number + 1);
            let (opened, closed) = (line.matches('"').count(), 2);
            assert_eq!(opened % closed, 0, "{name}.bat:{}: a quote is open: {line}", number + 1);
            // A plain one moves %0 as well, and %~dp0 is no longer the file's folder.
            let is_safe = line.split("shift").skip(1).all(|rest| rest.starts_with(" /1"));
            assert!(is_safe, "{name}.bat:{}: {line}", number + 1);
        }
    }
}

fn rust_text(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_text(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The source with texts that go on in the next line put together, as the compiler does.
fn source() -> String {
    let mut text = String::new();
    rust_text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    let mut joined = String::new();
    for line in text.split("\\\n").enumerate() {
        joined.push_str(if line.0 == 0 { line.1 } else { line.1.trim_start() });
    }
    joined
}

#[test]
fn messages_that_troubleshooting_quotes_are_said_by_the_program() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let source = source();
    let mut quoted = 0;
    for block in guide.split("```text\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for part in
            block.lines().flat_map(|line| line.split('…')).map(str::trim).filter(|part| part.len() > 4)
        {
            // `; ` joins a message and what is said of it elsewhere; each is looked for.
            for part in part.split("; ").filter(|part| part.len() > 4) {
                quoted += 1;
                let part = part.trim_matches(|c| ":;., ()`".contains(c));
                assert!(source.contains(part), "no message of the program holds: {part}");
            }
        }
    }
    assert!(quoted > 30, "only {quoted} quotes were found");
}

/// What a command prints; fails the test when it fails.
fn succeeded(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn systemd_takes_the_units_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify");
    for entry in fs::read_dir(root().join("config/systemd")).unwrap() {
        let path = entry.unwrap().path();
        let ours = ["service", "timer"].map(|extension| path.extension().is_some_and(|own| own == extension));
        if ours.contains(&true) {
            // The programs are looked for, and need not be installed here.
            let text = fs::read_to_string(&path).unwrap();
            let text = text.replace("/usr/local/bin/zkpnet-thin-backups", "/bin/true");
            let copy = folder.path().join(path.file_name().unwrap());
            fs::write(&copy, text.replace("/usr/local/bin/zkpnet", "/bin/true")).unwrap();
            verify.arg(copy);
        }
    }
    let output = verify.output().unwrap_or_else(|error| panic!("systemd-analyze (package systemd): {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    // Of the machine's own units it says more than of ours.
    let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("zkpnet")).collect();
    assert!(output.status.success() && about_ours.is_empty(), "{said}");
}

#[test]
fn of_hourly_backups_those_of_two_days_stay_and_then_one_a_day_for_two_weeks() {
    let folder = tempfile::tempdir().unwrap();
    // Half an hour off the limits, so that time may pass meanwhile.
    let dates = "seq 0 480 | sed 's/.*/& hours ago 30 minutes ago/' | date -u -f - +%Y%m%dT%H%M%SZ.zkpbak";
    let told = succeeded(Command::new("bash").args(["-c", dates]));
    let backups: Vec<&str> = told.lines().collect();
    assert_eq!(backups.len(), 481);
    let others =
        ["before-upgrade.zkpbak", "20200101T000000Z.zkpbak.part", "20200101.zkpbak", "notes T1Z.zkpbak"];
    for name in backups.iter().chain(&others) {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let script = root().join("config/systemd/zkpnet-thin-backups.sh");
    let left = || -> BTreeSet<String> {
        assert_eq!(succeeded(Command::new(&script).arg(folder.path())), "");
        let entries = fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let oldest_day = succeeded(Command::new("date").args(["-u", "-d", "14 days ago", "+%Y%m%d"]));
    let mut expected: BTreeSet<String> = others.iter().map(|name| (*name).to_owned()).collect();
    let (recent, older) = backups.split_at(48);
    expected.extend(recent.iter().map(|name| (*name).to_owned()));
    let days: BTreeSet<&str> =
        older.iter().map(|name| &name[..8]).filter(|day| *day >= oldest_day.trim()).collect();
    for day in &days {
        let first = older.iter().filter(|name| name.starts_with(day)).min().unwrap();
        expected.insert((*first).to_owned());
    }
    assert!((12..=14).contains(&days.len()), "{days:?}");
    assert_eq!(left(), expected);
    assert_eq!(left(), expected, "once more, nothing changes");
    assert!(!Command::new(&script).output().unwrap().status.success(), "which folder?");
}

#[test]
fn files_that_an_image_is_made_of_keep_their_line_ends_where_git_converts_them() {
    let folder = tempfile::tempdir().unwrap();
    let copied =
        ["docker", "config", "scripts", ".gitattributes", "Cargo.toml"].map(|name| root().join(name));
    succeeded(Command::new("cp").arg("-r").args(copied).arg(folder.path()));
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        // As Git for Windows is set up, whatever this machine's own settings are.
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        // A hook of git's that runs the tests names its own repository.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(name);
        }
        command.args(["-c", "core.autocrlf=true", "-c", "core.safecrlf=false", "-C"]).arg(folder.path());
        succeeded(command.args(["-c", "user.name=test", "-c", "user.email=test"]).args(arguments))
    };
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "all"]);
    git(&["rm", "-q", "-r", "."]);
    git(&["checkout", "-q", "HEAD", "--", "."]);
    let files = git(&["ls-files"]);
    assert!(files.lines().count() > 30, "{files}");
    for file in files.lines() {
        let (before, after) =
            (fs::read(root().join(file)).unwrap(), fs::read(folder.path().join(file)).unwrap());
        assert!(before == after, "{file} is another one after a checkout");
    }
}
