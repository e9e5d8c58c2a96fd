//! Facts about `collect`.

use super::house::{millis, seconds};
use super::probe::Probe;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sturdy::BoxError;
use tower_sturdy::attempt::{AttemptConfig, AttemptLayer};
use tower_sturdy::collect::headers::Told;
use tower_sturdy::collect::{EdgeLayer, WholeLayer};
use tower_sturdy::error::{Error, Kind, NotSent};
use tower_sturdy::outcome::{Outcome, Verdict};
use tower_sturdy::payload::{Payload, ServedFrom};

enum Part {
    Data(&'static str),
    Trailers,
    Breaks(BoxError),
    Waits(Duration),
}

/// A body that comes in parts, and says nothing of its size.
struct Parts {
    parts: VecDeque<Part>,
    waiting: Option<Pin<Box<tokio::time::Sleep>>>,
}

fn parts(parts: impl IntoIterator<Item = Part>) -> Parts {
    Parts {
        parts: parts.into_iter().collect(),
        waiting: None,
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                std::task::ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            return Poll::Ready(match self.parts.pop_front() {
                None => None,
                Some(Part::Data(data)) => {
                    Some(Ok(Frame::data(Bytes::from_static(data.as_bytes()))))
                }
                Some(Part::Trailers) => Some(Ok(Frame::trailers(http::HeaderMap::new()))),
                Some(Part::Breaks(error)) => Some(Err(error)),
                Some(Part::Waits(wait)) => {
                    self.waiting = Some(Box::pin(tokio::time::sleep(wait)));
                    continue;
                }
            });
        }
    }
}

fn post<B>(body: B) -> Request<B> {
    Request::post("http://upstream/pay").body(body).unwrap()
}

/// Answers with the body it was sent.
fn echo() -> Probe {
    Probe::new(|request| async move { Ok(Response::new(request.into_body())) }).0
}

async fn answered(answer: Parts, limit: usize) -> Result<Response<Payload>, Error> {
    let answer = std::sync::Mutex::new(Some(answer));
    let transport = service_fn(move |_: Request<Payload>| {
        let answer = answer.lock().unwrap().take().unwrap();
        async move { Ok::<_, BoxError>(Response::new(answer)) }
    });
    let service = WholeLayer::new(limit).unwrap().layer(transport);
    service.oneshot(post(Payload::empty())).await
}

