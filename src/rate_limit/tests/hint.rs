//! What the upstream says is left, and its throttle answers, against an upstream that counts for itself.

use super::super::admission::Admission;
use super::super::hint::Told;
use super::super::tenants::TenantState;
use super::*;
use proptest::prelude::*;

const READ: Safety = Safety::Read;
const WRITE: Safety = Safety::Write;
const MINUTE: Nanos = 60 * SECOND;
const END: End = End::Answered { sent_at: 0 };

struct Core(Admission);

impl Core {
    fn new() -> Self {
        let config = config(vec![Quota::at_once("at once", 1000)], Anchor::Answer);
        Self(Admission::new(Arc::new(Rules::new(&config))))
    }

    fn go(&mut self, safety: Safety, now: Nanos) -> Option<Grant> {
        let line = LineId { set: 0, safety };
        let (tenant, priority) = ("a", Priority::UserAction);
        let (hash, cost) = (7, 1);
        let ask = Ask {
            tenant,
            hash,
            line,
            priority,
            cost,
        };
        match self.0.arrive(ask, now, now) {
            Arrival::Go(grant) => Some(grant),
            Arrival::Wait(id) => {
                self.0.cancel(id, now);
                None
            }
            Arrival::Refused(_) | Arrival::TooCostly(_) => None,
        }
    }

    fn state(&mut self, now: Nanos) -> &TenantState {
        self.0.inspect("a", 7, now).0.unwrap()
    }

    fn gates(&mut self, now: Nanos) -> [Nanos; 2] {
        let state = self.state(now);
        [state.gate(READ), state.gate(WRITE)]
    }

    fn told(&mut self, grant: Grant, left: u64, until: Nanos, now: Nanos) -> Option<Nanos> {
        let told = Told { left, until };
        self.0.told(grant, END, told, now).map(|(_, pause)| pause)
    }

    fn throttle(&mut self, grant: Grant, now: Nanos, named: Option<Nanos>) -> Nanos {
        let pause = named.unwrap_or(MINUTE);
        let told = self.0.throttled(grant, END, now, pause, named.is_some());
        told.unwrap().1
    }
}

#[test]
fn no_more_go_than_are_left_whatever_is_in_flight() {
    let mut core = Core::new();
    let calls: Vec<_> = (0..4).map(|_| core.go(WRITE, 0).unwrap()).collect();
    // Three are out beside it, and may be counted or not: one more is certain.
    assert_eq!(core.told(calls[0], 4, MINUTE, 1), None);
    let fifth = core.go(WRITE, 2).unwrap();
    assert_eq!(core.go(READ, 3), None);
    assert_eq!(core.gates(3), [0, 0], "not certain that nothing is left");
    // They were counted in order, and heard of in another: the upstream takes no more than two after the last one.
    for (grant, left) in [(calls[3], 1), (calls[1], 3), (calls[2], 2)] {
        assert_eq!(core.told(grant, left, MINUTE, 4), None);
    }
    assert_eq!(
        core.go(WRITE, 5),
        None,
        "the fifth may be the one that is left"
    );
    assert_eq!(core.told(fifth, 0, MINUTE, 6), Some(MINUTE - 6));
    assert_eq!(core.gates(7), [MINUTE; 2]);
    assert_eq!(core.go(WRITE, MINUTE - 1), None);
    assert!(core.go(WRITE, MINUTE).is_some());
}

#[test]
fn when_nothing_is_out_all_that_is_left_can_go() {
    let mut core = Core::new();
    let calls: Vec<_> = (0..6).map(|_| core.go(WRITE, 0).unwrap()).collect();
    for (grant, left) in calls.into_iter().zip([3, 8, 7, 6, 5, 4]) {
        core.told(grant, left, MINUTE, 1);
    }
    let more: Vec<_> = (0..5).map_while(|_| core.go(WRITE, 2)).collect();
    assert_eq!(more.len(), 3);
}

