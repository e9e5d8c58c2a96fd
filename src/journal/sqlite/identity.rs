//! Whether a file is the journal that it was: judged by what it says of itself and what its mirror says. Pure.
//!
//! Each opening for writing, and each minute of writing, raises the file's incarnation, in it and then in the mirror. A
//! copy of an earlier time is behind the mirror; a copy at another place is another inode; a new file is no incarnation
//! of what was there.

use crate::clock::Timestamp;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Random; `None` until the first opening for writing is on record.
    pub(super) journal: Option<String>,
    /// How often it was raised.
    pub(super) incarnation: u64,
    /// The file's number on its file system, where there is one.
    pub(super) inode: Option<u64>,
}

impl Identity {
    /// Whether it is another file than the one with this number.
    pub(super) fn moved(&self, inode: Option<u64>) -> bool {
        matches!((self.inode, inode), (Some(was), Some(is)) if was != is)
    }
}

/// What its mirror says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Mirror {
    pub(super) journal: String,
    pub(super) incarnation: u64,
    pub(super) inode: Option<u64>,
}

/// What there is of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    Mirror(Mirror),
    /// A file that is no mirror.
    Unreadable,
}

/// Why a journal file is not taken for what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// It is an older copy: the mirror has seen it later than it knows of itself.
    Older,
    /// Its mirror is an older copy.
    MirrorOlder,
    /// It is another file than the one that was written last: a copy, or it was moved.
    Copied,
    /// It is new, and there was a journal here before.
    Replaced,
    /// Its mirror belongs to another journal.
    Other,
    /// Its mirror is gone.
    NoMirror,
    /// Its mirror cannot be read.
    BadMirror,
}

impl Doubt {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Older => "older",
            Self::MirrorOlder => "mirror_older",
            Self::Copied => "copied",
            Self::Replaced => "replaced",
            Self::Other => "other",
            Self::NoMirror => "no_mirror",
            Self::BadMirror => "bad_mirror",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Older => "it is an older copy: it was written later than it knows of",
            Self::MirrorOlder => "the file -incarnation beside it is an older copy",
            Self::Copied => "it is a copy, or was moved: it is not the file that was written last",
            Self::Replaced => "it is new, and there was a journal at this place before",
            Self::Other => "the file -incarnation beside it belongs to another journal",
            Self::NoMirror => "the file -incarnation beside it is gone",
            Self::BadMirror => "the file -incarnation beside it cannot be read",
        }
    }
}

/// A journal file that takes no changes until a person has said what it may have missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    doubt: Doubt,
    known_until: Option<Timestamp>,
    message: Arc<str>,
}

impl Quarantine {
    pub(super) fn new(path: &Path, doubt: Doubt, known_until: Option<Timestamp>) -> Self {
        let (file, why) = (path.display(), doubt.in_words());
        let known = known_until.map_or_else(String::new, |at| {
            format!(" The last that it knows of is of {at}.")
        });
        let message = format!(
            "the journal {file} is in quarantine: {why}. It takes no operations and nothing is sent, until a person says \
             since when it may have missed something: stop whatever else uses it, run `sturdy journal adopt {file} \
             --missed-since TIME` (or `--nothing-missed`, if all that used it was stopped before it was moved).{known}"
        );
        Self {
            doubt,
            known_until,
            message: message.into(),
        }
    }

    /// Why.
    #[must_use]
    pub const fn doubt(&self) -> Doubt {
        self.doubt
    }

    /// The latest time that the file has seen; what happened later it does not know.
    #[must_use]
    pub const fn known_until(&self) -> Option<Timestamp> {
        self.known_until
    }

