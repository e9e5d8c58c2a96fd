//! What goes wrong, as a scenario's file says it.

use crate::scenario::span::Span;
use serde::{Deserialize, Serialize};

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What happens.
    pub fault: FaultName,
    /// How likely it is for each matching request.
    pub probability: f64,
    /// Which requests.
    #[serde(default)]
    pub on: FaultOn,
    /// From this time of the load on; absent: from the start.
    #[serde(default)]
    pub from: Option<Span>,
    /// Until this time; absent: to the end of the run, settling included.
    #[serde(default)]
    pub until: Option<Span>,
    /// Of a hang: whether and when the abandoned request takes effect.
    #[serde(default)]
    pub commit: Option<HangCommit>,
    /// Of a delay: how long.
    #[serde(default)]
    pub delay: Option<Span>,
    /// Of a stream timeout: whether the request takes effect later.
    #[serde(default)]
    pub commits_late: Option<bool>,
}

/// Which requests a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultOn {
    /// All.
    #[default]
    Any,
    /// Those that change nothing.
    Reads,
    /// Those that change something.
    Writes,
}

/// The faults that the mock knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is told by its name and by `mock::Fault`")]
pub enum FaultName {
    #[serde(rename = "refuse_503_gateway")]
    Refuse503Gateway,
    #[serde(rename = "refuse_503_html")]
    Refuse503Html,
    #[serde(rename = "html_503_after_commit")]
    Html503AfterCommit,
    #[serde(rename = "throttle_429")]
    Throttle429,
    #[serde(rename = "unauthorized_401")]
    Unauthorized401,
    #[serde(rename = "error_500")]
    Error500,
    #[serde(rename = "error_500_after_commit")]
    Error500AfterCommit,
    #[serde(rename = "fault_200")]
    Fault200,
    ResetBefore,
    LostAnswer,
    CutBody,
    Malformed,
    Hang,
    Delay,
    #[serde(rename = "stream_timeout_504")]
    StreamTimeout504,
}

/// Whether and when a request that hangs takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "each is told by its name and by `mock::HangCommit`"
)]
pub enum HangCommit {
    Never,
    Soon,
    Late,
    Seeded,
}
