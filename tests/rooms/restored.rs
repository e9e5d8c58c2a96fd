//! The story of a restored backup: what the file does not know of is never paid a second time.

use super::hooks::Planned;
use super::house::{Does, House, KEYED, Plan, kind, pay, seconds, upstream};
use super::probe::Counts;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tower::ServiceExt;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::context::{OperationKey, Tenant};
use tower_sturdy::error::Kind;
use tower_sturdy::journal::sqlite::Adoption;
use tower_sturdy::journal::{Capability, Journal, Lookup, SqliteJournal, State};

async fn state(journal: &SqliteJournal, key: &str) -> Option<State> {
    let key = OperationKey::new(key).unwrap();
    let which = Lookup::Key {
        namespace: "default",
        tenant: &Tenant::default(),
        key: &key,
    };
    let found = journal.get(which).await.unwrap();
    found.map(|record| record.state())
}

/// A start of the service over the file.
async fn service(
    path: &Path,
    capability: Capability,
    clock: Clock,
    seed: u64,
    does: &[Does],
) -> (Arc<SqliteJournal>, House, Arc<Counts>) {
    let journal = Arc::new(SqliteJournal::open(path).unwrap());
    let mut plan = Plan::new(capability);
    (plan.clock, plan.seed) = (clock, seed);
    let (probe, counts) = upstream(does.iter().copied());
    let house = plan.build_on(journal.clone(), probe, Planned::new([]));
    (journal, house, counts)
}

fn mirror(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-incarnation");
    name.into()
}

/// Ends a start of the service, and waits until nothing holds the file any more.
async fn end(path: &Path, journal: Arc<SqliteJournal>, house: House) {
    house.book.shutdown(seconds(1)).await;
    drop((journal, house));
    tokio::time::sleep(seconds(1)).await;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    for _ in 0..1_000_000 {
        if !Path::new(&log).exists() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("the file is not closed");
}

#[tokio::test(start_paused = true)]
async fn a_restored_backup_never_pays_a_second_time() {
    for capability in [KEYED, Capability::Lookup] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pay.journal");
        let clock = Clock::anchored(Timestamp::from_millis(1_000_000_000));
        // Monday: one payment did nothing and may begin again. Then the backup is made.
        let (journal, house, monday) =
            service(&path, capability, clock, 1, &[Does::Answers(429)]).await;
        house.service.clone().oneshot(pay("a")).await.unwrap();
        assert_eq!(state(&journal, "a").await, Some(State::Ready));
        end(&path, journal, house).await;
        let backup = std::fs::read(&path).unwrap();
        let backed_up = clock.wall();
        assert_eq!(monday.calls(), 1);
        // Tuesday: that payment and a new one are made. Then the disk dies.
        tokio::time::sleep(seconds(600)).await;
        let (journal, house, tuesday) = service(&path, capability, clock, 2, &[]).await;
        house.service.clone().oneshot(pay("a")).await.unwrap();
        house.service.clone().oneshot(pay("b")).await.unwrap();
        assert_eq!(tuesday.calls(), 2);
        end(&path, journal, house).await;
        std::fs::write(&path, backup).unwrap();
        assert!(mirror(&path).exists());
        // Wednesday: nothing is taken, and who asks is told why.
        tokio::time::sleep(seconds(600)).await;
        let (journal, house, wednesday) = service(&path, capability, clock, 3, &[]).await;
        assert!(journal.quarantine().is_some());
        house.reconciler.start();
        for key in ["a", "b", "c"] {
            let told = house.service.clone().oneshot(pay(key)).await.unwrap_err();
            assert!(
                !matches!(told.kind(), Kind::OutcomeUnknown | Kind::Parked),
                "{key}: {told}"
            );
            if key != "a" {
                assert_eq!(told.kind(), Kind::JournalUnavailable);
                let why = told.source().map(ToString::to_string).unwrap_or_default();
                assert!(why.contains("sturdy journal adopt"), "{told}: {why}");
            }
        }
        tokio::time::sleep(seconds(3_000)).await;
        assert_eq!(wednesday.calls(), 0);
        // A person says since when something may be missing.
        let adoption = Adoption::new(Some(backed_up), "ann", "the disk died");
        assert_eq!(
            journal
                .adopt(&adoption, clock.wall())
                .await
                .unwrap()
                .in_doubt,
            1
        );
        // The new one of Tuesday cannot be told from one that was never used, so it is refused.
        let told = house.service.clone().oneshot(pay("b")).await;
        assert_eq!(kind(told), Kind::KeyExpired);
        // The other one is settled as what it is: in doubt. Without proof it is sent again only where that is safe.
        tokio::time::sleep(seconds(7_200)).await;
        assert_eq!(
            state(&journal, "a").await,
            Some(State::Parked),
            "{capability:?}"
        );
        assert_eq!(state(&journal, "b").await, None);
        assert_eq!(wednesday.calls(), 0, "its first send is too long ago");
    }
}
