//! What the system calls of a process did to the files of one directory.

use crate::strace::Call;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What happened, in order.
#[derive(Debug)]
pub enum Event {
    /// The name is there from now on; it may have been there already.
    Create(String),
    Unlink(String),
    Write {
        file: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        len: usize,
    },
    /// What was written before this is durable after the [`Event::SyncEnd`] of the same number. `None`: the directory.
    SyncBegin(usize, Option<String>),
    SyncEnd(usize),
    /// The process said something.
    Mark(String),
    /// A byte left for the upstream.
    Send,
}

/// What the calls did to the files of `directory`, without the shared memory, which SQLite makes anew.
///
/// # Panics
/// On a call on these files that this disk does not know: better than a hole in the model.
pub fn events(calls: &[Call], directory: &Path, marks: &Path, port: Option<u16>) -> Vec<Event> {
    let mut timed: Vec<(usize, Event)> = Vec::new();
    let mut upstream: Vec<i32> = Vec::new();
    for call in calls {
        if port.is_some_and(|port| is_send(call, port, &mut upstream)) {
            timed.push((call.began, Event::Send));
        }
        if call.result < 0 {
            continue;
        }
        if call.name == "write" && call.behind().as_deref() == Some(marks.as_os_str().as_bytes()) {
            let mark = String::from_utf8(call.text(1)).unwrap();
            timed.push((call.ended, Event::Mark(mark.trim_end().to_owned())));
            continue;
        }
        match on_files(call, directory) {
            Done::Nothing => {}
            Done::Event(event) => timed.push((call.ended, event)),
            Done::Sync(file) => {
                timed.push((call.began, Event::SyncBegin(call.ended, file)));
                timed.push((call.ended, Event::SyncEnd(call.ended)));
            }
        }
    }
    timed.sort_by_key(|(line, _)| *line);
    timed.into_iter().map(|(_, event)| event).collect()
}

/// Follows the sockets that were connected to `port`.
fn is_send(call: &Call, port: u16, upstream: &mut Vec<i32>) -> bool {
    let Some(descriptor) = call.descriptor() else {
        return false;
    };
    match call.name.as_str() {
        "connect" if call.arguments[1].contains(&format!("sin_port=htons({port})")) => {
            upstream.push(descriptor);
            false
        }
        "close" => {
            upstream.retain(|open| *open != descriptor);
            false
        }
        "write" | "writev" | "sendto" | "sendmsg" | "sendmmsg" | "sendfile" | "splice" => {
            upstream.contains(&descriptor)
        }
        _ => false,
    }
}

/// What lies beside a journal and holds no record: rebuilt, or, where it is missed, the journal is in quarantine.
const BESIDE: [&str; 4] = ["-shm", "-lock", "-incarnation", "-owners"];

enum Done {
    Nothing,
    Event(Event),
    /// A sync of a file, or of the directory.
    Sync(Option<String>),
}

fn on_files(call: &Call, directory: &Path) -> Done {
    let name = |path: &[u8]| {
        let name = path.strip_prefix(directory.as_os_str().as_bytes())?;
        let name = String::from_utf8(name.to_vec()).unwrap();
        let beside = BESIDE.iter().any(|part| name.contains(part));
        (!beside).then(|| name.trim_start_matches('/').to_owned())
    };
    let behind = || name(&call.behind()?);
    let at = |argument| usize::try_from(call.number(argument)).unwrap();
    match call.name.as_str() {
        "open" | "openat" => {
            let by_descriptor = usize::from(call.name == "openat");
            let flags = &call.arguments[by_descriptor + 1];
            match name(&call.text(by_descriptor)) {
                Some(file) if flags.contains("O_TRUNC") => {
                    Done::Event(Event::Truncate { file, len: 0 })
                }
                Some(file) if flags.contains("O_CREAT") => Done::Event(Event::Create(file)),
                _ => Done::Nothing,
            }
        }
        "unlink" => {
            name(&call.text(0)).map_or(Done::Nothing, |file| Done::Event(Event::Unlink(file)))
        }
        "pwrite64" => behind().map_or(Done::Nothing, |file| {
            let mut bytes = call.text(1);
            bytes.truncate(usize::try_from(call.result).unwrap());
            let at = at(3);
            Done::Event(Event::Write { file, at, bytes })
        }),
        "ftruncate" => behind().map_or(Done::Nothing, |file| {
            let len = at(1);
            Done::Event(Event::Truncate { file, len })
        }),
        "fsync" | "fdatasync" => behind().map_or(Done::Nothing, |file| {
            Done::Sync((!file.is_empty()).then_some(file))
        }),
        "close" => Done::Nothing,
        other => {
            let touched = call.arguments.iter().any(|argument| {
                let path = argument
                    .split_once('<')
                    .map_or(&**argument, |(_, path)| path);
                let beside = BESIDE
                    .iter()
                    .any(|part| path.contains(&hex(Path::new(part))));
                path.contains(&hex(directory)) && !beside
            });
            assert!(
                !touched,
                "the disk of this test does not know {other}: {:?}",
                call.arguments
            );
            Done::Nothing
        }
    }
}

/// As `strace -xx` writes it.
fn hex(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.map(|byte| format!("\\x{byte:02x}")).collect()
}
