//! Which requests have the same answer: an owned key, and its borrowed twin that costs a hit no allocation.

use crate::payload::Payload;
use hashbrown::DefaultHashBuilder;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Request};
use quick_cache::Equivalent;
use sha2::{Digest, Sha256};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

const PIECES: usize = 6;

/// Hashes keys; one per cache, seeded by chance.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashers {
    key: DefaultHashBuilder,
    variant: [DefaultHashBuilder; 2],
}

/// What the headers of a request say to a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// It asks for a part, sets a condition, or says `no-store`: it goes around.
    pub(super) bypass: bool,
    /// It says `no-cache`: it wants an answer of now.
    pub(super) renew: bool,
    /// Of the headers by which answers vary.
    variant: [u64; 2],
    /// Of the credentials. A cryptographic digest: nobody may find another's answers by trying headers.
    scope: [u8; 16],
}

impl Headers {
    pub(super) fn of(
        headers: &HeaderMap,
        hashers: &Hashers,
        variants: &[HeaderName],
        scope: &[HeaderName],
    ) -> Self {
        let mut said = Self::default();
        if headers.is_empty() {
            return said;
        }
        let mut hashed: Option<[_; 2]> = None;
        let mut digest: Option<Sha256> = None;
        for (name, value) in headers {
            if scope.contains(name) {
                let digest = digest.get_or_insert_default();
                for part in [name.as_str().as_bytes(), value.as_bytes()] {
                    digest.update((part.len() as u64).to_le_bytes());
                    digest.update(part);
                }
            } else if variants.contains(name) {
                let hashed = hashed.get_or_insert_with(|| {
                    [0, 1].map(|index: usize| hashers.variant[index].build_hasher())
                });
                for hasher in hashed {
                    (name.as_str(), value.as_bytes()).hash(hasher);
                }
            } else {
                // By text, which is lower case in every header name: a match on length and a comparison.
                match name.as_str() {
                    "cache-control" | "pragma" => said.direct(value.as_bytes()),
                    "range"
                    | "if-range"
                    | "if-match"
                    | "if-none-match"
                    | "if-modified-since"
                    | "if-unmodified-since" => said.bypass = true,
                    _ => {}
                }
            }
        }
        if let Some(hashed) = hashed {
            said.variant = hashed.map(|hasher| hasher.finish());
        }
        if let Some(digest) = digest {
            said.scope.copy_from_slice(&digest.finalize()[..16]);
        }
        said
    }

    fn direct(&mut self, value: &[u8]) {
        for directive in value.split(|byte| *byte == b',') {
            let directive = directive.trim_ascii();
            self.bypass |= directive.eq_ignore_ascii_case(b"no-store");
            self.renew |= directive.eq_ignore_ascii_case(b"no-cache");
        }
    }
}

/// A key borrowed from a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRef<'a> {
    hash: u64,
    headers: Headers,
    pieces: [&'a [u8]; PIECES],
}

impl<'a> KeyRef<'a> {
    pub(super) fn new(
        hashers: &Hashers,
        tenant: &'a str,
        request: &'a Request<Payload>,
        headers: Headers,
    ) -> Self {
        let uri = request.uri();
        let pieces: [&[u8]; PIECES] = [
            tenant.as_bytes(),
            request.method().as_str().as_bytes(),
            uri.scheme_str().unwrap_or_default().as_bytes(),
            uri.authority().map_or("", |host| host.as_str()).as_bytes(),
            uri.path_and_query()
                .map_or("", PathAndQuery::as_str)
                .as_bytes(),
            request.body().bytes(),
        ];
        // Only what tells most requests apart: equality looks at all of it.
        let [tenant, _, _, _, target, body] = pieces;
        let mut hasher = hashers.key.build_hasher();
        for piece in [tenant, target, body] {
            hasher.write(piece);
            hasher.write_usize(piece.len());
        }
        headers.variant.hash(&mut hasher);
        headers.scope.hash(&mut hasher);
        Self {
            hash: hasher.finish(),
            headers,
            pieces,
        }
    }

