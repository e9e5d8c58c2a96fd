//! Finding a create in doubt again, by the mark it planted. Pure: makes requests and reads answers.
//!
//! The note that carries the mark cannot be queried (facts 3, A), so the look-up pages through what was created since
//! the operation was accepted. Only a row that carries the mark is proof; absence is told with the scope searched, for
//! how soon a query sees a new row is not established (facts 5, D).

use super::entity::Entity;
use super::fault::{Reading, read};
use super::iso;
use super::json::Json;
use super::mark;
use super::query_string::encode;
use super::request_id::rebuild;
use super::route::split;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::journal::StoredAnswer;
use crate::payload::Payload;
use bytes::Bytes;
use http::{Request, Response, Uri, header};
use std::time::Duration;

/// Rows of a page: the most QBO gives (facts 1, A).
pub const PAGE: usize = 1000;

/// Rows of the page before that are read again: paging by offset over a changing set really drops rows (facts 3, B),
/// and rows deleted between two pages move the later ones up.
pub const OVERLAP: usize = 50;

/// How much earlier than the operation's own time to search: the two clocks may differ. A choice, not a fact.
pub const CLOCK_SKEW: Duration = Duration::from_secs(600);

/// One page of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    entity: Entity,
    mark: String,
    since: Timestamp,
    start: usize,
}

/// What a page showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The write took effect.
    Found(Found),
    /// No row of this page carries the mark.
    NotOnThisPage {
        /// How many rows it has.
        rows: usize,
        /// Whether there may be a [`Search::next`].
        more: bool,
    },
    /// The answer says nothing about the write.
    CannotTell(String),
}

/// The row that carries the mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The entity, as written.
    pub entity: Bytes,
    /// Its id.
    pub id: String,
    /// Its version.
    pub sync_token: String,
    /// Ids of further rows of the page with the same mark: effects that should not be there.
    pub others: Vec<String>,
}

impl Search {
    /// The first page for a create that was accepted at `accepted`.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the entity cannot carry a mark.
    pub fn new(entity: Entity, mark: &str, accepted: Timestamp) -> Result<Self, Error> {
        if !mark::is_markable(entity) {
            return Err(Error::invalid(format!(
                "{} carries no mark; only transactions can be looked up by one",
                entity.name()
            )));
        }
        Ok(Self {
            entity,
            mark: mark.to_owned(),
            since: accepted.minus(CLOCK_SKEW),
            start: 1,
        })
    }

    /// The page after this one.
    #[must_use]
    pub fn next(mut self) -> Self {
        self.start += PAGE - OVERLAP;
        self
    }

    /// The query. Ordered by creation, so that rows created meanwhile come last; by default the newest come first
    /// (facts 3, B) and would push earlier rows over the edge of the page.
    #[must_use]
    pub fn sql(&self) -> String {
        format!(
            "select * from {} where MetaData.CreateTime >= '{}' ORDERBY MetaData.CreateTime STARTPOSITION {} MAXRESULTS {PAGE}",
            self.entity.name(),
            iso::format_seconds(self.since),
            self.start
        )
    }

    /// The request for this page, to the company of `recorded`, the URL of the write in doubt.
    ///
    /// # Errors
    /// [`Error::Invalid`] where that URL names no company.
    pub fn request(&self, recorded: &Uri) -> Result<Request<Payload>, Error> {
        get(recorded, &format!("/query?query={}", encode(&self.sql())))
    }

    /// Reads the answer to [`Search::request`].
    #[must_use]
    pub fn read(&self, answer: &Response<Payload>) -> Seen {
        let bytes = answer.body().bytes();
        match self.rows(answer) {
            Ok(rows) => self.search(rows, bytes),
            Err(why) => Seen::CannotTell(why.to_owned()),
        }
    }

