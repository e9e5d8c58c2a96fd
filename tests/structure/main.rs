//! The house's order: who imports whom, what the documents say, what the dependencies may be. Reads the tracked text,
//! never the program.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod dependencies;
mod documents;
mod imports;
mod sizes;
mod source;

use std::path::{Path, PathBuf};

/// The root of the crate.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file by its path from the root.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Every file below `folder` that `keep` wants, as paths from the root, sorted.
pub fn files(folder: &str, keep: fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What cargo and git keep there is none of ours, and may vanish while it is read.
                if !path.ends_with("target") && !path.ends_with(".git") {
                    folders.push(path);
                }
            } else if keep(&path) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file below `folder`.
pub fn rust_files(folder: &str) -> Vec<PathBuf> {
    files(folder, |path| {
        path.extension().is_some_and(|end| end == "rs")
    })
}
