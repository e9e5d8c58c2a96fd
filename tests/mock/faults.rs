//! What goes wrong: what the client sees, and what is true.

use crate::calls::{balance, calm, code, mock, post, read, send};
use http::StatusCode;
use std::time::Duration;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::mock::{
    Fault, FaultPlan, FaultRule, HangCommit, Latency, MockConfig, MockError, MockQbo, On, bodies,
};

fn pay() -> String {
    bodies::bill_payment("1", "1", 500, "op=a").to_string()
}

fn with(fault: Fault) -> MockQbo {
    mock(MockConfig {
        faults: FaultPlan::always(On::Any, fault),
        ..calm()
    })
}

#[tokio::test(start_paused = true)]
async fn each_fault_answers_as_it_says_and_commits_as_it_says() {
    let json = "application/json";
    for (fault, status, content_type, text, effects) in [
        (Fault::Refuse503Gateway, 503, json, "\"fault\"", 0),
        (Fault::Refuse503Html, 503, "text/html", "<html>", 0),
        (Fault::Html503AfterCommit, 503, "text/html", "<html>", 1),
        (Fault::Throttle429, 429, json, "errorCode=003001", 0),
        (Fault::Unauthorized401, 401, json, "errorCode=003200", 0),
        (Fault::Error500, 500, json, "\"10000\"", 0),
        (Fault::Error500AfterCommit, 500, json, "\"10000\"", 1),
        (Fault::Fault200, 200, json, "SystemFault", 0),
        (Fault::Malformed, 200, json, "{\"BillPayment\":", 1),
        (
            Fault::StreamTimeout504 {
                commits_late: false,
            },
            504,
            "text/plain",
            "stream timeout",
            0,
        ),
        (
            Fault::StreamTimeout504 { commits_late: true },
            504,
            "text/plain",
            "stream timeout",
            1,
        ),
    ] {
        let qbo = with(fault);
        let answer = send(&qbo, "POST", "billpayment", &pay()).await.unwrap();
        assert_eq!(answer.status(), status, "{fault:?}");
        assert_eq!(answer.headers()["content-type"], content_type, "{fault:?}");
        assert!(answer.headers().contains_key("intuit_tid"), "{fault:?}");
        assert_eq!(
            answer.headers().contains_key("www-authenticate"),
            status == 401,
            "{fault:?}"
        );
        let body = String::from_utf8(answer.body().bytes().to_vec()).unwrap();
        assert!(body.contains(text), "{fault:?}: {body}");
        tokio::time::sleep(Duration::from_secs(120)).await;
        let history = qbo.history();
        assert_eq!(history.effects_of("a").len(), effects, "{fault:?}");
        let sent = &history.sends()[0];
        assert_eq!(sent.fault, Some(fault.as_str()));
        assert!(
            sent.done.is_some() && !sent.answer_lost && !sent.throttled,
            "{fault:?}"
        );
        assert_eq!(sent.answered.unwrap().1, status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_answer_is_no_json() {
    let answer = send(&with(Fault::Malformed), "POST", "billpayment", &pay())
        .await
        .unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(answer.body().bytes()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_says_nothing_about_the_effect() {
    for (fault, error, effects, answered) in [
        (Fault::ResetBefore, MockError::Reset, 0, None),
        (Fault::LostAnswer, MockError::Reset, 1, Some(200)),
        (Fault::CutBody, MockError::BodyCut, 1, Some(200)),
    ] {
        let qbo = with(fault);
        assert_eq!(
            send(&qbo, "POST", "billpayment", &pay()).await.unwrap_err(),
            error
        );
        let history = qbo.history();
        assert_eq!(history.effects_of("a").len(), effects, "{fault:?}");
        let sent = &history.sends()[0];
        assert_eq!(
            sent.answered.map(|(_, status)| status),
            answered,
            "{fault:?}"
        );
        assert!(sent.answer_lost);
    }
}

#[tokio::test(start_paused = true)]
async fn the_effect_of_a_dropped_call_still_lands() {
    let qbo = mock(calm());
    let open = balance(&qbo, "Bill", "1");
    drop(send(&qbo, "POST", "billpayment", &pay()));
    assert_eq!(balance(&qbo, "Bill", "1"), open);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(balance(&qbo, "Bill", "1"), open - 500);
    assert!(qbo.history().sends()[0].answer_lost);
}

#[tokio::test(start_paused = true)]
async fn a_hang_ends_with_the_server_and_commits_as_it_was_told() {
    for (commit, effects) in [
        (HangCommit::Never, 0),
        (HangCommit::Soon, 1),
        (HangCommit::Late, 1),
    ] {
        let qbo = with(Fault::Hang { commit });
        assert_eq!(
            send(&qbo, "POST", "billpayment", &pay()).await.unwrap_err(),
            MockError::Reset
        );
        let history = qbo.history();
        let sent = &history.sends()[0];
        assert_eq!(history.effects().len(), effects, "{commit:?}");
        assert_eq!(sent.answered, None);
        let gave_up = sent.at.plus(Duration::from_secs(120));
        let done = sent.done.unwrap();
        match commit {
            HangCommit::Soon => assert_eq!(done.since(sent.at), Duration::from_millis(100)),
            HangCommit::Late => assert_eq!(done, history.effects()[0].at),
            _ => assert_eq!(done, gave_up),
        }
        assert!(done <= gave_up);
    }
}

#[tokio::test(start_paused = true)]
async fn late_effects_land_anywhere_within_the_server_timeout() {
    let qbo = with(Fault::Hang {
        commit: HangCommit::Late,
    });
    let body = bodies::bill("1", 100, "").to_string();
    let calls: Vec<_> = (0..200)
        .map(|_| send(&qbo, "POST", "bill", &body))
        .collect();
    drop(calls);
    tokio::time::sleep(Duration::from_secs(121)).await;
    let history = qbo.history();
    let start = history.sends()[0].at;
    let landed: Vec<_> = history
        .effects()
        .iter()
        .map(|effect| effect.at.since(start).as_secs())
        .collect();
    assert_eq!(landed.len(), 200);
    assert!(landed.iter().any(|at| *at < 20) && landed.iter().any(|at| *at > 100));
    assert!(landed.iter().all(|at| *at <= 120));
}

#[tokio::test(start_paused = true)]
async fn by_default_a_hang_commits_or_not_by_the_seed() {
    let qbo = with(Fault::Hang {
        commit: HangCommit::default(),
    });
    let body = bodies::bill("1", 100, "").to_string();
    drop(
        (0..60)
            .map(|_| send(&qbo, "POST", "bill", &body))
            .collect::<Vec<_>>(),
    );
    tokio::time::sleep(Duration::from_secs(121)).await;
    let landed = qbo.history().effects().len();
    assert!((20..=55).contains(&landed), "{landed}");
}

#[tokio::test(start_paused = true)]
async fn a_delay_makes_it_slower_and_nothing_else() {
    let qbo = with(Fault::Delay(Duration::from_secs(9)));
    assert_eq!(
        read(send(&qbo, "POST", "billpayment", &pay()).await).0,
        StatusCode::OK
    );
    let history = qbo.history();
    let sent = &history.sends()[0];
    assert_eq!(
        sent.done.unwrap().since(sent.at),
        Duration::from_millis(9_100)
    );
    // 40 % of it lies before the commit.
    assert_eq!(
        history.effects()[0].at.since(sent.at),
        Duration::from_millis(3_640)
    );
}

#[tokio::test(start_paused = true)]
async fn a_rule_applies_to_its_requests_in_its_time_alone() {
    let rule = FaultRule {
        when: Some((Duration::from_secs(10), Duration::from_secs(20))),
        realm: Some("1".to_owned()),
        on: On::Entity("BillPayment".to_owned()),
        probability: 1.0,
        fault: Fault::Error500,
    };
    let qbo = mock(MockConfig {
        faults: FaultPlan { rules: vec![rule] },
        ..calm()
    });
    let status = async |target: &str, body: &str| {
        send(&qbo, "POST", target, body)
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(status("billpayment", &pay()).await, 200);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(status("billpayment", &pay()).await, 500);
    assert_eq!(status("query", "select * from BillPayment").await, 500);
    assert_eq!(
        status("bill", &bodies::bill("1", 100, "").to_string()).await,
        200
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(status("billpayment", &pay()).await, 200);
    qbo.set_faults(FaultPlan::always(On::Reads, Fault::Refuse503Gateway));
    assert_eq!(status("billpayment", &pay()).await, 200);
    assert_eq!(send(&qbo, "GET", "bill/1", "").await.unwrap().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_company_is_refused_at_the_door() {
    let qbo = mock(calm());
    let request = http::Request::get("https://host/v3/company/77/bill/1")
        .body(Default::default())
        .unwrap();
    let answer = tower::Service::call(&mut qbo.clone(), request)
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(
        String::from_utf8_lossy(answer.body().bytes()).contains("ApplicationAuthorizationFailed")
    );
}

/// Sixty requests in three waves, with much going wrong.
async fn story(seed: u64) -> MockQbo {
    let plan = FaultPlan::none()
        .and(On::Writes, 0.2, Fault::LostAnswer)
        .and(
            On::Writes,
            0.2,
            Fault::Hang {
                commit: HangCommit::Seeded,
            },
        )
        .and(On::Any, 0.2, Fault::Refuse503Gateway);
    let qbo = mock(MockConfig {
        seed,
        faults: plan,
        latency: Latency::Recorded,
        ..MockConfig::default()
    });
    for wave in 0..3 {
        let calls: Vec<_> = (0..20)
            .map(|n| {
                let body = bodies::bill_payment("1", "1", 1 + n, &format!("op={wave}-{n}"));
                send(&qbo, "POST", "billpayment", &body.to_string())
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(calls);
    }
    tokio::time::sleep(Duration::from_secs(121)).await;
    qbo
}

#[test]
fn the_same_seed_gives_the_same_history_and_another_seed_another() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(story(seed)).history()
    };
    let (one, same, other) = (run(3), run(3), run(4));
    assert_eq!(one.sends(), same.sends());
    assert_eq!(one.effects(), same.effects());
    assert_ne!(one.sends(), other.sends());
    assert!(one.sends().iter().all(|sent| sent.done.is_some()));
    assert!(one.throttled() > 0, "twenty at once are too many");
    assert_eq!(
        one.sends()[0].at,
        Timestamp::from_millis(crate::calls::START)
    );
}

#[tokio::test(start_paused = true)]
async fn a_marker_never_changes_what_happens() {
    let qbo = mock(calm());
    let first = post(
        &qbo,
        "billpayment",
        &bodies::bill_payment("1", "1", 5, "op=a"),
    )
    .await;
    let second = post(
        &qbo,
        "billpayment",
        &bodies::bill_payment("1", "1", 5, "op=a"),
    )
    .await;
    assert_eq!((code(&first), code(&second)), ("none", "none"));
    let history = qbo.history();
    assert_eq!(
        (history.effects_of("a").len(), history.sends_of("a").len()),
        (2, 2)
    );
    assert!(history.effects_of("b").is_empty());
}
