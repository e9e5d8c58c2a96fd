//! What a request asks of QBO: company, entity and operation, from method, URL and (for writes) body.
//!
//! The URL shapes are those of facts 3 (A), under any host and path prefix. Nothing is allocated.

use super::entity::Entity;
use super::json::Json;
use super::query_string::{pairs, says};
use crate::classify::Safety;
use crate::payload::Payload;
use http::{Method, Request, Uri};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// POST of an entity without `Id`.
    Create,
    /// POST of an entity with `Id`, full or sparse.
    Update,
    /// `?operation=delete`.
    Delete,
    /// `?operation=void`, or `?operation=update&include=void`.
    Void,
    /// GET of one entity.
    Read,
    /// A query, by GET or POST.
    Query,
    /// Change data capture.
    Cdc,
    /// A report.
    Report,
    /// Several items in one request.
    Batch {
        /// Whether any item may change something.
        writes: bool,
    },
    /// An e-mail to a customer or vendor.
    Send,
    /// Files and their metadata.
    Upload,
    /// A printable form.
    Pdf,
    /// Anything else.
    Other,
}

/// A request as QBO reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QboRoute<'a> {
    /// The company; `""` where the URL names none.
    pub realm: &'a str,
    /// What it is about; [`Entity::Other`] where that is none of the known ones, or several.
    pub entity: Entity,
    /// The id in the path, of a read, a send or a PDF.
    pub id: Option<&'a str>,
    /// What is to be done with it.
    pub operation: Operation,
    /// Whether it may change something.
    pub safety: Safety,
}

/// The path that every accounting request has before the company.
const COMPANY: &str = "/v3/company/";

/// The company of a URL, as written; `None` where the URL names none.
#[must_use]
pub fn realm_of(uri: &Uri) -> Option<&str> {
    split(uri.path()).map(|(_, realm, _)| realm)
}

/// The path up to and with the company, the company, and the rest.
pub(crate) fn split(path: &str) -> Option<(&str, &str, &str)> {
    let start = path.find(COMPANY)? + COMPANY.len();
    let after = &path[start..];
    let length = after.find('/').unwrap_or(after.len());
    Some((&path[..start + length], &after[..length], &after[length..]))
}

impl<'a> QboRoute<'a> {
    /// Reads a request.
    #[must_use]
    pub fn of(request: &'a Request<Payload>) -> Self {
        Self::parse(request.method(), request.uri(), request.body().bytes())
    }

    /// Reads the parts of a request. Total: what it does not know is [`Operation::Other`], a write unless the method is safe.
    #[must_use]
    pub fn parse(method: &Method, uri: &'a Uri, body: &[u8]) -> Self {
        let (_, realm, rest) = split(uri.path()).unwrap_or(("", "", ""));
        let mut segments = rest.split('/').filter(|segment| !segment.is_empty());
        let first = segments.next().unwrap_or("");
        let second = segments.next();
        let third = segments.next();
        let entity = Entity::named(first);
        let operation = if method.is_safe() {
            reading(method, first, entity, third)
        } else if method == Method::POST {
            writing(
                uri.query().unwrap_or(""),
                body,
                (first, entity, second, third),
            )
        } else {
            Operation::Other
        };
        let safety = match operation {
            Operation::Query | Operation::Batch { writes: false } => Safety::Read,
            _ => Safety::of(method),
        };
        Self {
            realm,
            entity,
            id: second,
            operation,
            safety,
        }
    }
}

fn reading(method: &Method, first: &str, entity: Entity, third: Option<&str>) -> Operation {
    if method != Method::GET {
        return Operation::Other;
    }
    match first {
        "query" => Operation::Query,
        "cdc" => Operation::Cdc,
        "reports" => Operation::Report,
        _ if third == Some("pdf") => Operation::Pdf,
        _ if entity != Entity::Other && third.is_none() => Operation::Read,
        _ => Operation::Other,
    }
}

