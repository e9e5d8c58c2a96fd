//! The upstream's own limits, as a client meets them.

use crate::calls::{calm, mock, send};
use std::time::Duration;
use tower_sturdy::mock::{
    Fault, FaultPlan, HangCommit, MockConfig, MockQbo, On, ThrottleConfig, ThrottleShape,
};

fn with(throttle: ThrottleConfig) -> MockQbo {
    mock(MockConfig { throttle, ..calm() })
}

async fn status(qbo: &MockQbo) -> u16 {
    send(qbo, "GET", "bill/1", "")
        .await
        .unwrap()
        .status()
        .as_u16()
}

#[tokio::test(start_paused = true)]
async fn the_eleventh_within_a_second_is_refused_by_default() {
    let qbo = mock(MockConfig::quiet(1));
    let calls: Vec<_> = (0..11).map(|_| send(&qbo, "GET", "bill/1", "")).collect();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [[200; 10].as_slice(), &[429]].concat());
    let history = qbo.history();
    assert_eq!(history.throttled(), 1);
    assert!(history.sends()[10].throttled);
    assert_eq!(history.sends()[10].fault, None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&qbo).await, 200);
}

#[tokio::test(start_paused = true)]
async fn each_shape_says_the_same_in_its_own_way() {
    for (shape, content_type, begins) in [
        (ThrottleShape::GatewayJson, "application/json", "{"),
        (ThrottleShape::UpperJson, "application/json", "{\"Fault\""),
        (ThrottleShape::Xml, "application/xml", "<?xml"),
    ] {
        let retry_after = shape == ThrottleShape::Xml;
        let qbo = with(ThrottleConfig {
            per_minute: Some(1),
            shape,
            retry_after,
            ..ThrottleConfig::none()
        });
        assert_eq!(status(&qbo).await, 200);
        let refused = send(&qbo, "GET", "bill/1", "").await.unwrap();
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()["content-type"], content_type);
        assert_eq!(
            refused
                .headers()
                .get("retry-after")
                .is_some_and(|after| after == "60"),
            retry_after
        );
        let body = std::str::from_utf8(refused.body().bytes()).unwrap();
        assert!(
            body.starts_with(begins) && body.contains("errorCode=003001; statusCode=429"),
            "{body}"
        );
        assert_eq!(
            body.contains("\"fault\""),
            shape == ThrottleShape::GatewayJson
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hung_request_holds_its_place_until_the_server_is_finished_with_it() {
    let qbo = with(ThrottleConfig {
        concurrent: Some(1),
        ..ThrottleConfig::none()
    });
    qbo.set_faults(FaultPlan::always(
        On::Any,
        Fault::Hang {
            commit: HangCommit::Never,
        },
    ));
    drop(send(&qbo, "GET", "bill/1", ""));
    qbo.set_faults(FaultPlan::none());
    tokio::time::sleep(Duration::from_secs(119)).await;
    assert_eq!(status(&qbo).await, 429);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&qbo).await, 200);
}

#[tokio::test(start_paused = true)]
async fn refused_requests_count_unless_told_otherwise() {
    for (count_refused, expected) in [(true, 429), (false, 200)] {
        let qbo = with(ThrottleConfig {
            per_minute: Some(1),
            count_refused,
            ..ThrottleConfig::none()
        });
        assert_eq!(status(&qbo).await, 200);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(status(&qbo).await, 429);
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(status(&qbo).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_of_the_application_spans_its_companies() {
    let companies = ["1", "2"]
        .map(tower_sturdy::mock::CompanyConfig::of)
        .to_vec();
    let throttle = ThrottleConfig {
        app_per_minute: Some(1),
        ..ThrottleConfig::none()
    };
    let qbo = mock(MockConfig {
        companies,
        throttle,
        ..calm()
    });
    assert_eq!(status(&qbo).await, 200);
    let request = http::Request::get("https://host/v3/company/2/bill/1")
        .body(Default::default())
        .unwrap();
    let other = tower::Service::call(&mut qbo.clone(), request)
        .await
        .unwrap();
    assert_eq!(other.status(), 429);
}
