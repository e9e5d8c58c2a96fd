//! A SQLite journal whose bytes can be taken as they are at any instant.

use std::fs::OpenOptions;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use tempfile::TempDir;
use tower_sturdy::clock::Timestamp;
use tower_sturdy::journal::SqliteJournal;
use tower_sturdy::journal::sqlite::Adoption;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs `work` to its end without letting anything else of the simulation run: for the simulation, it takes no time.
pub fn at_once<T>(work: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    // The budget is the surrounding task's, and would never be filled again in here.
    let mut work = pin!(tokio::task::unconstrained(work));
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A SQLite file, and the directory that it is alone in.
#[derive(Debug)]
pub struct File {
    pub journal: SqliteJournal,
    directory: TempDir,
}

const NAME: &str = "simulated.journal";
const LOG: &str = "simulated.journal-wal";

impl File {
    pub fn new() -> Self {
        Self::open(directory())
    }

    fn open(directory: TempDir) -> Self {
        let journal = SqliteJournal::open(directory.path().join(NAME)).unwrap();
        Self { journal, directory }
    }

    /// How long its log is.
    pub fn logged(&self) -> u64 {
        let log = self.directory.path().join(LOG);
        std::fs::metadata(log).map_or(0, |log| log.len())
    }

    /// The file as it is at this instant, opened anew: what its old handle does from now on is done to a file that
    /// nobody reads. The log is only appended to in so short a life, so a file and then its log are one instant's bytes.
    /// `length` is where the crash cut the log off.
    pub fn as_it_is(&self, length: Option<u64>) -> Self {
        let (from, to) = (self.directory.path(), directory());
        for entry in std::fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            // The shared memory of the dead process is gone with it.
            if !name.to_string_lossy().ends_with("-shm") {
                std::fs::copy(from.join(&name), to.path().join(&name)).unwrap();
            }
        }
        if let Some(length) = length {
            let log = OpenOptions::new().write(true).open(to.path().join(LOG));
            log.unwrap().set_len(length).unwrap();
        }
        let file = Self::open(to);
        // It is a copy, and nothing was missed since it was made.
        if file.journal.quarantine().is_some() {
            let adoption = Adoption::new(None, "the simulation", "its process died");
            at_once(file.journal.adopt(&adoption, Timestamp::default())).unwrap();
        }
        file
    }
}

/// In memory where there is a place for that: nothing here is about the disk's own time.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    TempDir::with_prefix_in("sturdy-crash-", place).unwrap()
}
