//! What each room costs over the bare call, beside its peers and its budget: one interleaved run.
//!
//! `cargo bench --features full --bench overhead`; after `--`: `--rounds N` (21 by default, 3 for a glance) and `--only WORD`
//! (rows whose name has it, and
//! their bare calls). Prints a table and writes `overhead.json` into the target directory.
//!
//! Every row clones a request with 3 headers, makes the service ready, calls it, and takes a 1 KiB answer. Rounds go
//! over all rows in turn, so that whatever else the machine does meets them all alike; within a round a row is timed in
//! batches of a quarter of a millisecond, whose median leaves out those in which the machine did something else. Before
//! it is timed, a row proves that it takes the path that it is named after.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a program that measures and prints"
)]

mod bare;
mod calls;
mod measure;
mod peers;
mod report;
mod requests;
mod rooms;

use measure::Row;

struct Args {
    rounds: usize,
    only: Option<String>,
}

fn args() -> Args {
    let mut parsed = Args {
        rounds: 21,
        only: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => {
                let rounds = words.next().and_then(|number| number.parse().ok());
                parsed.rounds = rounds.filter(|rounds| *rounds > 0).expect("--rounds N");
            }
            "--only" => parsed.only = Some(words.next().expect("--only WORD")),
            // Cargo says it to every bench.
            "--bench" => {}
            other => panic!("{other:?} is not known: --rounds N, --only WORD"),
        }
    }
    parsed
}

fn main() {
    let args = args();
    let mut rows: Vec<Row> = bare::rows();
    rows.extend(rooms::rows());
    rows.extend(peers::rows());
    if let Some(word) = &args.only {
        let wanted = |row: &Row| !row.is_bare() && row.name().contains(word.as_str());
        let bare: Vec<_> = rows
            .iter()
            .filter(|row| wanted(row))
            .map(Row::over)
            .collect();
        rows.retain(|row| wanted(row) || bare.contains(&row.name()));
    }
    let measured = measure::measure(rows, args.rounds);
    report::print(&measured);
    report::write(&measured, args.rounds, "overhead.json");
}
