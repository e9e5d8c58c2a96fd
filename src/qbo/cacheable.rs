//! Which reads may be cached, which entity they depend on, and which entities a write touches. Pure.
//!
//! Touching too much costs a few misses; touching too little shows a paid bill as open. So what the table does not know
//! touches everything.

use super::entity::Entity;
use super::query_string::{decode, pairs, says};
use super::route::{Operation, QboRoute};
use crate::classify::Safety;
use http::Uri;

/// The tag of every entity at once.
pub const EVERYTHING: &str = "*";

/// The entity whose writes make this read stale; `None` where the read must not be cached.
///
/// Cached are reads by id and GET queries of one known entity. Change data capture is asked because something changed,
/// reports span all entities, PDFs are large, and the body of a POST query is no part of a cache's key.
#[must_use]
pub fn depends_on(route: &QboRoute<'_>, uri: &Uri) -> Option<Entity> {
    let entity = match route.operation {
        Operation::Read => route.entity,
        Operation::Query => {
            let mut queries = pairs(uri.query()?).filter(|(name, _)| says(name, "query"));
            let query = decode(queries.next()?.1);
            if queries.next().is_some() {
                return None;
            }
            queried(&query)
        }
        _ => Entity::Other,
    };
    (entity != Entity::Other).then_some(entity)
}

/// The entity that a query selects from: one, for the language has no joins (facts 3, A).
#[must_use]
pub fn queried(sql: &str) -> Entity {
    let mut words = sql.split_ascii_whitespace();
    if !words.any(|word| word.eq_ignore_ascii_case("from")) {
        return Entity::Other;
    }
    words.next().map_or(Entity::Other, Entity::named)
}

/// The tags of the entities that a request may change; none for a read.
#[must_use]
pub fn touches(route: &QboRoute<'_>) -> &'static [&'static str] {
    match route.operation {
        _ if route.safety == Safety::Read => &[],
        Operation::Create | Operation::Update | Operation::Delete | Operation::Void => {
            touched_by(route.entity)
        }
        // The entity's e-mail status.
        Operation::Send => touched_by(route.entity),
        _ => &[EVERYTHING],
    }
}

/// The entities whose stored form a write to this one may change. From the fields of facts 8: links (`LinkedTxn`) change
/// the linked transaction's Balance and SyncToken, parties carry a Balance, accounts a CurrentBalance, items a quantity.
/// Links beyond those that the facts list follow the same rule by analogy (D), on the wide side.
fn touched_by(entity: Entity) -> &'static [&'static str] {
    match entity {
        Entity::Bill => &[
            "Bill",
            "Vendor",
            "Account",
            "Item",
            "PurchaseOrder",
            "Customer",
        ],
        // Facts 8, A: pays Bill, uses VendorCredit and JournalEntry; an overpayment stays as vendor credit.
        Entity::BillPayment => &[
            "BillPayment",
            "Bill",
            "Vendor",
            "VendorCredit",
            "JournalEntry",
            "Account",
        ],
        Entity::VendorCredit => &["VendorCredit", "Bill", "Vendor", "Account", "Item"],
        Entity::Invoice => &[
            "Invoice",
            "Customer",
            "Account",
            "Item",
            "Estimate",
            "TimeActivity",
            "Payment",
            "CreditMemo",
        ],
        // Facts 8, A: settles Invoice; what is over stays as UnappliedAmt.
        Entity::Payment => &[
            "Payment",
            "Invoice",
            "Customer",
            "CreditMemo",
            "JournalEntry",
            "Account",
            "Deposit",
        ],
        Entity::CreditMemo => &[
            "CreditMemo",
            "Invoice",
            "Payment",
            "Customer",
            "Account",
            "Item",
        ],
        Entity::Estimate => &["Estimate", "Invoice"],
        Entity::PurchaseOrder => &["PurchaseOrder", "Bill", "Purchase"],
        Entity::SalesReceipt | Entity::RefundReceipt => &[
            "SalesReceipt",
            "RefundReceipt",
            "Customer",
            "Account",
            "Item",
            "Deposit",
        ],
        Entity::Purchase => &[
            "Purchase",
            "Vendor",
            "Customer",
            "Account",
            "Item",
            "PurchaseOrder",
        ],
        Entity::Transfer => &["Transfer", "Account"],
        Entity::Attachable => &["Attachable"],
        Entity::TimeActivity => &["TimeActivity"],
        // Names appear in every reference to them (`VendorRef.name`); a renamed one must not stay behind in transactions.
        // A journal entry or a deposit may link to anything.
        _ => &[EVERYTHING],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn dependency(method: &Method, path: &str) -> Option<Entity> {
        let uri: Uri = format!("https://h/v3/company/1{path}").parse().unwrap();
        depends_on(&QboRoute::parse(method, &uri, b""), &uri)
    }

    fn touched(path: &str) -> &'static [&'static str] {
        let uri: Uri = format!("https://h/v3/company/1{path}").parse().unwrap();
        touches(&QboRoute::parse(&Method::POST, &uri, b"{}"))
    }

    #[test]
    fn reads_by_id_and_queries_of_one_entity_are_cached() {
        for (path, entity) in [
            ("/bill/7", Some(Entity::Bill)),
            ("/companyinfo/1", Some(Entity::CompanyInfo)),
            (
                "/query?query=select%20*%20from%20customer%20startposition%201",
                Some(Entity::Customer),
            ),
            ("/query?query=SELECT+COUNT(*)+FROM+Bill", Some(Entity::Bill)),
            ("/query?query=select%201", None),
            ("/query?query=select%20*%20from%20Unheard", None),
            ("/query?query=select%20*%20from%20Bill&query=x", None),
            ("/query", None),
            ("/cdc?entities=Bill", None),
            ("/reports/BalanceSheet", None),
            ("/invoice/7/pdf", None),
        ] {
            assert_eq!(dependency(&Method::GET, path), entity, "{path}");
        }
        assert_eq!(dependency(&Method::POST, "/query"), None);
        assert_eq!(dependency(&Method::POST, "/bill"), None);
    }

    #[test]
    fn a_payment_of_a_bill_makes_the_bill_stale_and_a_read_makes_nothing_stale() {
        let tags = touched("/billpayment");
        for name in ["BillPayment", "Bill", "Vendor", "Account"] {
            assert!(tags.contains(&name), "{name}");
        }
        assert!(touched("/payment").contains(&"Invoice"));
        assert!(touched("/query").is_empty());
    }

    #[test]
    fn what_is_not_in_the_table_touches_everything() {
        for path in [
            "/batch",
            "/upload",
            "/taxservice/taxcode",
            "/vendor",
            "/bill?operation=odd",
        ] {
            assert_eq!(touched(path), [EVERYTHING], "{path}");
        }
    }

    #[test]
    fn every_write_touches_its_own_entity_by_a_name_that_exists() {
        for entity in Entity::all() {
            let tags = touched_by(entity);
            assert!(
                tags.contains(&entity.name()) || tags == [EVERYTHING],
                "{entity:?}"
            );
            for tag in tags {
                assert!(
                    *tag == EVERYTHING || Entity::named(tag).name() == *tag,
                    "{tag}"
                );
            }
        }
    }
}
