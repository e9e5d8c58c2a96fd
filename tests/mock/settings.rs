//! Settings that cannot be are refused by name.

use crate::calls::calm;
use std::time::Duration;
use tower_sturdy::clock::Clock;
use tower_sturdy::mock::{
    CompanyConfig, Fault, FaultPlan, FaultRule, Latency, MockConfig, MockQbo, On, ThrottleConfig,
};

#[tokio::test(start_paused = true)]
async fn a_setting_that_cannot_be_is_named() {
    let company = |company| MockConfig {
        companies: vec![company],
        ..calm()
    };
    let faults = |plan| MockConfig {
        faults: plan,
        ..calm()
    };
    let backwards = FaultRule {
        when: Some((Duration::from_secs(2), Duration::from_secs(1))),
        realm: None,
        on: On::Any,
        probability: 0.5,
        fault: Fault::Error500,
    };
    for (config, field) in [
        (
            MockConfig {
                companies: Vec::new(),
                ..calm()
            },
            "companies",
        ),
        (
            MockConfig {
                companies: vec![CompanyConfig::of("1"); 2],
                ..calm()
            },
            "companies[1].realm",
        ),
        (company(CompanyConfig::of("")), "companies[0].realm"),
        (company(CompanyConfig::of("a/b")), "companies[0].realm"),
        (
            company(CompanyConfig {
                vendors: 0,
                ..CompanyConfig::default()
            }),
            "companies[0].vendors",
        ),
        (
            company(CompanyConfig {
                customers: 0,
                ..CompanyConfig::default()
            }),
            "companies[0].customers",
        ),
        (
            company(CompanyConfig {
                bill_amount_cents: (5, 4),
                ..CompanyConfig::default()
            }),
            "companies[0].bill_amount_cents",
        ),
        (
            faults(FaultPlan::none().and(On::Any, 1.5, Fault::Error500)),
            "faults.rules[0].probability",
        ),
        (
            faults(FaultPlan::none().and(On::Any, f64::NAN, Fault::Error500)),
            "faults.rules[0].probability",
        ),
        (
            faults(FaultPlan {
                rules: vec![backwards],
            }),
            "faults.rules[0].when",
        ),
        (
            faults(FaultPlan::always(
                On::Any,
                Fault::Delay(Duration::from_secs(120)),
            )),
            "faults.rules[0].fault",
        ),
        (
            MockConfig {
                server_timeout: Duration::ZERO,
                ..calm()
            },
            "server_timeout",
        ),
        (
            MockConfig {
                latency: Latency::Fixed(Duration::from_secs(120)),
                ..calm()
            },
            "latency",
        ),
        (
            MockConfig {
                throttle: ThrottleConfig {
                    per_second: Some(0),
                    ..ThrottleConfig::none()
                },
                ..calm()
            },
            "throttle.per_second",
        ),
    ] {
        let refused = MockQbo::new(config, Clock::system()).unwrap_err();
        assert_eq!(refused.field, field);
        assert!(!refused.why.is_empty());
    }
}
