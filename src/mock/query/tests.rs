use super::*;
use crate::clock::Timestamp;
use crate::mock::entities::State;
use proptest::prelude::*;
use serde_json::{Value, json};

fn row(id: u64, created: u64, party: u64, total: i64, number: u32, state: State) -> Row {
    let fields = json!({ "DocNumber": format!("D{number}"), "TxnDate": format!("2026-11-{:02}", 1 + number % 28) });
    let Value::Object(fields) = fields else {
        unreachable!("an object was written above")
    };
    Row {
        id,
        created: Timestamp::from_millis(created),
        updated: Timestamp::from_millis(created + u64::from(number) * 700),
        state,
        party,
        total,
        fields,
        ..Row::default()
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let state = prop_oneof![4 => Just(State::Live), 1 => Just(State::Deleted)];
    let one = (0_u64..3_000, 1_u64..4, 0_i64..1_000, 0_u32..6, state);
    proptest::collection::vec(one, 0..40).prop_map(|told| {
        let mut created = 1_793_638_800_000;
        let numbered = told.into_iter().zip(1_u64..);
        numbered
            .map(|((gap, party, total, number, state), id)| {
                created += gap;
                row(id, created, party, total, number, state)
            })
            .collect()
    })
}

/// A condition as text, and what it means.
type Told = (String, Box<dyn Fn(&Row) -> bool>);

fn compares(operator: &str, order: std::cmp::Ordering) -> bool {
    match operator {
        "=" => order.is_eq(),
        "<" => order.is_lt(),
        ">" => order.is_gt(),
        "<=" => order.is_le(),
        _ => order.is_ge(),
    }
}

fn told(pick: (u8, u8, u64)) -> Told {
    let (what, operator, value) = pick;
    let operator = ["=", "<", ">", "<=", ">="][usize::from(operator % 5)];
    match what % 6 {
        0 => {
            let at = 1_793_638_800_000 + value * 400;
            let text = date::millis(Timestamp::from_millis(at));
            let means = move |row: &Row| {
                compares(operator, (row.created.as_millis() / 1_000 * 1_000).cmp(&at))
            };
            (
                format!("MetaData.CreateTime {operator} '{text}'"),
                Box::new(means),
            )
        }
        1 => {
            let (one, other) = (value % 40, value % 7);
            let means = move |row: &Row| row.id == one || row.id == other;
            (format!("Id IN ('{one}', '{other}')"), Box::new(means))
        }
        2 => {
            let cents = i64::try_from(value).unwrap() * 10;
            let means = move |row: &Row| compares(operator, row.total.cmp(&cents));
            let text = format!("TotalAmt {operator} '{}.{:02}'", cents / 100, cents % 100);
            (text, Box::new(means))
        }
        3 => {
            let number = format!("D{}", value % 6);
            let text = format!("docnumber = '{number}'");
            (
                text,
                Box::new(move |row: &Row| row.text("DocNumber") == Some(&number)),
            )
        }
        4 => {
            let party = value % 5;
            (
                format!("VendorRef = '{party}'"),
                Box::new(move |row: &Row| row.party == party),
            )
        }
        _ => {
            let digit = (value % 6).to_string();
            let text = format!("DocNumber LIKE '%{digit}'");
            (
                text,
                Box::new(move |row: &Row| row.text("DocNumber").unwrap().ends_with(&digit)),
            )
        }
    }
}

proptest! {
    #[test]
    fn the_index_and_the_filters_agree_with_a_look_at_every_row(
        rows in rows(),
        picks in proptest::collection::vec((any::<u8>(), any::<u8>(), 0_u64..200), 0..4),
        start in 1_usize..5,
        max in 1_usize..20,
    ) {
        let mut table = Table::default();
        for row in rows.clone() {
            table.insert(row);
        }
        let told: Vec<Told> = picks.into_iter().map(told).collect();
        let texts: Vec<_> = told.iter().map(|(text, _)| text.as_str()).collect();
        let conditions = if texts.is_empty() { String::new() } else { format!(" WHERE {}", texts.join(" AND ")) };
        let naive: Vec<u64> = rows
            .iter()
            .rev()
            .filter(|row| row.state != State::Deleted && told.iter().all(|(_, means)| means(row)))
            .map(|row| row.id)
            .collect();

        let count = parse(&format!("select count(*) from Bill{conditions}")).unwrap();
        let Found::Count(found) = search(&table, &count, None) else { panic!("no count") };
        prop_assert_eq!(found, naive.len(), "{}", conditions);

        let page = format!("select * from bill{conditions} STARTPOSITION {start} MAXRESULTS {max}");
        let Found::Page(found) = search(&table, &parse(&page).unwrap(), None) else { panic!("no page") };
        let found: Vec<u64> = found.iter().map(|row| row.id).collect();
        let expected: Vec<u64> = naive.iter().copied().skip(start - 1).take(max).collect();
        prop_assert_eq!(found, expected, "{}", page);

        let ordered = format!("select Id from Bill{conditions} ORDERBY TotalAmt DESC, Id maxresults 1000");
        let Found::Page(found) = search(&table, &parse(&ordered).unwrap(), None) else { panic!("no page") };
        prop_assert_eq!(found.len(), naive.len());
        prop_assert!(found.is_sorted_by_key(|row| (-row.total, row.id)));
    }

    #[test]
    fn parsing_never_panics(
        wild in "\\PC{0,80}",
        near in "(select|\\*|from|Bill|where|Id|MetaData.CreateTime|=|<=|in|like|\\(|\\)|,|'|\\\\|'7'|and|orderby|maxresults|0|[ ]){0,24}",
    ) {
        let _ = parse(&wild);
        let _ = parse(&near);
        let _ = parse(&format!("select * from Bill where {wild}"));
    }

    #[test]
    fn a_pattern_matches_what_it_was_made_from(parts in proptest::collection::vec("[a-c]{0,3}", 1..4), fill in "[a-c]{0,3}") {
        prop_assert!(like(&parts.join(&fill), &parts.join("%")));
        prop_assert!(like(&parts.concat(), &parts.concat()));
    }
}

fn code(text: &str) -> &'static str {
    parse(text).err().map_or("none", |wrong| wrong.fault().code)
}

