//! A request's way through the server: what a fault means in time. Pure: the chance is handed in.

use super::faults::{Fault, HangCommit};
use std::time::Duration;

/// The part of the latency that lies before the commit.
const BEFORE_COMMIT: f64 = 0.4;

/// When a stalled backend makes the edge give up: the default route timeout of Envoy, which the recorded `server`
/// header names.
const STREAM_TIMEOUT: Duration = Duration::from_secs(15);

/// What the client gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// What the application answers.
    Truth,
    /// The same, cut in half.
    Malformed,
    Gateway503,
    Html503,
    Throttle429,
    Gateway401,
    Gateway403,
    App500,
    Fault200,
    StreamTimeout,
    /// A connection that breaks before there is anything to say.
    Reset,
    /// A connection that breaks instead of the application's answer.
    Lost,
    BodyCut,
}

/// A request's way through the server, as times since its arrival. `commit <= done`; where the ending is the
/// application's answer, `commit <= answer` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Course {
    /// Whether it gets past the gateway, to where `requestid` is looked at.
    pub(super) reaches_app: bool,
    /// When the work is done; never, if `None`.
    pub(super) commit: Option<Duration>,
    /// From when on nothing of it can happen any more.
    pub(super) done: Duration,
    /// When the client sees the ending.
    pub(super) answer: Duration,
    pub(super) ending: Ending,
}

impl Course {
    /// Turned away at the door.
    pub(super) fn refused(latency: Duration, ending: Ending) -> Self {
        let at = latency.mul_f64(BEFORE_COMMIT);
        Self {
            reaches_app: false,
            commit: None,
            done: at,
            answer: at,
            ending,
        }
    }

    fn worked(latency: Duration, ending: Ending) -> Self {
        Self {
            reaches_app: true,
            commit: Some(latency.mul_f64(BEFORE_COMMIT)),
            done: latency,
            answer: latency,
            ending,
        }
    }

    fn failed(latency: Duration, ending: Ending) -> Self {
        Self {
            commit: None,
            ..Self::worked(latency, ending)
        }
    }

    /// The way of a request with this fault, if any.
    pub(super) fn of(
        fault: Option<Fault>,
        latency: Duration,
        server_timeout: Duration,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let Some(fault) = fault else {
            return Self::worked(latency, Ending::Truth);
        };
        match fault {
            Fault::Refuse503Gateway => Self::refused(latency, Ending::Gateway503),
            Fault::Refuse503Html => Self::refused(latency, Ending::Html503),
            Fault::Throttle429 => Self::refused(latency, Ending::Throttle429),
            Fault::Unauthorized401 => Self::refused(latency, Ending::Gateway401),
            Fault::ResetBefore => Self::refused(latency, Ending::Reset),
            Fault::Error500 => Self::failed(latency, Ending::App500),
            Fault::Fault200 => Self::failed(latency, Ending::Fault200),
            Fault::Html503AfterCommit => Self::worked(latency, Ending::Html503),
            Fault::Error500AfterCommit => Self::worked(latency, Ending::App500),
            Fault::LostAnswer => Self::worked(latency, Ending::Lost),
            Fault::CutBody => Self::worked(latency, Ending::BodyCut),
            Fault::Malformed => Self::worked(latency, Ending::Malformed),
            Fault::Delay(more) => Self::worked((latency + more).min(server_timeout), Ending::Truth),
            Fault::Hang { commit } => Self::hang(commit, latency, server_timeout, rng),
            Fault::StreamTimeout504 { commits_late } => {
                let at = STREAM_TIMEOUT.min(server_timeout);
                let land = at + (server_timeout - at).mul_f64(rng.f64());
                Self {
                    reaches_app: true,
                    commit: commits_late.then_some(land),
                    done: if commits_late { land } else { at },
                    answer: at,
                    ending: Ending::StreamTimeout,
                }
            }
        }
    }

    fn hang(
        commit: HangCommit,
        latency: Duration,
        server_timeout: Duration,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let commit = match commit {
            HangCommit::Seeded => match rng.u8(0..3) {
                0 => HangCommit::Never,
                1 => HangCommit::Soon,
                _ => HangCommit::Late,
            },
            told => told,
        };
        let soon = latency.mul_f64(BEFORE_COMMIT);
        let (commit, done) = match commit {
            HangCommit::Soon => (Some(soon), latency),
            HangCommit::Late => {
                let land = soon + server_timeout.saturating_sub(soon).mul_f64(rng.f64());
                (Some(land), land)
            }
            HangCommit::Never | HangCommit::Seeded => (None, server_timeout),
        };
        Self {
            reaches_app: true,
            commit,
            done,
            answer: server_timeout,
            ending: Ending::Reset,
        }
    }
}
