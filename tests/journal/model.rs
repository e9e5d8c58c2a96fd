//! The journal in SQLite answers any sequence of calls as the one in memory does.

use crate::sample::{record, unwrap};
use proptest::prelude::*;
use std::sync::Arc;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::{OperationId, OperationKey, Tenant};
use tower_sturdy::journal::{
    Filter, Journal, Keep, Lookup, MemoryJournal, Purge, Record, SqliteJournal, State, StoredAnswer,
};

/// Few names, so that calls meet: most sequences have repeats, conflicts and stale steps.
#[derive(Clone, Debug)]
struct Name {
    namespace: u8,
    tenant: u8,
    key: u8,
}

#[derive(Clone, Debug)]
enum Call {
    /// Id, name, conflict key, state, due, when it was asked for and when its key was made.
    Claim(u8, Name, Option<u8>, State, Option<u64>, u64, Option<u64>),
    /// Id, how far off the version is, the next state, due, answer.
    Step(u8, i8, State, Option<u64>, Option<u16>),
    Purge(u64, Keep),
    GetId(u8),
    GetKey(Name),
    List(Filter),
}

fn name() -> impl Strategy<Value = Name> {
    (0..2_u8, 0..2_u8, 0..4_u8).prop_map(|(namespace, tenant, key)| Name {
        namespace,
        tenant,
        key,
    })
}

fn due() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        Just(None),
        (0..4_u64).prop_map(Some),
        Just(Some(Timestamp::NEVER.as_millis())),
    ]
}

/// Some of these are before and some after what a purge forgets; some keys are made after they are asked with.
fn second() -> impl Strategy<Value = u64> {
    0..40_u64
}

fn state() -> impl Strategy<Value = State> {
    prop::sample::select(State::ALL.to_vec())
}

fn filter() -> impl Strategy<Value = Filter> {
    (
        prop::collection::vec(state(), 0..3),
        prop::option::of(0..2_u8),
        prop::option::of(0..2_u8),
        due(),
        0..6_usize,
        0..6_usize,
    )
        .prop_map(|(states, namespace, tenant, due_by, limit, skip)| Filter {
            states,
            namespace: namespace.map(namespace_of),
            tenant: tenant.map(tenant_of),
            due_by: due_by.map(Timestamp::from_millis),
            limit,
            skip,
        })
}

fn call() -> impl Strategy<Value = Call> {
    let conflict = prop::option::of(0..2_u8);
    prop_oneof![
        3 => (0..8_u8, name(), conflict, state(), due(), second(), prop::option::of(second())).prop_map(
            |(id, name, conflict, state, due, at, made)| Call::Claim(id, name, conflict, state, due, at, made)
        ),
        1 => (second(), prop::sample::select(vec![Keep::Tombstones, Keep::Nothing]))
            .prop_map(|(before, keep)| Call::Purge(before, keep)),
        4 => (0..8_u8, prop_oneof![4 => Just(0_i8), 1 => -2..3_i8], state(), due(), prop::option::of(any::<u16>()))
            .prop_map(|(id, off, state, due, answer)| Call::Step(id, off, state, due, answer)),
        1 => (0..8_u8).prop_map(Call::GetId),
        1 => name().prop_map(Call::GetKey),
        2 => filter().prop_map(Call::List),
    ]
}

fn namespace_of(number: u8) -> Arc<str> {
    Arc::from(format!("namespace-{number}"))
}

fn tenant_of(number: u8) -> Tenant {
    Tenant::new(&format!("tenant-{number}")).unwrap()
}

fn claim_of(id: u8, name: &Name, conflict: Option<u8>, state: State, due: Option<u64>) -> Record {
    let mut record = record(
        u128::from(id),
        &format!("key-{}", name.key),
        usize::from(id),
    );
    let mut asked = (*record.asked).clone();
    asked.namespace = namespace_of(name.namespace);
    asked.tenant = tenant_of(name.tenant);
    asked.conflict = conflict.map(|bill| format!("bill-{bill}"));
    record.asked = Arc::new(asked);
    record.progress.state = state;
    record.progress.due = due.map(Timestamp::from_millis);
    record
}

/// Makes the call; the answer as text, for comparison.
async fn answer(journal: &impl Purge, call: &Call, current: Option<&Record>) -> String {
    match call {
        Call::Claim(id, name, conflict, state, due, at, made) => {
            let mut record = claim_of(*id, name, *conflict, *state, *due);
            let mut asked = (*record.asked).clone();
            asked.at = Timestamp::from_millis(at * 1_000);
            asked.issued = made.map(|made| Timestamp::from_millis(made * 1_000));
            record.asked = Arc::new(asked);
            record.progress.acknowledged = id % 3 > 0;
            format!("{:?}", journal.claim(&record).await)
        }
        Call::Step(id, off, state, due, status) => {
            let name = Name {
                namespace: 0,
                tenant: 0,
                key: 0,
            };
            let absent = claim_of(*id, &name, None, *state, None);
            let mut next = current.cloned().unwrap_or(absent);
            // The state machine never leaves a final state; a journal need not know what would follow.
            if !next.state().is_final() {
                next.progress.state = *state;
            }
            next.progress.version = next
                .progress
                .version
                .saturating_add(1)
                .saturating_add_signed(i64::from(*off));
            next.progress.due = due.map(Timestamp::from_millis);
            next.answer = status.map(|status| StoredAnswer {
                status,
                headers: Vec::new(),
                body: status.to_be_bytes().to_vec().into(),
            });
            format!("{:?}", journal.step(&next).await)
        }
        Call::Purge(before, keep) => {
            let before = Timestamp::from_millis(before * 1_000);
            format!("{:?}", journal.purge(before, *keep).await)
        }
        Call::GetId(id) => {
            let id = OperationId::from_bits(u128::from(*id));
            format!("{:?}", journal.get(Lookup::Id(id)).await)
        }
        Call::GetKey(name) => {
            let which = Lookup::Key {
                namespace: &namespace_of(name.namespace),
                tenant: &tenant_of(name.tenant),
                key: &OperationKey::new(&format!("key-{}", name.key)).unwrap(),
            };
            format!("{:?}", journal.get(which).await)
        }
        Call::List(filter) => format!("{:?}", journal.list(filter).await),
    }
}

async fn compare(calls: &[Call]) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.journal");
    let mut sqlite = unwrap(SqliteJournal::open(&path));
    let memory = MemoryJournal::new();
    for (number, call) in calls.iter().enumerate() {
        let current = match call {
            Call::Step(id, ..) => {
                let id = OperationId::from_bits(u128::from(*id));
                unwrap(memory.get(Lookup::Id(id)).await)
            }
            _ => None,
        };
        let expected = answer(&memory, call, current.as_ref()).await;
        let told = answer(&sqlite, call, current.as_ref()).await;
        prop_assert_eq!(told, expected, "call {}: {:?}", number, call);
        if number == calls.len() / 2 {
            drop(sqlite);
            sqlite = unwrap(SqliteJournal::open(&path));
        }
    }
    let all = Filter::default();
    prop_assert_eq!(
        unwrap(sqlite.list(&all).await),
        unwrap(memory.list(&all).await)
    );
    Ok(())
}

proptest! {
    // Each case makes a file and syncs it some sixty times.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn sqlite_answers_any_sequence_of_calls_as_memory_does(calls in prop::collection::vec(call(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(&calls))?;
    }
}