#[test]
fn what_is_no_query_and_what_is_none_of_ours_are_told_apart() {
    for text in [
        "",
        "delete from Bill",
        "select * from",
        "select * from Bill where",
        "select * from Bill where Id = '7",
        "select * from Bill nonsense",
        "select * from Bill where Id ~ '7'",
    ] {
        assert_eq!(code(text), "4000", "{text}");
    }
    for text in [
        "select * from Nothing",
        "select * from Bill where PrivateNote = 'op=7'",
        "select * from Bill where Id > '7'",
        "select * from Bill where Id = 'seven'",
        "select * from Bill maxresults 0",
        "select * from Bill maxresults 1001",
        "select * from Bill startposition 0",
        "select * from Bill where MetaData.CreateTime > 'yesterday'",
    ] {
        assert_eq!(code(text), "4001", "{text}");
    }
    for text in [
        "select * from customer startposition 1 maxresults 2",
        "SELECT COUNT(*) FROM Vendor WHERE Active IN (true, false)",
        "select Id, DisplayName from Vendor where DisplayName = 'O\\'Hara' order by DisplayName desc",
        "select * from Bill where Balance > 0 and TotalAmt<=12.5",
    ] {
        assert_eq!(code(text), "none", "{text}");
    }
}

#[test]
fn like_knows_where_the_text_begins_and_ends() {
    assert!(like("Vendor 12", "Vend%2"));
    assert!(!like("Vendor 12", "endor%"));
    assert!(!like("Vendor 12", "Vendor 1"));
    assert!(!like("ab", "ab%b"));
    assert!(like("", "%"));
}
