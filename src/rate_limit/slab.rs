//! Things with a stable number: a freed number is used again.

#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Option<T>>,
    vacant: Vec<usize>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            vacant: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, value: T) -> usize {
        if let Some(at) = self.vacant.pop() {
            self.entries[at] = Some(value);
            return at;
        }
        self.entries.push(Some(value));
        self.entries.len() - 1
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.entries.get(at)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.entries.get_mut(at)?.as_mut()
    }

    /// Takes a value out; numbers at the end are given up so that a burst leaves nothing behind.
    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        let value = self.entries.get_mut(at)?.take()?;
        self.vacant.push(at);
        if self.vacant.len() == self.entries.len() {
            self.entries = Vec::new();
            self.vacant = Vec::new();
        }
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// Each value with its number.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        let numbered = self.entries.iter_mut().enumerate();
        numbered.filter_map(|(at, entry)| Some((at, entry.as_mut()?)))
    }

    /// One more than the highest number in use.
    pub(super) fn end(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_number_is_used_again_and_an_empty_slab_keeps_nothing() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!((slab.remove(a), slab.insert('c')), (None, a));
        assert_eq!((slab.remove(a), slab.remove(b)), (Some('c'), Some('b')));
        assert_eq!((slab.len(), slab.end()), (0, 0));
    }
}
