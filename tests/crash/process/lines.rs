//! The child's side of its pipes.

use std::io::{BufRead, Write};
use std::str::FromStr;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Says one line to the parent, whole and at once: what is said here was said before any kill that follows.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // In front of it may stand what the test harness says. A parent that is gone hears nothing.
    let _ = write!(out, "\n{line}\n").and_then(|()| out.flush());
}

/// What the parent says, line by line; ends with the parent.
pub fn heard() -> UnboundedReceiver<String> {
    let (to, heard) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                break;
            }
        }
    });
    heard
}

/// A setting that the parent gave; `None` where nobody did, which is when all ignored tests are run by hand.
pub fn setting<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}
