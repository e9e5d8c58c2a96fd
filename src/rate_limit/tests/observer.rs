//! What an observer at the upstream may see, who knows nothing of slots.

use super::super::config::{Counts, Scope};
use super::*;

/// One call as it is counted upstream: at some time between send and answer.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sent: Nanos,
    over: Nanos,
    weight: u64,
    user: bool,
}

/// Where between send and answer each request is counted.
const COUNTED: [fn(usize, Seen) -> Nanos; 4] = [
    |_, seen| seen.sent,
    |_, seen| seen.over,
    |index, seen| [seen.sent, seen.over][index % 2],
    |index, seen| {
        let at = seen.sent + (seen.over - seen.sent) / 7 * (index as u64 * 5 % 8);
        at.min(seen.over)
    },
];

impl World {
    /// The calls that a quota counts, by whose it is.
    fn seen(&self, quota: &Quota) -> HashMap<usize, Vec<Seen>> {
        let mut seen: HashMap<usize, Vec<_>> = HashMap::new();
        for (call, story) in self.calls.iter().zip(&self.stories) {
            let counted = quota.class.is_none_or(|class| class == call.class);
            let (Some(sent), Some(over), true) = (story.sent, story.over, counted) else {
                continue;
            };
            let over = match call.fate {
                Fate::Unsent => continue,
                Fate::Abandoned => over + nanos(self.config.settle_window),
                Fate::Answered | Fate::Throttled(_) => over,
            };
            let whose = match quota.scope {
                Scope::Tenant => call.tenant,
                Scope::App => 0,
            };
            seen.entry(whose).or_default().push(Seen {
                sent,
                over,
                weight: match quota.counts {
                    Counts::Requests => 1,
                    Counts::Cost => u64::from(call.cost),
                },
                user: call.priority == Priority::UserAction,
            });
        }
        seen
    }

    fn versions_of(&self, nth: usize) -> Vec<(Nanos, Quota)> {
        let of = |(at, quotas): &(Nanos, Vec<Quota>)| (*at, quotas[nth].clone());
        self.versions.iter().map(of).collect()
    }

    /// Counts in every window, wherever between send and answer each request is counted. What may be in a window is what
    /// the quota allowed when the last of its requests was let through.
    pub(super) fn assert_never_over_the_limit(&self) {
        for nth in 0..self.config.quotas.len() {
            let versions = self.versions_of(nth);
            for calls in self.seen(&self.config.quotas[nth]).into_values() {
                let background: Vec<_> = calls.iter().copied().filter(|seen| !seen.user).collect();
                for (calls, limit) in [
                    (
                        &calls,
                        (|quota| u64::from(quota.limit)) as fn(&Quota) -> u64,
                    ),
                    (&background, |quota| u64::from(quota.limit - quota.reserve)),
                ] {
                    if versions[0].1.per.is_zero() {
                        assert_never_more_at_once(calls, &versions, limit);
                    } else {
                        for counted in COUNTED {
                            assert_never_more_in_a_window(calls, &versions, counted, limit);
                        }
                    }
                }
            }
        }
    }

    pub(super) fn assert_everyone_was_served_or_told(&self) {
        assert_eq!(self.admission.in_line(), 0, "somebody is stuck in line");
        for (call, story) in self.calls.iter().zip(&self.stories) {
            assert!(
                story.sent.is_some() || story.refused || story.dropped || story.too_costly,
                "nobody answered {call:?}"
            );
            assert!(
                !story.refused || call.patience < PATIENT,
                "a place in line led nowhere: {call:?}"
            );
            let fits_always = self
                .versions
                .iter()
                .flat_map(|(_, quotas)| quotas)
                .all(|quota| {
                    let kept = if call.priority == Priority::UserAction {
                        0
                    } else {
                        quota.reserve
                    };
                    quota.counts == Counts::Requests || call.cost + kept <= quota.limit
                });
            assert!(!(story.too_costly && fits_always), "too costly: {call:?}");
        }
    }

