//! Admission beside its peers: what a straight call costs, what a tenant weighs, what a long line costs.
//!
//! `cargo bench --features full --bench admission`; after `--`: `--rounds N` (21 by default, 3 for a glance) and
//! `--only calls|memory|lines`. Prints tables and writes `admission.json` into the target directory. Calls are timed as in
//! the bench `overhead`, whose machinery this is.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a program that measures and prints"
)]
#![allow(
    dead_code,
    reason = "the machinery of the bench `overhead` has more than is needed here"
)]

#[path = "../overhead/bare.rs"]
mod bare;
#[path = "../overhead/calls.rs"]
mod calls;
mod lines;
#[path = "../overhead/measure.rs"]
mod measure;
mod memory;
#[path = "../overhead/report.rs"]
mod report;
#[path = "../overhead/requests.rs"]
mod requests;
mod straight;

fn main() {
    let (mut rounds, mut only) = (21, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => {
                let number = words.next().and_then(|number| number.parse().ok());
                rounds = number.filter(|rounds| *rounds > 0).expect("--rounds N");
            }
            "--only" => only = Some(words.next().expect("--only calls|memory|lines")),
            // Cargo says it to every bench.
            "--bench" => {}
            other => panic!("{other:?} is not known: --rounds N, --only calls|memory|lines"),
        }
    }
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if wanted("calls") {
        let measured = measure::measure(straight::rows(), rounds);
        report::print(&measured);
        report::write(&measured, rounds, "admission.json");
    }
    if wanted("memory") {
        memory::report();
    }
    if wanted("lines") {
        lines::report(rounds);
    }
}
