//! What QBO offers against doing a write twice, per route.

use super::entity::{Entity, EntityKind};
use super::mark::is_markable;
use super::route::{Operation, QboRoute};
use crate::error::InvalidConfig;
use crate::journal::{Capability, Concurrent};
use crate::payload::Payload;
use http::Request;
use std::time::Duration;

/// Which guard to rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QboWrites {
    /// Whether `requestid` is relied on. That a sequential repeat is replayed is documented and was seen (facts 2, A).
    /// Without it, creates that can carry a mark are looked up, and all other writes leave at most once.
    pub keyed: bool,
    /// For how long after the first possible byte the same `requestid` is relied on. QBO publishes no retention (facts
    /// 2, D): the default of an hour is a choice; lower it if you measured less.
    pub horizon: Duration,
    /// Whether creates carry a mark in their `PrivateNote` even when they are keyed, so that doubt can be settled by a
    /// look-up before the settle window is over. Without a key the mark is what settles doubt, and is always planted.
    pub mark: bool,
}

impl Default for QboWrites {
    fn default() -> Self {
        Self {
            keyed: true,
            horizon: Duration::from_secs(3600),
            mark: false,
        }
    }
}

impl QboWrites {
    /// # Errors
    /// [`InvalidConfig`] when no resend could ever fall within the horizon.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        if self.keyed && self.horizon.is_zero() {
            return Err(InvalidConfig::new(
                "horizon",
                "is 0: no resend would ever be allowed; set a time, or `keyed = false`",
            ));
        }
        Ok(())
    }

    /// What is offered for this request.
    #[must_use]
    pub fn capability(&self, request: &Request<Payload>) -> Capability {
        let route = QboRoute::of(request);
        if route.realm.is_empty() {
            return Capability::None;
        }
        self.of(route.operation, route.entity)
    }

    /// What is offered for this operation on this entity.
    ///
    /// Name lists are not declared keyed: `requestid` is said not to work for them (facts 2, C), and a duplicate is
    /// refused by 6240. E-mails, uploads, batches of writes and whatever is not known leave at most once.
    #[must_use]
    pub fn of(&self, operation: Operation, entity: Entity) -> Capability {
        let on_transaction = entity.kind() == EntityKind::Transaction;
        match operation {
            Operation::Create | Operation::Update | Operation::Delete | Operation::Void
                if self.keyed && on_transaction =>
            {
                Capability::Keyed {
                    horizon: self.horizon,
                    // What two requests under one id do at the same time is not known (facts 2, D).
                    concurrent: Concurrent::Unproven,
                }
            }
            Operation::Create if is_markable(entity) => Capability::Lookup,
            _ => Capability::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYED: Capability = Capability::Keyed {
        horizon: Duration::from_secs(3600),
        concurrent: Concurrent::Unproven,
    };

    fn capability(keyed: bool, path: &str, body: &'static str) -> Capability {
        let request = Request::post(format!("https://h/v3/company/1{path}"))
            .body(Payload::from(body))
            .unwrap();
        QboWrites {
            keyed,
            ..QboWrites::default()
        }
        .capability(&request)
    }

    #[test]
    fn each_write_is_offered_what_the_facts_allow() {
        const OLD: &str = r#"{"Id":"7","SyncToken":"0"}"#;
        for (path, body, with_key, without) in [
            ("/billpayment", "{}", KEYED, Capability::Lookup),
            ("/billpayment", OLD, KEYED, Capability::None),
            ("/bill?operation=delete", OLD, KEYED, Capability::None),
            ("/invoice?operation=void", OLD, KEYED, Capability::None),
            ("/vendor", "{}", Capability::None, Capability::None),
            ("/invoice/7/send", "", Capability::None, Capability::None),
            ("/upload", "--b", Capability::None, Capability::None),
            ("/batch", "{}", Capability::None, Capability::None),
            (
                "/billpayment",
                "<BillPayment/>",
                Capability::None,
                Capability::None,
            ),
            (
                "/taxservice/taxcode",
                "{}",
                Capability::None,
                Capability::None,
            ),
        ] {
            assert_eq!(capability(true, path, body), with_key, "{path}");
            assert_eq!(capability(false, path, body), without, "{path}");
        }
    }

    #[test]
    fn a_route_that_is_not_qbos_leaves_at_most_once() {
        let request = Request::post("https://h/bill")
            .body(Payload::from("{}"))
            .unwrap();
        assert_eq!(QboWrites::default().capability(&request), Capability::None);
    }

    #[test]
    fn a_horizon_of_nothing_is_refused_by_name() {
        let writes = QboWrites {
            horizon: Duration::ZERO,
            ..QboWrites::default()
        };
        assert_eq!(writes.check().unwrap_err().field(), "horizon");
    }
}