    /// In one line nobody is passed by one whose arrival, less its head start, is later; but for what the reserve or the
    /// pace alone holds up, which is passed by those whom that does not concern.
    pub(super) fn assert_order_is_arrival_less_head_start(&self) {
        let rank = |call: &Call| call.at + self.rules.lag(call.priority);
        let strict = self.rules.pace == 0
            && (self.versions.iter().flat_map(|(_, quotas)| quotas))
                .all(|quota| quota.reserve == 0);
        for (first, first_story) in self.calls.iter().zip(&self.stories) {
            for (second, second_story) in self.calls.iter().zip(&self.stories) {
                let same_line =
                    first.tenant == second.tenant && self.line(first) == self.line(second);
                let (Some(first_sent), Some(second_sent)) = (first_story.sent, second_story.sent)
                else {
                    continue;
                };
                if same_line
                    && (strict || first.priority == second.priority)
                    && rank(first) < rank(second)
                    && first.at < second_sent
                {
                    assert!(
                        first_sent <= second_sent,
                        "{second:?} passed {first:?}: sent at {second_sent} and {first_sent}"
                    );
                }
            }
        }
    }

    pub(super) fn assert_scheduled_calls_keep_the_pace(&self) {
        // An even pace follows the quotas.
        let pace = (self.versions.iter())
            .map(|(_, quotas)| nanos(self.config.pace.every(quotas)))
            .min()
            .unwrap();
        let mut last: HashMap<usize, Nanos> = HashMap::new();
        let mut sent: Vec<_> = (self.calls.iter().zip(&self.stories))
            .filter(|(call, _)| call.priority == Priority::Scheduled)
            .filter_map(|(call, story)| Some((story.sent?, call.tenant)))
            .collect();
        sent.sort_unstable();
        for (at, tenant) in sent {
            if let Some(before) = last.insert(tenant, at) {
                assert!(at - before >= pace, "{} ns after another", at - before);
            }
        }
    }

    pub(super) fn assert_nothing_leaks(&mut self) {
        let late = self.now + 2 * 24 * 3600 * SECOND;
        for _ in 0..100 {
            self.admission.tenants.sweep(late);
        }
        assert_eq!(self.admission.tenants.len(), 0, "an idle tenant stays");
        assert_eq!(self.admission.waiters.len(), 0, "a waiter stays");
        for window in &mut self.admission.app {
            window.collect(late);
            assert_eq!(window.in_use(), 0, "a shared slot is lost");
        }
    }
}

fn in_force(versions: &[(Nanos, Quota)], at: Nanos) -> usize {
    versions.iter().rposition(|(from, _)| *from <= at).unwrap()
}

fn assert_never_more_at_once(
    calls: &[Seen],
    versions: &[(Nanos, Quota)],
    limit: fn(&Quota) -> u64,
) {
    for last in calls {
        let at_once: u64 = (calls.iter())
            .filter(|seen| seen.sent <= last.sent && seen.over > last.sent)
            .map(|seen| seen.weight)
            .sum();
        // What came at the same instant may be of the version before.
        let allowed = [last.sent, last.sent.saturating_sub(1)]
            .map(|at| limit(&versions[in_force(versions, at)].1))
            .into_iter()
            .max();
        assert!(
            Some(at_once) <= allowed,
            "{at_once} at once at {}",
            last.sent
        );
    }
}

fn assert_never_more_in_a_window(
    calls: &[Seen],
    versions: &[(Nanos, Quota)],
    counted: fn(usize, Seen) -> Nanos,
    limit: fn(&Quota) -> u64,
) {
    let mut at: Vec<(Nanos, Seen)> = (calls.iter().enumerate())
        .map(|(index, seen)| (counted(index, *seen), *seen))
        .collect();
    at.sort_unstable_by_key(|(at, _)| *at);
    for start in 0..at.len() {
        let (mut sum, mut last) = (0, 0);
        let mut length = Nanos::MAX;
        for (counted, seen) in &at[start..] {
            last = last.max(seen.sent);
            let now = in_force(versions, last);
            // A longer `per` says nothing of what had come back before it was told.
            let earliest = (1..=now)
                .filter(|at| versions[*at].1.per > versions[at - 1].1.per)
                .map(|at| versions[at].0.saturating_sub(nanos(versions[at - 1].1.per)))
                .max();
            length = if earliest.is_some_and(|earliest| at[start].0 <= earliest) {
                length.min(
                    (versions[..=now].iter().map(|(_, quota)| nanos(quota.per)))
                        .min()
                        .unwrap(),
                )
            } else {
                length.min(nanos(versions[now].1.per))
            };
            if counted - at[start].0 >= length {
                break;
            }
            sum += seen.weight;
            let allowed = limit(&versions[now].1).max(limit(
                &versions[in_force(versions, last.saturating_sub(1))].1,
            ));
            assert!(
                sum <= allowed,
                "{sum} of {allowed} within {} ns from {}",
                counted - at[start].0,
                at[start].0
            );
        }
    }
}
