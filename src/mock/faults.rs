//! What goes wrong, and with which request. Pure: the chance is handed in.

use super::config::InvalidMock;
use std::time::Duration;

/// What goes wrong. For each request the rules are asked in order, and the first that hits is the one that applies.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    /// The rules.
    pub rules: Vec<FaultRule>,
}

impl FaultPlan {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// This goes wrong with every such request.
    #[must_use]
    pub fn always(on: On, fault: Fault) -> Self {
        Self::default().and(on, 1.0, fault)
    }

    /// A rule more, at any time and for every company.
    #[must_use]
    pub fn and(mut self, on: On, probability: f64, fault: Fault) -> Self {
        self.rules.push(FaultRule {
            when: None,
            realm: None,
            on,
            probability,
            fault,
        });
        self
    }

    pub(super) fn check(&self, server_timeout: Duration) -> Result<(), InvalidMock> {
        for (at, rule) in self.rules.iter().enumerate() {
            let field = |name: &str| format!("faults.rules[{at}].{name}");
            if !(0.0..=1.0).contains(&rule.probability) {
                return Err(InvalidMock::new(
                    field("probability"),
                    format!("is {}: must be from 0 to 1", rule.probability),
                ));
            }
            if rule.when.is_some_and(|(from, until)| from >= until) {
                return Err(InvalidMock::new(
                    field("when"),
                    "ends before it begins: must be (from, until)",
                ));
            }
            if matches!(rule.fault, Fault::Delay(delay) if delay >= server_timeout) {
                return Err(InvalidMock::new(
                    field("fault"),
                    "delays beyond server_timeout: that is a Hang",
                ));
            }
        }
        Ok(())
    }

    /// The fault of a request that arrives `since_start` after the mock's start.
    pub(super) fn pick(
        &self,
        since_start: Duration,
        realm: &str,
        write: bool,
        entity: Option<&str>,
        rng: &mut fastrand::Rng,
    ) -> Option<Fault> {
        let hit = |rule: &&FaultRule| {
            rule.when
                .is_none_or(|(from, until)| from <= since_start && since_start < until)
                && rule.realm.as_deref().is_none_or(|of| of == realm)
                && rule.on.covers(write, entity)
                && rng.f64() < rule.probability
        };
        self.rules.iter().find(hit).map(|rule| rule.fault)
    }
}

/// One way in which things go wrong.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// From and until when, since the mock's start; always, if `None`.
    pub when: Option<(Duration, Duration)>,
    /// For which company; all, if `None`.
    pub realm: Option<String>,
    /// For which requests.
    pub on: On,
    /// How probable it is for each of them, from 0 to 1.
    pub probability: f64,
    /// What happens.
    pub fault: Fault,
}

/// Which requests a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// All.
    Any,
    /// Reads by id and queries.
    Reads,
    /// All that would change something.
    Writes,
    /// Reads and writes of one entity, by name (`BillPayment`).
    Entity(String),
}

impl On {
    fn covers(&self, write: bool, entity: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Reads => !write,
            Self::Writes => write,
            Self::Entity(name) => entity.is_some_and(|of| of.eq_ignore_ascii_case(name)),
        }
    }
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The gateway refuses with its own lower-case JSON and status 503; nothing is done.
    Refuse503Gateway,
    /// An HTML page with status 503; nothing is done.
    Refuse503Html,
    /// The work is done, and an HTML page with status 503 answers.
    Html503AfterCommit,
    /// 429 though no limit was passed; nothing is done.
    Throttle429,
    /// The gateway says that the token has expired; nothing is done.
    Unauthorized401,
    /// The application fails with status 500; nothing is done.
    Error500,
    /// The work is done, and status 500 answers.
    Error500AfterCommit,
    /// Status 200 with a `SystemFault` in it; nothing is done.
    Fault200,
    /// The connection breaks; nothing is done.
    ResetBefore,
    /// The work is done, and the connection breaks instead of the answer.
    LostAnswer,
    /// The work is done, and the answer breaks off after its head.
    CutBody,
    /// The work is done, and status 200 comes with half of a JSON body.
    Malformed,
    /// No answer. The connection breaks when the server gives up, after `server_timeout`.
    Hang {
        /// Whether and when the work is done.
        commit: HangCommit,
    },
    /// Slower by this much.
    Delay(Duration),
    /// The edge gives up waiting: status 504 with the text "stream timeout", 15 s after arrival.
    StreamTimeout504 {
        /// Whether the work is done afterwards, within `server_timeout`; never, otherwise.
        commits_late: bool,
    },
}

impl Fault {
    /// The stable word for the history and for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse503Gateway => "refuse_503_gateway",
            Self::Refuse503Html => "refuse_503_html",
            Self::Html503AfterCommit => "html_503_after_commit",
            Self::Throttle429 => "throttle_429",
            Self::Unauthorized401 => "unauthorized_401",
            Self::Error500 => "error_500",
            Self::Error500AfterCommit => "error_500_after_commit",
            Self::Fault200 => "fault_200",
            Self::ResetBefore => "reset_before",
            Self::LostAnswer => "lost_answer",
            Self::CutBody => "cut_body",
            Self::Malformed => "malformed",
            Self::Hang { .. } => "hang",
            Self::Delay(_) => "delay",
            Self::StreamTimeout504 { .. } => "stream_timeout_504",
        }
    }
}

/// Whether and when the work of a request that hangs is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HangCommit {
    /// Never.
    Never,
    /// As if nothing were wrong.
    Soon,
    /// At any moment until the server gives up.
    Late,
    /// One of the three, by the seed: the worst, because a client can count on none of them.
    #[default]
    Seeded,
}