#[test]
fn a_call_that_ends_without_a_word_may_have_been_counted_and_one_that_never_left_was_not() {
    let mut core = Core::new();
    let first = core.go(WRITE, 0).unwrap();
    core.told(first, 2, MINUTE, 1);
    let unsent = core.go(WRITE, 2).unwrap();
    core.0.settle(unsent, End::Unsent, 3);
    let dropped = core.go(WRITE, 4).unwrap();
    core.0.settle(dropped, End::Abandoned, 5);
    let last = core.go(WRITE, 6).unwrap();
    assert_eq!(core.go(WRITE, 6), None);
    core.0.settle(last, END, 7);
    assert_eq!(core.go(WRITE, 8), None);
    assert_eq!(core.gates(8), [MINUTE; 2]);
}

#[test]
fn a_fresher_word_raises_what_is_left_and_a_late_one_does_not() {
    let mut core = Core::new();
    let late = core.go(WRITE, 0).unwrap();
    let first = core.go(WRITE, 0).unwrap();
    core.told(first, 1, MINUTE, 1);
    core.told(late, 50, MINUTE, 2);
    let second = core.go(WRITE, 3).unwrap();
    assert_eq!(core.go(WRITE, 3), None, "a late answer raised it");
    // The bucket was refilled. Words of the generation before count once more, for they may have come meanwhile.
    core.told(second, 30, MINUTE, 4);
    let third = core.go(WRITE, 5).unwrap();
    core.told(third, 40, MINUTE, 6);
    let more: Vec<_> = (0..50).map_while(|_| core.go(WRITE, 7)).collect();
    assert_eq!(more.len(), 30);
}

#[test]
fn a_word_of_the_window_before_holds_nobody_in_the_next() {
    let mut core = Core::new();
    let [old, new] = [0, 0].map(|now| core.go(WRITE, now).unwrap());
    core.told(new, 499, MINUTE, 1);
    core.told(old, 0, SECOND, 2);
    assert_eq!(core.go(WRITE, 3), None);
    assert!(core.go(WRITE, SECOND).is_some());
}

#[test]
fn those_in_line_go_when_an_answer_tells_that_more_is_left_and_at_the_reset_at_the_latest() {
    let call = |at| Call::at(at, SECOND);
    let mut world = World::new(
        config(vec![Quota::at_once("at once", 9)], Anchor::Answer),
        vec![call(0), call(MS), call(2 * MS), call(3 * MS)],
    );
    let mut heard = 0;
    world.hear = Some(Box::new(move || {
        heard += 1;
        Some(Told {
            left: 5 - heard,
            until: 90 * SECOND,
        })
    }));
    while world.step() {}
    assert_eq!(world.sent(|_| true), [0, MS, 2 * MS, 3 * MS]);

    let calls = (0..4).map(|nth| call(nth * 2 * SECOND)).collect();
    let mut world = World::new(
        config(vec![Quota::at_once("at once", 9)], Anchor::Answer),
        calls,
    );
    let mut left = 2;
    world.hear = Some(Box::new(move || {
        left = if left == 0 { 9 } else { left - 1 };
        Some(Told {
            left,
            until: 30 * SECOND,
        })
    }));
    while world.step() {}
    assert_eq!(
        world.sent(|_| true),
        [0, 2 * SECOND, 30 * SECOND, 30 * SECOND]
    );
}

#[test]
fn a_limit_that_a_call_ran_into_stops_reads_and_writes() {
    for safety in [READ, WRITE] {
        let mut core = Core::new();
        let call = core.go(safety, 0).unwrap();
        assert_eq!(core.throttle(call, 1, None), MINUTE);
        assert_eq!(core.gates(2), [MINUTE + 1; 2]);
    }
}

#[test]
fn reads_that_are_throttled_after_their_pause_are_a_cap_on_reads_with_a_pause_that_doubles_to_an_hour()
 {
    let mut core = Core::new();
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let read = core.go(READ, now).unwrap();
        pauses.push(core.throttle(read, now, None) / MINUTE);
        let [reads, writes] = core.gates(now);
        assert_eq!(writes > now, pauses.len() == 1, "writes stop once");
        now = reads;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    // A write that is throttled is about a limit of both kinds; a read that passes ends the cap.
    let write = core.go(WRITE, now).unwrap();
    core.throttle(write, now, None);
    now += MINUTE;
    let read = core.go(READ, now).unwrap();
    core.0.settle(read, END, now);
    let read = core.go(READ, now).unwrap();
    assert_eq!(core.throttle(read, now, None), MINUTE);
    assert_eq!(core.gates(now), [now + MINUTE; 2]);
}

