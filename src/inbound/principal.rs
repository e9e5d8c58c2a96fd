//! Whose keys a request's key belongs to.

use crate::context::Tenant;
use data_encoding::BASE32_NOPAD;
use http::HeaderName;
use http::request::Parts;
use sha2::{Digest, Sha256};
use std::fmt;

/// Says who asks. Keys of one principal never meet keys of another.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say who asks",
    note = "use `inbound::HashedHeader`, `inbound::principal_fn`, or implement `Principal`"
)]
pub trait Principal: Send + Sync + fmt::Debug + 'static {
    /// A stable name of who asks, already authenticated; `None` where nobody can tell, and then the request is refused.
    fn principal(&self, head: &Parts) -> Option<Tenant>;
}

/// The principal is whoever sends the same value in this header, such as `authorization`. Only a digest of it is kept.
///
/// A credential that is renewed makes a new principal, whose keys are new: where credentials change while clients still
/// repeat, name the account instead ([`principal_fn`]).
#[derive(Clone, Debug)]
pub struct HashedHeader(pub HeaderName);

impl Principal for HashedHeader {
    fn principal(&self, head: &Parts) -> Option<Tenant> {
        let mut hash = Sha256::new();
        let mut any = false;
        for value in head.headers.get_all(&self.0) {
            any |= !value.is_empty();
            hash.update((value.len() as u64).to_le_bytes());
            hash.update(value.as_bytes());
        }
        any.then(|| digest(hash))
    }
}

/// The principal as a closure finds it: in an extension that authentication left, for instance.
///
/// ```
/// use tower_sturdy::inbound::principal_fn;
///
/// #[derive(Clone)]
/// struct Account(String);
///
/// let principal = principal_fn(|head| Some(head.extensions.get::<Account>()?.0.clone()));
/// # let _ = principal;
/// ```
pub fn principal_fn<F>(find: F) -> PrincipalFn<F>
where
    F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
{
    PrincipalFn(find)
}

/// See [`principal_fn`].
#[derive(Clone)]
pub struct PrincipalFn<F>(F);

impl<F> fmt::Debug for PrincipalFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrincipalFn")
    }
}

impl<F> Principal for PrincipalFn<F>
where
    F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
{
    fn principal(&self, head: &Parts) -> Option<Tenant> {
        // A name that is empty would be one scope for everybody.
        let name = (self.0)(head).filter(|name| !name.is_empty())?;
        // A name that is too long is told apart by its digest.
        Some(Tenant::new(&name).unwrap_or_else(|_| digest(Sha256::new().chain_update(&name))))
    }
}

fn digest(hash: Sha256) -> Tenant {
    let name = BASE32_NOPAD.encode(&hash.finalize());
    // 52 characters, far below the limit.
    Tenant::new(&name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, values: &[&str]) -> Parts {
        let mut request = http::Request::new(());
        for value in values {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request.into_parts().0
    }

    #[test]
    fn a_credential_is_told_apart_by_its_digest_and_never_shown() {
        let hashed = HashedHeader(http::header::AUTHORIZATION);
        let of = |values: &[&str]| hashed.principal(&head("authorization", values));
        let one = of(&["Bearer one"]).unwrap();
        assert_eq!(Some(&one), of(&["Bearer one"]).as_ref());
        assert_ne!(Some(&one), of(&["Bearer two"]).as_ref());
        assert_ne!(Some(&one), of(&["Bearer one", "Bearer two"]).as_ref());
        assert!(!one.as_str().contains("one"));
        assert_eq!((of(&[]), of(&[""])), (None, None));
    }

    #[test]
    fn a_name_that_is_empty_is_nobody_and_one_that_is_long_is_still_somebody() {
        let named =
            |name: String| principal_fn(move |_| Some(name.clone())).principal(&head("a", &[]));
        assert_eq!(named(String::new()), None);
        let (long, other) = (named("a".repeat(300)), named("a".repeat(301)));
        assert!(long.is_some() && other.is_some() && long != other);
    }
}
