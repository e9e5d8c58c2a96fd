//! What callers were told of an operation, and what they therefore believe.

use crate::clock::Timestamp;
use std::time::Duration;

/// What one answer tells the person who waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// "It is paid."
    Succeeded,
    /// "It was refused for good, and nothing was paid."
    Rejected,
    /// "It failed."
    Failed,
    /// "Not now; nothing was sent."
    Refused,
    /// "Accepted, still settling."
    Pending,
    /// "It waits for a person."
    Parked,
    /// Nothing: our process died while the user waited.
    NoAnswer,
}

impl Told {
    /// Whether this ends the matter for the caller.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Rejected)
    }

    /// Whether the caller now believes that nothing was paid.
    #[must_use]
    pub const fn denies(self) -> bool {
        matches!(self, Self::Rejected | Self::Failed | Self::Refused)
    }

    /// Whether the operation is still open for the caller.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::NoAnswer)
    }
}

/// Everything said of one operation, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    clicked: Option<Timestamp>,
    said: Vec<(Timestamp, Told)>,
}

impl Answers {
    /// The user pressed "pay" (only the first time counts).
    pub fn click(&mut self, at: Timestamp) {
        self.clicked.get_or_insert(at);
    }

    /// The user was told something.
    pub fn say(&mut self, at: Timestamp, told: Told) {
        // Most are told once or twice, and `push` alone would make room for four.
        self.said.reserve_exact(1);
        self.said.push((at, told));
    }

    /// The first click.
    #[must_use]
    pub const fn clicked(&self) -> Option<Timestamp> {
        self.clicked
    }

    /// What the caller believes at a time: "it is paid" once heard is kept; otherwise the last answer holds, and silence
    /// changes nothing.
    #[must_use]
    pub fn belief(&self, at: Timestamp) -> Option<Told> {
        let heard = || {
            self.said
                .iter()
                .filter(move |(when, _)| *when <= at)
                .map(|(_, told)| *told)
        };
        heard()
            .find(|told| *told == Told::Succeeded)
            .or_else(|| heard().rfind(|told| *told != Told::NoAnswer))
            .or_else(|| heard().next_back())
    }

    /// Whether the operation had taken effect when "it is paid" was first said.
    pub(super) fn told_paid_truly(&self, effect: Option<Timestamp>) -> bool {
        let first = self.said.iter().find(|(_, told)| *told == Told::Succeeded);
        first.is_some_and(|(when, _)| effect.is_some_and(|effect| effect <= *when))
    }

    /// Whether a caller who had not heard "it is paid" was told that nothing was, though the operation had taken effect;
    /// "refused for good" holds for all time, and the last word until the end.
    pub(super) fn denied(&self, effect: Option<Timestamp>, ends: Timestamp) -> bool {
        let Some(effect) = effect else { return false };
        let mut open = self
            .said
            .iter()
            .take_while(|(_, told)| *told != Told::Succeeded);
        open.any(|(when, told)| told.denies() && (*told == Told::Rejected || effect <= *when))
            || self.belief(ends).is_some_and(Told::denies)
    }

    /// From the first click to the first final answer.
    #[must_use]
    pub fn until_final(&self) -> Option<Duration> {
        let (at, _) = self.said.iter().find(|(_, told)| told.is_final())?;
        Some(at.since(self.clicked?))
    }

    /// From the first "still settling" to the next answer that says more, or to `end` if none did.
    #[must_use]
    pub fn pending_for(&self, end: Timestamp) -> Option<Duration> {
        let first = self
            .said
            .iter()
            .position(|(_, told)| *told == Told::Pending)?;
        let settled = self.said[first..]
            .iter()
            .find(|(_, told)| !told.is_open())
            .map_or(end, |(at, _)| *at);
        Some(settled.since(self.said[first].0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn told(said: &[(u64, Told)]) -> Answers {
        let mut answers = Answers::default();
        answers.click(at(0));
        for (when, told) in said {
            answers.say(at(*when), *told);
        }
        answers
    }

    #[test]
    fn paid_once_heard_is_believed_whatever_the_second_click_says() {
        let answers = told(&[(10, Told::Succeeded), (20, Told::Failed)]);
        assert_eq!(answers.belief(at(30)), Some(Told::Succeeded));
    }

    #[test]
    fn a_failure_that_a_later_press_mends_is_not_believed_in_the_end() {
        let answers = told(&[(10, Told::Failed), (20, Told::Succeeded)]);
        assert_eq!(answers.belief(at(15)), Some(Told::Failed));
        assert_eq!(answers.belief(at(20)), Some(Told::Succeeded));
    }

    #[test]
    fn silence_changes_no_belief() {
        let answers = told(&[(10, Told::Pending), (20, Told::NoAnswer)]);
        assert_eq!(answers.belief(at(30)), Some(Told::Pending));
        assert_eq!(
            told(&[(10, Told::NoAnswer)]).belief(at(30)),
            Some(Told::NoAnswer)
        );
        assert_eq!(told(&[]).belief(at(30)), None);
    }

    #[test]
    fn pending_lasts_until_something_more_is_said_or_the_end() {
        let settled = told(&[
            (10, Told::Pending),
            (20, Told::NoAnswer),
            (90, Told::Succeeded),
        ]);
        assert_eq!(
            settled.pending_for(at(500)),
            Some(Duration::from_millis(80))
        );
        let never = told(&[(10, Told::Pending)]);
        assert_eq!(never.pending_for(at(500)), Some(Duration::from_millis(490)));
    }
}
