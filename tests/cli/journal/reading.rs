//! Looking: `list`, `show`, `stats`, `export`.

use super::super::fill::{self, SECRETS, hours, in_doubt};
use super::{done, filled, id, json, on_record};
use serde_json::Value;
use tower_sturdy::journal::{Record, State};

#[test]
fn a_list_shows_what_is_not_settled_and_what_is_contradicted_oldest_first() {
    let (_folder, file) = filled();
    let told = done(&file, &["list"]);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("ID "), "{told}");
    let order: Vec<bool> = [3, 4, 1, 5]
        .into_iter()
        .zip(&lines[1..])
        .map(|(number, line)| line.starts_with(id(number)))
        .collect();
    assert_eq!(order, [true; 4], "{told}");
    assert!(
        lines[2].contains("rejected!") && lines[6].starts_with("! contradicted"),
        "{told}"
    );
    assert!(lines[5].contains("waits for you"), "{told}");
    assert!(
        lines[1].contains("2d 2h") && lines[1].contains("in 59m"),
        "{told}"
    );
    assert!(lines.iter().all(|line| line.len() <= 100), "{told}");
}

#[test]
fn a_list_is_narrowed_by_state_age_tenant_and_number() {
    let (_folder, file) = filled();
    let ids = |args: &[&str]| -> Vec<String> {
        let listed = json(&file, &[&["list"], args].concat());
        let operations = listed["operations"].as_array().unwrap().iter();
        operations
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all =
        |numbers: &[u128]| -> Vec<String> { numbers.iter().map(|n| id(*n).to_owned()).collect() };
    assert_eq!(ids(&["--all"]), all(&[3, 2, 4, 1, 5]));
    assert_eq!(ids(&["--state", "completed"]), all(&[2]));
    assert_eq!(
        ids(&["--state", "parked", "--state", "rejected"]),
        all(&[3, 4])
    );
    assert_eq!(ids(&["--older-than", "2h"]), all(&[3, 4, 1]));
    assert_eq!(ids(&["--tenant", "9130"]), all(&[4]));
    assert_eq!(ids(&["--contradicted"]), all(&[4]));
    assert_eq!(ids(&["--contradicted", "--state", "unknown"]), all(&[]));
    assert_eq!(ids(&["--limit", "2"]), all(&[3, 4]));
    let cut = done(&file, &["list", "--limit", "2"]);
    assert!(cut.contains("2 of 4"), "{cut}");
    assert_eq!(json(&file, &["list", "--limit", "2"])["matching"], 4);
    assert_eq!(
        done(&file, &["list", "--tenant", "nobody"]).lines().count(),
        1
    );
}

#[test]
fn a_person_sees_attempts_and_history_and_no_business_data_unless_asked() {
    let (_folder, file) = filled();
    for number in 1..=5 {
        let id = id(number);
        let told = [
            done(&file, &["show", id]),
            json(&file, &["show", id]).to_string(),
            done(&file, &["list", "--all", "--json"]),
            done(&file, &["export"]),
        ];
        for secret in SECRETS {
            assert!(
                told.iter().all(|told| !told.contains(secret)),
                "{secret}: {told:?}"
            );
        }
    }
    let told = done(&file, &["show", id(4)]);
    for part in [
        "tenant     9130",
        "pay-bill-4",
        "POST https://upstream.example/v3/pay",
        "person:bob: not in the list",
        "CONTRADICTED",
        "its mark is on BillPayment 7",
        "unknown -> rejected",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = done(&file, &["show", id(2), "--bodies"]);
    for secret in SECRETS {
        assert!(told.contains(secret), "{secret}: {told}");
    }
    let shown = json(&file, &["show", id(2), "--bodies"]);
    assert_eq!(shown["answer"]["body"], "balance-99");
    assert_eq!(shown["request"]["headers"][0]["value"], "tok-secret");
    assert!(
        shown["request"]["url"]
            .as_str()
            .unwrap()
            .ends_with("?card=4111")
    );
}

#[test]
fn the_json_of_an_operation_is_what_its_page_says() {
    let (_folder, file) = filled();
    let shown = json(&file, &["show", &id(5).to_lowercase()]);
    assert_eq!(shown["id"], id(5));
    assert_eq!(
        (&shown["state"], &shown["outcome"]),
        (&"unknown".into(), &"unknown".into())
    );
    let record = on_record(&file, 5);
    assert_eq!(
        shown["asked_at"],
        tower_sturdy::qbo::iso::format(record.asked.at)
    );
    assert_eq!(shown["open_until"], shown["attempts"][0]["settles"]);
    assert_eq!(shown["attempts"][0]["ended"], Value::Null);
    assert_eq!(shown["history"][0]["from"], "claimed");
    assert_eq!(shown["request"]["bytes"], 23);
    assert!(shown["request"].get("body").is_none());
    let by_key = json(&file, &["show", "--key", "pay-bill-5", "--tenant", "9131"]);
    assert_eq!(by_key, shown);
    let resolved = json(&file, &["show", id(4)]);
    assert_eq!(resolved["resolved"]["applied"], false);
    assert_eq!(resolved["contradicted"], true);
}

#[test]
fn an_empty_journal_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let file = fill::file(folder.path(), &[]);
    assert!(done(&file, &["list"]).contains("nothing is unsettled"));
    assert!(done(&file, &["stats"]).contains("no operation is on record"));
    assert_eq!(done(&file, &["export"]), "");
    assert_eq!(json(&file, &["stats"])["oldest_unresolved"], Value::Null);
    assert_eq!(
        json(&file, &["list"])["operations"],
        Value::Array(Vec::new())
    );
}

#[test]
fn stats_count_by_state_what_is_due_and_what_is_contradicted() {
    let (_folder, file) = filled();
    let stats = json(&file, &["stats"]);
    let count = |state: &str| {
        let states = stats["states"].as_array().unwrap();
        states.iter().find(|one| one["state"] == state).unwrap()["count"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        State::ALL.map(|state| count(state.as_str())),
        [0, 0, 2, 0, 1, 1, 1]
    );
    assert_eq!(
        (&stats["due"], &stats["contradicted"]),
        (&2.into(), &1.into())
    );
    assert_eq!(stats["parked"], 1);
    let oldest = tower_sturdy::qbo::iso::format(on_record(&file, 3).asked.at);
    assert_eq!(stats["oldest_unresolved"], oldest);
    assert!(stats["lag_ms"].as_u64().unwrap() >= 3 * 3_600_000);
    assert!(stats["file_bytes"].as_u64().unwrap() > 0);
    let told = done(&file, &["stats"]);
    assert!(told.contains("due           2, the first 3h ago"), "{told}");
}

#[test]
fn an_export_is_one_json_object_a_line_and_may_begin_at_a_time() {
    let (_folder, file) = filled();
    let told = done(&file, &["export"]);
    let ids: Vec<String> = told
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["id"]
                .as_str()
                .unwrap()
                .into()
        })
        .collect();
    assert_eq!(ids, [1, 2, 3, 4, 5].map(id));
    let since = tower_sturdy::qbo::iso::format(fill::now().minus(hours(4)));
    let told = done(&file, &["export", "--since", &since, "--bodies"]);
    assert_eq!(told.lines().count(), 2);
    assert!(told.contains("amount-10.42"));
}

#[test]
fn an_export_of_more_than_a_page_holds_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<Record> = (1..=1_203)
        .map(|number| in_doubt(number, hours(1)))
        .collect();
    let file = fill::file(folder.path(), &records);
    let told = done(&file, &["export"]);
    let mut ids: Vec<&str> = told.lines().map(|line| &line[7..33]).collect();
    assert_eq!(ids.len(), 1_203);
    ids.dedup();
    assert_eq!(ids.len(), 1_203);
}
