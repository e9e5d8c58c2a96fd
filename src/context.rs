//! What a request says of itself: who asks, how urgent it is, until when, and under which operation key.
//!
//! One [`Context`] in the request's extensions carries all of it; a request without one is a user action of the
//! single tenant `""`.

use crate::clock::{Instant, Timestamp};
use data_encoding::BASE32_NOPAD;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The three call patterns. The order is the order of service: a user first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Priority {
    /// A person waits for the answer.
    #[default]
    UserAction,
    /// Something happened (a webhook, a due check) and work follows from it.
    EventTriggered,
    /// Bulk work by the clock: a nightly sync, a digest.
    Scheduled,
}

impl Priority {
    /// Every priority, most urgent first.
    pub const ALL: [Self; 3] = [Self::UserAction, Self::EventTriggered, Self::Scheduled];

    /// The stable word for logs, metrics and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserAction => "user_action",
            Self::EventTriggered => "event_triggered",
            Self::Scheduled => "scheduled",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a word was not taken as a tenant, key or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidWord {
    what: &'static str,
    why: String,
}

impl InvalidWord {
    pub(crate) fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self {
            what,
            why: why.into(),
        }
    }
}

impl fmt::Display for InvalidWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid {}: {}", self.what, self.why)
    }
}

impl std::error::Error for InvalidWord {}

/// Whose quota and data a request belongs to. For QBO: the realm, a company.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The longest name: an email address (254 octets, RFC 5321) fits.
    pub const MAX_LEN: usize = 256;

    /// A tenant by name.
    ///
    /// # Errors
    /// When the name is longer than [`Tenant::MAX_LEN`] bytes.
    pub fn new(name: &str) -> Result<Self, InvalidWord> {
        if name.len() > Self::MAX_LEN {
            return Err(InvalidWord::new(
                "tenant",
                format!(
                    "{} bytes long; at most {} are allowed: use the tenant's id",
                    name.len(),
                    Self::MAX_LEN
                ),
            ));
        }
        if name.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Shared: every write of a stack with one tenant has it.
static SINGLE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));

impl Default for Tenant {
    fn default() -> Self {
        Self(Arc::clone(&SINGLE))
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({:?})", &*self.0)
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The caller's name for one logical write. The promise is per key: same key, at most one effect.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey(Arc<str>);

impl OperationKey {
    /// The longest key. Two hex SHA-256 and some separators fit; a database row that carries it stays small.
    pub const MAX_LEN: usize = 255;

    /// A key from visible ASCII.
    ///
    /// # Errors
    /// When it is empty, longer than [`OperationKey::MAX_LEN`], or holds anything but visible ASCII.
    pub fn new(key: &str) -> Result<Self, InvalidWord> {
        const WHAT: &str = "operation key";
        if key.is_empty() {
            return Err(InvalidWord::new(
                WHAT,
                "it is empty: use a value that is stable for this one write, such as an order id",
            ));
        }
        if key.len() > Self::MAX_LEN {
            return Err(InvalidWord::new(
                WHAT,
                format!(
                    "{} bytes long; at most {} are allowed: hash long keys before use",
                    key.len(),
                    Self::MAX_LEN
                ),
            ));
        }
        if let Some(at) = key.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return Err(InvalidWord::new(
                WHAT,
                format!("byte {at} is not visible ASCII: encode the key (hex, base64) before use"),
            ));
        }
        Ok(Self(Arc::from(key)))
    }

    /// A key that the crate makes of the request itself, where the caller gave none: the `number`th of its kind.
    pub(crate) fn derived(digest: &[u8; 32], number: u64) -> Self {
        let digest = BASE32_NOPAD.encode(digest);
        Self(Arc::from(format!("{DERIVED}{digest}:{number}")))
    }

    /// Whether the crate made this key of the request itself. Their numbers must stay without a gap, so a journal never
    /// forgets one of them; callers cannot give such a key.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        self.0.starts_with(DERIVED)
    }

