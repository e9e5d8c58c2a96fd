//! A shelf in Redis: shared by the hosts of one service.
//!
//! **A Redis shelf may lose what it acknowledged.** Redis copies to its replicas after it answered, so a failover forgets
//! the last writes; without `appendfsync always` a crash does so too; and with any `maxmemory-policy` but `noeviction` it
//! drops values under memory pressure. Nothing that money depends on may rest on it: an operation, a claim, a lock that
//! guards a payment belong in the [`Journal`](crate::journal::Journal). What a lost value costs must be work, not money.
//!
//! # What it promises
//! - One script per change: comparing, storing and setting the expiry are one step in the server.
//! - Versions are 64 random bits drawn by whoever puts, not counted in the server: also a server that forgot everything
//!   gives no version twice.
//! - Expiry is judged by the server's clock, the same for all hosts. It is given as a point in time, so the hosts'
//!   clocks should agree with the server's as closely as the expiry matters.
//! - Every call ends within [`RedisShelfConfig::timeout`], whatever the server does. Nothing is sent twice on its own.
//! - It connects with its first call and anew after a failure. A connection that was idle for more than a second is
//!   asked whether it still lives before a change is trusted to it.
//!
//! # What it does not do
//! It is no client for a Redis Cluster or for Sentinel: give it the address of one server, or of what stands before the
//! servers. It encrypts with `rediss://` alone, once a TLS feature of the crate `redis` is on (`tokio-rustls-comp`). It
//! needs Redis 6.2 or later, or a server that speaks like it (Valkey).
//!
//! # In the server
//! A value is one string at `sturdy:NAMESPACE:LENGTH:SPACE:KEY`, where LENGTH is that of SPACE in bytes: no two places
//! share a name. It begins with the version and the expiry in milliseconds since the epoch (all ones for none), eight
//! bytes each, big-endian.
//!
//! # Errors
//! [`ShelfError::Unavailable`] when the server is away, slow, full, or says no. Methods must be awaited inside a tokio
//! runtime with I/O and time. A paused clock does not go with it: it jumps over the time that a real server takes.
//!
//! # Example
//! ```no_run
//! use bytes::Bytes;
//! use tower_sturdy::journal::shelf::{Expected, RedisShelf, RedisShelfConfig, Shelf};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let shelf = RedisShelf::new(&RedisShelfConfig::new("redis://127.0.0.1:6379/", "billing"))?;
//! shelf.put("synced", "9130", Bytes::from("10:00"), Expected::Any, None).await?;
//! # Ok(())
//! # }
//! ```

mod line;
mod text;

use super::{
    BoxFuture, Expected, Put, Removed, Shelf, ShelfError, Shelved, check_value, check_words,
    in_time,
};
use crate::clock::{Clock, Timestamp};
use crate::error::InvalidConfig;
use crate::random::Random;
use ::redis::{Cmd, Script, Value};
use bytes::Bytes;
use line::Line;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Stores ARGV[2] if the version that is there is ARGV[1] (empty: nothing is there; `*`: whatever). ARGV[3] is the
/// expiry, if any. Answers 1, or the version that is there.
const PUT: &str = "
local held = redis.call('GETRANGE', KEYS[1], 0, 7)
if ARGV[1] ~= '*' and ARGV[1] ~= held then return held end
if ARGV[3] == '' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
end
return 1";

/// The same for taking away.
const REMOVE: &str = "
local held = redis.call('GETRANGE', KEYS[1], 0, 7)
if ARGV[1] ~= '*' and ARGV[1] ~= held then return held end
redis.call('DEL', KEYS[1])
return 1";

/// Which server, and whose values. Plain data; checked by [`RedisShelf::new`].
#[derive(Clone, PartialEq, Eq)]
pub struct RedisShelfConfig {
    /// `redis://user:password@host:port/database`, as the crate `redis` reads it.
    pub url: String,
    /// Sets the values of one service (and stage) apart: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub namespace: String,
    /// How long a call may take, connecting included.
    pub timeout: Duration,
}

impl RedisShelfConfig {
    /// The default settings for a server and a namespace.
    #[must_use]
    pub fn new(url: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: namespace.into(),
            // A thousand times what a healthy server in the same network takes.
            timeout: Duration::from_secs(1),
        }
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        const NAMESPACE_MAX_LEN: usize = 64;
        // Longer than anybody means to wait for a value that may be lost anyway.
        const LONGEST: Duration = Duration::from_secs(60);
        let name = &self.namespace;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > NAMESPACE_MAX_LEN || !name.bytes().all(plain) {
            let why = format!("is {name:?}: 1 to {NAMESPACE_MAX_LEN} of A-Z a-z 0-9 . _ -");
            return Err(InvalidConfig::new("namespace", why));
        }
        if self.timeout.is_zero() || self.timeout > LONGEST {
            let why = format!("is {:?}: above 0 and at most {LONGEST:?}", self.timeout);
            return Err(InvalidConfig::new("timeout", why));
        }
        Ok(())
    }
}

