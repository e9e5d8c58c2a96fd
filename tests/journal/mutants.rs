//! A journal that is right, and broken on purpose in one way at a time: what the suite of laws must see.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::task::yield_now;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::context::OperationId;
use tower_sturdy::journal::{
    Asked, BoxFuture, Claim, Durability, Filter, Journal, JournalError, Lookup, Record, State,
};

/// What is broken. `Nothing` must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaks {
    Nothing,
    // get
    FindsWhateverIsThere,
    FindsByKeyAlone,
    // claim
    ForgetsClaims,
    GrantsEveryClaim,
    TellsTheClaimerItsOwnRecord,
    ReplacesTheExisting,
    LooksThenPuts,
    ComparesKeysWithoutCase,
    ComparesTheStartOfKeys,
    IgnoresTheNamespace,
    IgnoresTheTenant,
    RunsKeyPartsTogether,
    ReplacesATakenId,
    GrantsATakenId,
    PutsInTwoHalves,
    // conflict keys
    IgnoresConflicts,
    ConflictsAcrossTenants,
    ConflictsAcrossNamespaces,
    ConflictBeforeItself,
    LooksForConflictsThenPuts,
    TellsConflictsAsExisting,
    FreedByDoubt,
    FreedByParking,
    FreedByReady,
    HoldsWhatNobodyWorksOn,
    BeginsAgainBesideAnother,
    NeverFreed,
    FreedByCompletionAlone,
    FreedByTheOneBefore,
    // step
    ForgetsSteps,
    ChecksNoVersion,
    TakesTheSameVersion,
    TakesAnyLaterVersion,
    TakesAnEarlierVersion,
    LooksThenSteps,
    StepsInTwoHalves,
    TellsTheStepItself,
    PutsWhatIsMissing,
    SaysOkToWhatIsMissing,
    ChangesTheAsked,
    KeepsAnAnswer,
    AppendsHistory,
    // list
    ListsNothing,
    IgnoresStates,
    IgnoresTheListedTenant,
    IgnoresTheListedNamespace,
    IgnoresDueBy,
    ListsTheUndueAsDue,
    DueMeansBefore,
    IgnoresTheLimit,
    TakesNoLimitForAll,
    IgnoresSkip,
    SkipsWholePages,
    AddsSkipAndLimit,
    SkipsBeforeItFilters,
    ListsByIdAlone,
    ListsTheUndueFirst,
    ListsTheLatestFirst,
    ListsTiesAsTheyCame,
    ListsTheDueTimeOfTheClaim,
    ListsTheStateOfTheClaim,
    ListsTheRecordOfTheClaim,
    // anything
    Fails,
    Hangs,
}

/// What is lost of a record on its way to the store.
pub(crate) type Loses = fn(&mut Record);

/// Where a record loses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Claim,
    Step,
}

struct Row {
    record: Record,
    claimed: Record,
    /// Whether it can be found by its key.
    by_key: bool,
}

/// A list of records under one lock: the least that keeps the laws. An example of a journal in few lines, but for the
/// ways in which it breaks.
pub(crate) struct Plain {
    rows: Mutex<Vec<Row>>,
    breaks: Breaks,
    loses: Option<(On, Loses)>,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plain").field(&self.breaks).finish()
    }
}

impl Plain {
    pub(crate) fn new(breaks: Breaks) -> Self {
        Self {
            rows: Mutex::default(),
            breaks,
            loses: None,
        }
    }

    pub(crate) fn losing(on: On, loses: Loses) -> Self {
        Self {
            loses: Some((on, loses)),
            ..Self::new(Breaks::Nothing)
        }
    }