#[test]
fn a_time_that_the_upstream_names_is_kept_for_a_cap_too() {
    let mut core = Core::new();
    for now in [0, MINUTE] {
        let read = core.go(READ, now).unwrap();
        core.throttle(read, now, Some(5 * SECOND));
    }
    assert_eq!(core.gates(MINUTE), [MINUTE + 5 * SECOND, 0]);
}

#[test]
fn answers_to_reads_that_were_on_their_way_say_nothing_of_a_cap() {
    let mut core = Core::new();
    let reads: Vec<_> = (0..4).map(|_| core.go(READ, 0).unwrap()).collect();
    core.throttle(reads[0], 1, None);
    // One of the same burst, heard of at once; and one whose answer took longer than the pause.
    core.throttle(reads[1], 2, None);
    core.throttle(reads[2], MINUTE + 10, None);
    let now = 3 * MINUTE;
    assert_eq!(core.gates(now), [0, 0]);
    core.0.settle(reads[3], END, now);
    // The first that left after the pause decides.
    let read = core.go(READ, now).unwrap();
    assert_eq!(core.throttle(read, now, None), 2 * MINUTE);
    assert_eq!(core.gates(now), [now + 2 * MINUTE, 0]);
}

#[test]
fn a_cap_is_remembered_for_an_hour_of_silence() {
    let mut core = Core::new();
    for now in [0, MINUTE] {
        let read = core.go(READ, now).unwrap();
        core.throttle(read, now, None);
    }
    let later = 50 * MINUTE;
    core.0.tenants.sweep(later);
    let read = core.go(READ, later).unwrap();
    core.throttle(read, later, None);
    assert_eq!(core.gates(later), [later + 4 * MINUTE, 0]);
    let (reads, _) = (core.gates(later)[0], ());
    core.0.tenants.sweep(reads + 61 * MINUTE);
    assert_eq!(core.0.tenants.len(), 0);
}

proptest! {
    /// One window of an upstream that counts calls when they get there, and answers with what is left then.
    #[test]
    fn however_answers_are_late_or_out_of_order_the_upstream_is_never_overrun_and_all_of_it_is_used(
        limit in 1_u64..40,
        calls in prop::collection::vec((0_u64..40, 1_u64..60, 1_u64..60), 60..100),
    ) {
        let mut core = Core::new();
        let mut left = limit;
        let mut seen = 0;
        // The first call is answered before any other leaves: until then nothing is known.
        let first = core.go(WRITE, 0).unwrap();
        seen += 1;
        left -= 1;
        core.told(first, left, MINUTE, 0);
        let mut agenda: BinaryHeap<Reverse<(Nanos, usize, bool)>> = BinaryHeap::new();
        let mut grants: Vec<Option<(Grant, u64)>> = vec![None; calls.len()];
        let (mut now, mut waiting) = (0, std::collections::VecDeque::new());
        let mut arrivals: Vec<_> = Vec::new();
        for (index, (gap, ..)) in calls.iter().enumerate() {
            now += gap;
            arrivals.push((now, index));
        }
        arrivals.reverse();
        loop {
            let next = agenda.peek().map(|Reverse((at, ..))| *at);
            match (arrivals.last().copied(), next) {
                (Some((at, index)), next) if next.is_none_or(|next| at <= next) => {
                    now = at;
                    arrivals.pop();
                    waiting.push_back(index);
                }
                (_, Some(_)) => {
                    let Some(Reverse((at, index, answered))) = agenda.pop() else { break };
                    now = at;
                    let (grant, _) = grants[index].unwrap();
                    if answered {
                        let word = grants[index].unwrap().1;
                        core.told(grant, word, MINUTE, now);
                    } else {
                        seen += 1;
                        prop_assert!(seen <= limit, "overrun");
                        left -= 1;
                        grants[index] = Some((grant, left));
                        agenda.push(Reverse((now + calls[index].2, index, true)));
                    }
                }
                (None, None) => break,
                (Some(_), None) => unreachable!(),
            }
            while let Some(index) = waiting.front().copied() {
                let Some(grant) = core.go(WRITE, now) else { break };
                waiting.pop_front();
                grants[index] = Some((grant, 0));
                agenda.push(Reverse((now + calls[index].1, index, false)));
            }
        }
        prop_assert_eq!(seen, limit, "some of it was never used");
    }
}