    pub(super) fn to_key(self) -> Key {
        let length = self.pieces.iter().map(|piece| piece.len()).sum();
        let mut bytes = Vec::with_capacity(length);
        let ends = self.pieces.map(|piece| {
            bytes.extend_from_slice(piece);
            bytes.len()
        });
        Key(Arc::new(Owned {
            hash: self.hash,
            variant: self.headers.variant,
            scope: self.headers.scope,
            ends,
            bytes: bytes.into_boxed_slice(),
        }))
    }
}

/// An owned key; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(Arc<Owned>);

#[derive(Debug, PartialEq, Eq)]
struct Owned {
    hash: u64,
    variant: [u64; 2],
    scope: [u8; 16],
    ends: [usize; PIECES],
    bytes: Box<[u8]>,
}

impl Key {
    pub(super) fn tenant(&self) -> &str {
        std::str::from_utf8(&self.0.bytes[..self.0.ends[0]]).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.0.bytes.len()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let owned = &*key.0;
        if owned.hash != self.hash
            || owned.variant != self.headers.variant
            || owned.scope != self.headers.scope
        {
            return false;
        }
        let mut start = 0;
        self.pieces.iter().zip(owned.ends).all(|(piece, end)| {
            let kept = &owned.bytes[start..end];
            // Most keys have pieces with nothing in them, and comparing nothing is a call too.
            let same = kept.len() == piece.len() && (kept.is_empty() || kept == *piece);
            start = end;
            same
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header;
    use proptest::prelude::*;

    type Parts = (String, String, String, String, String);

    fn any_parts() -> impl Strategy<Value = Parts> {
        let short = || "[ab]{0,2}";
        (short(), short(), short(), short(), short())
    }

    fn request((_, path, query, accept, credential): &Parts) -> Request<Payload> {
        Request::get(format!("http://host/{path}?{query}"))
            .header("accept", accept)
            .header("authorization", credential)
            .body(Payload::empty())
            .unwrap()
    }

    fn with_key<T>(hashers: &Hashers, parts: &Parts, then: impl FnOnce(KeyRef<'_>) -> T) -> T {
        let request = request(parts);
        let headers = Headers::of(
            request.headers(),
            hashers,
            &[header::ACCEPT],
            &[header::AUTHORIZATION],
        );
        then(KeyRef::new(hashers, &parts.0, &request, headers))
    }

    proptest! {
        #[test]
        fn keys_are_the_same_exactly_if_every_part_is(a in any_parts(), b in any_parts()) {
            let hashers = Hashers::default();
            let owned = with_key(&hashers, &a, |key| key.to_key());
            let (found, again) = with_key(&hashers, &b, |key| (key.equivalent(&owned), key.to_key()));
            prop_assert_eq!(found, a == b);
            prop_assert_eq!(again == owned, a == b);
            prop_assert_eq!(owned.tenant(), a.0.as_str());
        }

        #[test]
        fn a_key_and_its_borrowed_twin_hash_alike(a in any_parts()) {
            let hashers = Hashers::default();
            let builder = DefaultHashBuilder::default();
            let (borrowed, owned) = with_key(&hashers, &a, |key| (builder.hash_one(key), key.to_key()));
            prop_assert_eq!(borrowed, builder.hash_one(owned));
        }
    }

    #[test]
    fn parts_and_conditions_go_around_and_no_cache_renews() {
        let said = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let said = Headers::of(&headers, &Hashers::default(), &[], &[]);
            (said.bypass, said.renew)
        };
        assert_eq!(said("range", "bytes=0-1"), (true, false));
        assert_eq!(said("if-none-match", "\"x\""), (true, false));
        assert_eq!(said("cache-control", "max-age=0, No-Store"), (true, false));
        assert_eq!(said("cache-control", "no-cache"), (false, true));
        assert_eq!(said("x-other", "no-cache"), (false, false));
    }
}
