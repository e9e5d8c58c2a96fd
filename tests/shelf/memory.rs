//! What the shelf in memory promises beyond the laws: bounds.

use crate::unwrap;
use bytes::Bytes;
use std::time::Duration;
use tower_sturdy::clock::{Clock, Timestamp};
use tower_sturdy::journal::shelf::{
    Expected, MemoryShelf, MemoryShelfConfig, Put, Shelf, ShelfError,
};

const SMALL: MemoryShelfConfig = MemoryShelfConfig {
    values: 3,
    bytes: 100,
};

async fn put(
    shelf: &MemoryShelf,
    key: &str,
    len: usize,
    expires: Option<Timestamp>,
) -> Result<Put, ShelfError> {
    let value = Bytes::from(vec![b'x'; len]);
    shelf.put("s", key, value, Expected::Any, expires).await
}

fn is_full(answer: &Result<Put, ShelfError>) -> bool {
    matches!(answer, Err(ShelfError::Full { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_full_shelf_refuses_what_is_new_and_forgets_nothing() {
    let clock = Clock::anchored(Timestamp::from_millis(0));
    let shelf = unwrap(MemoryShelf::new(SMALL)).with_clock(clock);
    let later = |seconds| Some(clock.wall().plus(Duration::from_secs(seconds)));
    unwrap(put(&shelf, "a", 1, None).await);
    unwrap(put(&shelf, "b", 1, later(2)).await);
    unwrap(put(&shelf, "c", 1, later(1)).await);
    assert!(is_full(&put(&shelf, "d", 1, None).await));
    unwrap(put(&shelf, "a", 2, None).await);
    for key in ["a", "b", "c"] {
        assert!(unwrap(shelf.get("s", key).await).is_some(), "{key}");
    }
    // What is over makes place, and nothing else does.
    clock.sleep(Duration::from_secs(1)).await;
    unwrap(put(&shelf, "d", 1, None).await);
    assert!(is_full(&put(&shelf, "e", 1, None).await));
    assert_eq!(shelf.len(), 3);
}

#[tokio::test]
async fn bytes_are_counted_over_replacing_and_removing() {
    let shelf = unwrap(MemoryShelf::new(SMALL));
    // One byte of space and one of key come on top.
    unwrap(put(&shelf, "a", 98, None).await);
    assert!(is_full(&put(&shelf, "b", 0, None).await));
    assert!(is_full(&put(&shelf, "a", 99, None).await));
    unwrap(put(&shelf, "a", 96, None).await);
    unwrap(put(&shelf, "b", 0, None).await);
    assert!(is_full(&put(&shelf, "c", 0, None).await));
    unwrap(shelf.remove("s", "a", Expected::Any).await);
    unwrap(put(&shelf, "c", 96, None).await);
    assert!(is_full(&put(&shelf, "a", 0, None).await));
}

#[test]
fn a_shelf_without_place_is_refused() {
    for (config, field) in [
        (MemoryShelfConfig { values: 0, ..SMALL }, "values"),
        (MemoryShelfConfig { bytes: 0, ..SMALL }, "bytes"),
    ] {
        let why = MemoryShelf::new(config).unwrap_err().to_string();
        assert!(why.contains(field), "{why}");
    }
}

#[tokio::test]
async fn what_is_kept_is_not_in_any_debug_output() {
    let shelf = unwrap(MemoryShelf::new(SMALL));
    let value = Bytes::from_static(b"secret");
    unwrap(shelf.put("s", "a", value, Expected::Any, None).await);
    let found = unwrap(shelf.get("s", "a").await);
    assert!(found.is_some());
    assert!(!format!("{shelf:?} {found:?}").contains("secret"));
}
