//! Processes of these tests: this binary again, with one ignored test to run and a pipe each way.
//!
//! A process ends when the pipe to it closes, so none outlives a test that fails, or that is killed itself.

pub mod claimer;
pub mod gate;
pub mod lines;
pub mod opener;
pub mod operation;
pub mod payer;
pub mod settings;
pub mod upstream;
pub mod writer;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use tower_sturdy::clock::{Clock, Instant};

/// Longer than any start or answer of a process takes on a machine that does other things as well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A child of this test. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    to: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Starts the ignored test `process::<name>::process` of this binary.
    pub fn start(name: &'static str, settings: &[(&str, String)]) -> Self {
        let binary = Command::new(std::env::current_exe().unwrap());
        Self::start_by(binary, name, settings)
    }

    /// The same, by a command that runs the program that its last arguments name.
    pub fn start_within(
        mut within: Command,
        name: &'static str,
        settings: &[(&str, String)],
    ) -> Self {
        within.arg(std::env::current_exe().unwrap());
        Self::start_by(within, name, settings)
    }

    fn start_by(mut binary: Command, name: &'static str, settings: &[(&str, String)]) -> Self {
        let test = format!("process::{name}::process");
        let mut child = binary
            .args(["--exact", &test, "--ignored", "--nocapture"])
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (say, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            name,
            to: child.stdin.take(),
            child,
            lines,
        }
    }

    /// Its number, which is also its command's where that became it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says one line to it. One that is gone hears nothing.
    pub fn say(&mut self, line: &str) {
        if let Some(to) = &mut self.to {
            let _ = writeln!(to, "{line}").and_then(|()| to.flush());
        }
    }

    /// What it says next, until `at`. `None` when the time is over.
    pub fn hears_until(&self, at: Instant) -> Option<String> {
        let left = at.saturating_duration_since(Clock::system().now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the {} ended by itself", self.name),
        }
    }

    /// The rest of the first line that begins with `word`; what is said before it goes to `other`.
    pub fn waits_for(&self, word: &str, mut other: impl FnMut(&str)) -> String {
        let at = Clock::system().now() + PATIENCE;
        let mut last = String::new();
        loop {
            let Some(line) = self.hears_until(at) else {
                panic!(
                    "the {} did not say \"{word}\" within {PATIENCE:?}, but last \"{last}\"",
                    self.name
                );
            };
            match line.strip_prefix(word) {
                Some(rest) => return rest.trim_start().to_owned(),
                None => other(&line),
            }
            last = line;
        }
    }

    /// `kill -9`, and what it had said by then.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }

    /// Closes the pipe to it, and waits until it is gone.
    pub fn end(mut self) {
        self.to = None;
        // Its last word is the end of its pipe.
        let at = Clock::system().now() + PATIENCE;
        loop {
            let left = at.saturating_duration_since(Clock::system().now());
            match self.lines.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the {} does not end", self.name),
            }
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the {} failed: {status}", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
