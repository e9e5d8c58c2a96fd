//! One company of the mock, and a stack in front of it, on one clock.

use http::{Request, Response};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;
use tower_sturdy::Error;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::context::{Context, OperationKey};
use tower_sturdy::journal::{Journal, MemoryJournal};
use tower_sturdy::mock::{MockConfig, MockQbo, bodies};
use tower_sturdy::payload::Payload;
use tower_sturdy::qbo::Qbo;
use tower_sturdy::random::Random;
use tower_sturdy::stack::{Stack, StackBuilder};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// The company's address.
pub(crate) const COMPANY: &str = "https://quickbooks.api.intuit.com/v3/company/1";

pub(crate) struct Rig {
    pub(crate) clock: Clock,
    pub(crate) mock: MockQbo,
    pub(crate) journal: Arc<MemoryJournal>,
}

impl Rig {
    /// Every answer takes 100 ms, nothing goes wrong, and the limits are Intuit's.
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut MockConfig)) -> Self {
        let clock = Clock::anchored(Timestamp::from_millis(1_793_638_800_000));
        let mut config = MockConfig::quiet(7);
        change(&mut config);
        Self {
            clock,
            mock: MockQbo::new(config, clock).unwrap(),
            journal: Arc::new(MemoryJournal::new()),
        }
    }

    /// The preset over the mock, on the rig's journal and clock; nothing is read back, so that every send is a caller's.
    pub(crate) fn builder(&self) -> StackBuilder<MockQbo> {
        self.preset(Qbo {
            verify_after: None,
            ..Qbo::default()
        })
    }

    pub(crate) fn preset(&self, preset: Qbo) -> StackBuilder<MockQbo> {
        let journal = Arc::clone(&self.journal) as Arc<dyn Journal>;
        let builder = preset.stack(self.mock.clone()).unwrap();
        builder
            .journal(journal)
            .clock(self.clock)
            .random(Random::seeded(7))
    }

    pub(crate) fn stack(&self) -> Stack {
        self.builder().build().unwrap()
    }

    /// How many requests arrived.
    pub(crate) fn sends(&self) -> usize {
        self.mock.history().sends().len()
    }

    /// Pays one bill of the company in full; the key is planted as the mock's marker too.
    pub(crate) fn pay(&self, bill: u32, key: &str) -> Request<Payload> {
        let context = Context::new().with_key(OperationKey::new(key).unwrap());
        let mut request = self.pay_without_key(bill, key);
        request.extensions_mut().insert(context);
        request
    }

    pub(crate) fn pay_without_key(&self, bill: u32, marker: &str) -> Request<Payload> {
        let id = bill.to_string();
        let entity = self.mock.entity("1", "Bill", &id).unwrap();
        let vendor = entity["VendorRef"]["value"].as_str().unwrap();
        #[allow(clippy::cast_possible_truncation, reason = "some thousand cents")]
        let cents = (entity["TotalAmt"].as_f64().unwrap() * 100.0).round() as i64;
        let body = bodies::bill_payment(vendor, &id, cents, &format!("op={marker}"));
        Request::post(format!("{COMPANY}/billpayment?minorversion=75"))
            .header("content-type", "application/json")
            .body(Payload::from(body.to_string()))
            .unwrap()
    }
}

/// Reads one bill.
pub(crate) fn read(bill: u32) -> Request<Payload> {
    Request::get(format!("{COMPANY}/bill/{bill}?minorversion=75"))
        .header("accept", "application/json")
        .body(Payload::empty())
        .unwrap()
}

pub(crate) async fn ask(
    stack: &Stack,
    request: Request<Payload>,
) -> Result<Response<Payload>, Error> {
    stack.clone().oneshot(request).await
}

/// What a read says is open of its bill.
pub(crate) async fn balance(stack: &Stack, bill: u32) -> f64 {
    let answer = ask(stack, read(bill)).await.unwrap();
    let body: Value = serde_json::from_slice(answer.body().bytes()).unwrap();
    body["Bill"]["Balance"].as_f64().unwrap()
}
