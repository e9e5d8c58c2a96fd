//! The whole stack through the stored scenarios, shortened: never a wrong effect, never a wrong word.

use tower_sturdy::scenario::{self, LineUpReport, Options, Plan, Sturdy};

fn sturdy(name: &str, seed: u64, replay: bool) -> LineUpReport {
    let scenario = scenario::stored(name).unwrap().with_operations(120);
    let options = Options {
        seed,
        replay,
        latency: None,
    };
    scenario::run(&scenario, options, &Sturdy, &mut |_| ())
        .unwrap()
        .report
}

/// How many seeds to run, from 1 on. Two are enough to notice a break; `STURDY_SEEDS` asks for a campaign.
pub(crate) fn seeds() -> u64 {
    match std::env::var("STURDY_SEEDS") {
        Ok(text) => text
            .parse()
            .expect("STURDY_SEEDS is a whole number, such as 200"),
        Err(_) => 2,
    }
}

#[test]
fn nothing_is_paid_twice_lost_denied_or_left_open_where_every_write_has_a_key_or_a_mark() {
    // In "amnesia" some writes have neither key nor mark, and are parked: it has tests of its own.
    for (name, _) in scenario::STORED {
        if name == "amnesia" {
            continue;
        }
        for seed in 1..=seeds() {
            for replay in [true, false] {
                let report = sturdy(name, seed, replay);
                let again = format!("{name}, seed {seed}, replay {replay}: {report:?}");
                let wrong = report.duplicate_effects
                    + report.paid_twice
                    + report.lost
                    + report.false_rejects
                    + report.wrong_effects
                    + report.forbidden_sends
                    + report.unresolved
                    + report.stale_answers
                    + report.parked_knowable;
                assert_eq!(wrong, 0, "{again}");
                if replay {
                    assert_eq!(report.parked, 0, "{again}");
                }
                let least = if replay { 0.99 } else { 0.95 };
                assert!(report.success_ratio >= least, "{again}");
            }
        }
    }
}

#[test]
fn one_seed_is_one_report() {
    // SQLite works on a thread of its own; virtual time stands still meanwhile, so that even its runs repeat.
    for name in ["pay-bills", "crash-loop"] {
        assert_eq!(sturdy(name, 4, true), sturdy(name, 4, true), "{name}");
    }
}

#[test]
fn while_work_waits_the_tightest_quota_flows_to_98_percent_and_is_never_overrun() {
    let scenario = scenario::stored("throttle-storm").unwrap();
    let options = Options {
        seed: 1,
        replay: true,
        latency: None,
    };
    let run = scenario::run(&scenario, options, &Sturdy, &mut |_| ()).unwrap();
    assert_eq!(run.report.throttled, 0);
    let sends = run.history.sends();
    let begins = sends.first().unwrap().at;
    // The storm lasts from minute 4 to minute 8; a minute in, work waits without a pause.
    let (from, until) = (300, 480);
    for company in 0..scenario.load.companies {
        let realm = Plan::realm(company);
        let within: Vec<_> = sends
            .iter()
            .filter(|send| *send.realm == realm)
            .filter(|send| (from..until).contains(&send.at.since(begins).as_secs()))
            .collect();
        let answer_time: f64 = within
            .iter()
            .filter_map(|send| Some(send.answered?.0.since(send.at).as_secs_f64()))
            .sum::<f64>()
            / within.len() as f64;
        let possible = f64::from(scenario.throttle.per_minute) / (60.0 + answer_time);
        let flowed = within.len() as f64 / (until - from) as f64;
        assert!(
            flowed >= 0.98 * possible,
            "company {company}: {flowed:.3} of {possible:.3} a second"
        );
    }
}
