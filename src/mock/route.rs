//! What a method and a target ask for. Pure.

use super::entities::Kind;
use super::query;
use bytes::Bytes;
use http::{Method, Uri};

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Route {
    /// Create, or update where the body has an id.
    Save(Kind, Save),
    Delete(Kind),
    Void(Kind),
    Read(Kind, String),
    Query(Result<query::Query, query::Wrong>),
    CompanyInfo,
    /// Counted apart by the limits; not carried out.
    Batch,
    /// A void of a bill, which the application answers with a fault under status 200.
    BillVoid,
    Unsupported(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Save {
    Either,
    Update,
}

impl Route {
    pub(super) const fn entity(&self) -> Option<&'static str> {
        match self {
            Self::Save(kind, _) | Self::Delete(kind) | Self::Void(kind) | Self::Read(kind, _) => {
                Some(kind.name())
            }
            Self::Query(Ok(query)) => Some(query.kind.name()),
            Self::BillVoid => Some(Kind::Bill.name()),
            _ => None,
        }
    }
}

/// A request as the gateway sees it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) realm: String,
    pub(super) route: Route,
    pub(super) write: bool,
    pub(super) request_id: Option<String>,
}

/// Reads a request line; `body` is looked at for queries by POST alone.
pub(super) fn read(method: &Method, uri: &Uri, body: &Bytes) -> Asked {
    let mut parts = uri.path().trim_start_matches('/').split('/');
    let company = parts.next() == Some("v3") && parts.next() == Some("company");
    let realm = parts.next().filter(|_| company).unwrap_or_default();
    let (what, id) = (parts.next().unwrap_or_default(), parts.next());
    let params = Params(uri.query().unwrap_or_default());
    let is_query = what == "query";
    let whole = company && parts.next().is_none();
    let route = if !whole {
        Route::Unsupported(uri.path().to_owned())
    } else if is_query && id.is_none() {
        let text = match *method {
            Method::POST => String::from_utf8_lossy(body).into_owned(),
            _ => params.get("query").unwrap_or_default(),
        };
        Route::Query(query::parse(&text))
    } else {
        entity_route(method, what, id, &params)
    };
    Asked {
        realm: realm.to_owned(),
        route,
        write: *method != Method::GET && !is_query,
        request_id: params.get("requestid").filter(|id| !id.is_empty()),
    }
}

fn entity_route(method: &Method, what: &str, id: Option<&str>, params: &Params<'_>) -> Route {
    let unsupported = || Route::Unsupported(format!("{method} {what}"));
    if *method == Method::GET {
        return match (what, Kind::by_path(what), id) {
            ("companyinfo", _, Some(_)) => Route::CompanyInfo,
            (_, Some(kind), Some(id)) => Route::Read(kind, id.to_owned()),
            _ => unsupported(),
        };
    }
    if *method != Method::POST || id.is_some() {
        return unsupported();
    }
    if what == "batch" {
        return Route::Batch;
    }
    let Some(kind) = Kind::by_path(what) else {
        return unsupported();
    };
    let (operation, include) = (params.get("operation"), params.get("include"));
    let void_by_update = matches!(kind, Kind::BillPayment | Kind::Payment);
    match (operation.as_deref(), include.as_deref()) {
        (Some("update"), Some("void")) if void_by_update => Route::Void(kind),
        (None | Some("create"), _) => Route::Save(kind, Save::Either),
        (Some("update"), _) => Route::Save(kind, Save::Update),
        (Some("delete"), _) if !kind.is_name() && kind != Kind::Account => Route::Delete(kind),
        (Some("void"), _) if kind == Kind::Invoice => Route::Void(kind),
        (Some("void"), _) if kind == Kind::Bill => Route::BillVoid,
        (Some(operation), _) => Route::Unsupported(format!("{operation} {}", kind.name())),
    }
}

/// The parameters of a query part.
struct Params<'a>(&'a str);

impl Params<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| decode(value))
        })
    }
}

/// Percent signs and pluses undone; what is no valid escape stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |at: usize| {
            bytes
                .get(at)
                .and_then(|&digit| char::from(digit).to_digit(16))
        };
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (b'+', ..) => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn route(method: &str, target: &str) -> Route {
        let method = method.parse().unwrap();
        read(&method, &target.parse().unwrap(), &Bytes::new()).route
    }

    #[test]
    fn the_shapes_of_the_interface_are_known() {
        let bill_payment = Kind::BillPayment;
        let at = |what: &str| format!("https://host/v3/company/1/{what}");
        for (method, target, expected) in [
            (
                "POST",
                "billpayment",
                Route::Save(bill_payment, Save::Either),
            ),
            (
                "POST",
                "billpayment?operation=update",
                Route::Save(bill_payment, Save::Update),
            ),
            (
                "POST",
                "billpayment?operation=delete",
                Route::Delete(bill_payment),
            ),
            (
                "POST",
                "billpayment?operation=update&include=void",
                Route::Void(bill_payment),
            ),
            ("POST", "invoice?operation=void", Route::Void(Kind::Invoice)),
            ("POST", "bill?operation=void", Route::BillVoid),
            (
                "GET",
                "bill/7?minorversion=75",
                Route::Read(Kind::Bill, "7".into()),
            ),
            ("GET", "companyinfo/1", Route::CompanyInfo),
            ("POST", "batch", Route::Batch),
        ] {
            assert_eq!(route(method, &at(target)), expected, "{method} {target}");
        }
        for target in ["Bill/7", "bill", "nothing/1", "bill/7/8/9"] {
            assert!(
                matches!(route("GET", &at(target)), Route::Unsupported(_)),
                "{target}"
            );
        }
        assert!(matches!(
            route("POST", &at("vendor?operation=delete")),
            Route::Unsupported(_)
        ));
        assert!(matches!(route("PUT", &at("bill")), Route::Unsupported(_)));
        assert!(matches!(
            route("GET", "https://host/"),
            Route::Unsupported(_)
        ));
    }

    #[test]
    fn a_query_is_read_from_the_target_and_from_the_body() {
        let get = route("GET", "/v3/company/1/query?query=select+*+from%20Bill");
        let uri = "/v3/company/1/query".parse().unwrap();
        let post = read(
            &Method::POST,
            &uri,
            &Bytes::from_static(b"select * from Bill"),
        );
        assert_eq!(get, post.route);
        assert!(matches!(get, Route::Query(Ok(_))));
        assert!(!post.write);
    }

    proptest! {
        #[test]
        fn decoding_never_panics_and_undoes_encoding(text in "\\PC{0,20}", raw in "[%+0-9a-f]{0,20}") {
            let _ = decode(&raw);
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(&encoded), text);
        }
    }
}