#[tokio::test(start_paused = true)]
async fn bodies_in_many_frames_come_whole_on_both_sides() {
    let many = || {
        parts([
            Part::Data("pa"),
            Part::Data(""),
            Part::Waits(seconds(1)),
            Part::Data("id"),
            Part::Trailers,
        ])
    };
    let edge = EdgeLayer::new(4).unwrap().layer(echo());
    assert_eq!(
        edge.oneshot(post(many())).await.unwrap().body().bytes(),
        "paid"
    );
    assert_eq!(answered(many(), 4).await.unwrap().body().bytes(), "paid");
    assert_eq!(answered(parts([]), 4).await.unwrap().body().bytes(), "");
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_refused_on_both_sides_and_told_apart() {
    let long = || parts([Part::Data("pai"), Part::Data("d")]);
    let edge = EdgeLayer::new(3).unwrap().layer(echo());
    let request = edge.oneshot(post(long())).await.unwrap_err();
    assert_eq!(
        (request.kind(), request.outcome()),
        (Kind::TooLarge, Outcome::Unsent)
    );
    // The answer to a write was there, only too long: it may well have worked.
    let answer = answered(long(), 3).await.unwrap_err();
    assert_eq!(
        (answer.kind(), answer.outcome()),
        (Kind::TooLarge, Outcome::Unknown)
    );
    // A body that says how long it is, is not read at all.
    let said = http_body_util::Full::new(Bytes::from_static(b"paid"));
    let edge = EdgeLayer::new(3).unwrap().layer(echo());
    assert_eq!(
        edge.oneshot(post(said)).await.unwrap_err().kind(),
        Kind::TooLarge
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_after_a_good_head_is_open_doubt() {
    let breaks: [fn() -> BoxError; 2] = [
        || "reset".into(),
        // Whatever the body's error says of itself, a head came: so the request had been sent.
        || Box::new(NotSent("a confused transport".into())),
    ];
    for error in breaks {
        let transport = service_fn(move |_: Request<Payload>| async move {
            let body = parts([Part::Data("pa"), Part::Breaks(error())]);
            Ok::<_, BoxError>(Response::new(body))
        });
        let whole = WholeLayer::new(100).unwrap().layer(transport);
        let broken = whole
            .clone()
            .oneshot(post(Payload::empty()))
            .await
            .unwrap_err();
        assert_eq!(
            (broken.kind(), broken.verdict()),
            (Kind::Upstream, Verdict::OPEN)
        );
        // And stays that when the gate above judges it.
        let gate = AttemptLayer::new(AttemptConfig::default())
            .unwrap()
            .layer(whole);
        let judged = gate.oneshot(post(Payload::empty())).await.unwrap_err();
        assert_eq!(judged.verdict(), Verdict::OPEN);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_breaks_was_never_sent() {
    let (probe, counts) = Probe::ok();
    let edge = EdgeLayer::new(100).unwrap().layer(probe);
    let body = parts([Part::Data("pa"), Part::Breaks("the caller hung up".into())]);
    let error = edge.oneshot(post(body)).await.unwrap_err();
    assert_eq!((error.outcome(), counts.calls()), (Outcome::Unsent, 0));
}

#[tokio::test(start_paused = true)]
async fn no_place_below_is_held_while_a_caller_sends_its_body() {
    let (probe, counts) = Probe::ok();
    let mut edge = EdgeLayer::new(100).unwrap().layer(probe);
    let slow = parts([Part::Data("pa"), Part::Waits(seconds(60)), Part::Data("id")]);
    let ready = ServiceExt::<Request<Parts>>::ready(&mut edge)
        .await
        .unwrap();
    let call = ready.call(post(slow));
    let call = tokio::spawn(call);
    tokio::time::sleep(millis(10)).await;
    drop(edge);
    assert_eq!((counts.calls(), counts.readied()), (0, 0));
    call.await.unwrap().unwrap();
    assert_eq!((counts.calls(), counts.readied()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_there_goes_by_the_readied_service() {
    let (probe, counts) = Probe::ok();
    let mut edge = EdgeLayer::new(100).unwrap().layer(probe);
    counts.close();
    let waits = tokio_test::task::spawn(ServiceExt::<Request<Payload>>::ready(&mut edge))
        .poll()
        .is_pending();
    assert!(waits);
    counts.reopen();
    for _ in 0..3 {
        let ready = ServiceExt::<Request<Payload>>::ready(&mut edge)
            .await
            .unwrap();
        let call = ready.call(post(Payload::from("{}")));
        // Whether another one could be readied now does not matter to it.
        counts.close();
        call.await.unwrap();
        counts.reopen();
    }
    assert_eq!((counts.calls(), counts.readied()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn where_an_answer_came_from_is_told_in_headers_and_in_an_extension() {
    let age = Duration::from_millis(61_500);
    for (served_from, headers) in [
        (ServedFrom::Upstream, [None, None, None]),
        (ServedFrom::Replay { age }, [Some("61"), None, Some("true")]),
        (
            ServedFrom::FreshCache { age },
            [Some("61"), Some("tower-sturdy; hit"), None],
        ),
        (
            ServedFrom::StaleCache { age },
            [
                Some("61"),
                Some("tower-sturdy; hit; fwd=stale; detail=stale-if-error"),
                None,
            ],
        ),
    ] {
        let (probe, _) = Probe::new(move |_| async move {
            let payload = Payload::from("x")
                .with_served_from(served_from)
                .with_verdict(Verdict::APPLIED);
            Ok(Response::new(payload))
        });
        let edge = EdgeLayer::new(100).unwrap().layer(probe);
        let answer = edge.oneshot(post(Payload::empty())).await.unwrap();
        let told = answer.extensions().get::<Told>().unwrap();
        assert_eq!(
            (told.served_from, told.verdict),
            (served_from, Some(Verdict::APPLIED))
        );
        let got = ["age", "cache-status", "idempotent-replayed"].map(|name| {
            answer
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        });
        assert_eq!(got, headers, "{served_from:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_nothing_is_refused_with_the_fix() {
    let edge = EdgeLayer::new(0).unwrap_err().to_string();
    assert!(
        edge.contains("collect.request_limit") && edge.contains("1 MiB"),
        "{edge}"
    );
    let whole = WholeLayer::new(0).unwrap_err().to_string();
    assert!(whole.contains("collect.answer_limit"), "{whole}");
}
