//! Laws of what may be kept, and where.

use super::super::{
    Expected, KEY_MAX_LEN, SPACE_MAX_LEN, Shelf, ShelfError, Shelved, VALUE_MAX_LEN,
};
use super::{Bench, Found, SPACE, must};
use crate::clock::Timestamp;
use bytes::Bytes;

/// Texts that stores have stumbled over.
const ODD: [&str; 12] = [
    "", // no space, but a key
    " ",
    "\0",
    "a\0b",
    "a\r\nb",
    "*",
    "a:b",
    "%s'\"\\--;",
    "{tag}[x]?",
    "naïve",
    "🧾",
    "\u{feff}\u{202e}",
];

pub(super) async fn any_text_and_any_bytes_are_read_back_whole<S: Shelf>(bench: Bench<S>) -> Found {
    let longest = ("s".repeat(SPACE_MAX_LEN), "k".repeat(KEY_MAX_LEN));
    let odd = ODD.map(|text| (format!("{SPACE}{text}"), text.to_owned()));
    let places: Vec<_> = odd.into_iter().chain([longest]).collect();
    let values = [
        Bytes::new(),
        Bytes::from_static(b"\0"),
        (0..=u8::MAX).collect(),
        Bytes::from_static(b"\r\n$-1\r\n*1\r\n"),
        Bytes::from(vec![0xff; VALUE_MAX_LEN]),
    ];
    // The last one is further away than any clock of today goes; the others never come.
    let late = Timestamp::from_millis(Timestamp::NEVER.as_millis() - 1);
    for (space, key) in &places {
        let place = (space.as_str(), key.as_str());
        for value in &values {
            for expires in [None, Some(late), Some(Timestamp::NEVER)] {
                let version = bench
                    .stored_at(place, value.clone(), Expected::Any, expires)
                    .await?;
                let expected = Shelved {
                    value: value.clone(),
                    version,
                    expires: expires.filter(|at| *at != Timestamp::NEVER),
                };
                bench.holds_at(place, &expected).await?;
            }
        }
    }
    Ok(())
}

pub(super) async fn a_value_is_found_at_its_own_place_only<S: Shelf>(bench: Bench<S>) -> Found {
    bench.holds_nothing("key").await?;
    // Run together, with a colon or with nothing between, each is the text of another.
    let places = [
        ("a", "bc"),
        ("ab", "c"),
        ("a", "b:c"),
        ("a:b", "c"),
        ("a", "BC"),
        ("A", "bc"),
        ("a", "bc\0"),
        ("a", "bc "),
        ("a", ""),
        ("abc", ""),
    ];
    let mut put = Vec::new();
    for (number, place) in (0_u8..).zip(places) {
        let value = Bytes::from(vec![number]);
        let version = bench
            .stored_at(place, value.clone(), Expected::Absent, None)
            .await?;
        put.push((
            place,
            Shelved {
                value,
                version,
                expires: None,
            },
        ));
    }
    for (place, expected) in put {
        bench.holds_at(place, &expected).await?;
    }
    Ok(())
}

fn is_invalid<T>(what: &str, answer: Result<T, ShelfError>) -> Found {
    match answer {
        Err(ShelfError::Invalid(_)) => Ok(()),
        Err(error) => Err(format!("{what} is not `Invalid`, but: {error}")),
        Ok(_) => Err(format!("{what} was taken")),
    }
}

pub(super) async fn what_is_out_of_bounds_is_refused<S: Shelf>(bench: Bench<S>) -> Found {
    let (space, key) = ("s".repeat(SPACE_MAX_LEN + 1), "k".repeat(KEY_MAX_LEN + 1));
    let shelf = &bench.shelf;
    let places = [
        ("an empty space", "", "key"),
        ("a space that is too long", space.as_str(), "key"),
        ("a key that is too long", SPACE, key.as_str()),
    ];
    for (what, space, key) in places {
        is_invalid(what, shelf.get(space, key).await)?;
        is_invalid(what, shelf.remove(space, key, Expected::Any).await)?;
        let put = shelf.put(space, key, Bytes::new(), Expected::Any, None);
        is_invalid(what, put.await)?;
    }
    let version = bench.stored("key", "before", Expected::Absent).await?;
    let value = Bytes::from(vec![0; VALUE_MAX_LEN + 1]);
    let put = shelf.put(SPACE, "key", value, Expected::Any, None).await;
    is_invalid("a value that is too long", put)?;
    bench.holds("key", "before", version).await?;
    // Cut to the limit, the long key is the longest that is allowed: nothing may have been put there.
    let cut = &key[..KEY_MAX_LEN];
    let found = bench.get_at((SPACE, cut)).await?;
    must(found.is_none(), || "a long key was cut".to_owned())
}
