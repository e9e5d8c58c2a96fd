//! What really happened, from the mock's effects.

use super::{Case, DigestAnswer, Expected, ratio};
use crate::clock::Timestamp;
use crate::mock::{Effect, EffectKind};
use crate::scenario::told::{Answers, Told};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

pub(super) struct Truth<'a> {
    /// Per operation: when it took effect, each time.
    effects: Vec<Vec<Timestamp>>,
    /// Operations (and strays) with an effect that is not what was asked for.
    pub(super) wrong: usize,
    /// Per bill: how many effects pay it, and when the first did.
    bills: BTreeMap<(&'a str, &'a str), (usize, Timestamp)>,
}

impl<'a> Truth<'a> {
    pub(super) fn new(case: &Case<'a>, index: &HashMap<&str, usize>) -> Self {
        let mut effects = vec![Vec::new(); case.expected.len()];
        let mut wrong = vec![false; case.expected.len()];
        let mut strays = 0;
        let mut bills = BTreeMap::new();
        for effect in case.effects {
            let created = matches!(effect.what, EffectKind::Created);
            for (kind, id, _) in effect.targets.iter().filter(|_| created) {
                if *kind == "Bill" {
                    bills
                        .entry((&*effect.realm, id.as_str()))
                        .and_modify(|(times, _)| *times += 1)
                        .or_insert((1, effect.at));
                }
            }
            let Some(at) = effect
                .marker
                .as_deref()
                .and_then(|marker| index.get(marker))
            else {
                strays += 1;
                continue;
            };
            if created {
                effects[*at].push(effect.at);
            }
            wrong[*at] |= !created || !is_as_asked(effect, &case.expected[*at]);
        }
        for times in &mut effects {
            times.sort_unstable();
        }
        Self {
            effects,
            wrong: wrong.into_iter().filter(|wrong| *wrong).count() + strays,
            bills,
        }
    }

    pub(super) fn first_effect(&self, operation: usize) -> Option<Timestamp> {
        self.effects[operation].first().copied()
    }

    pub(super) fn duplicates(&self) -> usize {
        self.effects
            .iter()
            .map(|times| times.len().saturating_sub(1))
            .sum()
    }

    pub(super) fn paid_twice(&self) -> usize {
        self.bills.values().filter(|(times, _)| *times > 1).count()
    }

    /// The share of operations on which what was told and what is differ, as of `at`.
    pub(super) fn drift(&self, answers: &[Answers], at: Timestamp) -> f64 {
        let differ = self
            .effects
            .iter()
            .zip(answers)
            .filter(|(times, answers)| {
                let effects = times.iter().filter(|when| **when <= at).count();
                let believed = usize::from(answers.belief(at) == Some(Told::Succeeded));
                effects != believed
            })
            .count();
        ratio(differ, answers.len())
    }

    /// How old each stale answer was: for how long the upstream had shown the first payment that the answer lacked. One
    /// that knew of more payments than there were by then is of no age.
    pub(super) fn stale_ages(&self, digests: &[DigestAnswer], read_lag: Duration) -> Vec<Duration> {
        let mut shown: HashMap<&str, Vec<Timestamp>> = HashMap::new();
        for ((realm, _), (_, first)) in &self.bills {
            shown.entry(realm).or_default().push(first.plus(read_lag));
        }
        for times in shown.values_mut() {
            times.sort_unstable();
        }
        digests
            .iter()
            .filter_map(|digest| {
                let shown = shown
                    .get(digest.realm.as_str())
                    .map_or(&[][..], |times| times);
                // What a read lag keeps from view may be seen all the same.
                let made = shown.partition_point(|at| *at <= digest.answered.plus(read_lag));
                if digest.paid > made {
                    return Some(Duration::ZERO);
                }
                let missed = *shown.get(digest.paid)?;
                (missed < digest.asked).then(|| digest.asked.since(missed))
            })
            .collect()
    }
}

fn is_as_asked(effect: &Effect, expected: &Expected) -> bool {
    *effect.realm == *expected.realm
        && effect.amount_cents == expected.cents
        && matches!(effect.targets.as_slice(), [(kind, id, cents)]
            if *kind == "Bill" && *id == expected.bill && *cents == expected.cents)
}
