//! A disk that loses its power: what was synced stays, and of everything else any part may be missing.
//!
//! - A sector of 512 bytes holds what it held at some moment since the last sync of its file, whatever other sectors hold.
//! - So does the length of a file, and so does a name in the directory since the last sync of the directory.
//! - Nothing follows from the order of writes to one file, or to two.

use super::events::Event;
use fastrand::Rng;
use std::collections::BTreeMap;

const SECTOR: usize = 512;

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
