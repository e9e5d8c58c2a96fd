//! A disk that is full: writes fail closed, what was told holds, and once there is room the same process goes on.
//!
//! Two kinds. A limit on the size of a file is had everywhere: the system refuses to let the log grow (EFBIG). A file system
//! of memory that is really full (ENOSPC) needs a mount of one's own; where a container forbids that, this says so.

use crate::judge::Case;
use crate::number;
use crate::process::operation::Operation;
use crate::process::payer::{Payer, Told};
use crate::process::upstream::Upstream;
use crate::process::{PATIENCE, Process};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tower_sturdy::clock::Clock;

/// Operations that are asked for: their records need more log than there is room for.
const OPERATIONS: u32 = 150;
const TASKS: usize = 16;
/// What there is room for until room is made: some dozen operations.
const ROOM_KIB: u64 = 768;
/// And after it, on the file system: more than all of them need.
const MORE_MIB: u64 = 64;
/// How long the disk stays full.
const STAYS_FULL: Duration = Duration::from_millis(300);

const INSTALL: &str = "is missing: install it with `apt-get install -y util-linux mount`";

type Tellings = BTreeMap<Operation, Vec<Told>>;

#[test]
fn a_keyed_write_is_refused_while_the_file_may_not_grow_and_goes_on_after_it() {
    fills_up(true, &Limited);
}

#[test]
fn a_looked_up_write_is_refused_while_the_file_may_not_grow_and_goes_on_after_it() {
    fills_up(false, &Limited);
}

#[test]
fn a_keyed_write_is_refused_while_the_disk_is_full_and_goes_on_after_it() {
    if let Some(disk) = Memory::possible() {
        fills_up(true, &disk);
    }
}

#[test]
fn a_looked_up_write_is_refused_while_the_disk_is_full_and_goes_on_after_it() {
    if let Some(disk) = Memory::possible() {
        fills_up(false, &disk);
    }
}

/// A way to be full.
trait Disk {
    /// What runs a program with this disk. The journal is in `on` at last.
    fn within(&self, place: &Path) -> Command;
    /// Where the program finds its disk.
    fn on(&self, place: &Path) -> PathBuf;
    fn make_room(&self, place: &Path, process: &Process);
    /// What a refusal says to do.
    fn advice(&self) -> &'static str;
}

fn ran(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{name} {INSTALL} ({error})"))
}

/// No file may be larger.
struct Limited;

impl Disk for Limited {
    fn within(&self, _place: &Path) -> Command {
        ran(Command::new("prlimit").arg("--version"));
        let mut within = Command::new("sh");
        // An ignored signal stays so in what is run: writing beyond the limit is an error, then, and no end.
        let script = format!(
            "trap '' XFSZ; exec prlimit --fsize={}: \"$@\"",
            ROOM_KIB << 10
        );
        within.args(["-c", &script, "sh"]);
        within
    }

    fn on(&self, place: &Path) -> PathBuf {
        place.to_owned()
    }

    fn make_room(&self, _place: &Path, process: &Process) {
        let pid = process.id().to_string();
        let done = ran(Command::new("prlimit").args(["--fsize=unlimited:", "--pid", &pid]));
        assert!(done.status.success(), "{done:?}");
    }

    fn advice(&self) -> &'static str {
        "look at the disk"
    }
}

/// A file system in memory, in a mount of its process's own, most of it taken by a file that is removed to make room.
struct Memory;

impl Memory {
    /// `None`, and a word of it, where no mount of one's own may be made.
    fn possible() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let tried = ran(Self::mounted(directory.path(), "true").arg("sh"));
        if tried.status.success() {
            return Some(Self);
        }
        println!(
            "no full disk here, only a limit on files: a mount of one's own is forbidden ({})",
            String::from_utf8_lossy(&tried.stderr).trim()
        );
        None
    }

    /// Runs a script beside the mounted disk, of which a part is taken.
    fn mounted(place: &Path, script: &str) -> Command {
        let (size, taken) = ((MORE_MIB << 10) + ROOM_KIB, MORE_MIB);
        let script = format!(
            "set -e; mount -t tmpfs -o size={size}k none \"$DISK\"; \
             head -c {taken}M /dev/zero >\"$DISK/taken\"; {script}"
        );
        let mut within = Command::new("unshare");
        within.args(["--map-root-user", "--mount", "sh", "-c", &script]);
        within.env("DISK", place);
        within
    }
}