    /// When the key was made, where it says so: a UUID of version 7 (RFC 9562) begins with it. Only with its hyphens: a
    /// bare hexadecimal key may be a digest that looks like one by chance.
    #[must_use]
    pub fn issued(&self) -> Option<Timestamp> {
        let bytes = self.0.as_bytes();
        let hyphens = [8, 13, 18, 23];
        let well_formed = bytes.len() == 36
            && bytes.iter().enumerate().all(|(at, byte)| {
                if hyphens.contains(&at) {
                    *byte == b'-'
                } else {
                    byte.is_ascii_hexdigit()
                }
            });
        if !well_formed || bytes[14] != b'7' || !b"89abAB".contains(&bytes[19]) {
            return None;
        }
        let millis = u64::from_str_radix(&format!("{}{}", &self.0[..8], &self.0[9..13]), 16);
        millis.ok().map(Timestamp::from_millis)
    }

    /// The key as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What keys begin with that the crate makes.
const DERIVED: &str = "derived:";

impl fmt::Debug for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationKey({:?})", &*self.0)
    }
}

impl fmt::Display for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one accepted operation, which nobody can guess: 26 characters of base32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(u128);

impl OperationId {
    /// How many bits of a new id are the time at which it was made, in milliseconds: enough until the year 10889.
    const TIME: u32 = 48;

    /// A new id: the time, then 80 bits of `random`. Ids that are made together stand together in an index, so that a
    /// journal on a disk writes one page for many of them; nothing else follows from their order.
    #[must_use]
    pub const fn new(at: Timestamp, random: u128) -> Self {
        let time = (at.as_millis() as u128) << (u128::BITS - Self::TIME);
        Self(time | random >> Self::TIME)
    }

    /// The id that [`OperationId::bits`] was asked of.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits behind the name.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({self})")
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0.to_be_bytes()))
    }
}

impl FromStr for OperationId {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || {
            InvalidWord::new(
                "operation id",
                "expected 26 characters A-Z and 2-7, as given in `Location` or by `sturdy journal list`",
            )
        };
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| bad())?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| bad())?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }
}

/// The one request marker, kept in the request's extensions.
///
/// ```
/// use tower_sturdy::context::{Context, OperationKey, Priority};
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(
///     Context::new()
///         .with_priority(Priority::UserAction)
///         .with_key(OperationKey::new("pay-bill-1042")?),
/// );
/// # Ok::<(), tower_sturdy::context::InvalidWord>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    priority: Priority,
    tenant: Option<Tenant>,
    key: Option<OperationKey>,
    key_issued: Option<Timestamp>,
    deadline: Option<Instant>,
    patience: Option<Duration>,
    duplicate_allowed: bool,
}

static DEFAULT: Context = Context::new();

impl Context {
    /// A user action without tenant, key or deadline.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            priority: Priority::UserAction,
            tenant: None,
            key: None,
            key_issued: None,
            deadline: None,
            patience: None,
            duplicate_allowed: false,
        }
    }

    /// The context of a request, or the default one.
    #[must_use]
    pub fn of<B>(request: &http::Request<B>) -> &Self {
        request.extensions().get().unwrap_or(&DEFAULT)
    }

    /// How urgent the request is.
    #[must_use]
    pub const fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Whose quota and data it belongs to.
    #[must_use]
    pub fn with_tenant(mut self, tenant: Tenant) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// The key of the operation; only writes need one.
    #[must_use]
    pub fn with_key(mut self, key: OperationKey) -> Self {
        self.key = Some(key);
        self
    }

    /// When the key was made. A journal that has forgotten old keys takes only keys that were made after what it forgot.
    #[must_use]
    pub const fn with_key_issued(mut self, at: Timestamp) -> Self {
        self.key_issued = Some(at);
        self
    }

    /// When the caller stops caring: no queueing and no retry goes past it. A write that was claimed is finished
    /// nevertheless.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The same without a deadline: for work that is shared, or finished in any case.
    #[must_use]
    pub const fn without_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// How long the caller waits for a final answer before it is told "still settling".
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Of a write without a key, on a route with derived keys: it is meant to be another operation, though the same was
    /// asked a short while ago. Say so only for somebody who was shown the first one
    /// ([`Error::PossibleDuplicate`](crate::Error::PossibleDuplicate)).
    #[must_use]
    pub const fn with_duplicate_allowed(mut self) -> Self {
        self.duplicate_allowed = true;
        self
    }

    /// How urgent the request is.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// The tenant, if the caller named one.
    #[must_use]
    pub const fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    /// The operation key, if the caller named one.
    #[must_use]
    pub const fn key(&self) -> Option<&OperationKey> {
        self.key.as_ref()
    }

    /// When the key was made, if the caller said so.
    #[must_use]
    pub const fn key_issued(&self) -> Option<Timestamp> {
        self.key_issued
    }

    /// The deadline, if there is one.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the caller means another operation; see [`Context::with_duplicate_allowed`].
    #[must_use]
    pub const fn duplicate_allowed(&self) -> bool {
        self.duplicate_allowed
    }

    /// The patience, if the caller set one.
    #[must_use]
    pub const fn patience(&self) -> Option<Duration> {
        self.patience
    }
}

