//! What only the user (or a preset) can know: how to look an operation up, and what the local record believes.

use super::upstream::Upstream;
use crate::error::BoxError;
use crate::journal::{BoxFuture, Observation, Record};
use std::fmt;

/// What a check of a settled operation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The local record knows it, and agrees with the upstream: the two were compared.
    Agrees,
    /// The local record knows it; there was nothing to compare.
    Told,
    /// The two disagree; how. The hook has corrected the local record, or told whoever will.
    Drift(String),
    /// Not done yet: ask again later.
    NotYet,
}

/// The hooks of reconciliation. An error, a panic and a timeout are all "cannot tell": the check is made again.
pub trait Hooks: Send + Sync + fmt::Debug + 'static {
    /// Did this operation take effect? Answer [`Observation::Found`] on proof alone: a mark this operation planted, or
    /// an answer replayed under its key; a likeness (amount, vendor, date) is none.
    fn observe<'a>(
        &'a self,
        record: &'a Record,
        upstream: &'a Upstream,
    ) -> BoxFuture<'a, Observation>;

    /// The operation is settled, durably: update the local record, and compare. Called at least once per operation, and
    /// again until it answers other than [`Settled::NotYet`]: for `settle.parked_for` and `settle.looks_max` times at
    /// least, then the worker raises an alarm instead. Called again when the upstream proved something about what a person
    /// resolved; `contradicted` says whether it proved the person wrong. Id and version of the record tell repeats apart.
    fn settled<'a>(
        &'a self,
        record: &'a Record,
        upstream: &'a Upstream,
    ) -> BoxFuture<'a, Result<Settled, BoxError>> {
        let _ = (record, upstream);
        Box::pin(std::future::ready(Ok(Settled::Told)))
    }
}

/// No way to look anything up: keyed operations are settled by sending them again, all others wait for a person.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn observe<'a>(&'a self, _: &'a Record, _: &'a Upstream) -> BoxFuture<'a, Observation> {
        let why = "no look-up is configured".to_owned();
        Box::pin(std::future::ready(Observation::CannotTell { why }))
    }
}
