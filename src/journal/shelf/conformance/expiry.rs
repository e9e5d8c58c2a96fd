//! Laws of expiry. They wait on the clock: no time at all where it is paused.

use super::super::{Expected, Removed, Shelf, Shelved};
use super::{Bench, Found, SPACE, must};
use crate::clock::Timestamp;
use bytes::Bytes;
use std::time::Duration;

/// How long a value lives that is meant to be over soon.
const SOON: Duration = Duration::from_millis(200);

/// How long to look for an end that should have come: a busy machine and a clock that is a little behind fit.
const PATIENCE: Duration = Duration::from_secs(20);

impl<S: Shelf> Bench<S> {
    fn soon(&self) -> Option<Timestamp> {
        Some(self.clock.wall().plus(SOON))
    }

    fn late(&self) -> Option<Timestamp> {
        Some(self.clock.wall().plus(Duration::from_secs(86_400)))
    }

    /// Waits until it is gone.
    async fn gone(&self, key: &str) -> Found {
        let until = self.clock.now() + PATIENCE;
        while self.get_at((SPACE, key)).await?.is_some() {
            must(self.clock.now() < until, || {
                format!("{key:?} is still there {PATIENCE:?} after its expiry")
            })?;
            self.clock.sleep(SOON / 10).await;
        }
        Ok(())
    }
}

pub(super) async fn a_value_is_absent_from_its_expiry_on<S: Shelf>(bench: Bench<S>) -> Found {
    let (soon, late) = (bench.soon(), bench.late());
    for (key, expires) in [("soon", soon), ("late", late), ("never", None)] {
        let place = (SPACE, key);
        let put = bench.stored_at(place, key.to_owned(), Expected::Absent, expires);
        let version = put.await?;
        let found = bench.get_at(place).await?;
        let expected = Shelved {
            value: Bytes::copy_from_slice(key.as_bytes()),
            version,
            expires,
        };
        // On a slow machine the soonest may be over at the first look already; whatever is seen must be right.
        let right = found.as_ref() == Some(&expected) || (key == "soon" && found.is_none());
        must(right, || {
            format!("{key:?} holds {found:?}, not {expected:?}")
        })?;
    }
    bench.gone("soon").await?;
    let early = soon.is_some_and(|at| bench.clock.wall().plus(SOON / 4) < at);
    must(!early, || "a value was gone before its expiry".to_owned())?;
    for key in ["late", "never"] {
        let found = bench.get_at((SPACE, key)).await?;
        must(found.is_some(), || {
            format!("{key:?} is gone before its time")
        })?;
    }
    bench.stored("soon", "again", Expected::Absent).await?;
    Ok(())
}

pub(super) async fn a_put_replaces_the_expiry<S: Shelf>(bench: Bench<S>) -> Found {
    let place = (SPACE, "kept");
    bench
        .stored_at(place, "one", Expected::Absent, bench.late())
        .await?;
    let shorter = bench.soon();
    bench
        .stored_at((SPACE, "shorter"), "one", Expected::Absent, bench.late())
        .await?;
    bench
        .stored_at((SPACE, "shorter"), "two", Expected::Any, shorter)
        .await?;
    bench
        .stored_at(place, "two", Expected::Any, bench.soon())
        .await?;
    let version = bench.stored_at(place, "three", Expected::Any, None).await?;
    bench.gone("shorter").await?;
    // What would have ended "kept" is over as well by now.
    bench.clock.sleep(SOON).await;
    bench.holds("kept", "three", version).await
}

pub(super) async fn what_is_over_already_leaves_nothing<S: Shelf>(bench: Bench<S>) -> Found {
    let yesterday = bench.clock.wall().minus(Duration::from_secs(86_400));
    for past in [
        yesterday,
        Timestamp::from_millis(1),
        Timestamp::from_millis(0),
    ] {
        let version = bench.stored("key", "there", Expected::Absent).await?;
        bench
            .refused("key", Expected::Absent, Some(version))
            .await?;
        let mine = Expected::Version(version);
        bench
            .stored_at((SPACE, "key"), "over", mine, Some(past))
            .await?;
        bench.holds_nothing("key").await?;
        bench.refused("key", mine, None).await?;
    }
    Ok(())
}

pub(super) async fn an_old_version_never_wins_after_an_expiry<S: Shelf>(bench: Bench<S>) -> Found {
    let old = bench
        .stored_at((SPACE, "key"), "same", Expected::Absent, bench.soon())
        .await?;
    bench.gone("key").await?;
    let expected = Expected::Version(old);
    bench.refused("key", expected, None).await?;
    bench
        .removed("key", expected, Removed::Conflict(None))
        .await?;
    let new = bench.stored("key", "same", Expected::Absent).await?;
    must(new != old, || format!("version {old} was given twice"))?;
    bench.refused("key", expected, Some(new)).await?;
    bench
        .removed("key", expected, Removed::Conflict(Some(new)))
        .await?;
    bench.holds("key", "same", new).await
}