impl fmt::Debug for RedisShelfConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("RedisShelfConfig")
            .field("namespace", &self.namespace)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// See the [module](self). Clones share the connection.
#[derive(Clone)]
pub struct RedisShelf {
    inner: Arc<Inner>,
}

struct Inner {
    namespace: String,
    line: Line,
    random: Random,
    put: Script,
    remove: Script,
}

impl fmt::Debug for RedisShelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisShelf")
            .field("namespace", &self.inner.namespace)
            .field("line", &self.inner.line)
            .finish_non_exhaustive()
    }
}

impl RedisShelf {
    /// A shelf in the server. Does not connect: the first call does.
    ///
    /// # Errors
    /// For an address that cannot be read, a namespace that would not stay apart, or a timeout that is none.
    pub fn new(config: &RedisShelfConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self {
            inner: Arc::new(Inner {
                namespace: config.namespace.clone(),
                line: Line::new(&config.url, config.timeout, Clock::system())?,
                random: Random::system(),
                put: Script::new(PUT),
                remove: Script::new(REMOVE),
            }),
        })
    }

    fn name(&self, space: &str, key: &str) -> Result<Vec<u8>, ShelfError> {
        check_words(space, key)?;
        Ok(text::name(&self.inner.namespace, space, key))
    }
}

impl Inner {
    async fn get(&self, name: Vec<u8>) -> Result<Option<Shelved>, ShelfError> {
        let mut get = Cmd::new();
        get.arg("GET").arg(name);
        let found: Option<Bytes> = self
            .line
            .call(async |connection| get.query_async(connection).await)
            .await?;
        found.map(text::read).transpose()
    }

    async fn put(
        &self,
        name: Vec<u8>,
        value: &[u8],
        expected: Expected,
        expires: Option<Timestamp>,
    ) -> Result<Put, ShelfError> {
        // Half of an id is enough: a version must not come twice at one place.
        let version = text::half(self.random.id());
        let mut put = self.put.prepare_invoke();
        put.key(name)
            .arg(text::expected(expected))
            .arg(text::written(version, expires, value))
            .arg(text::expiry(expires));
        let answer = self
            .line
            .call(async |connection| put.invoke_async(connection).await)
            .await?;
        Ok(match done(answer)? {
            Done::Yes => Put::Stored(version),
            Done::No(held) => Put::Conflict(held),
        })
    }

    async fn remove(&self, name: Vec<u8>, expected: Expected) -> Result<Removed, ShelfError> {
        let mut remove = self.remove.prepare_invoke();
        remove.key(name).arg(text::expected(expected));
        let answer = self
            .line
            .call(async |connection| remove.invoke_async(connection).await)
            .await?;
        Ok(match done(answer)? {
            Done::Yes => Removed::Gone,
            Done::No(held) => Removed::Conflict(held),
        })
    }
}

enum Done {
    Yes,
    No(Option<u64>),
}

/// What a script answered.
fn done(answer: Value) -> Result<Done, ShelfError> {
    match answer {
        Value::Int(1) => Ok(Done::Yes),
        Value::BulkString(held) => text::version(&held).map(Done::No),
        _ => Err(ShelfError::unavailable(
            "redis answered a script with something else than its result",
        )),
    }
}

impl Shelf for RedisShelf {
    fn get<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Shelved>, ShelfError>> {
        Box::pin(async move { self.inner.get(self.name(space, key)?).await })
    }

    fn put<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
        value: Bytes,
        expected: Expected,
        expires: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<Put, ShelfError>> {
        Box::pin(async move {
            let name = self.name(space, key)?;
            check_value(&value)?;
            self.inner
                .put(name, &value, expected, in_time(expires))
                .await
        })
    }

    fn remove<'a>(
        &'a self,
        space: &'a str,
        key: &'a str,
        expected: Expected,
    ) -> BoxFuture<'a, Result<Removed, ShelfError>> {
        Box::pin(async move {
            let name = self.name(space, key)?;
            self.inner.remove(name, expected).await
        })
    }
}