fn writing(
    query: &str,
    body: &[u8],
    (first, entity, second, third): (&str, Entity, Option<&str>, Option<&str>),
) -> Operation {
    match (first, second, third) {
        ("query", None, None) => Operation::Query,
        ("batch", None, None) => Operation::Batch {
            writes: batch_writes(body),
        },
        ("upload", None, None) => Operation::Upload,
        (_, Some(_), Some("send")) if entity != Entity::Other => Operation::Send,
        (_, None, None) if entity != Entity::Other => on_entity(query, body),
        _ => Operation::Other,
    }
}

fn on_entity(query: &str, body: &[u8]) -> Operation {
    let mut asked = None;
    let mut void = false;
    for (name, value) in pairs(query) {
        if says(name, "operation") {
            // Which of two the server would take is unknown.
            if asked.replace(value).is_some() {
                return Operation::Other;
            }
        } else if says(name, "include") {
            void |= value.split(',').any(|word| says(word, "void"));
        }
    }
    match asked {
        Some(word) if says(word, "delete") => Operation::Delete,
        Some(word) if says(word, "void") => Operation::Void,
        Some(word) if says(word, "update") && void => Operation::Void,
        Some(word) if says(word, "update") => Operation::Update,
        Some(word) if !says(word, "create") => Operation::Other,
        _ if void => Operation::Void,
        _ => by_body(body),
    }
}

fn by_body(body: &[u8]) -> Operation {
    let json = Json::unchecked(body);
    if !json.is_object() {
        // XML, which this preset does not read.
        return Operation::Other;
    }
    if json.get("Id").is_some_and(|id| !id.is_null()) {
        Operation::Update
    } else {
        Operation::Create
    }
}

/// Whether a batch may change something: it may, unless every item is a query and nothing else.
fn batch_writes(body: &[u8]) -> bool {
    let mut queries = 0_usize;
    for item in batch_items(body) {
        let mut only_query = false;
        for (name, _) in item.members() {
            if name.is("Query") {
                only_query = true;
            } else if !name.is("bId") {
                return true;
            }
        }
        if !only_query {
            return true;
        }
        queries += 1;
    }
    queries == 0
}

