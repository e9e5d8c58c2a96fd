//! How long an answer takes. Pure: the chance is handed in.

use super::config::InvalidMock;
use std::time::Duration;

/// How long an answer takes, from arrival to the last byte.
#[derive(Clone, Copy, Debug)]
pub enum Latency {
    /// Always this long.
    Fixed(Duration),
    /// Median 120 ms, 99 of 100 within 280 ms.
    Quick,
    /// 85 to 860 ms, as in recorded sandbox traffic.
    Recorded,
}

impl Latency {
    pub(super) fn check(self, server_timeout: Duration) -> Result<(), InvalidMock> {
        match self {
            Self::Fixed(latency) if latency >= server_timeout => Err(InvalidMock::new(
                "latency",
                "is not below server_timeout: nothing would be answered",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn draw(self, rng: &mut fastrand::Rng) -> Duration {
        match self {
            Self::Fixed(latency) => latency,
            // ln(280 / 120) is 2.326 sigma, the 99th percentile of a normal distribution.
            Self::Quick => log_normal(rng, 0.120, 0.364)
                .clamp(Duration::from_millis(30), Duration::from_millis(600)),
            // The middle is the geometric mean of the recorded bounds, which lie two sigma away from it.
            Self::Recorded => log_normal(rng, 0.270, 0.579)
                .clamp(Duration::from_millis(85), Duration::from_millis(860)),
        }
    }
}

fn log_normal(rng: &mut fastrand::Rng, median: f64, sigma: f64) -> Duration {
    // Box and Muller's transform; 1 - f64() is never 0.
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * rng.f64()).cos();
    Duration::from_secs_f64(median * (sigma * normal).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percentile(latency: Latency, of: f64) -> u128 {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut drawn: Vec<_> = (0..20_000).map(|_| latency.draw(&mut rng)).collect();
        drawn.sort();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let at = (drawn.len() as f64 * of) as usize;
        drawn[at].as_millis()
    }

    #[test]
    fn quick_has_the_promised_median_and_tail() {
        assert!((115..=125).contains(&percentile(Latency::Quick, 0.5)));
        assert!((265..=295).contains(&percentile(Latency::Quick, 0.99)));
    }

    #[test]
    fn recorded_stays_within_what_was_recorded() {
        assert_eq!(percentile(Latency::Recorded, 0.0), 85);
        assert_eq!(percentile(Latency::Recorded, 0.9999), 860);
    }
}
