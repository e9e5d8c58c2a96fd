//! What happens at the door: limits, companies that are not ours, and what goes wrong on purpose.

use super::course::{Course, Ending};
use super::faults::Fault;
use super::route::{Asked, Route};
use super::server::{Server, State};
use std::time::Duration;

/// What the gateway makes of a request.
pub(super) struct Passage {
    pub(super) course: Course,
    pub(super) come_back: Option<u64>,
    pub(super) admitted: bool,
    pub(super) fault: Option<&'static str>,
}

impl Server {
    pub(super) fn passage(
        &self,
        state: &mut State,
        asked: &Asked,
        company: Option<usize>,
        number: u64,
    ) -> Passage {
        // One generator for each request: what happens to it depends on its place in the order of arrivals alone.
        let mut rng = fastrand::Rng::with_seed(mix(self.config.seed, number));
        let timeout = self.config.server_timeout;
        let latency = self.config.latency.draw(&mut rng).min(timeout);
        let refused = |ending, come_back| Passage {
            course: Course::refused(latency, ending),
            come_back,
            admitted: false,
            fault: None,
        };
        let now = self.since_start();
        if let Some(at) = company {
            let batch = asked.route == Route::Batch;
            let gate = &mut state.companies[at].gate;
            if let Err(wait) = gate.arrive(&mut state.app, batch, now) {
                return refused(Ending::Throttle429, Some(wait));
            }
        } else if !asked.realm.is_empty() {
            return refused(Ending::Gateway403, None);
        }
        let since = Duration::from_millis(now);
        let entity = asked.route.entity();
        let fault = state
            .plan
            .pick(since, &asked.realm, asked.write, entity, &mut rng);
        Passage {
            course: Course::of(fault, latency, timeout, &mut rng),
            come_back: None,
            admitted: true,
            fault: fault.map(Fault::as_str),
        }
    }
}

/// Scatters seed and number over 64 bits (the finaliser of SplitMix64).
pub(super) fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
