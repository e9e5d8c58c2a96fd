//! The instants at which a process can die, and counts of them.

/// The instants at which a process can die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Boundary {
    /// The stack was built a moment ago.
    Started,
    /// A caller is about to ask.
    Asks,
    /// A caller's future is polled.
    CallerPolled,
    /// A caller is about to be told.
    Tells,
    /// A caller was told.
    Told,
    ClaimBegins,
    StepBegins,
    ReadBegins,
    ReadEnds,
    /// A future of the journal is polled.
    JournalPolled,
    /// What is queued is about to be committed.
    Commits,
    /// It is durable; nobody was told.
    Committed,
    /// The journal's word is about to arrive.
    Acknowledges,
    /// A request is about to leave.
    Leaves,
    /// It has left.
    Left,
    /// The upstream has it whole.
    Received,
    /// The upstream is about to do it.
    TakesEffect,
    /// It is done.
    TookEffect,
    /// The answer is on its way.
    Answers,
    /// The answer is here.
    Arrives,
    /// The future of a send is polled.
    WirePolled,
    HookBegins,
    HookPolled,
    HookEnds,
    /// The process is being shut down, and its drain is polled.
    Drains,
    /// A decision was made that the observer is told.
    Decided,
    /// No boundary: a point in time.
    Instant,
}

impl Boundary {
    pub const ALL: [Self; 27] = [
        Self::Started,
        Self::Asks,
        Self::CallerPolled,
        Self::Tells,
        Self::Told,
        Self::ClaimBegins,
        Self::StepBegins,
        Self::ReadBegins,
        Self::ReadEnds,
        Self::JournalPolled,
        Self::Commits,
        Self::Committed,
        Self::Acknowledges,
        Self::Leaves,
        Self::Left,
        Self::Received,
        Self::TakesEffect,
        Self::TookEffect,
        Self::Answers,
        Self::Arrives,
        Self::WirePolled,
        Self::HookBegins,
        Self::HookPolled,
        Self::HookEnds,
        Self::Drains,
        Self::Decided,
        Self::Instant,
    ];
}

/// Where the next crash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Never,
    /// At this boundary, counted from 1 over the whole run.
    At(u64),
    /// At this one among the boundaries of one kind.
    Of(Boundary, u64),
    /// At this millisecond of the run.
    Instant(u64),
}

/// How often each boundary was seen or hit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count(pub [u64; Boundary::ALL.len()]);

impl Count {
    pub fn add(&mut self, other: &Self) {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine += others;
        }
    }

    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// One of them, each as likely.
    pub fn any(&self, rng: &mut fastrand::Rng) -> Next {
        Next::At(rng.u64(1..=self.sum()))
    }

    /// One of a kind that is drawn first, so that the rare ones have their turn.
    pub fn any_kind(&self, rng: &mut fastrand::Rng) -> Next {
        let seen = |kind: &Boundary| self.0[*kind as usize] > 0;
        let kinds: Vec<Boundary> = Boundary::ALL.into_iter().filter(seen).collect();
        let kind = kinds[rng.usize(0..kinds.len())];
        Next::Of(kind, rng.u64(1..=self.0[kind as usize]))
    }
}
