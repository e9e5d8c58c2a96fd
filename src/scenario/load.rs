//! What happens, from the seed alone: every line-up of one seed meets the same actions at the same times.

use super::config::{Scenario, Surge, WriteCapability};
use std::time::Duration;

/// Everything that happens in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed it came from.
    pub seed: u64,
    /// How many companies there are.
    pub companies: usize,
    /// Bills paid, by time.
    pub operations: Vec<Operation>,
    /// Background reads, by time.
    pub digests: Vec<Digest>,
    /// When our process dies.
    pub crashes: Vec<Duration>,
}

/// One user pays one bill; no two operations share a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// When the user clicks.
    pub at: Duration,
    /// In which company.
    pub company: usize,
    /// Which user of it.
    pub user: usize,
    /// Which bill of it.
    pub bill: usize,
    /// What the write is declared as.
    pub capability: WriteCapability,
    /// When the user clicks a second time, after the first.
    pub second_click: Option<Duration>,
    /// The user's own chances: think times.
    pub seed: u64,
}

/// One background read of one company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// When.
    pub at: Duration,
    /// Which company.
    pub company: usize,
}

impl Plan {
    /// Draws everything from the seed.
    #[must_use]
    pub fn draw(scenario: &Scenario, seed: u64) -> Self {
        Self {
            seed,
            companies: scenario.load.companies,
            operations: operations(scenario, seed),
            digests: digests(scenario, seed),
            crashes: crashes(scenario, seed),
        }
    }

    /// The realm of a company.
    #[must_use]
    pub fn realm(company: usize) -> String {
        // Realm ids are long numbers.
        (4_620_816_365_000_000_000 + company as u64).to_string()
    }

    /// The word that the scenario plants in an operation's note, and its key.
    #[must_use]
    pub fn token(&self, operation: usize) -> String {
        format!("s{}-{operation}", self.seed)
    }

    /// How many bills each company needs.
    #[must_use]
    pub fn bills(&self) -> Vec<usize> {
        let mut bills = vec![0; self.companies];
        for operation in &self.operations {
            bills[operation.company] += 1;
        }
        bills
    }
}

/// A stream of its own for every purpose, so that a change to one leaves the others as they were.
fn stream(seed: u64, purpose: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ purpose.rotate_left(32))
}

/// The times of a Poisson process, given how many events there are, are as many independent draws from its intensity.
fn operations(scenario: &Scenario, seed: u64) -> Vec<Operation> {
    let load = &scenario.load;
    let mut rng = stream(seed, 1);
    let mut kinds = stream(seed, 4);
    let over = load.over.get();
    let warp = Warp::new(over, &load.surges);
    let mut bills = vec![0; load.companies];
    let mut drawn: Vec<_> = (0..load.operations)
        .map(|at| {
            let company = at % load.companies;
            let bill = bills[company];
            bills[company] += 1;
            Operation {
                at: warp.at(rng.f64()),
                company,
                user: rng.usize(0..load.users),
                bill,
                capability: load.capability.at(kinds.f64()),
                second_click: (rng.f64() < load.double_click)
                    .then(|| load.double_click_gap.get().mul_f64(0.5 + rng.f64())),
                seed: rng.u64(..),
            }
        })
        .collect();
    drawn.sort_by_key(|operation| (operation.at, operation.company, operation.bill));
    drawn
}

fn digests(scenario: &Scenario, seed: u64) -> Vec<Digest> {
    let Some(digest) = &scenario.digest else {
        return Vec::new();
    };
    let mut rng = stream(seed, 2);
    let (every, over) = (digest.every.get(), scenario.load.over.get());
    let mut drawn = Vec::new();
    for company in 0..scenario.load.companies {
        let mut at = every.mul_f64(rng.f64());
        while at < over {
            drawn.push(Digest { at, company });
            at += every;
        }
    }
    drawn.sort_by_key(|digest| (digest.at, digest.company));
    drawn
}

fn crashes(scenario: &Scenario, seed: u64) -> Vec<Duration> {
    let Some(crash) = &scenario.crash else {
        return Vec::new();
    };
    let mut rng = stream(seed, 3);
    let mut drawn = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += crash.every.get().mul_f64(0.5 + rng.f64()) + crash.down.get();
        if at >= scenario.load.over.get() {
            return drawn;
        }
        drawn.push(whole_millis(at));
    }
}

/// What tokio's timer can tell apart.
fn whole_millis(at: Duration) -> Duration {
    at - Duration::from_nanos(u64::from(at.subsec_nanos() % 1_000_000))
}

