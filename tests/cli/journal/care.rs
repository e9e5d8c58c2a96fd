//! The file as a whole: `adopt`, `purge`, and a copy in quarantine.

use super::super::fill::{self, hours};
use super::{SIGNED, done, ends, filled, id, json, on_record, refused};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tower_sturdy::journal::State;
use tower_sturdy::qbo::iso;

/// A copy of a journal that nothing has open.
fn copy(folder: &Path, file: &Path) -> PathBuf {
    let copy = folder.join("restored.db");
    std::fs::copy(file, &copy).unwrap();
    copy
}

#[test]
fn a_copy_is_read_as_ever_and_changed_only_once_a_person_has_adopted_it() {
    let (folder, file) = filled();
    let copy = copy(folder.path(), &file);
    assert_eq!(json(&file, &["stats"])["quarantine"], Value::Null);
    assert_eq!(json(&copy, &["stats"])["quarantine"]["doubt"], "copied");
    assert!(done(&copy, &["stats"]).contains("in quarantine"));
    for args in [&["list"][..], &["show", id(1)], &["export"]] {
        assert_eq!(done(&copy, args), done(&file, args), "{args:?}");
    }
    let park = [&["park", id(1)], &SIGNED[..]].concat();
    let told = refused(&copy, &park);
    assert!(told.contains("sturdy journal adopt"), "{told}");
    let since = iso::format(fill::now().minus(hours(2)));
    let adopt = [&["adopt", "--missed-since", &since], &SIGNED[..]].concat();
    let told = done(&copy, &adopt);
    // Those in doubt were in doubt before; a send that nobody saw may be on its way now.
    assert!(told.contains("2 operations are in doubt"), "{told}");
    let resolve = [&["resolve", id(1), "--applied"], &SIGNED[..]].concat();
    assert!(refused(&copy, &resolve).contains("--force"));
    done(&copy, &park);
    assert_eq!(json(&copy, &["stats"])["quarantine"], Value::Null);
}

#[test]
fn a_file_that_was_moved_whole_missed_nothing() {
    let (folder, file) = filled();
    let copy = copy(folder.path(), &file);
    let adopt = [&["adopt", "--nothing-missed"], &SIGNED[..]].concat();
    let told = json(&copy, &adopt);
    assert_eq!(told["in_doubt"], 0);
    done(
        &copy,
        &[&["resolve", id(1), "--applied"], &SIGNED[..]].concat(),
    );
    // What is in use is not adopted, and the future is not known.
    assert!(refused(&copy, &adopt).contains("not in quarantine"));
    let early = [
        &["adopt", "--missed-since", "2999-01-01T00:00:00Z"],
        &SIGNED[..],
    ]
    .concat();
    assert!(refused(&copy, &early).contains("yet to come"));
    ends(2, &copy, &[&["adopt"], &SIGNED[..]].concat());
    let unsigned = ["adopt", "--nothing-missed", "--by", " ", "--why", "x"];
    assert!(refused(&copy, &unsigned).contains("--by is missing"));
}

#[test]
fn a_purge_forgets_what_is_over_and_nothing_else() {
    let (_folder, file) = filled();
    let before = iso::format(fill::now());
    let early = iso::format(fill::now().minus(hours(31)));
    let purge = |before: &str, keep: &str| json(&file, &["purge", "--before", before, keep]);
    assert_eq!(purge(&early, "--tombstones")["tombstones"], 0);
    assert_eq!(purge(&before, "--tombstones")["tombstones"], 1);
    let told = done(&file, &["show", id(2)]);
    assert!(
        told.contains("state      completed") && told.contains("purged"),
        "{told}"
    );
    assert!(!told.contains("upstream.example"), "{told}");
    assert!(json(&file, &["show", id(2)])["purged"].is_string());
    assert_eq!(purge(&before, "--delete")["deleted"], 1);
    refused(&file, &["show", id(2)]);
    // What is in doubt, parked or contradicted is there as it was.
    for number in [1, 3, 4, 5] {
        assert!(!on_record(&file, number).is_tombstone(), "{number}");
    }
    assert!(on_record(&file, 4).progress.contradicted);
    assert!(
        refused(
            &file,
            &["purge", "--before", "2999-01-01T00:00:00Z", "--delete"]
        )
        .contains("yet to come")
    );
    ends(2, &file, &["purge", "--before", &before]);
}

#[test]
fn what_a_person_resolved_is_kept_while_it_is_looked_up() {
    let (_folder, file) = filled();
    done(
        &file,
        &[&["resolve", id(3), "--applied"], &SIGNED[..]].concat(),
    );
    let before = iso::format(fill::now());
    json(&file, &["purge", "--before", &before, "--delete"]);
    assert_eq!(on_record(&file, 3).state(), State::Completed);
}