    /// Why, and what to do about it.
    #[must_use]
    pub const fn message(&self) -> &Arc<str> {
        &self.message
    }
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Whether the file may go on as the journal that it was. `inode` is the file's now.
///
/// A crash between the two raisings leaves the file one ahead of its mirror, and a file that was never raised has none.
pub(super) fn judge(file: &Identity, beside: &Beside, inode: Option<u64>) -> Result<(), Doubt> {
    let moved = |was: Option<u64>| matches!((was, inode), (Some(was), Some(is)) if was != is);
    let mirror = match beside {
        Beside::Unreadable => return Err(Doubt::BadMirror),
        Beside::Mirror(_) if file.incarnation == 0 => return Err(Doubt::Replaced),
        Beside::Nothing if moved(file.inode) => return Err(Doubt::Copied),
        Beside::Nothing if file.incarnation > 1 => return Err(Doubt::NoMirror),
        Beside::Nothing => return Ok(()),
        Beside::Mirror(mirror) => mirror,
    };
    if file.journal.as_ref() != Some(&mirror.journal) {
        Err(Doubt::Other)
    } else if file.incarnation < mirror.incarnation {
        Err(Doubt::Older)
    } else if file.incarnation - mirror.incarnation > 1 {
        Err(Doubt::MirrorOlder)
    } else if moved(file.inode) || moved(mirror.inode) {
        Err(Doubt::Copied)
    } else {
        Ok(())
    }
}

/// The same for a file that this process has open, and saw as `seen`. A mirror that is gone or behind is no reason then:
/// it is written again.
pub(super) fn judge_running(
    seen: &Identity,
    file: &Identity,
    beside: &Beside,
    inode: Option<u64>,
) -> Result<(), Doubt> {
    if file.journal != seen.journal {
        return Err(Doubt::Replaced);
    }
    if file.incarnation < seen.incarnation {
        return Err(Doubt::Older);
    }
    if seen.moved(inode) {
        return Err(Doubt::Copied);
    }
    match beside {
        Beside::Mirror(mirror) if Some(&mirror.journal) != file.journal.as_ref() => {
            Err(Doubt::Other)
        }
        Beside::Mirror(mirror) if mirror.incarnation > file.incarnation => Err(Doubt::Older),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(incarnation: u64, inode: u64) -> Identity {
        Identity {
            journal: Some("a".into()),
            incarnation,
            inode: Some(inode),
        }
    }

    fn mirror(incarnation: u64, inode: u64) -> Beside {
        Beside::Mirror(Mirror {
            journal: "a".into(),
            incarnation,
            inode: Some(inode),
        })
    }

    const NEW: Identity = Identity {
        journal: None,
        incarnation: 0,
        inode: None,
    };

    #[test]
    fn what_a_run_or_a_crash_leaves_is_believed() {
        assert_eq!(judge(&NEW, &Beside::Nothing, Some(7)), Ok(()));
        assert_eq!(judge(&file(1, 7), &Beside::Nothing, Some(7)), Ok(()));
        assert_eq!(judge(&file(5, 7), &mirror(5, 7), Some(7)), Ok(()));
        assert_eq!(judge(&file(6, 7), &mirror(5, 7), Some(7)), Ok(()));
        // Where files have no numbers, the rest is judged.
        assert_eq!(judge(&file(5, 7), &mirror(5, 7), None), Ok(()));
    }

    #[test]
    fn what_is_not_the_journal_that_it_was_is_told_apart() {
        for (file, beside, inode, doubt) in [
            (file(4, 7), mirror(5, 7), 7, Doubt::Older),
            (file(7, 7), mirror(5, 7), 7, Doubt::MirrorOlder),
            (file(5, 7), mirror(5, 7), 8, Doubt::Copied),
            (file(5, 7), mirror(5, 8), 7, Doubt::Copied),
            (file(1, 7), Beside::Nothing, 8, Doubt::Copied),
            (file(5, 7), Beside::Nothing, 7, Doubt::NoMirror),
            (file(5, 7), Beside::Unreadable, 7, Doubt::BadMirror),
            (NEW, mirror(1, 7), 7, Doubt::Replaced),
        ] {
            assert_eq!(judge(&file, &beside, Some(inode)), Err(doubt), "{file:?}");
        }
        let other = Identity {
            journal: Some("b".into()),
            ..file(5, 7)
        };
        assert_eq!(judge(&other, &mirror(5, 7), Some(7)), Err(Doubt::Other));
    }

    #[test]
    fn a_file_that_was_put_back_while_it_was_open_is_told_apart() {
        let seen = file(5, 7);
        let judge =
            |file: Identity, beside, inode| judge_running(&seen, &file, &beside, Some(inode));
        for beside in [
            mirror(4, 7),
            mirror(5, 7),
            Beside::Nothing,
            Beside::Unreadable,
        ] {
            assert_eq!(judge(file(5, 7), beside.clone(), 7), Ok(()));
            // Another process raised it too.
            assert_eq!(judge(file(6, 7), beside.clone(), 7), Ok(()));
            assert_eq!(judge(file(4, 7), beside.clone(), 7), Err(Doubt::Older));
            assert_eq!(judge(file(5, 7), beside, 8), Err(Doubt::Copied));
        }
        assert_eq!(judge(file(5, 7), mirror(6, 7), 7), Err(Doubt::Older));
        let other = Identity {
            journal: Some("b".into()),
            ..file(9, 7)
        };
        assert_eq!(judge(other, mirror(5, 7), 7), Err(Doubt::Replaced));
    }

    #[test]
    fn the_message_says_why_and_what_to_run() {
        let path = Path::new("/data/pay.journal");
        let known = Some(Timestamp::from_millis(784_111_777_000));
        for doubt in [Doubt::Older, Doubt::Copied, Doubt::NoMirror] {
            let told = Quarantine::new(path, doubt, known).to_string();
            let run = "`sturdy journal adopt /data/pay.journal --missed-since TIME`";
            for part in [run, doubt.in_words(), "Sun, 06 Nov 1994 08:49:37 GMT"] {
                assert!(told.contains(part), "{told}");
            }
        }
    }

    proptest! {
        /// A copy of any earlier time, put back at any later one, in place or beside.
        #[test]
        fn no_copy_of_an_earlier_time_is_believed(
            raised in 1_u64..50, more in 1_u64..50, crashed: bool, in_place: bool,
        ) {
            let now = raised + more;
            // After a crash the mirror may be one behind what the file was; the next opening had raised both.
            let seen = if crashed && more > 1 { now - 1 } else { now };
            let inode = if in_place { 7 } else { 8 };
            prop_assert!(judge(&file(raised, 7), &mirror(seen, 7), Some(inode)).is_err());
        }
    }
}
