//! `sturdy journal`: what people do with a journal file, with the real program on real files.

mod beside;
mod care;
mod deciding;
mod reading;

use super::fill::{self, SECRETS, usual, wait};
use super::{Ran, sturdy};
use serde_json::Value;
use std::path::Path;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::{Journal, Lookup, Record, SqliteJournal};

/// Some bytes for as long as the tests run, so that it can stand in any list of arguments.
fn id(number: u128) -> &'static str {
    OperationId::from_bits(number).to_string().leak()
}

fn run(file: &Path, args: &[&str]) -> Ran {
    let (command, rest) = args.split_first().unwrap();
    sturdy(&[&["journal", command, file.to_str().unwrap()], rest].concat())
}

/// Runs to its end with this exit code; what it complains about never shows what is recorded.
fn ends(code: i32, file: &Path, args: &[&str]) -> Ran {
    let ran = run(file, args);
    assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.complained);
    assert!(!ran.complained.contains("panicked"), "{}", ran.complained);
    for secret in SECRETS {
        assert!(
            !ran.complained.contains(secret),
            "{args:?}: {}",
            ran.complained
        );
    }
    ran
}

fn done(file: &Path, args: &[&str]) -> String {
    ends(0, file, args).told
}

fn refused(file: &Path, args: &[&str]) -> String {
    let ran = ends(1, file, args);
    assert_eq!(ran.told, "", "{args:?}");
    assert!(
        ran.complained.starts_with("refused: "),
        "{}",
        ran.complained
    );
    ran.complained
}

fn json(file: &Path, args: &[&str]) -> Value {
    let told = done(file, &[args, &["--json"]].concat());
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

fn on_record(file: &Path, number: u128) -> Record {
    let journal = SqliteJournal::open(file).unwrap();
    let id = OperationId::from_bits(number);
    wait(journal.get(Lookup::Id(id))).unwrap().unwrap()
}

fn filled() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = fill::file(folder.path(), &usual());
    (folder, file)
}

const SIGNED: [&str; 4] = ["--by", "alice", "--why", "seen in the bank's statement"];
