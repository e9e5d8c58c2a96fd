//! Opens what a power loss left, and holds it against what the process had been told.

use super::disk::Image;
use super::work::{Bodies, operation};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::sqlite::Adoption;
use tower_sturdy::journal::{Claim, Filter, Journal, Lookup, Record, SqliteJournal};

pub const NAME: &str = "power.journal";

/// The version of each operation that was asked for, and the one that was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Told {
    asked: BTreeMap<u32, u64>,
    acknowledged: BTreeMap<u32, u64>,
}

impl Told {
    pub fn hear(&mut self, mark: &str) {
        let mut words = mark.split(' ');
        let mut word = || words.next().unwrap();
        let said = match word() {
            "try" => &mut self.asked,
            "done" => &mut self.acknowledged,
            other => panic!("unknown mark {other}"),
        };
        said.insert(word().parse().unwrap(), word().parse().unwrap());
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }
}

pub struct Checker {
    pub seed: u64,
    pub bodies: Bodies,
    pub directory: PathBuf,
    /// Every operation by its id.
    numbers: BTreeMap<OperationId, u32>,
    expected: BTreeMap<(u32, u64), Record>,
}

impl Checker {
    pub fn new(seed: u64, bodies: Bodies, directory: PathBuf) -> Self {
        Self {
            seed,
            bodies,
            directory,
            numbers: BTreeMap::new(),
            expected: BTreeMap::new(),
        }
    }

    /// What is wrong with the image; nothing, if everything that was acknowledged is there, and nothing by halves.
    pub fn check(&mut self, image: &Image, told: &Told, random: &mut Rng) -> Result<(), String> {
        let kept = TempDir::new_in(&self.directory).unwrap();
        put(image, kept.path(), random);
        let path = kept.path().join(NAME);
        // One for each image: its end is the end of the journal's last work on the files.
        let runtime = Builder::new_current_thread().build().unwrap();
        let journal = SqliteJournal::open(&path).map_err(|error| error.to_string())?;
        // Numbers are given in their order.
        while let Ok(number) = u32::try_from(self.numbers.len())
            && told.asked.contains_key(&number)
        {
            let id = operation(self.seed, self.bodies, number, 1).id();
            self.numbers.insert(id, number);
        }
        let all = Filter {
            limit: usize::MAX,
            ..Filter::default()
        };
        let found = runtime.block_on(journal.list(&all));
        let found = found.map_err(|error| error.to_string())?;
        self.compare(found, told)?;
        whole(&path)?;
        self.goes_on(&runtime, &journal)
    }

    fn compare(&mut self, found: Vec<Record>, told: &Told) -> Result<(), String> {
        let mut versions = BTreeMap::new();
        for record in found {
            let id = record.id();
            let Some(&number) = self.numbers.get(&id) else {
                return Err(format!(
                    "operation {id} is on record, which nobody asked for"
                ));
            };
            let version = record.progress.version;
            if version > told.asked[&number] {
                return Err(format!(
                    "operation {number} is at {version}, which nobody asked for"
                ));
            }
            let (seed, bodies) = (self.seed, self.bodies);
            let expected = self.expected.entry((number, version));
            if record != *expected.or_insert_with(|| operation(seed, bodies, number, version)) {
                return Err(format!("operation {number} is there by halves: {record:?}"));
            }
            versions.insert(number, version);
        }
        for (number, acknowledged) in &told.acknowledged {
            match versions.get(number) {
                Some(version) if version >= acknowledged => {}
                found => {
                    return Err(format!(
                        "operation {number} was acknowledged at {acknowledged} and is at {found:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn goes_on(&self, runtime: &Runtime, journal: &SqliteJournal) -> Result<(), String> {
        let next = operation(self.seed, self.bodies, u32::MAX, 1);
        let gone = runtime.block_on(async {
            // The image is a copy: it takes nothing before a person says so.
            if journal.quarantine().is_some() {
                let adoption = Adoption::new(None, "the test", "the power came back");
                journal.adopt(&adoption, Timestamp::default()).await?;
            }
            let claim = journal.claim(&next).await?;
            Ok((claim, journal.get(Lookup::Id(next.id())).await?))
        });
        match gone {
            Ok((Claim::Claimed, Some(found))) if found == next => Ok(()),
            Ok(other) => Err(format!("a new claim gave {other:?}")),
            Err::<_, tower_sturdy::journal::JournalError>(error) => Err(error.to_string()),
        }
    }
}

/// Puts the files back as the power loss left them.
pub fn put(image: &Image, directory: &Path, random: &mut Rng) {
    for (name, content) in image {
        std::fs::write(directory.join(name), content).unwrap();
    }
    // Whatever a crash leaves of the shared memory, SQLite makes it anew.
    if random.bool() {
        let rest: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(4_096)
            .collect();
        std::fs::write(directory.join(format!("{NAME}-shm")), rest).unwrap();
    }
}

/// What SQLite itself says of the file, indexes included.
fn whole(path: &Path) -> Result<(), String> {
    let connection = rusqlite::Connection::open(path).map_err(|error| error.to_string())?;
    let check = "PRAGMA integrity_check";
    let told: Result<String, _> = connection.query_row(check, [], |row| row.get(0));
    match told.as_deref() {
        Ok("ok") => Ok(()),
        other => Err(format!("integrity_check: {other:?}")),
    }
}
