//! The tenant of a request is the company in its URL.

use super::route::realm_of;
use crate::context::{Context, Tenant, TenantOf};
use crate::error::Error;
use crate::payload::Payload;
use http::Request;

/// Reads the tenant from the URL. A request marked as another's is refused: it would spend one company's quota, key
/// space and cache on another company's data.
#[derive(Clone, Copy, Debug, Default)]
pub struct Realm;

impl TenantOf for Realm {
    fn tenant<'a>(&self, request: &'a Request<Payload>) -> Result<&'a str, Error> {
        let marked = Context::of(request).tenant().map(Tenant::as_str);
        let Some(realm) = realm_of(request.uri()) else {
            return Ok(marked.unwrap_or(""));
        };
        if !is_plain(realm) {
            return Err(Error::invalid(format!(
                "the company {realm:?} in the URL is not a plain word of at most {} letters, digits, `-` and `_`; nothing was sent; use the realm id as QuickBooks shows it",
                Tenant::MAX_LEN
            )));
        }
        match marked {
            Some(marked) if marked != realm => Err(Error::invalid(format!(
                "the URL is of company {realm:?} but the request is marked as tenant {marked:?}; nothing was sent; drop the mark or correct the URL"
            ))),
            _ => Ok(realm),
        }
    }
}

/// One company must have one spelling, or it would have two quotas: no percent-encoding, no emptiness.
fn is_plain(realm: &str) -> bool {
    (1..=Tenant::MAX_LEN).contains(&realm.len())
        && realm
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(uri: &str, marked: Option<&str>) -> Result<String, Error> {
        let mut request = Request::builder().uri(uri).body(Payload::empty()).unwrap();
        if let Some(name) = marked {
            let context = Context::new().with_tenant(Tenant::new(name).unwrap());
            request.extensions_mut().insert(context);
        }
        Realm.tenant(&request).map(str::to_owned)
    }

    #[test]
    fn the_company_in_the_url_is_the_tenant() {
        assert_eq!(
            tenant("https://h/v3/company/42/bill/1", None).unwrap(),
            "42"
        );
        assert_eq!(
            tenant("https://h/v3/company/42/bill/1", Some("42")).unwrap(),
            "42"
        );
    }

    #[test]
    fn a_differing_mark_is_refused_and_both_are_named() {
        let error = tenant("https://h/v3/company/42/bill/1", Some("43"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"42\"") && error.contains("\"43\""),
            "{error}"
        );
    }

    #[test]
    fn a_url_without_company_falls_back_on_the_mark() {
        assert_eq!(
            tenant("https://h/oauth2/v1/tokens", Some("7")).unwrap(),
            "7"
        );
        assert_eq!(tenant("https://h/oauth2/v1/tokens", None).unwrap(), "");
    }

    #[test]
    fn a_second_spelling_of_a_company_is_refused() {
        assert!(tenant("https://h/v3/company/%34%32/bill/1", None).is_err());
        assert!(tenant("https://h/v3/company//bill/1", None).is_err());
    }
}
