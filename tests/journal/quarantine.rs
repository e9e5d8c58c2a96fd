//! Copies, clones, restored backups: a file that may have missed something takes nothing until a person has said what.

use crate::place::{claim, place};
use crate::sample::{record, unwrap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::sqlite::{Adopted, Adoption, Doubt, SqliteConfig};
use tower_sturdy::journal::{
    Claim, Filter, Journal, JournalError, Lookup, Record, SqliteJournal, State,
};

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn mirror(path: &Path) -> PathBuf {
    beside(path, "-incarnation")
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(second * 1_000)
}

fn doubt(journal: &SqliteJournal) -> Option<Doubt> {
    journal.quarantine().map(|quarantine| quarantine.doubt())
}

/// Opens the file, puts one more operation on record, and closes it.
async fn use_it(path: &Path, id: u128) {
    one_more(path, id).await;
    // The last commit's thread may hold the file for a moment longer; closed, it has no log.
    for _ in 0..1_000_000 {
        if !beside(path, "-wal").exists() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("it is not closed");
}

async fn one_more(path: &Path, id: u128) {
    let journal = unwrap(SqliteJournal::open(path));
    assert_eq!(journal.quarantine(), None);
    assert_eq!(
        claim(&journal, &record(id, &format!("key-{id}"), 10)).await,
        Claim::Claimed
    );
}

fn incarnation(path: &Path) -> u64 {
    let text = std::fs::read_to_string(mirror(path)).unwrap();
    let mirror: serde_json::Value = serde_json::from_str(&text).unwrap();
    mirror["incarnation"].as_u64().unwrap()
}

/// Reading works, and every change is refused with what to do.
async fn takes_nothing(journal: &SqliteJournal, on_record: &Record) {
    let read = unwrap(journal.get(Lookup::Id(on_record.id())).await);
    assert_eq!(read.as_ref(), Some(on_record));
    let mut next = on_record.clone();
    next.progress.version += 1;
    let refusals = [
        journal.claim(&record(999, "new", 10)).await.map(|_| ()),
        journal.step(&next).await,
    ];
    for refusal in refusals {
        let Err(JournalError::Quarantined(why)) = refusal else {
            panic!("{refusal:?}");
        };
        assert!(
            why.contains("sturdy journal adopt") && why.contains("payments.journal"),
            "{why}"
        );
    }
    assert_eq!(unwrap(journal.get(Lookup::Id(on_record.id())).await), read);
}

#[tokio::test]
async fn a_file_that_goes_on_as_it_was_is_never_in_quarantine() {
    let (_directory, path) = place();
    for id in 0..5 {
        use_it(&path, id).await;
        assert_eq!(incarnation(&path), u64::try_from(id).unwrap() + 1);
    }
    // A crash between the two raisings leaves the mirror one behind.
    let behind = std::fs::read(mirror(&path)).unwrap();
    use_it(&path, 5).await;
    std::fs::write(mirror(&path), behind).unwrap();
    use_it(&path, 6).await;
    assert_eq!(incarnation(&path), 7);
}

#[tokio::test]
async fn a_crash_before_the_first_mirror_is_no_reason() {
    let (_directory, path) = place();
    use_it(&path, 0).await;
    std::fs::remove_file(mirror(&path)).unwrap();
    use_it(&path, 1).await;
    use_it(&path, 2).await;
}

/// What a crash between the file and its mirror is, or a full disk: the mirror is not written.
#[tokio::test]
async fn openings_that_do_not_reach_the_mirror_are_no_reason_however_many() {
    let (_directory, path) = place();
    let blocker = beside(&path, "-incarnation.making");
    for id in 0..3 {
        std::fs::create_dir(&blocker).unwrap();
        for _ in 0..3 {
            SqliteJournal::open(&path).expect_err("the mirror was not written");
        }
        std::fs::remove_dir(&blocker).unwrap();
        use_it(&path, id).await;
    }
}

#[tokio::test]
async fn a_restored_older_copy_takes_nothing_until_it_is_adopted() {
    for in_place in [true, false] {
        let (directory, path) = place();
        use_it(&path, 0).await;
        let backup = directory.path().join("backup");
        std::fs::copy(&path, &backup).unwrap();
        use_it(&path, 1).await;
        if in_place {
            std::fs::write(&path, std::fs::read(&backup).unwrap()).unwrap();
        } else {
            std::fs::rename(&backup, &path).unwrap();
        }
        for _ in 0..2 {
            let journal = unwrap(SqliteJournal::open(&path));
            assert_eq!(doubt(&journal), Some(Doubt::Older));
            takes_nothing(&journal, &record(0, "key-0", 10)).await;
        }
        let journal = unwrap(SqliteJournal::open(&path));
        unwrap(
            journal
                .adopt(&Adoption::new(Some(at(5)), "ops", "disk died"), at(10))
                .await,
        );
        assert_eq!(journal.quarantine(), None);
        assert_eq!(claim(&journal, &made(7, at(20))).await, Claim::Claimed);
        drop(journal);
        let journal = unwrap(SqliteJournal::open(&path));
        assert_eq!(journal.quarantine(), None);
    }
}

/// A claim with a key that was made then.
fn made(id: u128, then: Timestamp) -> Record {
    let mut new = record(id, &format!("key-{id}"), 10);
    let mut asked = (*new.asked).clone();
    asked.at = asked.at.max(then);
    asked.issued = Some(then);
    new.asked = Arc::new(asked);
    new
}

#[tokio::test]
async fn every_other_change_behind_its_back_is_told_apart() {
    type Change = fn(&Path);
    let changes: [(Change, Doubt); 6] = [
        (
            |path| std::fs::remove_file(mirror(path)).unwrap(),
            Doubt::NoMirror,
        ),
        (
            |path| std::fs::write(mirror(path), "{").unwrap(),
            Doubt::BadMirror,
        ),
        (
            |path| {
                let text = std::fs::read_to_string(mirror(path)).unwrap();
                let older = text.replace("\"incarnation\":3", "\"incarnation\":1");
                assert_ne!(text, older);
                std::fs::write(mirror(path), older).unwrap();
            },
            Doubt::MirrorOlder,
        ),
        (
            |path| {
                std::fs::copy(path, beside(path, "-copy")).unwrap();
                std::fs::rename(beside(path, "-copy"), path).unwrap();
            },
            Doubt::Copied,
        ),
        (|path| std::fs::write(path, "").unwrap(), Doubt::Replaced),
        (
            |path| {
                let other = path.with_file_name("other.journal");
                drop(unwrap(SqliteJournal::open(&other)));
                std::fs::rename(mirror(&other), mirror(path)).unwrap();
            },
            Doubt::Other,
        ),
    ];
    for (change, expected) in changes {
        let (_directory, path) = place();
        for id in 0..3 {
            use_it(&path, id).await;
        }
        change(&path);
        let journal = unwrap(SqliteJournal::open(&path));
        assert_eq!(doubt(&journal), Some(expected));
        let refused = journal.claim(&record(9, "new", 10)).await;
        assert!(
            matches!(refused, Err(JournalError::Quarantined(_))),
            "{refused:?}"
        );
        // Nothing was missed: that is a person's word as well.
        let adopted = journal
            .adopt(&Adoption::new(None, "ops", "moved"), at(10))
            .await;
        assert_eq!(unwrap(adopted), Adopted { in_doubt: 0 });
        drop(journal);
        use_it(&path, 9).await;
    }
}

#[tokio::test]
async fn a_clone_at_another_place_takes_nothing_while_the_original_goes_on() {
    let (directory, path) = place();
    for id in 0..2 {
        use_it(&path, id).await;
    }
    for with_mirror in [false, true] {
        let elsewhere = directory.path().join(format!("elsewhere-{with_mirror}"));
        std::fs::create_dir(&elsewhere).unwrap();
        let clone = elsewhere.join("payments.journal");
        std::fs::copy(&path, &clone).unwrap();
        if with_mirror {
            std::fs::copy(mirror(&path), mirror(&clone)).unwrap();
        }
        let journal = unwrap(SqliteJournal::open(&clone));
        assert_eq!(doubt(&journal), Some(Doubt::Copied));
        takes_nothing(&journal, &record(0, "key-0", 10)).await;
    }
    use_it(&path, 2).await;
}

const FILE: &str = "TOWER_STURDY_TEST_OPENED";
const OPENINGS: u64 = 30;

/// Opens and writes the file again and again. Not a test: one of the processes of the test below.
#[test]
#[ignore = "a process that a test of this file starts"]
fn child() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for round in 0..OPENINGS {
        let config = SqliteConfig {
            busy_timeout: Duration::from_secs(120),
            ..SqliteConfig::new(std::env::var_os(FILE).unwrap())
        };
        let journal = unwrap(SqliteJournal::open_with(&config));
        assert_eq!(journal.quarantine(), None);
        let id = u128::from(std::process::id()) * 1_000 + u128::from(round);
        let record = record(id, &format!("key-{id}"), 10);
        let claim = claim(&journal, &record);
        assert_eq!(runtime.block_on(claim), Claim::Claimed);
    }
}

#[test]
fn processes_that_open_and_write_one_file_never_doubt_it() {
    let (_directory, path) = place();
    // In one process openings are one at a time anyway.
    let children: Vec<_> = (0..4)
        .map(|_| {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "quarantine::child", "--ignored"])
                .env(FILE, &path)
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let count = u64::try_from(children.len()).unwrap();
    for child in children {
        let told = child.wait_with_output().unwrap();
        assert!(
            told.status.success(),
            "{}",
            String::from_utf8_lossy(&told.stdout)
        );
    }
    assert_eq!(incarnation(&path), count * OPENINGS);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_written_is_raised_each_minute_by_one_of_its_users() {
    let (_directory, path) = place();
    let users = [
        unwrap(SqliteJournal::open(&path)),
        unwrap(SqliteJournal::open(&path)),
    ];
    assert_eq!(incarnation(&path), 2);
    let mut last = 2;
    for minute in 0..10_u128 {
        for (number, journal) in (0..).zip(&users) {
            let id = 10 * minute + number;
            assert_eq!(
                claim(journal, &record(id, &format!("key-{id}"), 10)).await,
                Claim::Claimed
            );
        }
        let now = incarnation(&path);
        assert_eq!(now, last + if minute == 0 { 0 } else { 2 });
        last = now;
        tokio::time::advance(Duration::from_secs(61)).await;
        // Reading alone raises nothing.
        unwrap(users[0].list(&Filter::default()).await);
        assert_eq!(incarnation(&path), last);
    }
    drop(users);
    one_more(&path, 1_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_cannot_be_written_is_made_up_for() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    // A directory in its place: no file can take its name.
    let blocker = beside(&path, "-incarnation.making");
    std::fs::create_dir(&blocker).unwrap();
    for id in 0..5_u128 {
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(
            claim(&journal, &record(id, &format!("key-{id}"), 10)).await,
            Claim::Claimed
        );
        assert_eq!(incarnation(&path), 1);
    }
    std::fs::remove_dir(&blocker).unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    claim(&journal, &record(10, "key-10", 10)).await;
    assert_eq!(incarnation(&path), 2);
    std::fs::create_dir(&blocker).unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    claim(&journal, &record(11, "key-11", 10)).await;
    std::fs::remove_dir(&blocker).unwrap();
    drop(journal);
    one_more(&path, 12).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_replaced_while_it_is_open_takes_nothing_more() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    let first = record(0, "key-0", 10);
    claim(&journal, &first).await;
    std::fs::rename(&path, beside(&path, "-moved")).unwrap();
    // From the next change on: what it took, nobody would find.
    takes_nothing(&journal, &first).await;
    assert_eq!(doubt(&journal), Some(Doubt::Copied));
    // Put back, it goes on.
    std::fs::rename(beside(&path, "-moved"), &path).unwrap();
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(
        claim(&journal, &record(1, "key-1", 10)).await,
        Claim::Claimed
    );
}

#[tokio::test]
async fn a_file_that_is_deleted_or_made_anew_while_it_is_open_takes_nothing_more() {
    for with_its_folder in [false, true] {
        let (directory, path) = place();
        let journal = unwrap(SqliteJournal::open(&path));
        let first = record(0, "key-0", 10);
        claim(&journal, &first).await;
        if with_its_folder {
            std::fs::remove_dir_all(directory.path()).unwrap();
        } else {
            for ending in ["", "-wal", "-shm"] {
                std::fs::remove_file(beside(&path, ending)).unwrap();
            }
            drop(unwrap(SqliteJournal::open(&path)));
        }
        takes_nothing(&journal, &first).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_with_a_file_in_quarantine_goes_on_once_another_has_adopted_it() {
    let (_directory, path) = place();
    for id in 0..3 {
        use_it(&path, id).await;
    }
    std::fs::remove_file(mirror(&path)).unwrap();
    let waiting = unwrap(SqliteJournal::open(&path));
    takes_nothing(&waiting, &record(0, "key-0", 10)).await;
    let person = unwrap(SqliteJournal::open(&path));
    unwrap(
        person
            .adopt(&Adoption::new(None, "ops", "a tidy colleague"), at(9))
            .await,
    );
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(
        claim(&waiting, &record(7, "key-7", 10)).await,
        Claim::Claimed
    );
    assert_eq!(waiting.quarantine(), None);
}

/// One operation in each state, all of them about one bill as far as the rules allow; as if they had been there before.
async fn one_in_each_state(journal: &SqliteJournal) -> Vec<Record> {
    let mut records = Vec::new();
    for (id, state) in (0..).zip(State::ALL) {
        let mut new = record(id, &format!("key-{id}"), 10);
        let mut asked = (*new.asked).clone();
        let bill = matches!(state, State::Ready | State::Parked | State::Completed);
        asked.conflict = bill.then(|| "bill".to_owned());
        new.asked = Arc::new(asked);
        assert_eq!(claim(journal, &new).await, Claim::Claimed);
        new.progress.state = state;
        new.progress.version += 1;
        if matches!(state, State::Ready | State::Completed) {
            new.progress.due = None;
        }
        unwrap(journal.step(&new).await);
        records.push(new);
    }
    records
}

#[tokio::test]
async fn after_an_adoption_all_that_may_have_been_sent_is_in_doubt_and_due() {
    let (_directory, path) = place();
    let before = one_in_each_state(&unwrap(SqliteJournal::open(&path))).await;
    use_it(&path, 100).await;
    std::fs::remove_file(mirror(&path)).unwrap();
    let journal = unwrap(SqliteJournal::open(&path));
    let (since, now) = (at(40), at(100));
    let adoption = Adoption::new(Some(since), "ann", "restored from the night's backup");
    let adopted = unwrap(journal.adopt(&adoption, now).await);
    assert_eq!(
        adopted,
        Adopted { in_doubt: 5 },
        "four of these, and the last claim"
    );
    for was in before {
        let is = unwrap(journal.get(Lookup::Id(was.id())).await).unwrap();
        if was.state().is_final() || was.state() == State::Parked {
            assert_eq!(is, was);
            continue;
        }
        assert_eq!(
            (is.state(), is.progress.due),
            (State::Unknown, Some(now)),
            "{}",
            was.state()
        );
        assert_eq!(is.first_doubt(), Some(since));
        assert_eq!(
            is.open_until(now.into()),
            Some(now.plus(adoption.settle_window))
        );
        assert_eq!(is.progress.version, was.progress.version + 1);
        let why: Vec<&str> = is.progress.history.iter().map(|step| &*step.by).collect();
        assert!(why.iter().all(|by| *by == "adoption"), "{why:?}");
    }
    let past = unwrap(journal.adoptions().await);
    let [past] = &past[..] else {
        panic!("{past:?}")
    };
    assert_eq!(
        (past.at, &*past.by, &*past.why),
        (now, "ann", &*adoption.why)
    );
    assert_eq!(
        (&*past.quarantine, past.missed_since, past.in_doubt),
        ("no_mirror", Some(since), 5)
    );
}

#[tokio::test]
async fn after_an_adoption_no_key_is_taken_that_may_have_been_used_unseen() {
    let (_directory, path) = place();
    for id in 0..3 {
        use_it(&path, id).await;
    }
    std::fs::remove_file(mirror(&path)).unwrap();
    let journal = unwrap(SqliteJournal::open(&path));
    let adoption = Adoption {
        refuse_undated_for: Duration::from_secs(1_000),
        ..Adoption::new(Some(at(40)), "ann", "restored")
    };
    unwrap(journal.adopt(&adoption, at(100)).await);
    let undated = |id, second| {
        let mut record = made(id, at(second));
        let mut asked = (*record.asked).clone();
        asked.issued = None;
        record.asked = Arc::new(asked);
        record
    };
    for (record, expected) in [
        (made(10, at(50)), Claim::Expired),
        (made(11, at(100)), Claim::Expired),
        (made(12, at(110)), Claim::Claimed),
        (undated(13, 1_099), Claim::Expired),
        (undated(14, 1_100), Claim::Claimed),
    ] {
        assert_eq!(
            claim(&journal, &record).await,
            expected,
            "{}",
            record.asked.key
        );
    }
    // What is on record answers for itself.
    let known = unwrap(journal.get(Lookup::Id(record(0, "key-0", 10).id())).await).unwrap();
    let answer = claim(&journal, &made(0, at(50))).await;
    assert_eq!(answer, Claim::Existing(Box::new(known)));
}

#[tokio::test]
async fn an_adoption_says_who_and_why_and_is_refused_where_nothing_is_to_adopt() {
    let (_directory, path) = place();
    use_it(&path, 0).await;
    let journal = unwrap(SqliteJournal::open(&path));
    for (adoption, hint) in [
        (Adoption::new(Some(at(1)), "", "why"), "say who"),
        (Adoption::new(Some(at(1)), "who", ""), "and why"),
        (Adoption::new(None, "who", "why"), "not in quarantine"),
    ] {
        let refused = journal
            .adopt(&adoption, at(9))
            .await
            .expect_err("it was adopted");
        assert!(refused.to_string().contains(hint), "{refused}");
    }
    assert_eq!(unwrap(journal.adoptions().await), []);
    // Whoever knows better may say so: a snapshot of the whole machine was put back, say.
    let adoption = Adoption::new(Some(at(1)), "who", "the machine was put back");
    assert_eq!(
        unwrap(journal.adopt(&adoption, at(9)).await),
        Adopted { in_doubt: 1 }
    );
}

#[tokio::test]
async fn a_file_knows_the_latest_time_that_it_saw() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    assert_eq!(journal.high_water(), None);
    claim(&journal, &made(1, at(50))).await;
    drop(journal);
    let journal = unwrap(SqliteJournal::open(&path));
    assert_eq!(journal.high_water(), Some(at(50)));
    let mut late = made(2, at(10));
    claim(&journal, &late).await;
    drop(journal);
    let journal = unwrap(SqliteJournal::open(&path));
    assert_eq!(
        journal.high_water(),
        Some(at(50)),
        "a clock that went back does not lower it"
    );
    unwrap(late.step(State::Unknown, at(70), "test", "test"));
    late.progress.version += 1;
    unwrap(journal.step(&late).await);
}

#[tokio::test(start_paused = true)]
async fn the_latest_time_is_kept_with_each_raising() {
    let (_directory, path) = place();
    let journal = unwrap(SqliteJournal::open(&path));
    let mut first = made(1, at(10));
    claim(&journal, &first).await;
    unwrap(first.step(State::Unknown, at(70), "test", "test"));
    first.progress.version += 1;
    unwrap(journal.step(&first).await);
    tokio::time::advance(Duration::from_secs(61)).await;
    claim(&journal, &made(2, at(20))).await;
    drop(journal);
    assert_eq!(
        unwrap(SqliteJournal::open(&path)).high_water(),
        Some(at(70))
    );
}