impl Disk for Memory {
    fn within(&self, place: &Path) -> Command {
        std::fs::create_dir(self.on(place)).unwrap();
        // Whoever waits for room outlives nobody for long: a minute of looks at most.
        let script = "(n=0; while [ ! -e \"$PLACE/room\" ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n+1)); done; \
             rm \"$DISK/taken\") <&- >&- & \
             \"$@\"; cp -r \"$DISK\"/. \"$PLACE\"";
        let mut within = Self::mounted(&self.on(place), script);
        within.env("PLACE", place).arg("sh");
        within
    }

    fn on(&self, place: &Path) -> PathBuf {
        place.join("disk")
    }

    fn make_room(&self, place: &Path, _process: &Process) {
        std::fs::write(place.join("room"), "").unwrap();
    }

    fn advice(&self) -> &'static str {
        "make room on the disk"
    }
}

fn operations() -> impl Iterator<Item = Operation> {
    let all = (0..OPERATIONS).map(Operation);
    all.filter(|operation| !operation.is_refused())
}

fn fills_up(keyed: bool, disk: &dyn Disk) {
    let seed = number("STURDY_SEED").unwrap_or(1);
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let mut upstream = Upstream::start(seed, keyed, false);
    // All doubt is the disk's.
    upstream.calm();
    let address = upstream.address.clone();
    let within = disk.within(place);
    let payer = Payer {
        journal: &disk.on(place).join("full.journal"),
        upstream: &address,
        keyed,
        tasks: TASKS,
    };
    let mut process = payer.start_within(within);
    process.waits_for("ready", |_| ());
    for operation in operations() {
        process.say(&format!("pay {}", operation.0));
    }
    let mut told = Tellings::new();
    let refused = |told: &Tellings| told.values().flatten().any(is_refusal);
    hear(&process, PATIENCE, &mut told, refused);
    let before = told.values().flatten().filter(|told| told.is_end()).count();
    hear(&process, STAYS_FULL, &mut told, |_| false);
    disk.make_room(place, &process);
    let all_ended = |told: &Tellings| {
        let ended = |operation| told.get(&operation)?.iter().find(|told| told.is_end());
        operations().all(|operation| ended(operation).is_some())
    };
    assert!(hear(&process, PATIENCE, &mut told, all_ended), "{told:?}");
    process.end();
    let case = Case::new(told, &place.join("full.journal"), upstream.end());
    judge(&case, disk, keyed, seed, before);
}

/// Whether a caller was told that the journal could not take its write.
fn is_refusal(told: &Told) -> bool {
    matches!(told, Told::Nothing(_, why) if why.contains("SQLite"))
}

/// Hears it until `enough`; whether that came in time.
fn hear(
    process: &Process,
    span: Duration,
    told: &mut Tellings,
    enough: impl Fn(&Tellings) -> bool,
) -> bool {
    let until = Clock::system().now() + span;
    while !enough(told) {
        match process.hears_until(until) {
            Some(line) => {
                if let Some((operation, what)) = Told::read(&line) {
                    told.entry(operation).or_default().push(what);
                }
            }
            None => return false,
        }
    }
    true
}

fn judge(case: &Case, disk: &dyn Disk, keyed: bool, seed: u64, before: usize) {
    let tellings = || case.told.values().flatten();
    let refused = tellings().filter(|told| is_refusal(told)).count();
    println!(
        "STURDY_SEED={seed}, {}, \"{}\": {before} ended before, {refused} refusals; {} effects, {} sends",
        if keyed { "keyed" } else { "looked up" },
        disk.advice(),
        case.effects.values().map(Vec::len).sum::<usize>(),
        case.sends.values().map(Vec::len).sum::<usize>(),
    );
    let mut wrong = case.judge();
    for (operation, told) in &case.told {
        let untrue = told.iter().filter(|told| match told {
            Told::Nothing(_, why) => !why.contains(disk.advice()),
            Told::Wrong(_) | Told::Rejected => true,
            Told::Parked => keyed,
            // Elsewhere: a step that could not be written leaves the claim to this very process, until it is found.
            Told::Completed(_) | Told::Doubt | Told::Elsewhere => false,
        });
        wrong.extend(untrue.map(|told| format!("{operation:?}: told {told:?}")));
    }
    assert!(
        wrong.is_empty(),
        "STURDY_SEED={seed}, keyed: {keyed}: {} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(refused > 0 && before > 0, "{refused} {before}");
}
