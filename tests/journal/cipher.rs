//! A real cipher as a seal.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use std::fmt;
use std::sync::Arc;
use tower_sturdy::BoxError;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::sealed::{Part, Seal, bound_to};

/// A cipher with several keys: the last one seals, and its number is in front of what it sealed.
pub(crate) struct Keys(Vec<(u8, XChaCha20Poly1305)>);

impl Keys {
    pub(crate) fn new(keys: &[u8]) -> Arc<Self> {
        let cipher = |key: &u8| (*key, XChaCha20Poly1305::new(&[*key; 32].into()));
        Arc::new(Self(keys.iter().map(cipher).collect()))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Seal for Keys {
    fn seal(&self, operation: OperationId, part: Part, plain: &[u8]) -> Result<Vec<u8>, BoxError> {
        let (key, cipher) = self.0.last().ok_or("no key")?;
        let mut nonce = [0; 24];
        #[allow(
            clippy::disallowed_methods,
            reason = "a nonce must be new in each process"
        )]
        getrandom::fill(&mut nonce)?;
        let aad = bound_to(operation, part);
        let plain = Payload {
            msg: plain,
            aad: &aad,
        };
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), plain)
            .map_err(|_| "failed")?;
        Ok([&[*key], &nonce[..], &sealed].concat())
    }

    fn open(&self, operation: OperationId, part: Part, sealed: &[u8]) -> Result<Vec<u8>, BoxError> {
        let (key, sealed) = sealed.split_first().ok_or("empty")?;
        let found = self.0.iter().find(|(number, _)| number == key);
        let (_, cipher) = found.ok_or_else(|| format!("there is no key {key}"))?;
        let (nonce, sealed) = sealed.split_first_chunk::<24>().ok_or("too short")?;
        let aad = bound_to(operation, part);
        let sealed = Payload {
            msg: sealed,
            aad: &aad,
        };
        let opened = cipher.decrypt(&XNonce::from(*nonce), sealed);
        Ok(opened.map_err(|_| "it was changed")?)
    }
}
