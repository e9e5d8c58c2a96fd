//! Real processes that own operations: who lives is not taken for dead, who was killed is known to be.

use crate::place::place;
use crate::sample::unwrap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tower_sturdy::journal::{Journal, Liveness, OwnerId, SqliteJournal};

const FILE: &str = "TOWER_STURDY_TEST_OWNED";

/// Enlists, says so, and waits to be killed. Not a test: the process of the tests below.
#[test]
#[ignore = "a process that the tests of this file start"]
fn child() {
    let journal = unwrap(SqliteJournal::open(std::env::var(FILE).unwrap()));
    let _enlisted = unwrap(journal.enlist(OwnerId(1)));
    say_and_wait();
}

/// Holds nothing of its own. Not a test either.
#[test]
#[ignore = "a process that the tests of this file start"]
fn bystander() {
    say_and_wait();
}

fn say_and_wait() {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nhere").unwrap();
    out.flush().unwrap();
    // Its parent's end ends it too.
    let _ = std::io::stdin().read(&mut [0]);
}

fn start(what: &str, path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", what, "--ignored", "--nocapture"])
        .env(FILE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        said.map_while(Result::ok).any(|line| line == "here"),
        "{what} did not start"
    );
    child
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_process_is_alive_until_it_is_killed_and_dead_at_once() {
    let (_directory, path) = place();
    let child = start("owners::child", &path);
    let journal = unwrap(SqliteJournal::open(&path));
    assert_eq!(journal.liveness(OwnerId(1)).await, Liveness::Alive);
    assert_eq!(journal.liveness(OwnerId(2)).await, Liveness::Unknown);
    end(child);
    assert_eq!(journal.liveness(OwnerId(1)).await, Liveness::Dead);
}

#[tokio::test]
async fn a_child_process_does_not_keep_its_parent_alive() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    let enlisted = unwrap(journal.enlist(OwnerId(1)));
    let child = start("owners::bystander", &path);
    assert_eq!(journal.liveness(OwnerId(1)).await, Liveness::Alive);
    drop(enlisted);
    assert_eq!(journal.liveness(OwnerId(1)).await, Liveness::Dead);
    end(child);
}

#[tokio::test]
async fn two_handles_in_one_process_are_two_owners() {
    let (_directory, path) = place();
    let journals = [
        unwrap(SqliteJournal::open(&path)),
        unwrap(SqliteJournal::open(&path)),
    ];
    let first = unwrap(journals[0].enlist(OwnerId(1)));
    let second = unwrap(journals[1].enlist(OwnerId(2)));
    for journal in &journals {
        assert_eq!(journal.liveness(OwnerId(1)).await, Liveness::Alive);
        assert_eq!(journal.liveness(OwnerId(2)).await, Liveness::Alive);
    }
    drop(first);
    for journal in &journals {
        assert_eq!(journal.liveness(OwnerId(1)).await, Liveness::Dead);
        assert_eq!(journal.liveness(OwnerId(2)).await, Liveness::Alive);
    }
    drop(second);
}

#[cfg(unix)]
#[tokio::test]
async fn the_owners_of_a_file_are_known_under_every_name_of_it() {
    let (directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    let _enlisted = unwrap(journal.enlist(OwnerId(1)));
    let elsewhere = directory.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let link = elsewhere.join("linked.journal");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let linked = unwrap(SqliteJournal::open(&link));
    assert_eq!(linked.liveness(OwnerId(1)).await, Liveness::Alive);
}

#[tokio::test]
async fn opening_removes_the_files_of_dead_owners_that_have_nothing_in_hand() {
    let (_directory, path) = place();
    let mut owners = path.clone().into_os_string();
    owners.push("-owners");
    let names = || {
        let entries = std::fs::read_dir(&owners).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let journal = unwrap(SqliteJournal::open(&path));
    let mut working = crate::sample::record(1, "key", 10);
    working.progress.owner = OwnerId(2);
    crate::place::claim(&journal, &working).await;
    let alive = unwrap(journal.enlist(OwnerId(1)));
    for dead in [2, 3] {
        drop(unwrap(journal.enlist(OwnerId(dead))));
    }
    assert_eq!(names().len(), 3);
    let again = unwrap(SqliteJournal::open(&path));
    assert_eq!(names(), ["0000000000000001", "0000000000000002"]);
    assert_eq!(again.liveness(OwnerId(2)).await, Liveness::Dead);
    drop(alive);
}
