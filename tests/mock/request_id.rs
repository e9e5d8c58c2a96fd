//! What `requestid` promises, and what it does not.

use crate::calls::{calm, code, mock, post, read, send};
use std::time::Duration;
use tower_sturdy::mock::{
    Concurrent, Fault, FaultPlan, HangCommit, MockConfig, MockQbo, On, RequestIdConfig, bodies,
};

fn pay() -> String {
    bodies::bill_payment("1", "1", 500, "op=a").to_string()
}

fn with(request_id: RequestIdConfig) -> MockQbo {
    mock(MockConfig {
        request_id,
        ..calm()
    })
}

fn twice_at_once(qbo: &MockQbo) -> [tower_sturdy::mock::Answer; 2] {
    [(), ()].map(|()| send(qbo, "POST", "billpayment?requestid=r", &pay()))
}

fn effects(qbo: &MockQbo) -> usize {
    qbo.history().effects_of("a").len()
}

#[tokio::test(start_paused = true)]
async fn a_repeat_gets_the_same_bytes_and_no_second_effect() {
    let qbo = mock(calm());
    let first = send(
        &qbo,
        "POST",
        "billpayment?requestid=r&minorversion=75",
        &pay(),
    )
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let other = bodies::bill_payment("1", "2", 1, "op=b").to_string();
    for body in [&pay(), &other] {
        let again = send(&qbo, "POST", "billpayment?requestid=r", body)
            .await
            .unwrap();
        assert_eq!(again.body().bytes(), first.body().bytes());
        assert_eq!(again.status(), first.status());
        assert_ne!(again.headers()["intuit_tid"], first.headers()["intuit_tid"]);
    }
    assert_eq!(effects(&qbo), 1);
    let history = qbo.history();
    let replayed: Vec<_> = history.sends().iter().map(|sent| sent.replayed).collect();
    assert_eq!(replayed, [false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_forgotten_its_retention_after_the_commit() {
    let hour = RequestIdConfig::default().retention;
    let qbo = mock(calm());
    read(send(&qbo, "POST", "billpayment?requestid=r", &pay()).await);
    // Committed after 40 of the 100 ms that have passed.
    tokio::time::sleep(hour - Duration::from_millis(61)).await;
    read(send(&qbo, "POST", "billpayment?requestid=r", &pay()).await);
    assert_eq!(effects(&qbo), 1);
    read(send(&qbo, "POST", "billpayment?requestid=r", &pay()).await);
    assert_eq!(effects(&qbo), 2);
}

#[tokio::test(start_paused = true)]
async fn an_id_belongs_to_one_company() {
    let companies = ["1", "2"]
        .map(tower_sturdy::mock::CompanyConfig::of)
        .to_vec();
    let qbo = mock(MockConfig {
        companies,
        ..calm()
    });
    read(send(&qbo, "POST", "billpayment?requestid=r", &pay()).await);
    let uri = "https://host/v3/company/2/billpayment?requestid=r";
    let request = http::Request::post(uri).body(pay().into()).unwrap();
    read(tower::Service::call(&mut qbo.clone(), request).await);
    let history = qbo.history();
    let realms: Vec<_> = history
        .effects()
        .iter()
        .map(|effect| &*effect.realm)
        .collect();
    assert_eq!(realms, ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn by_default_two_at_once_are_both_carried_out() {
    let qbo = mock(calm());
    let [one, other] = twice_at_once(&qbo);
    let (one, other) = (read(one.await), read(other.await));
    assert_ne!(one.1["BillPayment"]["Id"], other.1["BillPayment"]["Id"]);
    assert_eq!(effects(&qbo), 2);
    let third = read(send(&qbo, "POST", "billpayment?requestid=r", &pay()).await);
    assert_eq!(third.1, one.1, "the original answer stays");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_that_overlaps_the_answer_is_carried_out_even_after_the_commit() {
    let qbo = mock(calm());
    let first = send(&qbo, "POST", "billpayment?requestid=r", &pay());
    tokio::time::sleep(Duration::from_millis(90)).await;
    assert_eq!(effects(&qbo), 1);
    read(send(&qbo, "POST", "billpayment?requestid=r", &pay()).await);
    read(first.await);
    assert_eq!(effects(&qbo), 2);
}

#[tokio::test(start_paused = true)]
async fn with_run_one_the_second_waits_for_the_first_and_gets_its_answer() {
    let qbo = with(RequestIdConfig {
        concurrent: Concurrent::RunOne,
        ..RequestIdConfig::default()
    });
    let [one, other] = twice_at_once(&qbo);
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    assert_eq!(one.body().bytes(), other.body().bytes());
    assert_eq!(effects(&qbo), 1);
}

#[tokio::test(start_paused = true)]
async fn with_run_one_the_second_runs_when_the_first_came_to_nothing() {
    let qbo = with(RequestIdConfig {
        concurrent: Concurrent::RunOne,
        ..RequestIdConfig::default()
    });
    qbo.set_faults(FaultPlan::always(On::Writes, Fault::Error500));
    let first = send(&qbo, "POST", "billpayment?requestid=r", &pay());
    qbo.set_faults(FaultPlan::none());
    let second = send(&qbo, "POST", "billpayment?requestid=r", &pay());
    assert_eq!(first.await.unwrap().status(), 500);
    assert_eq!(second.await.unwrap().status(), 200);
    assert_eq!(effects(&qbo), 1);
}

#[tokio::test(start_paused = true)]
async fn with_refuse_the_second_at_once_gets_600() {
    let qbo = with(RequestIdConfig {
        concurrent: Concurrent::Refuse,
        ..RequestIdConfig::default()
    });
    let [one, other] = twice_at_once(&qbo);
    assert_eq!(code(&read(other.await)), "600");
    let one = read(one.await);
    let third = read(send(&qbo, "POST", "billpayment?requestid=r", &pay()).await);
    assert_eq!(third.1, one.1);
    assert_eq!(effects(&qbo), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ignored_id_protects_from_nothing() {
    let qbo = with(RequestIdConfig {
        honoured: false,
        ..RequestIdConfig::default()
    });
    for _ in 0..2 {
        read(send(&qbo, "POST", "billpayment?requestid=r", &pay()).await);
    }
    assert_eq!(effects(&qbo), 2);
}

#[tokio::test(start_paused = true)]
async fn a_business_refusal_is_repeated_unless_told_otherwise() {
    for replay_failures in [true, false] {
        let qbo = with(RequestIdConfig {
            replay_failures,
            ..RequestIdConfig::default()
        });
        let name = bodies::vendor("Ann");
        let wrong = bodies::vendor("Vendor 1").to_string();
        assert_eq!(
            code(&read(
                send(&qbo, "POST", "vendor?requestid=r", &wrong).await
            )),
            "6240"
        );
        let again = read(send(&qbo, "POST", "vendor?requestid=r", &name.to_string()).await);
        assert_eq!(code(&again) == "6240", replay_failures);
        assert_eq!(qbo.history().sends()[1].replayed, replay_failures);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_said_is_never_repeated() {
    for fault in [
        Fault::Throttle429,
        Fault::Unauthorized401,
        Fault::Refuse503Gateway,
        Fault::Error500,
        Fault::Fault200,
    ] {
        let qbo = mock(calm());
        qbo.set_faults(FaultPlan::always(On::Any, fault));
        let first = send(&qbo, "POST", "billpayment?requestid=r", &pay())
            .await
            .unwrap();
        qbo.set_faults(FaultPlan::none());
        let again = send(&qbo, "POST", "billpayment?requestid=r", &pay())
            .await
            .unwrap();
        assert_ne!(first.body().bytes(), again.body().bytes());
        assert_eq!(
            (again.status().as_u16(), effects(&qbo)),
            (200, 1),
            "{fault:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_after_a_commit_with_a_bad_answer_gets_the_good_one() {
    for fault in [
        Fault::LostAnswer,
        Fault::CutBody,
        Fault::Malformed,
        Fault::Error500AfterCommit,
        Fault::Html503AfterCommit,
    ] {
        let qbo = mock(calm());
        qbo.set_faults(FaultPlan::always(On::Any, fault));
        let _ = send(&qbo, "POST", "billpayment?requestid=r", &pay()).await;
        qbo.set_faults(FaultPlan::none());
        let again = read(send(&qbo, "POST", "billpayment?requestid=r", &pay()).await);
        assert_eq!(again.1["BillPayment"]["PrivateNote"], "op=a", "{fault:?}");
        assert_eq!(effects(&qbo), 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_error_is_repeated_where_that_is_the_setting() {
    let qbo = with(RequestIdConfig {
        replay_server_errors: true,
        ..RequestIdConfig::default()
    });
    qbo.set_faults(FaultPlan::always(On::Any, Fault::Error500AfterCommit));
    let first = send(&qbo, "POST", "billpayment?requestid=r", &pay())
        .await
        .unwrap();
    qbo.set_faults(FaultPlan::none());
    let again = send(&qbo, "POST", "billpayment?requestid=r", &pay())
        .await
        .unwrap();
    assert_eq!(again.status(), 500);
    assert_eq!(first.body().bytes(), again.body().bytes());
    assert_eq!(effects(&qbo), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_beside_a_late_effect_is_carried_out_too() {
    let qbo = mock(calm());
    qbo.set_faults(FaultPlan::always(
        On::Any,
        Fault::Hang {
            commit: HangCommit::Late,
        },
    ));
    drop(send(&qbo, "POST", "billpayment?requestid=r", &pay()));
    qbo.set_faults(FaultPlan::none());
    read(send(&qbo, "POST", "billpayment?requestid=r", &pay()).await);
    tokio::time::sleep(Duration::from_secs(121)).await;
    assert_eq!(effects(&qbo), 2);
}

#[tokio::test(start_paused = true)]
async fn an_id_of_more_than_fifty_characters_is_refused() {
    let qbo = mock(calm());
    let body = bodies::bill_payment("1", "1", 500, "");
    let target = |length: usize| format!("billpayment?requestid={}", "r".repeat(length));
    assert_eq!(code(&post(&qbo, &target(51), &body).await), "2130");
    assert_eq!(code(&post(&qbo, &target(50), &body).await), "none");
    assert_eq!(qbo.history().effects().len(), 1);
}
