//! A gate that several processes pass at one moment: a lock of the operating system, which wakes all who wait for it.
//!
//! It ends with its holder, so nobody waits for a test that failed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Shut until it is dropped.
#[derive(Debug)]
pub struct Gate(#[allow(dead_code, reason = "its lock is what counts")] File);

/// The gate in front of a file.
fn of(file: &Path) -> PathBuf {
    file.with_extension("gate")
}

impl Gate {
    pub fn shut(file: &Path) -> io::Result<Self> {
        let gate = File::create(of(file))?;
        gate.lock()?;
        Ok(Self(gate))
    }
}

/// Waits until it is open.
pub fn pass(file: &Path) -> io::Result<()> {
    OpenOptions::new().read(true).open(of(file))?.lock_shared()
}