    /// The rows of a good answer.
    fn rows<'a>(&self, answer: &'a Response<Payload>) -> Result<Option<Json<'a>>, &'static str> {
        if !answer.status().is_success() {
            return Err("the query was answered with an error");
        }
        let Reading::Json(json) = read(answer.body().bytes()) else {
            return Err("the query's answer is a fault or no JSON");
        };
        let inner = json
            .get("QueryResponse")
            .filter(|inner| inner.is_object())
            .ok_or("the query's answer has no QueryResponse")?;
        let rows = inner.get(self.entity.name());
        if rows.is_some_and(|rows| !rows.is_array()) {
            return Err("the rows are no array");
        }
        if rows.is_none() && inner.members().any(|(_, value)| value.is_array()) {
            return Err("the query's answer is about another entity");
        }
        Ok(rows)
    }

    fn search(&self, rows: Option<Json<'_>>, body: &Bytes) -> Seen {
        let mut count = 0;
        let mut found: Option<Found> = None;
        for row in rows.into_iter().flat_map(Json::items) {
            count += 1;
            if !mark::is_in(row, &self.mark) {
                continue;
            }
            let text = |name| row.get(name).and_then(Json::text).map(String::from);
            let (Some(id), Some(sync_token)) = (text("Id"), text("SyncToken")) else {
                return Seen::CannotTell("the row with the mark has no Id or SyncToken".into());
            };
            match &mut found {
                Some(first) => first.others.push(id),
                None => {
                    found = Some(Found {
                        entity: body.slice_ref(row.raw()),
                        id,
                        sync_token,
                        others: Vec::new(),
                    });
                }
            }
        }
        found.map_or(
            Seen::NotOnThisPage {
                rows: count,
                more: count >= PAGE,
            },
            Seen::Found,
        )
    }
}

/// The answer that the write would have got: the found entity in QBO's single-entity envelope.
#[must_use]
pub fn answer_for(entity: Entity, row: &[u8], at: Timestamp) -> StoredAnswer {
    let head = format!("{{\"{}\":", entity.name());
    let tail = format!(",\"time\":\"{}\"}}", iso::format(at));
    StoredAnswer {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body: [head.as_bytes(), row, tail.as_bytes()].concat().into(),
    }
}

/// The id of the entity in a single-entity answer.
#[must_use]
pub fn id_in(entity: Entity, answer: &[u8]) -> Option<String> {
    let id = Json::checked(answer)?.get(entity.name())?.get("Id")?;
    id.text().map(String::from)
}

