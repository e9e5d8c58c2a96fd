//! Rounds over all rows, and what is kept of them.

use std::time::Duration;

/// One row's time in one round.
const SHARE: Duration = Duration::from_millis(25);
/// Short enough that most batches meet no other process, long enough that reading the clock costs nothing.
const BATCH: Duration = Duration::from_micros(250);

/// Something that can be called many times.
pub(crate) trait Bench {
    /// Whether its calls go the way that the row is named after.
    fn prove(&mut self) -> Result<(), String>;

    /// Makes anew what would grow without bound.
    fn renew(&mut self) {}

    /// The time of each of `batches` batches of `calls` calls; more than one time for a batch where threads share it.
    fn run(&mut self, calls: u32, batches: u32) -> Vec<Duration>;

    /// Whether its allocations are made on the thread that runs it.
    fn counts(&self) -> bool {
        true
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bare,
    Ours,
    Peer,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Ours => "ours",
            Self::Peer => "peer",
        }
    }
}

/// What the design allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) ns: f64,
    /// Of the call itself, rather than over the bare call.
    pub(crate) whole: bool,
    pub(crate) allocations: Option<f64>,
}

pub(crate) struct Row {
    name: &'static str,
    kind: Kind,
    over: &'static str,
    budget: Option<Budget>,
    bench: Box<dyn Bench>,
}

impl Row {
    pub(crate) fn new(
        kind: Kind,
        name: &'static str,
        over: &'static str,
        bench: impl Bench + 'static,
    ) -> Self {
        Self {
            name,
            kind,
            over,
            budget: None,
            bench: Box::new(bench),
        }
    }

    /// Over the bare call.
    pub(crate) fn may_cost(mut self, ns: f64, allocations: Option<f64>) -> Self {
        self.budget = Some(Budget {
            ns,
            whole: false,
            allocations,
        });
        self
    }

    pub(crate) fn may_take(mut self, ns: f64) -> Self {
        self.budget = Some(Budget {
            ns,
            whole: true,
            allocations: None,
        });
        self
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.kind == Kind::Bare
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// What a row came to.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) over: &'static str,
    pub(crate) budget: Option<Budget>,
    /// Of a call, one for each round.
    pub(crate) rounds: Vec<f64>,
    /// Of a call; `None` where they are made on several threads.
    pub(crate) allocations: Option<f64>,
}

impl Measured {
    pub(crate) fn median(&self) -> f64 {
        median(self.rounds.clone())
    }

    pub(crate) fn best(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

fn per_call(time: Duration, calls: u32) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(calls)
}

/// How many calls make a batch.
fn calibrate(bench: &mut dyn Bench) -> u32 {
    let mut calls = 16;
    loop {
        let times = bench.run(calls, 5);
        let typical = median(times.iter().map(Duration::as_secs_f64).collect());
        if typical >= BATCH.as_secs_f64() || calls >= 1 << 20 {
            return calls;
        }
        calls *= 2;
    }
}

fn allocations(bench: &mut dyn Bench) -> Option<f64> {
    const CALLS: u32 = 2_048;
    if !bench.counts() {
        return None;
    }
    let counted = allocation_counter::measure(|| {
        bench.run(CALLS, 1);
    });
    let total = u32::try_from(counted.count_total).unwrap();
    Some(f64::from(total) / f64::from(CALLS))
}

fn one_round(bench: &mut dyn Bench, calls: u32) -> f64 {
    // A batch has its length at least, and twice that at most.
    let batches = u32::try_from(SHARE.as_micros() / BATCH.as_micros()).unwrap() * 2 / 3;
    bench.renew();
    bench.run(calls, 2);
    let times = bench.run(calls, batches);
    median(
        times
            .into_iter()
            .map(|time| per_call(time, calls))
            .collect(),
    )
}

pub(crate) fn measure(mut rows: Vec<Row>, rounds: usize) -> Vec<Measured> {
    let mut measured = Vec::new();
    let mut batch = Vec::new();
    for row in &mut rows {
        if let Err(why) = row.bench.prove() {
            panic!("{}: {why}", row.name);
        }
        batch.push(calibrate(&mut *row.bench));
        measured.push(Measured {
            name: row.name,
            kind: row.kind,
            over: row.over,
            budget: row.budget,
            rounds: Vec::with_capacity(rounds),
            allocations: allocations(&mut *row.bench),
        });
    }
    for _ in 0..rounds {
        for ((row, calls), measured) in rows.iter_mut().zip(&batch).zip(&mut measured) {
            measured.rounds.push(one_round(&mut *row.bench, *calls));
        }
    }
    measured
}
