//! Power loss: what a process did to the journal's files is recorded, and stopped at every sync and between; what the
//! disk may hold then is opened, and everything that was acknowledged is there.
//!
//! `STURDY_SEEDS=20` records more runs; `STURDY_REPLAYS=10000` stops each of them more often. A failure names its seed,
//! and `STURDY_SEED=n` runs that one again; the threads of a run may meet in another order then, so the files of the
//! failure are kept.

mod check;
pub mod disk;
pub mod events;
pub mod work;

use check::{Checker, NAME, Told};
use disk::{Disk, Lie, Loss};
use events::{Event, events};
use fastrand::Rng;
use std::path::Path;
use tempfile::TempDir;
use work::Bodies;

/// Where syncs cost nothing, if there is such a place: the files that are opened here need no real disk.
fn directory() -> TempDir {
    tempfile::tempdir_in(Path::new("/dev/shm")).unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

fn seeds() -> std::ops::Range<u64> {
    match number("STURDY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STURDY_SEEDS").unwrap_or(3),
    }
}

struct Run {
    seed: u64,
    bodies: Bodies,
    events: Vec<Event>,
}

impl Run {
    fn record(seed: u64, bodies: Bodies) -> Self {
        // A real disk: on one in memory nobody needs to sync.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (disk, marks, log) = (root.join("disk"), root.join("marks"), root.join("log"));
        std::fs::create_dir(&disk).unwrap();
        let word = if bodies == Bodies::Large {
            "large"
        } else {
            "mixed"
        };
        let settings = [
            (work::FILE, disk.join(NAME).display().to_string()),
            (work::MARKS, marks.display().to_string()),
            (work::SEED, seed.to_string()),
            (work::BODIES, word.to_owned()),
        ];
        let calls = crate::strace::record(&log, work::CHILD, &settings);
        let events = events(&calls, &disk, &marks, None);
        Self {
            seed,
            bodies,
            events,
        }
    }

    fn count(&self, kind: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| kind(event)).count()
    }

    /// Stops the run `replays` times: at least once at the beginning and at the end of each sync, else anywhere.
    ///
    /// Returns how often it did, and what was wrong with the first image that was wrong.
    fn replay(&self, replays: usize, lie: Lie) -> (usize, Option<String>) {
        self.replay_from(|_| true, replays, lie)
    }

    /// The same, from the first event on that `is_first` says.
    fn replay_from(
        &self,
        is_first: impl Fn(&Event) -> bool,
        replays: usize,
        lie: Lie,
    ) -> (usize, Option<String>) {
        let scratch = directory();
        let mut random = Rng::with_seed(self.seed);
        let mut checker = Checker::new(self.seed, self.bodies, scratch.path().to_owned());
        let (mut disk, mut told, mut done) = (Disk::new(lie), Told::default(), 0);
        let is_sync = |event: &Event| matches!(event, Event::SyncBegin(..) | Event::SyncEnd(_));
        let first = self.events.iter().position(is_first).unwrap();
        let share = replays as f64 / (self.events.len() - first) as f64;
        let mut owed = 0.0;
        for (at, event) in self.events.iter().enumerate() {
            disk.apply(event);
            if let Event::Mark(mark) = event {
                told.hear(mark);
            }
            if at < first {
                continue;
            }
            owed += share;
            let mut due = is_sync(event) || owed >= 1.0;
            while due {
                owed -= 1.0;
                due = owed >= 1.0;
                done += 1;
                let loss = Loss::any(&mut random);
                let image = disk.crash(loss, &mut random);
                if let Err(why) = checker.check(&image, &told, &mut random) {
                    let (seed, of) = (self.seed, self.events.len());
                    let wrong = format!("STURDY_SEED={seed}, event {at} of {of}, {loss:?}: {why}");
                    if lie != Lie::Nothing {
                        return (done, Some(wrong));
                    }
                    let kept = scratch.keep();
                    check::put(&image, &kept, &mut random);
                    return (
                        done,
                        Some(format!(
                            "{wrong} (the files are kept in {})",
                            kept.display()
                        )),
                    );
                }
            }
        }
        assert!(told.acknowledged() > 20, "the process did too little");
        (done, None)
    }
}

#[test]
fn what_was_acknowledged_survives_a_power_loss_at_any_moment() {
    let replays = number("STURDY_REPLAYS").unwrap_or(1_000);
    for seed in seeds() {
        let run = Run::record(seed, Bodies::Mixed);
        let (done, wrong) = run.replay(usize::try_from(replays).unwrap(), Lie::Nothing);
        assert_eq!(wrong, None);
        println!(
            "seed {seed}: {} events, {} syncs, {done} power losses",
            run.events.len(),
            run.count(|event| matches!(event, Event::SyncEnd(_)))
        );
    }
}

#[test]
fn a_checkpoint_that_sqlite_makes_by_itself_loses_nothing_to_a_power_loss() {
    let run = Run::record(0, Bodies::Large);
    let checkpointed = |event: &Event| matches!(event, Event::Write { file, at, .. } if file == NAME && *at > 1 << 20);
    let begun_anew =
        |event: &Event| matches!(event, Event::Write { file, at: 0, .. } if file.ends_with("-wal"));
    assert!(run.count(checkpointed) > 1_000, "no checkpoint");
    assert!(run.count(begun_anew) > 1, "the log was not begun anew");
    let (done, wrong) = run.replay_from(checkpointed, 20, Lie::Nothing);
    assert_eq!(wrong, None);
    println!("{} events, {done} power losses", run.events.len());
}

#[test]
fn a_disk_that_only_pretends_to_sync_is_found_out() {
    // The log, the file that checkpoints write, the names of both: one lie about any of them loses what was acknowledged.
    let run = Run::record(7, Bodies::Mixed);
    for lie in [Lie::Files("-wal"), Lie::Files(NAME), Lie::Directory] {
        let (done, wrong) = run.replay(2_000, lie);
        let wrong = wrong.unwrap_or_else(|| panic!("{lie:?} was believed {done} times"));
        println!("{lie:?}: seen at the power loss number {done}: {wrong}");
    }
}
