//! A process that opens new journal files, each at the moment at which others open it too.

use super::Process;
use super::lines::{say, setting};
use super::{PATIENCE, gate};
use crate::sample::{record, unwrap};
use std::path::Path;
use std::time::Duration;
use tower_sturdy::journal::sqlite::SqliteConfig;
use tower_sturdy::journal::{Claim, Journal, SqliteJournal};

const NUMBER: &str = "TOWER_STURDY_TEST_OPENER";

/// The key that all of them claim.
pub const COMMON: &str = "common";

/// The key that only this one claims.
pub fn own_key(number: usize) -> String {
    format!("own-{number}")
}

/// Starts one; it opens the file of each "open <file>" that it is told.
pub fn start(number: usize) -> Process {
    Process::start("opener", &[(NUMBER, number.to_string())])
}

/// Not a test: the process of the tests of this binary.
#[test]
#[ignore = "a process that the tests of this binary start"]
fn process() {
    let Some(number) = setting(NUMBER) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut rng = fastrand::Rng::with_seed(number as u64);
    for order in std::io::stdin().lines().map_while(Result::ok) {
        let file = order.strip_prefix("open ").unwrap();
        say("ready");
        unwrap(gate::pass(Path::new(file)));
        // At one moment, or one a little after the other: some look at the file while others make it.
        let spread = [0, 200, 1_000, 5_000][rng.usize(0..4)];
        std::thread::park_timeout(Duration::from_micros(rng.u64(0..=spread)));
        // Closed again by its end, while others may be opening it.
        let said = match open(Path::new(file)) {
            Ok(journal) => runtime.block_on(claim(&journal, number)),
            Err(error) => format!("failed {error}"),
        };
        say(&format!("told {}", said.replace('\n', " ")));
    }
}

fn open(file: &Path) -> Result<SqliteJournal, String> {
    let journal = SqliteJournal::open_with(&SqliteConfig {
        busy_timeout: PATIENCE,
        ..SqliteConfig::new(file)
    });
    let journal = journal.map_err(|error| error.to_string())?;
    match journal.quarantine() {
        Some(quarantine) => Err(quarantine.to_string()),
        None => Ok(journal),
    }
}

async fn claim(journal: &SqliteJournal, number: usize) -> String {
    let id = number as u128;
    let own = journal.claim(&record(id, &own_key(number), 300)).await;
    let common = journal.claim(&record(100 + id, COMMON, 300)).await;
    match (own, common) {
        (Ok(Claim::Claimed), Ok(Claim::Claimed)) => format!("won {}", 100 + id),
        (Ok(Claim::Claimed), Ok(Claim::Existing(other))) => format!("lost {}", other.id().bits()),
        other => format!("failed {other:?}"),
    }
}