/// A read under the company of `recorded`.
pub(crate) fn get(recorded: &Uri, rest: &str) -> Result<Request<Payload>, Error> {
    let (company, _, _) = split(recorded.path()).ok_or_else(|| {
        Error::invalid(format!(
            "{recorded} names no company, so nothing can be looked up there"
        ))
    })?;
    let mut request = Request::new(Payload::empty());
    *request.uri_mut() = rebuild(recorded, &format!("{company}{rest}"))?;
    let json = header::HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::ACCEPT, json);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::super::query_string::{decode, pairs};
    use super::*;
    use crate::classify::{Classify, Safety};
    use crate::outcome::Outcome;
    use crate::qbo::QboClassify;

    fn search() -> Search {
        let accepted = Timestamp::from_millis(1_601_384_287_000);
        Search::new(Entity::BillPayment, "M1", accepted).unwrap()
    }

    fn seen(status: u16, body: &str) -> Seen {
        let payload = Payload::from(body.to_owned());
        search().read(&Response::builder().status(status).body(payload).unwrap())
    }

    #[test]
    fn the_query_goes_to_the_same_company_and_starts_before_the_operation() {
        let recorded = "https://h:8/mock/v3/company/42/billpayment?requestid=K"
            .parse()
            .unwrap();
        let request = search().next().request(&recorded).unwrap();
        assert_eq!(request.uri().path(), "/mock/v3/company/42/query");
        assert_eq!(request.uri().authority().unwrap(), "h:8");
        let (name, sql) = pairs(request.uri().query().unwrap()).next().unwrap();
        assert_eq!(name, "query");
        assert_eq!(
            decode(sql),
            "select * from BillPayment where MetaData.CreateTime >= '2020-09-29T12:48:07Z' ORDERBY MetaData.CreateTime STARTPOSITION 951 MAXRESULTS 1000"
        );
        assert_eq!(QboClassify.route(&request).safety, Safety::Read);
        assert!(search().request(&"https://h/x".parse().unwrap()).is_err());
    }

    #[test]
    fn only_the_row_with_the_mark_is_found_and_it_is_replayed_verbatim() {
        let body = r#"{"QueryResponse":{"BillPayment":[{"Id":"1","SyncToken":"0","PrivateNote":"[sturdy:M12]"},{"TotalAmt":10.10,"Id":"2","SyncToken":"3","PrivateNote":"x [sturdy:M1]"}],"startPosition":1,"maxResults":2},"time":"t"}"#;
        let Seen::Found(found) = seen(200, body) else {
            panic!("{:?}", seen(200, body));
        };
        assert_eq!((found.id.as_str(), found.sync_token.as_str()), ("2", "3"));
        assert!(found.others.is_empty());
        let answer = answer_for(Entity::BillPayment, &found.entity, Timestamp::default());
        assert_eq!(
            answer.body,
            r#"{"BillPayment":{"TotalAmt":10.10,"Id":"2","SyncToken":"3","PrivateNote":"x [sturdy:M1]"},"time":"1970-01-01T00:00:00.000Z"}"#
        );
        assert_eq!(
            id_in(Entity::BillPayment, &answer.body).as_deref(),
            Some("2")
        );
        let create = Request::post("/v3/company/1/billpayment")
            .body(Payload::from("{}"))
            .unwrap();
        let replayed = Response::new(Payload::new(answer.body));
        let verdict = QboClassify.answer(
            QboClassify.route(&create),
            &replayed,
            Timestamp::default().into(),
        );
        assert_eq!(verdict.outcome, Outcome::Applied);
    }

    #[test]
    fn a_second_effect_with_the_same_mark_is_told() {
        let row =
            |id: u32| format!(r#"{{"Id":"{id}","SyncToken":"0","PrivateNote":"[sturdy:M1]"}}"#);
        let body = format!(
            r#"{{"QueryResponse":{{"BillPayment":[{},{}]}}}}"#,
            row(1),
            row(2)
        );
        assert!(matches!(seen(200, &body), Seen::Found(found) if found.others == ["2"]));
    }

    #[test]
    fn a_full_page_asks_for_the_next_and_a_short_one_ends_the_search() {
        let rows = |number: usize| {
            let rows = vec![r#"{"Id":"1","SyncToken":"0"}"#; number].join(",");
            seen(
                200,
                &format!(r#"{{"QueryResponse":{{"BillPayment":[{rows}]}}}}"#),
            )
        };
        assert_eq!(
            rows(3),
            Seen::NotOnThisPage {
                rows: 3,
                more: false
            }
        );
        assert_eq!(
            rows(PAGE),
            Seen::NotOnThisPage {
                rows: PAGE,
                more: true
            }
        );
        let none = seen(200, r#"{"QueryResponse":{},"time":"t"}"#);
        assert_eq!(
            none,
            Seen::NotOnThisPage {
                rows: 0,
                more: false
            }
        );
    }

    #[test]
    fn whatever_is_not_a_whole_good_answer_cannot_tell() {
        for (status, body) in [
            (500, r#"{"QueryResponse":{}}"#),
            (200, ""),
            (200, r#"{"QueryResponse":{"BillPayment":["#),
            (200, r#"{"QueryResponse":{"Bill":[]}}"#),
            (200, r#"{"QueryResponse":{"BillPayment":{}}}"#),
            (200, r#"{"BillPayment":{"Id":"1"}}"#),
            (200, super::super::samples::SYSTEM_FAULT),
            (
                200,
                r#"{"QueryResponse":{"BillPayment":[{"PrivateNote":"[sturdy:M1]"}]}}"#,
            ),
        ] {
            assert!(matches!(seen(status, body), Seen::CannotTell(_)), "{body}");
        }
    }

    #[test]
    fn names_cannot_be_looked_up_by_a_mark() {
        assert!(Search::new(Entity::Vendor, "M1", Timestamp::default()).is_err());
    }
}
