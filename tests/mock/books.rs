//! The books: creates, updates, payments, voids, deletes, queries.

use crate::calls::{balance, calm, cents, code, get, mock, post, query};
use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;
use tower_sturdy::mock::{CompanyConfig, EffectKind, MockConfig, MockQbo, PaidBill, bodies};

#[tokio::test(start_paused = true)]
async fn a_payment_lowers_the_balance_and_links_both_sides() {
    let qbo = mock(calm());
    let (open, owed) = (balance(&qbo, "Bill", "1"), balance(&qbo, "Vendor", "1"));
    let (status, body) = post(
        &qbo,
        "billpayment",
        &bodies::bill_payment("1", "1", 500, "op=a"),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let payment = &body["BillPayment"];
    assert_eq!(
        (cents(&payment["TotalAmt"]), &payment["SyncToken"]),
        (500, &json!("0"))
    );
    assert_eq!(
        payment["Line"][0]["LinkedTxn"][0],
        json!({ "TxnId": "1", "TxnType": "Bill" })
    );

    let (_, body) = get(&qbo, "bill/1").await;
    let bill = &body["Bill"];
    assert_eq!(cents(&bill["Balance"]), open - 500);
    assert_eq!(bill["SyncToken"], "1");
    assert_eq!(
        bill["LinkedTxn"],
        json!([{ "TxnId": payment["Id"], "TxnType": "BillPaymentCheck" }])
    );
    assert_ne!(
        bill["MetaData"]["LastUpdatedTime"],
        bill["MetaData"]["CreateTime"]
    );
    assert_eq!(balance(&qbo, "Vendor", "1"), owed - 500);

    let history = qbo.history();
    let effect = history.effects_of("a")[0];
    assert_eq!(
        (effect.what, effect.amount_cents),
        (EffectKind::Created, 500)
    );
    assert_eq!(effect.targets, [("Bill", "1".to_owned(), 500)]);
    assert_eq!(history.sends()[0].effect, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_second_payment_of_a_bill_leaves_all_the_same_unless_told_otherwise() {
    for (paid_bill, left) in [(PaidBill::MoneyLeaves, true), (PaidBill::Voided, false)] {
        let qbo = mock(MockConfig {
            paid_bill,
            ..calm()
        });
        let open = balance(&qbo, "Bill", "1");
        let body = bodies::bill_payment("1", "1", open, "op=a");
        post(&qbo, "billpayment", &body).await;
        let (_, second) = post(&qbo, "billpayment", &body).await;
        assert_eq!(second["BillPayment"]["Line"], json!([]));
        let expected = if left { open } else { 0 };
        assert_eq!(cents(&second["BillPayment"]["TotalAmt"]), expected);
        assert_eq!(balance(&qbo, "Bill", "1"), 0);
        let history = qbo.history();
        let effects = history.effects_of("a");
        assert_eq!(effects.len(), 2);
        assert_eq!(effects[1].targets, [("Bill", "1".to_owned(), open)]);
        assert_eq!(effects[1].amount_cents, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_request_is_told_with_the_code_of_quickbooks() {
    let qbo = mock(calm());
    let vendor = json!({ "VendorRef": { "value": "1" } });
    let mut unknown = bodies::bill("1", 100, "");
    unknown["Nonsense"] = json!(1);
    let mut long = bodies::bill("1", 100, "");
    long["DocNumber"] = json!("0123456789012345678901");
    let mut much = bodies::bill_payment("1", "1", 100, "");
    much["TotalAmt"] = json!(0.5);
    for (target, body, expected) in [
        ("bill", &unknown, "2010"),
        ("bill", &json!([]), "2010"),
        ("bill", &long, "2050"),
        ("bill", &vendor, "2020"),
        ("bill", &json!({}), "2020"),
        ("bill", &bodies::bill("99", 100, ""), "2500"),
        ("billpayment", &vendor, "2020"),
        ("billpayment", &much, "6070"),
        (
            "billpayment",
            &bodies::bill_payment("1", "99999", 100, ""),
            "610",
        ),
        (
            "billpayment",
            &bodies::bill_payment("2", "1", 100, ""),
            "620",
        ),
        (
            "billpayment",
            &bodies::bill_payment("1", "1", -100, ""),
            "6000",
        ),
        ("vendor", &bodies::vendor("vendor 1"), "6240"),
        ("vendor", &json!({}), "2020"),
        ("bill?operation=delete", &bodies::handle("1", "7"), "5010"),
        ("bill?operation=delete", &bodies::handle("1.5", "0"), "2030"),
        ("bill?operation=update", &bodies::bill("1", 100, ""), "2020"),
        (
            "billpayment?operation=void",
            &bodies::handle("1", "0"),
            "500",
        ),
        ("nonsense", &json!({}), "500"),
        ("batch", &json!({}), "500"),
    ] {
        let answer = post(&qbo, target, body).await;
        assert_eq!(
            (answer.0, code(&answer)),
            (StatusCode::BAD_REQUEST, expected),
            "{target} {body}"
        );
    }
    assert_eq!(code(&get(&qbo, "bill/99999").await), "610");
    assert_eq!(
        code(&query(&qbo, "select * from Bill where PrivateNote = 'x'").await),
        "4001"
    );
    assert_eq!(code(&query(&qbo, "select").await), "4000");
    let void = post(&qbo, "bill?operation=void", &bodies::handle("1", "0")).await;
    assert_eq!((void.0, code(&void)), (StatusCode::OK, "10000"));
    assert!(qbo.history().effects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sparse_update_keeps_what_it_does_not_name_and_a_full_one_does_not() {
    let qbo = mock(calm());
    let body = json!({ "DisplayName": "Ann", "CompanyName": "Ann & Co", "PrimaryPhone": { "FreeFormNumber": "1" } });
    let (_, made) = post(&qbo, "vendor", &body).await;
    let id = made["Vendor"]["Id"].as_str().unwrap();
    let sparse = json!({ "Id": id, "SyncToken": "0", "sparse": true, "CompanyName": "Ann Ltd" });
    let (_, after) = post(&qbo, "vendor", &sparse).await;
    assert_eq!(after["Vendor"]["PrimaryPhone"]["FreeFormNumber"], "1");
    assert_eq!(
        (
            &after["Vendor"]["CompanyName"],
            &after["Vendor"]["SyncToken"]
        ),
        (&json!("Ann Ltd"), &json!("1"))
    );
    assert_eq!(code(&post(&qbo, "vendor", &sparse).await), "5010");

    let same = json!({ "Id": id, "SyncToken": "1", "sparse": true, "CompanyName": "Ann Ltd" });
    let (_, same) = post(&qbo, "vendor", &same).await;
    assert_eq!(
        same["Vendor"]["SyncToken"], "1",
        "what changes nothing does not move the token"
    );

    let full = json!({ "Id": id, "SyncToken": "1", "DisplayName": "Ann", "Active": false });
    let (_, full) = post(&qbo, "vendor", &full).await;
    assert_eq!(full["Vendor"]["PrimaryPhone"], Value::Null);
    assert_eq!(full["Vendor"]["DisplayName"], "Ann (deleted)");
    let hidden = format!("select * from Vendor where Id = '{id}'");
    assert_eq!(query(&qbo, &hidden).await.1["QueryResponse"], json!({}));
    let (_, shown) = query(&qbo, &format!("{hidden} and Active in (true, false)")).await;
    assert_eq!(shown["QueryResponse"]["Vendor"][0]["Id"], json!(id));
    assert_eq!(
        code(&post(&qbo, "bill", &bodies::bill(id, 100, "")).await),
        "610"
    );
    assert_eq!(qbo.history().effects().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_new_note_on_a_payment_leaves_its_bill_alone() {
    let qbo = mock(calm());
    let (_, made) = post(
        &qbo,
        "billpayment",
        &bodies::bill_payment("1", "1", 500, ""),
    )
    .await;
    let bill = qbo.entity("1", "Bill", "1");
    let id = made["BillPayment"]["Id"].as_str().unwrap();
    let (status, after) = post(&qbo, "billpayment", &bodies::note(id, "0", "checked")).await;
    assert_eq!(
        (status, &after["BillPayment"]["PrivateNote"]),
        (StatusCode::OK, &json!("checked"))
    );
    assert_eq!(qbo.entity("1", "Bill", "1"), bill);
}

#[tokio::test(start_paused = true)]
async fn a_voided_invoice_is_over_nothing_and_its_payment_is_free_again() {
    let company = CompanyConfig::default();
    let qbo = mock(calm());
    let (invoice, customer) = (company.invoice_id(0), company.customer_of_invoice(0));
    let (_, paid) = post(
        &qbo,
        "payment",
        &bodies::payment(&customer, &invoice, 700, ""),
    )
    .await;
    assert_eq!(cents(&paid["Payment"]["UnappliedAmt"]), 0);
    let (_, void) = post(
        &qbo,
        "invoice?operation=void",
        &bodies::handle(&invoice, "1"),
    )
    .await;
    let void = &void["Invoice"];
    assert_eq!((cents(&void["TotalAmt"]), cents(&void["Balance"])), (0, 0));
    assert_eq!(
        (&void["PrivateNote"], &void["LinkedTxn"]),
        (&json!("Voided"), &json!([]))
    );
    let id = paid["Payment"]["Id"].as_str().unwrap();
    let payment = qbo.entity("1", "Payment", id).unwrap();
    assert_eq!(
        (cents(&payment["UnappliedAmt"]), &payment["Line"]),
        (700, &json!([]))
    );
}

#[tokio::test(start_paused = true)]
async fn a_document_number_may_be_used_twice_unless_the_company_says_no() {
    for (unique, expected) in [(false, "none"), (true, "6140")] {
        let qbo = mock(MockConfig {
            unique_doc_numbers: unique,
            ..calm()
        });
        let mut body = bodies::bill("1", 100, "");
        body["DocNumber"] = json!("B-7");
        post(&qbo, "bill", &body).await;
        assert_eq!(code(&post(&qbo, "bill", &body).await), expected);
        let (_, found) = query(&qbo, "select count(*) from Bill where DocNumber = 'B-7'").await;
        assert_eq!(
            found["QueryResponse"]["totalCount"],
            if unique { 1 } else { 2 }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn queries_lag_behind_and_reads_do_not() {
    let read_lag = Duration::from_secs(5);
    let qbo = mock(MockConfig { read_lag, ..calm() });
    let open = balance(&qbo, "Bill", "1");
    let bill_balance = async || {
        let (_, found) = query(&qbo, "select Balance from Bill where Id = '1'").await;
        cents(&found["QueryResponse"]["Bill"][0]["Balance"])
    };
    let payments = async || {
        query(&qbo, "select count(*) from BillPayment").await.1["QueryResponse"]["totalCount"]
            .clone()
    };
    post(
        &qbo,
        "billpayment",
        &bodies::bill_payment("1", "1", 500, ""),
    )
    .await;
    assert_eq!((bill_balance().await, payments().await), (open, json!(0)));
    assert_eq!(
        cents(&get(&qbo, "bill/1").await.1["Bill"]["Balance"]),
        open - 500
    );
    tokio::time::sleep(read_lag).await;
    assert_eq!(
        (bill_balance().await, payments().await),
        (open - 500, json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn companies_do_not_see_one_another() {
    let companies = vec![CompanyConfig::of("1"), CompanyConfig::of("2")];
    let qbo = mock(MockConfig {
        companies,
        ..calm()
    });
    let other = qbo.entity("2", "Bill", "1");
    post(
        &qbo,
        "billpayment",
        &bodies::bill_payment("1", "1", 500, ""),
    )
    .await;
    assert_eq!(qbo.entity("2", "Bill", "1"), other);
    assert_eq!(
        (
            qbo.entities("1", "BillPayment").len(),
            qbo.entities("2", "BillPayment").len()
        ),
        (1, 0)
    );
}

/// One act on bills 1 to 3 and on the payments so far.
#[derive(Clone, Debug)]
enum Act {
    Pay { bill: u8, cents: i64, over: i64 },
    Move { payment: u8, bill: u8, cents: i64 },
    Void { payment: u8 },
    Delete { payment: u8 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1_u8..4, 0_i64..900, 0_i64..50).prop_map(|(bill, cents, over)| Act::Pay { bill, cents, over }),
        2 => (0_u8..8, 1_u8..4, 0_i64..900).prop_map(|(payment, bill, cents)| Act::Move { payment, bill, cents }),
        1 => (0_u8..8).prop_map(|payment| Act::Void { payment }),
        1 => (0_u8..8).prop_map(|payment| Act::Delete { payment }),
    ]
}

async fn perform(qbo: &MockQbo, act: &Act) {
    let payments = qbo.entities("1", "BillPayment");
    let chosen = |at: u8| payments.get(usize::from(at)).cloned();
    let handle = |of: &Value| {
        bodies::handle(
            of["Id"].as_str().unwrap(),
            of["SyncToken"].as_str().unwrap(),
        )
    };
    let (target, body) = match *act {
        Act::Pay { bill, cents, over } => {
            let mut body = bodies::bill_payment("1", &bill.to_string(), cents, "");
            body["TotalAmt"] = json!((cents + over) as f64 / 100.0);
            ("billpayment", body)
        }
        Act::Move {
            payment,
            bill,
            cents,
        } => {
            let Some(payment) = chosen(payment) else {
                return;
            };
            let mut body = bodies::bill_payment("1", &bill.to_string(), cents, "");
            body["Id"] = payment["Id"].clone();
            body["SyncToken"] = payment["SyncToken"].clone();
            ("billpayment", body)
        }
        Act::Void { payment } => {
            let Some(payment) = chosen(payment) else {
                return;
            };
            (
                "billpayment?operation=update&include=void",
                handle(&payment),
            )
        }
        Act::Delete { payment } => {
            let Some(payment) = chosen(payment) else {
                return;
            };
            ("billpayment?operation=delete", handle(&payment))
        }
    };
    let answer = post(qbo, target, &body).await;
    let refused_move = matches!(act, Act::Move { .. }) && code(&answer) == "6000";
    assert!(
        answer.0 == StatusCode::OK || refused_move,
        "{act:?} {answer:?}"
    );
}

/// What live payments apply to a bill, read from the payments' side.
fn applied(qbo: &MockQbo, bill: &Value) -> i64 {
    let payments = qbo.entities("1", "BillPayment");
    let lines = payments
        .iter()
        .flat_map(|payment| payment["Line"].as_array().unwrap());
    let of_bill = lines.filter(|line| line["LinkedTxn"][0]["TxnId"] == bill["Id"]);
    of_bill.map(|line| cents(&line["Amount"])).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn balances_are_totals_less_what_live_payments_apply(acts in proptest::collection::vec(act(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let company = CompanyConfig { vendors: 1, bills: 3, bill_amount_cents: (1_000, 1_500), ..CompanyConfig::default() };
            let qbo = mock(MockConfig { companies: vec![company], ..calm() });
            for act in &acts {
                perform(&qbo, act).await;
                let (bills, payments) = (qbo.entities("1", "Bill"), qbo.entities("1", "BillPayment"));
                for bill in &bills {
                    assert_eq!(cents(&bill["Balance"]), cents(&bill["TotalAmt"]) - applied(&qbo, bill), "{act:?}");
                    assert!(cents(&bill["Balance"]) >= 0);
                }
                let sum = |of: &[Value]| of.iter().map(|one| cents(&one["TotalAmt"])).sum::<i64>();
                assert_eq!(balance(&qbo, "Vendor", "1"), sum(&bills) - sum(&payments), "{act:?}");
            }
        });
    }
}

/// Any JSON that a hostile or broken client may put in the place of any other.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e20..1e20).prop_map(Value::from),
        "[0-9]{0,2}|Bill|Check|-1|SubTotalLineDetail|\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let name = prop_oneof![
            Just("Amount"),
            Just("LinkedTxn"),
            Just("TxnId"),
            Just("TxnType"),
            Just("DetailType"),
            Just("value")
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_the_body_the_answer_is_200_or_400(
        changes in proptest::collection::vec((0_usize..8, 0_usize..13, json()), 1..30),
    ) {
        const MEMBERS: [&str; 13] = ["Id", "SyncToken", "sparse", "VendorRef", "CustomerRef", "Line", "TotalAmt",
            "PayType", "CheckPayment", "TxnDate", "DocNumber", "DisplayName", "Active"];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let qbo = mock(calm());
            for (at, member, value) in changes {
                let (target, mut body) = match at {
                    0 => ("bill", bodies::bill("1", 500, "")),
                    1 => ("billpayment", bodies::bill_payment("1", "1", 500, "")),
                    2 => ("invoice", bodies::invoice("11", 500, "")),
                    3 => ("payment", bodies::payment("11", "101", 500, "")),
                    4 => ("vendor", bodies::vendor("Ann")),
                    5 => ("billpayment?operation=update&include=void", bodies::handle("121", "0")),
                    6 => ("invoice?operation=void", bodies::handle("101", "0")),
                    _ => ("bill?operation=delete", bodies::handle("2", "0")),
                };
                body[MEMBERS[member]] = value;
                let (status, answer) = post(&qbo, target, &body).await;
                assert!([200, 400].contains(&status.as_u16()), "{target} {body} {answer}");
            }
            for sent in qbo.history().sends() {
                assert!(sent.answered.is_some() && !sent.answer_lost, "{sent:?}");
            }
        });
    }
}
