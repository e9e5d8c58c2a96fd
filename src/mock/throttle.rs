//! The upstream's own limits: windows that slide over the arrivals. Pure.
//!
//! Written without looking at `rate_limit`, so that one wrong idea of a window does not hide in both.

use super::config::ThrottleConfig;
use std::collections::VecDeque;

/// The latest arrivals, at most `limit` of them.
#[derive(Debug)]
struct Window {
    limit: usize,
    length_millis: u64,
    arrivals: VecDeque<u64>,
}

impl Window {
    fn new(limit: Option<u32>, length_millis: u64) -> Option<Self> {
        Some(Self {
            limit: limit? as usize,
            length_millis,
            arrivals: VecDeque::new(),
        })
    }

    /// Until when the window is full at `now`; `None` when there is room.
    fn full_until(&self, now: u64) -> Option<u64> {
        if self.arrivals.len() < self.limit {
            return None;
        }
        let free = self.arrivals.front()? + self.length_millis;
        (now < free).then_some(free)
    }

    fn count(&mut self, now: u64) {
        self.arrivals.push_back(now);
        // More than `limit` never matter: the window is full while the limit-th latest is in it.
        if self.arrivals.len() > self.limit {
            self.arrivals.pop_front();
        }
    }
}

/// The windows of one company.
#[derive(Debug)]
pub(super) struct Gate {
    windows: Vec<Window>,
    batches: Option<Window>,
    concurrent: Option<u32>,
    count_refused: bool,
    working: u32,
}

/// The window of the application, over all companies.
#[derive(Debug)]
pub(super) struct AppGate(Option<Window>);

impl AppGate {
    pub(super) fn new(config: &ThrottleConfig) -> Self {
        Self(Window::new(config.app_per_minute, 60_000))
    }
}

impl Gate {
    pub(super) fn new(config: &ThrottleConfig) -> Self {
        let windows = [
            Window::new(config.per_minute, 60_000),
            Window::new(config.per_second, 1_000),
        ];
        Self {
            windows: windows.into_iter().flatten().collect(),
            batches: Window::new(config.batch_per_minute, 60_000),
            concurrent: config.concurrent,
            count_refused: config.count_refused,
            working: 0,
        }
    }

    /// A request arrives at `now`, in milliseconds since the mock's start.
    ///
    /// # Errors
    ///
    /// It passes a limit; the seconds after which it would not.
    pub(super) fn arrive(&mut self, app: &mut AppGate, batch: bool, now: u64) -> Result<(), u64> {
        let mut concerned: Vec<&mut Window> = self.windows.iter_mut().collect();
        concerned.extend(self.batches.as_mut().filter(|_| batch));
        concerned.extend(app.0.as_mut());

        let full = concerned.iter().filter_map(|window| window.full_until(now));
        let mut until = full.max();
        if self.concurrent.is_some_and(|most| self.working >= most) {
            until = until.max(Some(now + 1_000));
        }
        if until.is_none() || self.count_refused {
            for window in concerned {
                window.count(now);
            }
        }
        match until {
            Some(until) => Err((until - now).div_ceil(1_000)),
            None => {
                self.working += 1;
                Ok(())
            }
        }
    }

    /// An admitted request is done with.
    pub(super) fn leave(&mut self) {
        self.working = self.working.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(per_minute: u32, per_second: u32, count_refused: bool) -> ThrottleConfig {
        ThrottleConfig {
            per_minute: Some(per_minute),
            per_second: Some(per_second),
            count_refused,
            ..ThrottleConfig::none()
        }
    }

    proptest! {
        #[test]
        fn a_request_is_refused_exactly_when_its_window_holds_the_limit(
            gaps in proptest::collection::vec(0_u64..400, 1..200),
            count_refused: bool,
        ) {
            let config = config(20, 3, count_refused);
            let (mut gate, mut app) = (Gate::new(&config), AppGate::new(&config));
            let (mut now, mut counted) = (0, Vec::<u64>::new());
            for gap in gaps {
                now += gap;
                let within = |length: u64| counted.iter().filter(|&&at| now < at + length).count();
                let full = within(60_000) >= 20 || within(1_000) >= 3;
                prop_assert_eq!(gate.arrive(&mut app, false, now).is_err(), full);
                if !full || count_refused {
                    counted.push(now);
                }
            }
        }
    }

    #[test]
    fn only_so_many_are_worked_on_at_once() {
        let config = ThrottleConfig {
            concurrent: Some(2),
            ..ThrottleConfig::none()
        };
        let (mut gate, mut app) = (Gate::new(&config), AppGate::new(&config));
        assert!(gate.arrive(&mut app, false, 0).is_ok());
        assert!(gate.arrive(&mut app, false, 0).is_ok());
        assert_eq!(gate.arrive(&mut app, false, 0), Err(1));
        gate.leave();
        assert!(gate.arrive(&mut app, false, 0).is_ok());
    }

    #[test]
    fn batches_have_a_limit_of_their_own_and_the_application_one_over_all_companies() {
        let config = ThrottleConfig {
            batch_per_minute: Some(1),
            app_per_minute: Some(3),
            ..ThrottleConfig::none()
        };
        let mut app = AppGate::new(&config);
        let (mut one, mut other) = (Gate::new(&config), Gate::new(&config));
        assert!(one.arrive(&mut app, true, 0).is_ok());
        assert_eq!(one.arrive(&mut app, true, 10_000), Err(50));
        assert!(other.arrive(&mut app, true, 10_000).is_ok());
        assert!(other.arrive(&mut app, false, 10_000).is_err());
    }
}
