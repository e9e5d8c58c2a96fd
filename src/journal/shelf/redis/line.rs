//! The connection: one for all callers, made when needed, given up at the first doubt.

use super::super::ShelfError;
use crate::clock::{Clock, Instant};
use crate::error::InvalidConfig;
use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, RedisResult};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// After this long without a call the connection is asked whether it lives: servers and firewalls drop idle ones.
const IDLE: Duration = Duration::from_secs(1);

/// How many calls may wait for their answers on the connection; more wait before they are sent.
const IN_FLIGHT: usize = 1_024;

pub(super) struct Line {
    client: Client,
    timeout: Duration,
    clock: Clock,
    /// Held while connecting, so that one caller connects for all.
    slot: Mutex<Option<Slot>>,
}

struct Slot {
    connection: MultiplexedConnection,
    /// Set by the call that failed on it. A flag of its own, so that a late failure never breaks the next connection.
    broken: Arc<AtomicBool>,
    used: Instant,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client may hold a password.
        f.debug_struct("Line")
            .field("server", &self.server())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Line {
    pub(super) fn new(url: &str, timeout: Duration, clock: Clock) -> Result<Self, InvalidConfig> {
        let client = url
            .into_connection_info()
            .and_then(|info| {
                Client::open(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
            })
            // The address itself is not told: it may hold a password.
            .map_err(|why| {
                let why = format!(
                    "cannot be used ({why}): redis://[user:password@]host[:port][/database]"
                );
                InvalidConfig::new("url", why)
            })?;
        Ok(Self {
            client,
            timeout,
            clock,
            slot: Mutex::new(None),
        })
    }

    /// Host and port, without the rest of the address.
    fn server(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Runs one call on the connection, within the timeout.
    pub(super) async fn call<T>(
        &self,
        work: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, ShelfError> {
        let mut used = None;
        let whole = async {
            let (mut connection, broken) = self.connection().await?;
            used = Some(broken);
            work(&mut connection).await
        };
        let answer = self.clock.timeout(self.timeout, whole).await;
        let lost = match &answer {
            Some(Ok(_)) => false,
            Some(Err(error)) => is_lost(error),
            // Later answers would stand behind the late one.
            None => true,
        };
        if let Some(broken) = used.filter(|_| lost) {
            broken.store(true, Ordering::Release);
        }
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(ShelfError::unavailable(Failed {
                server: self.server(),
                error,
            })),
            None => Err(ShelfError::unavailable(format!(
                "redis at {} did not answer within {:?}",
                self.server(),
                self.timeout
            ))),
        }
    }

    async fn connection(&self) -> RedisResult<(MultiplexedConnection, Arc<AtomicBool>)> {
        let mut slot = self.slot.lock().await;
        // Taken out while it is in doubt: whoever is dropped here leaves an empty slot.
        let held = slot
            .take()
            .filter(|held| !held.broken.load(Ordering::Acquire));
        let alive = match held {
            Some(held) => self.alive(held).await,
            None => None,
        };
        let held = match alive {
            Some(held) => held,
            None => self.connect().await?,
        };
        let held = slot.insert(held);
        Ok((held.connection.clone(), Arc::clone(&held.broken)))
    }

    async fn alive(&self, mut held: Slot) -> Option<Slot> {
        let now = self.clock.now();
        if now.saturating_duration_since(held.used) >= IDLE {
            let ping = ::redis::cmd("PING");
            ping.exec_async(&mut held.connection).await.ok()?;
        }
        held.used = now;
        Some(held)
    }

    async fn connect(&self) -> RedisResult<Slot> {
        // The one timeout is around the whole call; what is dropped by it is given up.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_concurrency_limit(IN_FLIGHT);
        Ok(Slot {
            connection: self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?,
            broken: Arc::default(),
            used: self.clock.now(),
        })
    }
}

/// Whether the connection is of no further use: anything but the server's own word, and that word too once it became a
/// replica, since the address may lead to the new master.
fn is_lost(error: &RedisError) -> bool {
    error.code().is_none_or(|code| code == "READONLY")
}

/// What the client said, with the server's name.
#[derive(Debug)]
struct Failed {
    server: String,
    error: RedisError,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis at {}: {}", self.server, self.error)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