/// Finds the tenant of a request. A preset may read it from the URL; the default reads the [`Context`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whose request it is",
    note = "use `context::MarkedTenant`, `qbo::Realm`, or implement `TenantOf`"
)]
pub trait TenantOf: Send + Sync + fmt::Debug + 'static {
    /// The tenant's name, borrowed from the request. `""` is the single tenant of a stack that has only one.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) where the request contradicts itself (a URL of one tenant marked as another's).
    fn tenant<'a>(
        &self,
        request: &'a http::Request<crate::payload::Payload>,
    ) -> Result<&'a str, crate::error::Error>;
}

/// The tenant named by the request's [`Context`].
#[derive(Clone, Copy, Debug, Default)]
pub struct MarkedTenant;

impl TenantOf for MarkedTenant {
    fn tenant<'a>(
        &self,
        request: &'a http::Request<crate::payload::Payload>,
    ) -> Result<&'a str, crate::error::Error> {
        Ok(Context::of(request).tenant().map_or("", Tenant::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_that_is_too_long_says_how_long_it_may_be() {
        let error = OperationKey::new(&"k".repeat(256)).unwrap_err().to_string();
        assert!(
            error.contains("256 bytes") && error.contains("at most 255"),
            "{error}"
        );
    }

    #[test]
    fn a_key_with_a_line_break_is_refused_with_its_place() {
        let error = OperationKey::new("ab\ncd").unwrap_err().to_string();
        assert!(error.contains("byte 2"), "{error}");
    }

    #[test]
    fn a_uuid_of_version_7_says_when_it_was_made_and_no_other_key_does() {
        // RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC.
        let made = Some(Timestamp::from_millis(1_645_557_742_000));
        for key in [
            "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        ] {
            assert_eq!(OperationKey::new(key).unwrap().issued(), made, "{key}");
        }
        for key in [
            "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",
            "017f22e2-79b0-7cc3-c8c4-dc0c0c07398f",
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
            "017f22e279b07cc398c4dc0c0c07398f",
            "017f22e279b0-7cc3-98c4-dc0c0c07398f-",
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
            "bill-7",
        ] {
            assert_eq!(OperationKey::new(key).unwrap().issued(), None, "{key}");
        }
    }

    #[test]
    fn a_request_without_a_marker_is_a_user_action() {
        let request = http::Request::new(());
        assert_eq!(Context::of(&request).priority(), Priority::UserAction);
    }

    proptest! {
        #[test]
        fn operation_ids_read_back(bits: u128) {
            let id = OperationId::from_bits(bits);
            prop_assert_eq!(id.to_string().parse::<OperationId>(), Ok(id));
            prop_assert_eq!(id.to_string().len(), 26);
        }

        #[test]
        fn ids_stand_in_the_order_of_their_making(early in 0..1_u64 << 47, late in 0..1_u64 << 47, a: u128, b: u128) {
            let id = |at, random| OperationId::new(Timestamp::from_millis(at), random);
            prop_assume!(early < late);
            prop_assert!(id(early, a) < id(late, b));
            // Two of one millisecond differ by chance alone: in 80 bits of it.
            prop_assert_eq!(id(late, a) == id(late, b), a >> 48 == b >> 48);
            prop_assert_eq!((id(late, a).bits() ^ id(late, !a).bits()).count_ones(), 80);
        }

        #[test]
        fn no_key_panics_the_reader_of_its_time(key in "[!-~]{1,40}", hex in "[0-9a-f-]{30,40}") {
            for key in [key, hex] {
                let _ = OperationKey::new(&key).unwrap().issued();
            }
        }

        #[test]
        fn no_text_panics_the_id_parser(text in ".{0,40}") {
            let _ = text.parse::<OperationId>();
        }
    }
}