    fn is(&self, breaks: Breaks) -> bool {
        self.breaks == breaks
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Row>> {
        self.rows.lock().unwrap()
    }

    fn less(&self, on: On, mut record: Record) -> Record {
        if let Some((when, loses)) = self.loses
            && when == on
        {
            loses(&mut record);
        }
        record
    }

    async fn trouble(&self) -> Result<(), JournalError> {
        match self.breaks {
            Breaks::Fails => Err(JournalError::unavailable("broken")),
            Breaks::Hangs => std::future::pending().await,
            _ => Ok(()),
        }
    }

    fn same_key(&self, one: &Asked, other: &Asked) -> bool {
        let (key, other_key) = (one.key.as_str(), other.key.as_str());
        let keys = match self.breaks {
            Breaks::ComparesKeysWithoutCase => key.eq_ignore_ascii_case(other_key),
            Breaks::ComparesTheStartOfKeys => {
                key.starts_with(other_key) || other_key.starts_with(key)
            }
            Breaks::RunsKeyPartsTogether => {
                let run = |of: &Asked| {
                    format!("{}{}{}", of.namespace, of.tenant.as_str(), of.key.as_str())
                };
                return run(one) == run(other);
            }
            _ => key == other_key,
        };
        let namespaces = one.namespace == other.namespace || self.is(Breaks::IgnoresTheNamespace);
        keys && namespaces && (one.tenant == other.tenant || self.is(Breaks::IgnoresTheTenant))
    }

    fn same_conflict(&self, one: &Asked, other: &Asked) -> bool {
        let named = one.conflict.is_some() && one.conflict == other.conflict;
        let tenants = one.tenant == other.tenant || self.is(Breaks::ConflictsAcrossTenants);
        let namespaces =
            one.namespace == other.namespace || self.is(Breaks::ConflictsAcrossNamespaces);
        named && tenants && namespaces && !self.is(Breaks::IgnoresConflicts)
    }

    /// Whether a record keeps what it is about to itself.
    fn holds(&self, rows: &[Row], at: usize) -> bool {
        let record = &rows[at].record;
        let state = record.state();
        match self.breaks {
            Breaks::FreedByDoubt if state == State::Unknown => false,
            Breaks::FreedByParking if state == State::Parked => false,
            Breaks::FreedByReady if state == State::Ready => false,
            Breaks::NeverFreed => true,
            Breaks::FreedByCompletionAlone => state != State::Completed,
            // Every step of a final record frees what it was about, whoever has it now.
            Breaks::FreedByTheOneBefore => {
                let freed = rows.iter().any(|other| {
                    other.record.progress.acknowledged
                        && self.same_conflict(&other.record.asked, &record.asked)
                });
                record.holds_conflict() && !freed
            }
            Breaks::HoldsWhatNobodyWorksOn => !state.is_final(),
            _ => record.holds_conflict(),
        }
    }

    /// What stands in the way of a claim.
    fn in_the_way(&self, rows: &[Row], record: &Record) -> Option<Claim> {
        let asked = &record.asked;
        let existing = rows
            .iter()
            .find(|row| row.by_key && self.same_key(&row.record.asked, asked))
            .map(|row| Claim::Existing(Box::new(row.record.clone())));
        let conflict = (0..rows.len())
            .find(|at| self.holds(rows, *at) && self.same_conflict(&rows[*at].record.asked, asked))
            .map(|at| {
                let found = Box::new(rows[at].record.clone());
                match self.breaks {
                    Breaks::TellsConflictsAsExisting => Claim::Existing(found),
                    _ => Claim::Conflict(found),
                }
            });
        match self.breaks {
            Breaks::ConflictBeforeItself => conflict.or(existing),
            _ => existing.or(conflict),
        }
    }

    fn put(&self, rows: &mut Vec<Row>, record: &Record) -> Result<Claim, JournalError> {
        if let Some(at) = rows.iter().position(|row| row.record.id() == record.id()) {
            match self.breaks {
                Breaks::ReplacesATakenId => drop(rows.remove(at)),
                Breaks::GrantsATakenId => return Ok(Claim::Claimed),
                _ => return Err(JournalError::Conflict(Box::new(rows[at].record.clone()))),
            }
        }
        if !self.is(Breaks::ForgetsClaims) {
            let record = self.less(On::Claim, record.clone());
            rows.push(Row {
                claimed: record.clone(),
                record,
                by_key: true,
            });
        }
        Ok(Claim::Claimed)
    }

    async fn claims(&self, record: &Record) -> Result<Claim, JournalError> {
        self.trouble().await?;
        let found = self.in_the_way(&self.lock(), record);
        match (self.breaks, &found) {
            (Breaks::LooksThenPuts, None) => {
                yield_now().await;
                return self.put(&mut self.lock(), record);
            }
            (Breaks::LooksForConflictsThenPuts, None) => {
                yield_now().await;
                let mut rows = self.lock();
                let existing = self.in_the_way(&rows, record);
                let existing = existing.filter(|claim| matches!(claim, Claim::Existing(_)));
                return existing.map_or_else(|| self.put(&mut rows, record), Ok);
            }
            (Breaks::PutsInTwoHalves, None) => {
                let claim = self.put(&mut self.lock(), record)?;
                self.by_key(record.id(), false);
                yield_now().await;
                self.by_key(record.id(), true);
                return Ok(claim);
            }
            (Breaks::GrantsEveryClaim, Some(_)) => return Ok(Claim::Claimed),
            (Breaks::TellsTheClaimerItsOwnRecord, Some(Claim::Existing(_))) => {
                return Ok(Claim::Existing(Box::new(record.clone())));
            }
            (Breaks::ReplacesTheExisting, Some(Claim::Existing(existing))) => {
                let mut rows = self.lock();
                for row in rows
                    .iter_mut()
                    .filter(|row| row.record.id() == existing.id())
                {
                    row.record = record.clone();
                }
                return Ok(Claim::Existing(existing.clone()));
            }
            _ => {}
        }
        let mut rows = self.lock();
        match self.in_the_way(&rows, record) {
            Some(found) => Ok(found),
            None => self.put(&mut rows, record),
        }
    }

    fn by_key(&self, id: OperationId, is: bool) {
        for row in self.lock().iter_mut().filter(|row| row.record.id() == id) {
            row.by_key = is;
        }
    }

    fn version_fits(&self, current: &Record, next: &Record) -> bool {
        let (current, next) = (current.progress.version, next.progress.version);
        match self.breaks {
            Breaks::ChecksNoVersion | Breaks::LooksThenSteps => true,
            Breaks::TakesTheSameVersion => next == current || next == current + 1,
            Breaks::TakesAnyLaterVersion => next > current,
            Breaks::TakesAnEarlierVersion => next <= current + 1,
            _ => current.checked_add(1) == Some(next),
        }
    }

    async fn steps(&self, next: &Record) -> Result<(), JournalError> {
        self.trouble().await?;
        if self.is(Breaks::LooksThenSteps) {
            let current = self
                .lock()
                .iter()
                .find_map(|row| (row.record.id() == next.id()).then(|| row.record.clone()));
            if let Some(current) = current
                && current.progress.version.checked_add(1) != Some(next.progress.version)
            {
                return Err(JournalError::Conflict(Box::new(current)));
            }
            yield_now().await;
        }
        if self.is(Breaks::StepsInTwoHalves) {
            for row in self.lock().iter_mut() {
                let fits = self.version_fits(&row.record, next);
                if row.record.id() == next.id() && fits {
                    row.record.answer.clone_from(&next.answer);
                }
            }
            yield_now().await;
        }
        let mut rows = self.lock();
        let Some(at) = rows.iter().position(|row| row.record.id() == next.id()) else {
            return match self.breaks {
                Breaks::PutsWhatIsMissing => self.put(&mut rows, next).map(|_| ()),
                Breaks::SaysOkToWhatIsMissing => Ok(()),
                _ => Err(JournalError::Missing(next.id())),
            };
        };
        if !self.version_fits(&rows[at].record, next) {
            let told = match self.breaks {
                Breaks::TellsTheStepItself => next,
                _ => &rows[at].record,
            };
            return Err(JournalError::Conflict(Box::new(told.clone())));
        }
        if self.is(Breaks::ForgetsSteps) {
            return Ok(());
        }
        let begins = !rows[at].record.holds_conflict() && next.holds_conflict();
        if begins && !self.is(Breaks::BeginsAgainBesideAnother) {
            let asked = &rows[at].record.asked;
            let other = (0..rows.len())
                .filter(|other| *other != at && self.holds(&rows, *other))
                .find(|other| self.same_conflict(&rows[*other].record.asked, asked));
            if let Some(other) = other {
                let other = rows[other].record.clone();
                return Err(JournalError::Contended(Box::new(other)));
            }
        }
        let mut next = self.less(On::Step, next.clone());
        let current = &mut rows[at].record;
        if self.is(Breaks::KeepsAnAnswer) {
            next.answer = next.answer.or_else(|| current.answer.take());
        }
        if self.is(Breaks::AppendsHistory) {
            let longer = current.progress.history.len() > next.progress.history.len();
            if longer {
                next.progress.history.clone_from(&current.progress.history);
            }
        }
        if self.is(Breaks::ChangesTheAsked) {
            current.asked = next.asked;
        }
        (current.progress, current.answer) = (next.progress, next.answer);
        Ok(())
    }

    fn wanted(&self, filter: &Filter, row: &Row) -> bool {
        let shown = self.shown(row);
        let state = filter.states.is_empty()
            || filter.states.contains(&shown.state())
            || self.is(Breaks::IgnoresStates);
        let tenant = filter.tenant.as_ref();
        let tenant = tenant.is_none_or(|tenant| *tenant == shown.asked.tenant)
            || self.is(Breaks::IgnoresTheListedTenant);
        let namespace = filter.namespace.as_ref();
        let namespace = namespace.is_none_or(|namespace| *namespace == shown.asked.namespace)
            || self.is(Breaks::IgnoresTheListedNamespace);
        let due = match (filter.due_by, shown.progress.due) {
            (None, _) => true,
            (Some(_), _) if self.is(Breaks::IgnoresDueBy) => true,
            (Some(_), None) => self.is(Breaks::ListsTheUndueAsDue),
            (Some(by), Some(due)) if self.is(Breaks::DueMeansBefore) => due < by,
            (Some(by), Some(due)) => due <= by,
        };
        state && namespace && tenant && due
    }

    /// The record as the index of the listing knows it.
    fn shown(&self, row: &Row) -> Record {
        let mut shown = row.record.clone();
        match self.breaks {
            Breaks::ListsTheDueTimeOfTheClaim => shown.progress.due = row.claimed.progress.due,
            Breaks::ListsTheStateOfTheClaim => shown.progress.state = row.claimed.progress.state,
            _ => {}
        }
        shown
    }

    fn lists(&self, filter: &Filter) -> Vec<Record> {
        if self.is(Breaks::ListsNothing) {
            return Vec::new();
        }
        let rows = self.lock();
        let mut found: Vec<&Row> = rows.iter().collect();
        let due = |row: &&Row| {
            self.shown(row)
                .progress
                .due
                .unwrap_or(Timestamp::from_millis(u64::MAX))
        };
        match self.breaks {
            Breaks::ListsByIdAlone => found.sort_by_key(|row| row.record.id()),
            Breaks::ListsTheUndueFirst => {
                found.sort_by_key(|row| (row.record.progress.due, row.record.id()));
            }
            Breaks::ListsTheLatestFirst => {
                found.sort_by_key(|row| (std::cmp::Reverse(due(row)), row.record.id()));
            }
            Breaks::ListsTiesAsTheyCame => found.sort_by_key(due),
            _ => found.sort_by_key(|row| (due(row), row.record.id())),
        }
        if self.is(Breaks::SkipsBeforeItFilters) {
            found = found.into_iter().skip(filter.skip).collect();
        }
        found.retain(|row| self.wanted(filter, row));
        let skip = match self.breaks {
            Breaks::IgnoresSkip | Breaks::SkipsBeforeItFilters => 0,
            Breaks::SkipsWholePages => filter.skip / filter.limit.max(1) * filter.limit,
            _ => filter.skip,
        };
        let limit = match (self.breaks, filter.limit) {
            (Breaks::IgnoresTheLimit, _) | (Breaks::TakesNoLimitForAll, 0) => usize::MAX,
            // As SQL does where the end of a page is computed in a number that is too small.
            (Breaks::AddsSkipAndLimit, limit) => limit.wrapping_add(skip).saturating_sub(skip),
            (_, limit) => limit,
        };
        let page = found.into_iter().skip(skip).take(limit);
        let listed = |row: &Row| match self.breaks {
            Breaks::ListsTheRecordOfTheClaim => row.claimed.clone(),
            _ => row.record.clone(),
        };
        page.map(listed).collect()
    }

    fn finds(&self, which: Lookup<'_>) -> Option<Record> {
        let rows = self.lock();
        let found = rows.iter().find(|row| match which {
            _ if self.is(Breaks::FindsWhateverIsThere) => true,
            Lookup::Id(id) => row.record.id() == id,
            Lookup::Key { key, .. } if self.is(Breaks::FindsByKeyAlone) => {
                row.record.asked.key == *key
            }
            Lookup::Key {
                namespace,
                tenant,
                key,
            } => {
                let mut asked = (*row.record.asked).clone();
                asked.namespace = Arc::from(namespace);
                asked.tenant = tenant.clone();
                asked.key = key.clone();
                row.by_key && self.same_key(&asked, &row.record.asked)
            }
        });
        found.map(|row| row.record.clone())
    }
}

impl Journal for Plain {
    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    fn claim<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, Result<Claim, JournalError>> {
        Box::pin(self.claims(record))
    }

    fn step<'a>(&'a self, next: &'a Record) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(self.steps(next))
    }

    fn get<'a>(&'a self, which: Lookup<'a>) -> BoxFuture<'a, Result<Option<Record>, JournalError>> {
        Box::pin(async move {
            self.trouble().await?;
            Ok(self.finds(which))
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<Vec<Record>, JournalError>> {
        Box::pin(async move {
            self.trouble().await?;
            Ok(self.lists(filter))
        })
    }
}
