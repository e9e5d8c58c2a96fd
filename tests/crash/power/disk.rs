//! A disk that loses its power: what was synced stays, and of everything else any part may be missing.
//!
//! - A sector of 512 bytes holds what it held at some moment since the last sync of its file, whatever other sectors hold.
//! - So does the length of a file, and so does a name in the directory since the last sync of the directory.
//! - Nothing follows from the order of writes to one file, or to two.

use super::super::strace::Call;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub const SECTOR: usize = 512;

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
        (!name.ends_with("-shm")).then(|| name.trim_start_matches('/').to_owned())
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
                path.contains(&hex(directory)) && !path.contains(&hex(Path::new("-shm")))
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

/// Which syncs a lying disk only pretends to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    Nothing,
    /// Of files whose names end so.
    Files(&'static str),
    Directory,
}

#[derive(Debug)]
enum Change {
    Write {
        at: usize,
        bytes: Vec<u8>,
    },
    /// From the length it had to the new one.
    Truncate {
        from: usize,
        to: usize,
    },
}

#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    /// As the process sees it.
    len: usize,
    pending: Vec<Change>,
    /// How many changes are durable.
    synced: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Disk {
    lie: Lie,
    inodes: Vec<Inode>,
    /// The directory as the process sees it, as it is durable, and the changes between.
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<(String, Option<usize>)>,
    synced: usize,
    /// Syncs under way: of what, and how many of its changes, from the first one, they cover.
    syncs: BTreeMap<usize, (Option<usize>, usize)>,
}

/// How much is lost in one crash.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Whatever was not synced.
    All,
    /// Nothing: the process was killed.
    Nothing,
    /// What came after some moment, and of the last change some sectors.
    Tail,
    /// Each sector, length and name stays at some moment; this share of them at the last.
    Scattered(f64),
}

impl Loss {
    pub fn any(random: &mut Rng) -> Self {
        match random.u8(..10) {
            0 => Self::All,
            1 => Self::Nothing,
            2..5 => Self::Tail,
            5 => Self::Scattered(0.98),
            6 => Self::Scattered(0.1),
            _ => Self::Scattered(0.5),
        }
    }
}

/// Name and content of each file after a crash.
pub type Image = Vec<(String, Vec<u8>)>;

impl Disk {
    pub fn new(lie: Lie) -> Self {
        Self {
            lie,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            synced: 0,
            syncs: BTreeMap::new(),
        }
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Create(name) => {
                self.inode(name);
            }
            Event::Unlink(name) => {
                self.names.remove(name);
                self.pending.push((name.clone(), None));
            }
            Event::Write { file, at, bytes } => {
                let inode = self.inode(file);
                inode.len = inode.len.max(at + bytes.len());
                let bytes = bytes.clone();
                inode.pending.push(Change::Write { at: *at, bytes });
            }
            Event::Truncate { file, len } => {
                let inode = self.inode(file);
                let from = std::mem::replace(&mut inode.len, *len);
                inode.pending.push(Change::Truncate { from, to: *len });
            }
            Event::SyncBegin(number, None) => {
                let covered = self.synced + self.pending.len();
                self.syncs.insert(*number, (None, covered));
            }
            Event::SyncBegin(number, Some(file)) => {
                let known = *self.names.get(file).unwrap();
                let covered = match self.lie {
                    Lie::Files(kind) if file.ends_with(kind) => 0,
                    _ => self.inodes[known].synced + self.inodes[known].pending.len(),
                };
                self.syncs.insert(*number, (Some(known), covered));
            }
            Event::SyncEnd(number) => self.sync(*number),
            Event::Mark(_) | Event::Send => {}
        }
    }

    fn inode(&mut self, name: &str) -> &mut Inode {
        let next = self.inodes.len();
        let inode = *self.names.entry(name.to_owned()).or_insert(next);
        if inode == next {
            self.inodes.push(Inode::default());
            self.pending.push((name.to_owned(), Some(inode)));
        }
        &mut self.inodes[inode]
    }

    fn sync(&mut self, number: usize) {
        match self.syncs.remove(&number).unwrap() {
            (Some(inode), covered) => {
                let inode = &mut self.inodes[inode];
                let covered = covered.saturating_sub(inode.synced);
                inode.synced += covered;
                for change in inode.pending.drain(..covered) {
                    change.whole(&mut inode.durable);
                }
            }
            (None, _) if self.lie == Lie::Directory => {}
            (None, covered) => {
                let covered = covered.saturating_sub(self.synced);
                self.synced += covered;
                for (name, inode) in self.pending.drain(..covered) {
                    rename(&mut self.durable, name, inode);
                }
            }
        }
    }

    /// What a power loss at this moment leaves.
    pub fn crash(&self, loss: Loss, random: &mut Rng) -> Image {
        let mut names = self.durable.clone();
        let mut cuts: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, _) in &self.pending {
            *cuts.entry(name).or_default() += 1;
        }
        for cut in cuts.values_mut() {
            *cut = moment(*cut, loss, random);
        }
        for (name, inode) in &self.pending {
            let cut = cuts.get_mut(&**name).unwrap();
            if *cut > 0 {
                *cut -= 1;
                rename(&mut names, name.clone(), *inode);
            }
        }
        let files = names.into_iter();
        files
            .map(|(name, inode)| (name, self.inodes[inode].crash(loss, random)))
            .collect()
    }
}

