//! Builds the world of a run: the upstream as the scenario wants it, and what each operation is to do in it.

use super::config::{self, FaultName, FaultOn, Scenario};
use super::error::ScenarioError;
use super::judge::Expected;
use super::lineup::World;
use super::load::Plan;
use super::run::Options;
use crate::clock::{Clock, Timestamp};
use crate::error::InvalidConfig;
use crate::mock::{self, MockConfig, MockQbo};
use crate::random::Random;
use std::sync::Arc;

/// When every simulation begins: Monday, 2 November 2026, 09:00 UTC.
const BEGINS: Timestamp = Timestamp::from_millis(1_793_610_000_000);

pub(super) fn build(scenario: &Scenario, options: Options) -> Result<World, ScenarioError> {
    let clock = Clock::anchored(BEGINS);
    let plan = Plan::draw(scenario, options.seed);
    let config = mock_config(scenario, options, &plan)?;
    let mock = MockQbo::new(config, clock)
        .map_err(|bad| InvalidConfig::new(format!("mock.{}", bad.field), bad.why))?;
    Ok(World {
        scenario: Arc::new(scenario.clone()),
        plan: Arc::new(plan),
        replay: options.replay,
        mock,
        clock,
        random: Random::seeded(options.seed),
    })
}

/// What each operation is to do: pay one bill of the mock's books in full.
pub(super) fn expected(world: &World) -> Result<Vec<Expected>, ScenarioError> {
    let operations = world.plan.operations.iter().enumerate();
    operations
        .map(|(at, operation)| {
            let realm = Plan::realm(operation.company);
            let bill = (operation.bill + 1).to_string();
            let entity = world.mock.entity(&realm, "Bill", &bill);
            let read = entity.and_then(|entity| {
                let vendor = entity.get("VendorRef")?.get("value")?.as_str()?.to_owned();
                Some((vendor, cents(entity.get("TotalAmt")?.as_f64()?)))
            });
            let Some((vendor, cents)) = read else {
                return Err(ScenarioError::Run(
                    format!("the mock has no bill {bill} in company {realm}").into(),
                ));
            };
            Ok(Expected {
                token: world.plan.token(at),
                realm,
                bill,
                vendor,
                cents,
                capability: operation.capability.where_keys_are(world.replay),
            })
        })
        .collect()
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "amounts of bills are far below 2^53 cents"
)]
fn cents(amount: f64) -> i64 {
    (amount * 100.0).round() as i64
}

fn mock_config(
    scenario: &Scenario,
    options: Options,
    plan: &Plan,
) -> Result<MockConfig, ScenarioError> {
    let throttle = scenario.throttle;
    let upstream = scenario.upstream;
    let defaults = MockConfig::default();
    Ok(MockConfig {
        seed: options.seed,
        companies: companies(plan)?,
        request_id: mock::RequestIdConfig {
            honoured: options.replay,
            retention: upstream.retention.get(),
            ..defaults.request_id
        },
        throttle: mock::ThrottleConfig {
            per_minute: Some(throttle.per_minute),
            per_second: Some(throttle.per_second),
            concurrent: Some(throttle.concurrent),
            app_per_minute: throttle.app_per_minute,
            ..defaults.throttle
        },
        latency: match options.latency.unwrap_or(upstream.latency) {
            config::Latency::Quick => mock::Latency::Quick,
            config::Latency::Recorded => mock::Latency::Recorded,
        },
        faults: mock::FaultPlan {
            rules: scenario
                .faults
                .iter()
                .map(|rule| rule_for(rule, scenario))
                .collect(),
        },
        read_lag: upstream.read_lag.get(),
        server_timeout: upstream.server_timeout.get(),
        ..defaults
    })
}

fn companies(plan: &Plan) -> Result<Vec<mock::CompanyConfig>, ScenarioError> {
    let bills = plan.bills().into_iter().enumerate();
    bills
        .map(|(company, bills)| {
            let bills = u32::try_from(bills).map_err(|error| ScenarioError::Run(error.into()))?;
            Ok(mock::CompanyConfig {
                bills,
                customers: 0,
                invoices: 0,
                ..mock::CompanyConfig::of(Plan::realm(company))
            })
        })
        .collect()
}

fn rule_for(rule: &config::FaultRule, scenario: &Scenario) -> mock::FaultRule {
    let window = rule.from.is_some() || rule.until.is_some();
    let from = rule.from.unwrap_or_default().get();
    // Longer than any run lasts, grace included.
    let until = rule.until.map_or(scenario.ends() * 2, |until| until.get());
    mock::FaultRule {
        when: window.then_some((from, until.max(from))),
        realm: None,
        on: match rule.on {
            FaultOn::Any => mock::On::Any,
            FaultOn::Reads => mock::On::Reads,
            FaultOn::Writes => mock::On::Writes,
        },
        probability: rule.probability,
        fault: fault_of(rule),
    }
}

fn fault_of(rule: &config::FaultRule) -> mock::Fault {
    use mock::Fault;
    match rule.fault {
        FaultName::Refuse503Gateway => Fault::Refuse503Gateway,
        FaultName::Refuse503Html => Fault::Refuse503Html,
        FaultName::Html503AfterCommit => Fault::Html503AfterCommit,
        FaultName::Throttle429 => Fault::Throttle429,
        FaultName::Unauthorized401 => Fault::Unauthorized401,
        FaultName::Error500 => Fault::Error500,
        FaultName::Error500AfterCommit => Fault::Error500AfterCommit,
        FaultName::Fault200 => Fault::Fault200,
        FaultName::ResetBefore => Fault::ResetBefore,
        FaultName::LostAnswer => Fault::LostAnswer,
        FaultName::CutBody => Fault::CutBody,
        FaultName::Malformed => Fault::Malformed,
        FaultName::Hang => Fault::Hang {
            commit: match rule.commit {
                Some(config::HangCommit::Never) => mock::HangCommit::Never,
                Some(config::HangCommit::Soon) => mock::HangCommit::Soon,
                Some(config::HangCommit::Late) => mock::HangCommit::Late,
                Some(config::HangCommit::Seeded) | None => mock::HangCommit::Seeded,
            },
        },
        FaultName::Delay => Fault::Delay(rule.delay.unwrap_or_default().get()),
        FaultName::StreamTimeout504 => Fault::StreamTimeout504 {
            commits_late: rule.commits_late.unwrap_or_default(),
        },
    }
}
