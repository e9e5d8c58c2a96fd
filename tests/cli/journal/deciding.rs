//! Deciding: `resolve`, `park`, `retry`.

use super::super::fill::{self, hours};
use super::{SIGNED, done, ends, filled, id, json, on_record, refused};
use tower_sturdy::context::Tenant;
use tower_sturdy::journal::{Record, State};

#[test]
fn what_a_person_resolves_is_final_signed_and_looked_up_on() {
    for (word, state) in [
        ("--applied", State::Completed),
        ("--not-applied", State::Rejected),
    ] {
        let (_folder, file) = filled();
        let resolve = [&["resolve", id(3), word], &SIGNED[..]].concat();
        let told = done(&file, &resolve);
        assert!(
            told.contains(&format!("is {state} now, and was parked")),
            "{told}"
        );
        let record = on_record(&file, 3);
        assert_eq!(record.state(), state);
        let last = record.progress.history.last().unwrap();
        assert_eq!((&*last.by, &*last.why), ("person:alice", SIGNED[3]));
        assert!(record.progress.due.unwrap() <= fill::now());
        assert!(record.is_watched(fill::now(), hours(1)));
        // Twice is refused, and says by whom and when the first was.
        let told = refused(&file, &resolve);
        assert!(
            told.contains("person:alice") && told.contains("never changes"),
            "{told}"
        );
        assert_eq!(on_record(&file, 3), record);
    }
}

#[test]
fn inside_the_settle_window_it_says_until_when_and_only_force_decides() {
    let (_folder, file) = filled();
    let resolve = [&["resolve", id(5), "--not-applied"], &SIGNED[..]].concat();
    let until = json(&file, &["show", id(5)])["open_until"]
        .as_str()
        .unwrap()
        .to_owned();
    let told = refused(&file, &resolve);
    assert!(told.contains(&until) && told.contains("--force"), "{told}");
    assert_eq!(on_record(&file, 5).state(), State::Unknown);
    let forced = json(&file, &[&resolve[..], &["--force"]].concat());
    assert_eq!(forced["state"], "rejected");
    assert_eq!(on_record(&file, 5).state(), State::Rejected);
}

#[test]
fn park_and_retry_lead_to_each_other() {
    let (_folder, file) = filled();
    let retry = [&["retry", id(1)], &SIGNED[..]].concat();
    let told = refused(&file, &retry);
    assert!(
        told.contains("unknown cannot become unknown") && told.contains("`show`"),
        "{told}"
    );
    done(&file, &[&["park", id(1)], &SIGNED[..]].concat());
    assert_eq!(on_record(&file, 1).state(), State::Parked);
    done(&file, &retry);
    let record = on_record(&file, 1);
    assert_eq!(record.state(), State::Unknown);
    assert!(record.progress.due.unwrap() <= fill::now());
}

#[test]
fn what_a_process_has_in_hand_is_left_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let lease = fill::now().plus(hours(1));
    let record = Record::claim(fill::asked(7, hours(0)), fill::ME, lease);
    let file = fill::file(folder.path(), &[record]);
    for what in [
        &["park"][..],
        &["retry"],
        &["resolve", "--not-applied", "--force"],
    ] {
        let told = refused(&file, &[what, &[id(7)], &SIGNED[..]].concat());
        assert!(
            told.contains("a process works on it") && told.contains("service"),
            "{told}"
        );
    }
    assert_eq!(on_record(&file, 7).state(), State::Claimed);
}

#[test]
fn who_and_why_must_be_given_in_plain_words() {
    let (_folder, file) = filled();
    let id = id(3);
    let park = |by: &str, why: &str| refused(&file, &["park", id, "--by", by, "--why", why]);
    assert!(park(" ", "x").contains("--by is missing"));
    assert!(park("alice", "").contains("--why is missing"));
    assert!(park("alice", &"x".repeat(1_001)).contains("--why is longer"));
    assert!(park("al\u{1b}[2Jice", "x").contains("--by has a line break"));
    for missing in [&["--by", "alice"][..], &["--why", "x"]] {
        let ran = ends(2, &file, &[&["park", id], missing].concat());
        assert!(ran.complained.contains("required"), "{}", ran.complained);
    }
    let both = [&["resolve", id, "--applied", "--not-applied"], &SIGNED[..]].concat();
    ends(2, &file, &both);
    ends(2, &file, &[&["resolve", id], &SIGNED[..]].concat());
}

#[test]
fn two_about_the_same_thing_are_not_both_tried() {
    let folder = tempfile::tempdir().unwrap();
    let about = |number: u128, ago| {
        let mut asked = fill::asked(number, hours(ago));
        asked.conflict = Some("bill-7".into());
        asked.tenant = Tenant::default();
        Record::claim(asked, fill::ME, fill::now())
    };
    let (mut idle, other) = (about(1, 3), about(2, 1));
    idle.release(idle.asked.at, None);
    let file = fill::file(folder.path(), &[idle, other]);
    let told = refused(&file, &[&["retry", id(1)], &SIGNED[..]].concat());
    assert!(
        told.contains(id(2)) && told.contains("settle that one first"),
        "{told}"
    );
    assert_eq!(on_record(&file, 1).progress.due, None);
}
