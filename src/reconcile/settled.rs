//! What is settled: the local record is told, and what a person resolved is held against what the upstream proves.

use super::figures::Figures;
use super::hooks::Settled;
use super::worker::Reconciler;
use crate::event::Decision;
use crate::journal::{AfterTelling, JournalError, Live, Proof, Record, State, after_telling};

impl Reconciler {
    /// Tells the local record of a settled operation.
    pub(super) async fn acknowledge(&self, live: &Live) -> Result<(), JournalError> {
        let shared = &self.shared;
        let book = &shared.book;
        let record = book.own(live, None).await?;
        let telling = self.guarded(async { shared.hooks.settled(&record, &shared.upstream).await });
        let Some(settled) = book.hold(live, telling).await else {
            return Ok(());
        };
        let knows = match settled {
            Ok(Ok(Settled::Agrees)) => {
                Figures::count(&shared.figures.agreed);
                true
            }
            Ok(Ok(Settled::Told)) => true,
            Ok(Ok(Settled::Drift(what))) => {
                Figures::count(&shared.figures.drifted);
                book.tell(&record, 0, Decision::Drift { what: &what });
                true
            }
            Ok(Ok(Settled::NotYet) | Err(_)) | Err(_) => false,
        };
        let now = book.now().at;
        let after = after_telling(&record, knows, now, &book.config().settle);
        if let AfterTelling::GiveUp(_) = after {
            Figures::count(&shared.figures.drifted);
            let what = "the local record was told for too long and never took it";
            book.tell(&record, 0, Decision::Drift { what });
        }
        book.step(live, |record| {
            let progress = &mut record.progress;
            (progress.acknowledged, progress.due) = match after {
                AfterTelling::Done(again) | AfterTelling::GiveUp(again) => (true, again),
                AfterTelling::Again(at) => (false, Some(at)),
            };
            progress.checks = progress.checks.saturating_add(1);
        })
        .await?;
        Ok(())
    }

    /// Holds proof of the effect against what a person said.
    pub(super) async fn weigh(&self, live: &Live, proof: Proof) -> Result<(), JournalError> {
        let book = &self.shared.book;
        let now = book.now().at;
        let mut contradicted = false;
        book.step(live, |record| {
            contradicted = record.prove(now, proof.evidence, Some(proof.answer));
            book.schedule_acknowledgement(record, now);
        })
        .await?;
        Figures::count(&self.shared.figures.found);
        if contradicted {
            Figures::count(&self.shared.figures.contradicted);
            book.contradicted(live);
        }
        Ok(())
    }

    /// The look-ups after a person's "applied" are over, and none of them found it.
    pub(super) fn tell_never_found(&self, record: &Record) {
        let unproven = record.progress.resolved.as_ref().is_some_and(|resolved| {
            resolved.applied && resolved.proven.is_none() && !record.progress.contradicted
        });
        if unproven && record.state() == State::Completed {
            let what = "a person resolved it as applied, and no look-up has found it";
            self.shared.book.tell(record, 0, Decision::Drift { what });
        }
    }
}
