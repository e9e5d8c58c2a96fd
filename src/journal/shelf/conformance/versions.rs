//! Laws of compare-and-swap.

use super::super::{Expected, Put, Removed, Shelf};
use super::{Bench, Found, SPACE, must, told};
use bytes::Bytes;
use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tokio::task::JoinSet;

/// How many callers race in the laws about races.
const CALLERS: u8 = 16;

pub(super) async fn a_put_that_expects_otherwise_changes_nothing<S: Shelf>(
    bench: Bench<S>,
) -> Found {
    bench.refused("key", Expected::Version(0), None).await?;
    bench
        .refused("key", Expected::Version(u64::MAX), None)
        .await?;
    bench.holds_nothing("key").await?;
    let first = bench.stored("key", "one", Expected::Absent).await?;
    bench.holds("key", "one", first).await?;
    let near = [first.wrapping_add(1), first.wrapping_sub(1), !first];
    for expected in near
        .map(Expected::Version)
        .into_iter()
        .chain([Expected::Absent])
    {
        bench.refused("key", expected, Some(first)).await?;
    }
    bench.holds("key", "one", first).await?;
    let second = bench.stored("key", "two", Expected::Version(first)).await?;
    let old = Expected::Version(first);
    bench.refused("key", old, Some(second)).await?;
    bench.holds("key", "two", second).await?;
    let third = bench.stored("key", "three", Expected::Any).await?;
    bench.holds("key", "three", third).await?;
    let elsewhere = bench.stored("elsewhere", "any", Expected::Any).await?;
    bench.holds("elsewhere", "any", elsewhere).await
}

pub(super) async fn a_removal_that_expects_otherwise_changes_nothing<S: Shelf>(
    bench: Bench<S>,
) -> Found {
    for fine in [Expected::Any, Expected::Absent] {
        bench.removed("key", fine, Removed::Gone).await?;
    }
    let nothing = Removed::Conflict(None);
    bench.removed("key", Expected::Version(1), nothing).await?;
    let version = bench.stored("key", "one", Expected::Absent).await?;
    for wrong in [Expected::Absent, Expected::Version(!version)] {
        let held = Removed::Conflict(Some(version));
        bench.removed("key", wrong, held).await?;
    }
    bench.holds("key", "one", version).await?;
    for right in [None, Some(Expected::Any)] {
        let version = match right {
            None => version,
            Some(_) => bench.stored("key", "again", Expected::Absent).await?,
        };
        let expected = right.unwrap_or(Expected::Version(version));
        bench.removed("key", expected, Removed::Gone).await?;
        bench.holds_nothing("key").await?;
    }
    Ok(())
}

/// All of them put at once; the winner's version and number, which must be alone.
async fn race<S: Shelf>(bench: &Bench<S>, expected: Expected) -> Result<(u64, u8), String> {
    let mut tasks = JoinSet::new();
    for number in 0..CALLERS {
        let shelf = Arc::clone(&bench.shelf);
        tasks.spawn(async move {
            let value = Bytes::from(vec![number]);
            (shelf.put(SPACE, "key", value, expected, None).await, number)
        });
    }
    let (mut winners, mut met) = (Vec::new(), Vec::new());
    for (answer, number) in tasks.join_all().await {
        match told("put", answer)? {
            Put::Stored(version) => winners.push((version, number)),
            Put::Conflict(held) => met.push(held),
        }
    }
    let [winner] = winners[..] else {
        return Err(format!("{} of {CALLERS} puts won", winners.len()));
    };
    must(met.iter().all(|held| *held == Some(winner.0)), || {
        format!(
            "the losers met {met:?}, not the winner's version {}",
            winner.0
        )
    })?;
    Ok(winner)
}

pub(super) async fn one_of_many_puts_wins<S: Shelf>(bench: Bench<S>) -> Found {
    let mut expected = Expected::Absent;
    for _ in 0..4 {
        let (version, number) = race(&bench, expected).await?;
        let found = bench.get_at((SPACE, "key")).await?;
        let right =
            |found: &super::Shelved| found.version == version && found.value[..] == [number];
        must(found.as_ref().is_some_and(right), || {
            format!("{found:?} is not what the winner put")
        })?;
        expected = Expected::Version(version);
    }
    Ok(())
}

async fn count_up<S: Shelf>(shelf: &S) -> Found {
    loop {
        let found = told("get", shelf.get(SPACE, "count").await)?;
        let expected = found
            .as_ref()
            .map_or(Expected::Absent, |held| Expected::Version(held.version));
        let count = found.map_or(0, |held| held.value.first().copied().unwrap_or(0));
        let value = Bytes::from(vec![count.saturating_add(1)]);
        let put = shelf.put(SPACE, "count", value, expected, None).await;
        if matches!(told("put", put)?, Put::Stored(_)) {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

pub(super) async fn no_concurrent_change_is_lost<S: Shelf>(bench: Bench<S>) -> Found {
    const EACH: u8 = 8;
    let mut tasks = JoinSet::new();
    for _ in 0..CALLERS {
        let shelf = Arc::clone(&bench.shelf);
        tasks.spawn(async move {
            for _ in 0..EACH {
                count_up(&*shelf).await?;
            }
            Ok::<_, String>(())
        });
    }
    for counted in tasks.join_all().await {
        counted?;
    }
    let found = bench.get_at((SPACE, "count")).await?;
    let count = found.map(|held| held.value);
    must(count.as_deref() == Some(&[CALLERS * EACH]), || {
        format!("{} changes add up to {count:?}", CALLERS * EACH)
    })
}

pub(super) async fn a_version_is_given_once<S: Shelf>(bench: Bench<S>) -> Found {
    let mut seen = HashSet::new();
    for round in 0..64 {
        let version = bench.stored("key", "value", Expected::Any).await?;
        must(seen.insert(version), || {
            format!("version {version} was given twice at one place")
        })?;
        if round % 2 == 0 {
            bench.removed("key", Expected::Any, Removed::Gone).await?;
        }
    }
    for old in seen {
        // The last round's value is there: whoever holds the version of an earlier one, of the same bytes, must lose.
        let current = bench.get_at((SPACE, "key")).await?.map(|held| held.version);
        if current != Some(old) {
            bench
                .refused("key", Expected::Version(old), current)
                .await?;
            let held = Removed::Conflict(current);
            bench.removed("key", Expected::Version(old), held).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_put_that_is_dropped_is_whole_or_absent<S: Shelf>(bench: Bench<S>) -> Found {
    for polls in 0..6_u8 {
        let key = format!("key-{polls}");
        let value = Bytes::from_static(b"dropped");
        {
            let mut put = bench
                .shelf
                .put(SPACE, &key, value.clone(), Expected::Absent, None);
            for _ in 0..polls {
                let over = poll_fn(|context| Poll::Ready(put.as_mut().poll(context).is_ready()));
                if over.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let answer = bench
            .put_at((SPACE, &key), "after", Expected::Absent, None)
            .await?;
        let found = bench.get_at((SPACE, &key)).await?;
        let whole = match (answer, &found) {
            (Put::Stored(version), Some(held)) => held.version == version && held.value == "after",
            (Put::Conflict(Some(version)), Some(held)) => {
                held.version == version && held.value == value
            }
            _ => false,
        };
        must(whole, || format!("after {answer:?} {found:?} is there"))?;
    }
    Ok(())
}