fn rename(names: &mut BTreeMap<String, usize>, name: String, inode: Option<usize>) {
    match inode {
        Some(inode) => names.insert(name, inode),
        None => names.remove(&name),
    };
}

/// How many of `changes` were made before the power went.
fn moment(changes: usize, loss: Loss, random: &mut Rng) -> usize {
    match loss {
        Loss::All => 0,
        Loss::Scattered(stays) if random.f64() >= stays => random.usize(..=changes),
        Loss::Nothing | Loss::Scattered(_) => changes,
        Loss::Tail => random.usize(..=changes),
    }
}

impl Change {
    fn range(&self) -> (usize, usize) {
        match self {
            Self::Write { at, bytes } => (*at, at + bytes.len()),
            Self::Truncate { from, to } => (*to, *from.max(to)),
        }
    }

    fn len_after(&self, before: usize) -> usize {
        match self {
            Self::Write { at, bytes } => before.max(at + bytes.len()),
            Self::Truncate { to, .. } => *to,
        }
    }

    /// Puts a part of it into `content`, which grows as far as needed.
    fn part(&self, content: &mut Vec<u8>, from: usize, to: usize) {
        if content.len() < to {
            content.resize(to, 0);
        }
        match self {
            Self::Write { at, bytes } => {
                content[from..to].copy_from_slice(&bytes[from - at..to - at]);
            }
            Self::Truncate { .. } => content[from..to].fill(0),
        }
    }

    fn whole(&self, content: &mut Vec<u8>) {
        let len = self.len_after(content.len());
        let (from, to) = self.range();
        self.part(content, from, to);
        content.resize(len, 0);
    }

    /// Calls `each` with the part of it in each sector.
    fn sectors(&self, mut each: impl FnMut(usize, usize, usize)) {
        let (mut from, end) = self.range();
        while from < end {
            let to = ((from / SECTOR + 1) * SECTOR).min(end);
            each(from / SECTOR, from, to);
            from = to;
        }
    }
}

impl Inode {
    fn crash(&self, loss: Loss, random: &mut Rng) -> Vec<u8> {
        let mut content = self.durable.clone();
        if let Loss::Tail = loss {
            return self.tail(content, random);
        }
        let mut cuts: BTreeMap<usize, usize> = BTreeMap::new();
        for change in &self.pending {
            change.sectors(|sector, _, _| *cuts.entry(sector).or_default() += 1);
        }
        for cut in cuts.values_mut() {
            *cut = moment(*cut, loss, random);
        }
        let lengths = moment(self.pending.len(), loss, random);
        let mut len = content.len();
        for (number, change) in self.pending.iter().enumerate() {
            if number < lengths {
                len = change.len_after(len);
            }
            change.sectors(|sector, from, to| {
                let cut = cuts.get_mut(&sector).unwrap();
                if *cut > 0 {
                    *cut -= 1;
                    change.part(&mut content, from, to);
                }
            });
        }
        content.resize(len, 0);
        content
    }

    /// The changes up to a moment, and torn parts of the next.
    fn tail(&self, mut content: Vec<u8>, random: &mut Rng) -> Vec<u8> {
        let whole = random.usize(..=self.pending.len());
        for change in &self.pending[..whole] {
            change.whole(&mut content);
        }
        if let Some(torn) = self.pending.get(whole) {
            let len = if random.bool() {
                torn.len_after(content.len())
            } else {
                content.len()
            };
            torn.sectors(|_, from, to| {
                if random.bool() {
                    torn.part(&mut content, from, to);
                }
            });
            content.resize(len, 0);
        }
        content
    }
}
