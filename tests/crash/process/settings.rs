//! The times of the whole play, in one place: what takes minutes at Intuit takes seconds here, in the same order.

use super::PATIENCE;
use super::operation::company;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tower_sturdy::clock::Clock;
use tower_sturdy::journal::SqliteJournal;
use tower_sturdy::journal::sqlite::SqliteConfig;
use tower_sturdy::mock::{Fault, FaultPlan, FaultRule, HangCommit, Latency, On};
use tower_sturdy::qbo::limits::{EndpointClass, Limit};
use tower_sturdy::qbo::{Qbo, QboWrites};
use tower_sturdy::retry::{Jitter, Profile};
use tower_sturdy::stack::{Stack, StackConfig};
use tower_sturdy::transport::reqwest::ReqwestTransport;

/// How long an answer takes: long enough that a kill at any moment hits some in between.
pub const LATENCY: Latency = Latency::Fixed(Duration::from_millis(25));
/// When the upstream gives a request up; effects of hung ones land until then.
pub const SERVER_TIMEOUT: Duration = Duration::from_millis(900);
/// How long after an effect queries may not show it.
pub const READ_LAG: Duration = Duration::from_millis(200);
/// Below the server's timeout, which is worse than at Intuit: what is given up may still have its effect.
const ATTEMPT: Duration = Duration::from_millis(600);
/// Far above the server's timeout: a process may get no time at all for a while on a busy machine.
pub const SETTLE_WINDOW: Duration = Duration::from_millis(2_200);
/// For how long a write in doubt may be sent again: the preset's.
pub const HORIZON: Duration = Duration::from_secs(3_600);
const LEASE: Duration = Duration::from_secs(2);

/// What goes wrong: about one request in six.
pub fn faults() -> FaultPlan {
    let hang = Fault::Hang {
        commit: HangCommit::Seeded,
    };
    let edge = Fault::StreamTimeout504 { commits_late: true };
    // So often that retrying ends there too: its callers are told that nothing happened.
    let refusing = FaultRule {
        when: None,
        realm: Some(company(0).realm),
        on: On::Writes,
        probability: 0.5,
        fault: Fault::Refuse503Gateway,
    };
    let plan = FaultPlan {
        rules: vec![refusing],
    };
    [
        (On::Writes, 0.04, Fault::LostAnswer),
        (On::Writes, 0.04, hang),
        (On::Writes, 0.01, edge),
        (On::Writes, 0.02, Fault::Html503AfterCommit),
        (On::Writes, 0.02, Fault::Refuse503Html),
        (On::Writes, 0.03, Fault::Refuse503Gateway),
        (On::Writes, 0.01, Fault::Throttle429),
        (On::Writes, 0.02, Fault::ResetBefore),
        (On::Writes, 0.01, Fault::Error500),
        (On::Writes, 0.02, Fault::Error500AfterCommit),
        (On::Reads, 0.03, Fault::Refuse503Html),
        (On::Reads, 0.03, Fault::LostAnswer),
    ]
    .into_iter()
    .fold(plan, |plan, (on, probability, fault)| {
        plan.and(on, probability, fault)
    })
}

/// Only what leaves doubt: nobody can be told truly that nothing happened.
pub fn doubt() -> FaultPlan {
    FaultPlan::none()
        .and(On::Writes, 0.05, Fault::LostAnswer)
        .and(On::Writes, 0.03, Fault::Html503AfterCommit)
        .and(On::Writes, 0.03, Fault::Error500AfterCommit)
}

/// The whole stack with the preset on this file, `ahead` of the time of all others.
pub fn stack(journal: &Path, keyed: bool, ahead: Duration) -> Stack {
    // Two processes that write without a pause can keep the file from each other for longer than the default.
    let journal = SqliteJournal::open_with(&SqliteConfig {
        busy_timeout: PATIENCE,
        ..SqliteConfig::new(journal)
    })
    .unwrap_or_else(|error| panic!("{error}"));
    let clock = if ahead.is_zero() {
        Clock::system()
    } else {
        Clock::anchored(Clock::system().wall().plus(ahead))
    };
    // A proxy of the machine has no business between two of its processes.
    let client = reqwest::Client::builder().no_proxy();
    let preset = Qbo {
        limits: vec![Limit {
            name: "realm/concurrent",
            limit: 10,
            per: Duration::ZERO,
            per_app: false,
            class: EndpointClass::Any,
        }],
        writes: QboWrites {
            keyed,
            horizon: HORIZON,
            ..QboWrites::default()
        },
        verify_after: None,
    };
    preset
        .stack(ReqwestTransport::new(client).unwrap())
        .unwrap()
        .journal(Arc::new(journal))
        .clock(clock)
        .configure(shorten)
        .build()
        .unwrap_or_else(|error| panic!("{error}"))
}

fn shorten(config: &mut StackConfig) {
    config.idempotency.resume_after = Duration::from_millis(300);
    config.book.lease = LEASE;
    config.book.lease_margin = LEASE / 10;
    let settle = &mut config.book.settle;
    settle.settle_window = SETTLE_WINDOW;
    settle.read_lag = READ_LAG * 4;
    settle.look_backoff = Duration::from_millis(200);
    settle.look_backoff_max = Duration::from_secs(5);
    // Beyond the horizon: some looks at what was refused after doubt, and no more.
    settle.looks_max = 4;
    config.attempt.write_timeout = ATTEMPT;
    config.attempt.read_timeout = ATTEMPT;
    config.rate_limit.pause = Duration::from_millis(200);
    config.rate_limit.settle_window = SETTLE_WINDOW;
    config.reconcile.poll = Duration::from_millis(500);
    let profile = Profile {
        base: Duration::from_millis(30),
        jitter: Jitter::Equal,
        ..Profile::default()
    };
    config.retry.user_action = profile;
    config.retry.event_triggered = profile;
    config.retry.scheduled = profile;
}