/// Turns an even draw into a time of the load, denser where more happens.
struct Warp {
    /// Pieces of constant intensity: start in seconds, intensity, and weight of all before.
    pieces: Vec<(f64, f64, f64)>,
    total: f64,
}

impl Warp {
    fn new(over: Duration, surges: &[Surge]) -> Self {
        let over = over.as_secs_f64();
        let mut cuts = vec![0.0, over];
        for surge in surges {
            cuts.extend([surge.from, surge.until].map(|cut| cut.get().as_secs_f64().min(over)));
        }
        cuts.sort_by(f64::total_cmp);
        cuts.dedup();
        let mut pieces = Vec::new();
        let mut total = 0.0;
        for pair in cuts.windows(2) {
            let times = surges
                .iter()
                .filter(|surge| {
                    surge.from.get().as_secs_f64() <= pair[0]
                        && pair[0] < surge.until.get().as_secs_f64()
                })
                .map(|surge| surge.times)
                .product::<f64>();
            pieces.push((pair[0], times, total));
            total += (pair[1] - pair[0]) * times;
        }
        Self { pieces, total }
    }

    fn at(&self, fraction: f64) -> Duration {
        let weight = fraction * self.total;
        let piece = self
            .pieces
            .partition_point(|(_, _, before)| *before <= weight)
            .saturating_sub(1);
        let (start, times, before) = self.pieces[piece];
        whole_millis(Duration::from_secs_f64(start + (weight - before) / times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::config::Scenario;
    use proptest::prelude::*;

    fn scenario(more: &str) -> Scenario {
        Scenario::parse(&format!(
            "name = \"t\"\nsettling = \"5m\"\n[digest]\nevery = \"30s\"\n[crash]\nevery = \"60s\"\n\
             [load]\ncompanies = 3\nusers = 4\noperations = 300\nover = \"10m\"\ndouble_click = 0.2\n{more}"
        ))
        .unwrap()
    }

    proptest! {
        #[test]
        fn one_seed_is_one_plan_in_order_of_time_within_the_load(seed: u64) {
            let scenario = scenario("");
            let plan = Plan::draw(&scenario, seed);
            prop_assert_eq!(&plan, &Plan::draw(&scenario, seed));
            prop_assert!(plan.operations.is_sorted_by_key(|operation| operation.at));
            prop_assert!(plan.digests.is_sorted_by_key(|digest| digest.at));
            prop_assert!(plan.operations.iter().all(|operation| operation.at <= scenario.load_ends()));
            prop_assert!(plan.crashes.is_sorted() && plan.crashes.len() > 3);
        }

        #[test]
        fn every_operation_has_a_bill_of_its_own(seed: u64) {
            let plan = Plan::draw(&scenario(""), seed);
            prop_assert_eq!(plan.bills(), vec![100; 3]);
            let mut bills: Vec<_> = plan.operations.iter().map(|o| (o.company, o.bill)).collect();
            bills.sort_unstable();
            bills.dedup();
            prop_assert_eq!(bills.len(), 300);
        }
    }

    #[test]
    fn other_seeds_are_other_plans() {
        let scenario = scenario("");
        assert_ne!(Plan::draw(&scenario, 1), Plan::draw(&scenario, 2));
    }

    #[test]
    fn writes_are_declared_by_their_shares_and_nothing_else_of_the_plan_changes() {
        let mixed = scenario("[load.capability]\nlookup = 0.4\nnone = 0.2\n");
        let mut plan = Plan::draw(&mixed, 6);
        let of = |plan: &Plan, kind| {
            let operations = plan.operations.iter();
            operations.filter(|of| of.capability == kind).count()
        };
        let (lookup, none) = (
            of(&plan, WriteCapability::Lookup),
            of(&plan, WriteCapability::None),
        );
        assert!((90..150).contains(&lookup) && (40..80).contains(&none));
        for operation in &mut plan.operations {
            operation.capability = WriteCapability::Keyed;
        }
        assert_eq!(plan, Plan::draw(&scenario(""), 6));
    }

    #[test]
    fn a_surge_holds_its_share_of_the_load() {
        let scenario = scenario("[[load.surges]]\nfrom = \"1m\"\nuntil = \"2m\"\ntimes = 9\n");
        let plan = Plan::draw(&scenario, 5);
        let within = plan
            .operations
            .iter()
            .filter(|operation| (60..120).contains(&operation.at.as_secs()))
            .count();
        // One minute of nine weights against nine minutes of one: half of all.
        assert!((110..190).contains(&within), "{within} of 300");
    }
}