/// The items of a batch request. Of a malformed body, none: half a list must not pass for a list of queries.
pub(crate) fn batch_items(body: &[u8]) -> impl Iterator<Item = Json<'_>> {
    Json::checked(body)
        .and_then(|json| json.get("BatchItemRequest"))
        .into_iter()
        .flat_map(Json::items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(method: &str, path: &str, body: &str) -> (Entity, Operation, Safety) {
        let uri: Uri = format!("https://quickbooks.api.intuit.com/v3/company/9130{path}")
            .parse()
            .unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let route = QboRoute::parse(&method, &uri, body.as_bytes());
        assert_eq!(route.realm, "9130");
        (route.entity, route.operation, route.safety)
    }

    #[test]
    fn every_url_shape_of_the_facts_is_read() {
        use Operation as O;
        use Safety::{Read, Write};
        const NEW: &str = r#"{"VendorRef":{"value":"1"},"Line":[{"Id":"1"}]}"#;
        const OLD: &str = r#"{"Line":[],"Id":"7","SyncToken":"0","sparse":true}"#;
        let none = Entity::Other;
        let pay = Entity::BillPayment;
        for (method, path, body, entity, operation, safety) in [
            (
                "POST",
                "/billpayment?minorversion=75",
                NEW,
                pay,
                O::Create,
                Write,
            ),
            ("POST", "/billpayment", OLD, pay, O::Update, Write),
            (
                "POST",
                "/billpayment?operation=update",
                OLD,
                pay,
                O::Update,
                Write,
            ),
            (
                "POST",
                "/billpayment?operation=delete",
                OLD,
                pay,
                O::Delete,
                Write,
            ),
            (
                "POST",
                "/invoice?operation=void",
                OLD,
                Entity::Invoice,
                O::Void,
                Write,
            ),
            (
                "POST",
                "/billpayment?operation=update&include=void",
                OLD,
                pay,
                O::Void,
                Write,
            ),
            (
                "POST",
                "/bill?include=allowduplicatedocnum",
                NEW,
                Entity::Bill,
                O::Create,
                Write,
            ),
            (
                "POST",
                "/bill?operation=delete&operation=update",
                OLD,
                Entity::Bill,
                O::Other,
                Write,
            ),
            (
                "POST",
                "/bill?%6fperation=delet%65",
                OLD,
                Entity::Bill,
                O::Delete,
                Write,
            ),
            ("POST", "/bill", "<Bill/>", Entity::Bill, O::Other, Write),
            ("POST", "/BillPayment", NEW, pay, O::Create, Write),
            ("GET", "/bill/7", "", Entity::Bill, O::Read, Read),
            (
                "GET",
                "/companyinfo/9130",
                "",
                Entity::CompanyInfo,
                O::Read,
                Read,
            ),
            (
                "GET",
                "/preferences",
                "",
                Entity::Preferences,
                O::Read,
                Read,
            ),
            ("GET", "/query?query=select", "", none, O::Query, Read),
            ("POST", "/query", "select * from Bill", none, O::Query, Read),
            ("GET", "/cdc?entities=Bill", "", none, O::Cdc, Read),
            ("GET", "/reports/ProfitAndLoss", "", none, O::Report, Read),
            ("GET", "/invoice/3/pdf", "", Entity::Invoice, O::Pdf, Read),
            (
                "POST",
                "/invoice/3/send?sendTo=a@b",
                "",
                Entity::Invoice,
                O::Send,
                Write,
            ),
            ("POST", "/upload", "--x", none, O::Upload, Write),
            ("POST", "/taxservice/taxcode", "{}", none, O::Other, Write),
            ("GET", "/download/3", "", none, O::Other, Read),
            ("DELETE", "/bill/7", "", Entity::Bill, O::Other, Write),
        ] {
            assert_eq!(
                seen(method, path, body),
                (entity, operation, safety),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn a_batch_is_a_read_only_if_all_of_it_are_queries() {
        let queries = r#"{"BatchItemRequest":[{"bId":"1","Query":"select * from Bill"}]}"#;
        let mixed = r#"{"BatchItemRequest":[{"bId":"1","Query":"q"},{"bId":"2","operation":"create","Bill":{}}]}"#;
        for (body, writes) in [
            (queries, false),
            (mixed, true),
            ("", true),
            ("{\"BatchItemRequest\":[]}", true),
            (&queries[..queries.len() - 1], true),
        ] {
            let (_, operation, safety) = seen("POST", "/batch", body);
            assert_eq!(operation, Operation::Batch { writes }, "{body}");
            assert_eq!(safety == Safety::Write, writes);
        }
    }

    #[test]
    fn host_and_prefix_do_not_matter_and_a_foreign_path_names_no_company() {
        let uri: Uri = "http://127.0.0.1:8080/mock/v3/company/R1/bill/1"
            .parse()
            .unwrap();
        assert_eq!(realm_of(&uri), Some("R1"));
        assert_eq!(realm_of(&"http://x/v3/companies/1".parse().unwrap()), None);
        let route = QboRoute::parse(&Method::GET, &uri, b"");
        assert_eq!((route.operation, route.id), (Operation::Read, Some("1")));
    }

    proptest! {
        #[test]
        fn a_post_that_is_not_understood_is_a_write(
            path in "(/[a-z]{0,12}){0,4}", body in "[ -~]{0,60}"
        ) {
            let uri: Uri = format!("https://h/v3/company/1{path}").parse().unwrap();
            let route = QboRoute::parse(&Method::POST, &uri, body.as_bytes());
            let reads = matches!(route.operation, Operation::Query | Operation::Batch { writes: false });
            prop_assert_eq!(route.safety == Safety::Read, reads);
        }
    }
}
