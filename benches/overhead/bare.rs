//! The bare calls: what every row is compared with.

use crate::calls::{Calls, TwoThreads, from_upstream, in_turn, new_keys, same};
use crate::measure::{Kind, Row};
use crate::requests::{Upstream, marked, marker, read, reads, write};
use http::Request;
use std::time::Duration;
use tower_sturdy::clock::Clock;
use tower_sturdy::payload::Payload;

/// The name of a bare call, by what its request carries.
pub(crate) const BARE: &str = "bare call";
pub(crate) const MARKED: &str = "bare call, marked with a tenant";
pub(crate) const DEADLINE: &str = "bare call, marked with tenant and deadline";
pub(crate) const MANY: &str = "bare call, many URLs, marked";
pub(crate) const AUTHORIZED: &str = "bare call, with a credential of 907 bytes";
pub(crate) const WRITE: &str = "bare call, a new key each";
pub(crate) const TWO: &str = "two threads: bare call, marked";

pub(crate) const TENANT: &str = "9130";
const OTHER: &str = "4620816365178654300";

pub(crate) fn tenants() -> [Request<Payload>; 2] {
    [TENANT, OTHER].map(|tenant| marked(read(), marker(tenant)))
}

pub(crate) fn marked_read() -> Request<Payload> {
    marked(read(), marker(TENANT))
}

pub(crate) fn in_an_hour() -> Request<Payload> {
    let deadline = Clock::system().now() + Duration::from_secs(3_600);
    marked(read(), marker(TENANT).with_deadline(deadline))
}

pub(crate) fn many() -> Vec<Request<Payload>> {
    let mark = |request| marked(request, marker(TENANT));
    reads().into_iter().map(mark).collect()
}

pub(crate) fn authorized() -> Request<Payload> {
    let mut request = read();
    let token = format!("Bearer {}", "t".repeat(900));
    request
        .headers_mut()
        .insert("authorization", token.parse().unwrap());
    request
}

pub(crate) fn rows() -> Vec<Row> {
    let up = Upstream::new;
    let bare = Kind::Bare;
    vec![
        Row::new(
            bare,
            BARE,
            BARE,
            Calls::new(up(), same(read()), from_upstream),
        ),
        Row::new(
            bare,
            MARKED,
            MARKED,
            Calls::new(up(), same(marked_read()), from_upstream),
        ),
        Row::new(
            bare,
            DEADLINE,
            DEADLINE,
            Calls::new(up(), same(in_an_hour()), from_upstream),
        ),
        Row::new(
            bare,
            MANY,
            MANY,
            Calls::new(up(), in_turn(many()), from_upstream),
        ),
        Row::new(
            bare,
            AUTHORIZED,
            AUTHORIZED,
            Calls::new(up(), same(authorized()), from_upstream),
        ),
        Row::new(
            bare,
            WRITE,
            WRITE,
            Calls::new(up(), new_keys(write()), from_upstream),
        ),
        Row::new(
            bare,
            TWO,
            TWO,
            TwoThreads::new(up(), tenants(), from_upstream),
        ),
    ]
}
