//! Files that are not whole backups, and places that are not free: each refused in words of its own, with nothing made.

use crate::lab::{Entrance, Lab, Place, proved, said_with, submit_until_taken, succeeded};
use crate::support::zkpnet;
use std::path::{Path, PathBuf};
use zkpnet::backup::{BackupError, check};

/// Places in a file that are cut or changed; the file is read anew for each.
const SAMPLES: usize = 150;

struct Taken {
    lab: Lab,
    file: PathBuf,
}

/// A small backup: a completed task and an open one.
fn taken(args: &[&str]) -> Taken {
    let lab = Lab::new();
    let place = lab.place("coordinator-1", "one");
    let _process = lab.coordinator(&place, &Entrance::Founds(std::slice::from_ref(&place)));
    lab.ready(&place);
    let worker = lab.worker(std::slice::from_ref(&place));
    proved(&place.client(), &submit_until_taken(&place.client(), 1));
    worker.kill();
    submit_until_taken(&place.client(), 2);
    let file = lab.path("whole.zkpbak");
    let command = [&["backup", "--out", file.to_str().unwrap()], args].concat();
    said_with(0, &lab.operate(&place, &command));
    Taken { lab, file }
}

fn checked(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    std::fs::write(path, bytes).unwrap();
    check(path).map(drop)
}

#[test]
fn no_byte_can_be_changed_and_none_left_out_unseen() {
    let Taken { lab, file } = taken(&["--without-keys"]);
    let whole = std::fs::read(&file).unwrap();
    let copy = lab.path("copy.zkpbak");
    assert!(checked(&copy, &whole).is_ok());
    let step = (whole.len() / SAMPLES).max(1);
    for at in (0..whole.len()).step_by(step).chain([0, 8, 12, whole.len() - 1]) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        assert!(checked(&copy, &changed).is_err(), "byte {at} of {} was changed unseen", whole.len());
        let cut = checked(&copy, &whole[..at]);
        let is_told = match cut {
            Err(BackupError::CutShort { .. }) => at >= 8,
            Err(BackupError::NoBackup { .. }) => at < 8,
            _ => false,
        };
        assert!(is_told, "cut to {at} bytes of {}: {cut:?}", whole.len());
    }
    let longer = [whole.as_slice(), b"x"].concat();
    assert!(matches!(checked(&copy, &longer), Err(BackupError::Damaged { .. })));
}

#[test]
fn a_damaged_key_is_found() {
    let Taken { lab, file } = taken(&[]);
    let mut bytes = std::fs::read(&file).unwrap();
    // The keys are most of the file, and lie behind the ledger.
    let at = bytes.len() * 3 / 4;
    bytes[at] ^= 1;
    let copy = lab.path("copy.zkpbak");
    let error = checked(&copy, &bytes).unwrap_err().to_string();
    assert!(error.contains("is damaged: a key in it is not what its manifest says"), "{error}");
    let verified = zkpnet().args(["cluster", "backup", "verify"]).arg(&copy).output().unwrap();
    assert!(said_with(2, &verified).contains("is damaged"));
}

fn assert_untouched(place: &Place) {
    assert!(!place.data.exists(), "a refused restore has made {}", place.data.display());
}

#[test]
fn what_cannot_be_restored_is_refused_in_words_of_its_own_and_nothing_is_made() {
    let Taken { lab, file } = taken(&["--without-keys"]);
    let whole = std::fs::read(&file).unwrap();
    let new = lab.place("coordinator-1", "new");
    let refused = |name: &str, bytes: &[u8], told: &str| {
        let path = lab.path(name);
        std::fs::write(&path, bytes).unwrap();
        let said = said_with(2, &lab.restore(&path, &new));
        assert!(said.contains(told), "{name}: {said}");
        assert_untouched(&new);
    };
    refused("something.else", b"PK\x03\x04 and more of it", "is no backup");
    refused("cut.zkpbak", &whole[..whole.len() / 2], "is cut short");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    refused("changed.zkpbak", &changed, "damaged");
    let mut newer = whole.clone();
    newer[8] = 2;
    refused("newer.zkpbak", &newer, "has format 2, and this version of zkpnet (0.1.0) reads format 1");

    let key = std::fs::read(lab.path("data.key")).unwrap();
    std::fs::remove_file(lab.path("data.key")).unwrap();
    refused("no-key.zkpbak", &whole, "there is no data key at");
    assert!(!lab.path("data.key").exists(), "a key was made");
    succeeded(zkpnet().args(["tls", "data-key", "--out"]).arg(lab.path("data.key")));
    refused("other-key.zkpbak", &whole, "is another one (print ");
    std::fs::write(lab.path("data.key"), key).unwrap();

    // A folder that a node lived in is not taken.
    std::fs::create_dir_all(new.raft_dir()).unwrap();
    std::fs::write(new.raft_dir().join("raft.redb"), "somebody's").unwrap();
    let said = said_with(2, &lab.restore(&file, &new));
    assert!(said.contains("is not empty: a restore wants an empty folder"), "{said}");
    assert_eq!(std::fs::read_to_string(new.raft_dir().join("raft.redb")).unwrap(), "somebody's");
    std::fs::remove_dir_all(&new.data).unwrap();
    // A file system of its own has this folder.
    std::fs::create_dir_all(new.raft_dir().join("lost+found")).unwrap();
    said_with(0, &lab.restore(&file, &new));
    let again = said_with(2, &lab.restore(&file, &new));
    assert!(again.contains("is not empty"), "{again}");
}
