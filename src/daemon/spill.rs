//! Snapshots of entities that left memory, on an anonymous temporary file: a cache. The truth is in the state topic.

use crate::lane::name_hash;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};

/// Rewritten when more than this is garbage, and more than half of it.
const GARBAGE: u64 = 64 << 20;
/// Lengths of a name and of its snapshot, before both.
const LENGTHS: usize = 8;

/// One lane's cold entities. In memory there are 16 bytes for each: the hash of its name, and where it is.
#[derive(Debug, Default)]
pub struct Spill {
    file: Option<File>,
    places: HashMap<u64, u64>,
    /// What the disk did not take: a snapshot is smaller than an entity, and losing it is no choice.
    untaken: HashMap<u64, (Box<str>, Vec<u8>)>,
    end: u64,
    garbage: u64,
    record: Vec<u8>,
}

impl Spill {
    /// Keeps the bytes of an entity; of two with one hash, those of the later one.
    ///
    /// # Errors
    /// The disk does not take them: they are kept in memory.
    pub fn put(&mut self, entity: &str, bytes: &[u8]) -> io::Result<()> {
        let hash = name_hash(entity);
        self.forget(hash);
        let result = self.append(hash, entity, bytes);
        if result.is_err() {
            self.untaken.insert(hash, (entity.into(), bytes.to_vec()));
        }
        result
    }

    fn append(&mut self, hash: u64, entity: &str, bytes: &[u8]) -> io::Result<()> {
        if self.garbage > GARBAGE && self.garbage > self.end / 2 {
            self.rewrite()?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile()?),
        };
        let length = |n: usize| u32::try_from(n).map_err(|_| io::Error::other("a snapshot of 4 GiB"));
        self.record.clear();
        self.record.extend_from_slice(&length(entity.len())?.to_le_bytes());
        self.record.extend_from_slice(&length(bytes.len())?.to_le_bytes());
        self.record.extend_from_slice(entity.as_bytes());
        self.record.extend_from_slice(bytes);
        file.write_all_at(&self.record, self.end)?;
        self.places.insert(hash, self.end);
        self.end += self.record.len() as u64;
        Ok(())
    }

    /// Gives the bytes of an entity back, and forgets them. `None`: they are not here; another of the same hash may be.
    ///
    /// # Errors
    /// The disk does not give them.
    pub fn take(&mut self, entity: &str) -> io::Result<Option<Vec<u8>>> {
        let hash = name_hash(entity);
        if let Some((name, bytes)) = self.untaken.remove(&hash) {
            if *name == *entity {
                return Ok(Some(bytes));
            }
            self.untaken.insert(hash, (name, bytes));
            return Ok(None);
        }
        let (Some(place), Some(file)) = (self.places.get(&hash), &self.file) else { return Ok(None) };
        let record = read(file, *place)?;
        let Some(bytes) = record.strip_prefix(entity.as_bytes()) else { return Ok(None) };
        if bytes.len() != record.snapshot {
            return Ok(None);
        }
        let bytes = bytes.to_vec();
        self.forget(hash);
        Ok(Some(bytes))
    }

    /// Hashes of all names.
    pub fn hashes(&self) -> Vec<u64> {
        self.places.keys().chain(self.untaken.keys()).copied().collect()
    }

    /// Name and bytes of an entity, which stays.
    ///
    /// # Errors
    /// The disk does not give them.
    pub fn read(&self, hash: u64) -> io::Result<Option<(String, Vec<u8>)>> {
        if let Some((name, bytes)) = self.untaken.get(&hash) {
            return Ok(Some((name.to_string(), bytes.clone())));
        }
        let (Some(place), Some(file)) = (self.places.get(&hash), &self.file) else { return Ok(None) };
        let Record { mut bytes, snapshot } = read(file, *place)?;
        let value = bytes.split_off(bytes.len() - snapshot);
        let name = String::from_utf8(bytes).map_err(io::Error::other)?;
        Ok(Some((name, value)))
    }

    fn forget(&mut self, hash: u64) {
        self.untaken.remove(&hash);
        if let (Some(place), Some(file)) = (self.places.remove(&hash), &self.file) {
            // What cannot be read is not counted as garbage.
            self.garbage += lengths(file, place).map_or(0, |(name, snapshot)| (LENGTHS + name + snapshot) as u64);
        }
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let Some(old) = &self.file else { return Ok(()) };
        let (file, mut places, mut end) = (tempfile()?, HashMap::with_capacity(self.places.len()), 0);
        for (hash, place) in &self.places {
            let (name, snapshot) = lengths(old, *place)?;
            let mut record = vec![0; LENGTHS + name + snapshot];
            old.read_exact_at(&mut record, *place)?;
            file.write_all_at(&record, end)?;
            places.insert(*hash, end);
            end += record.len() as u64;
        }
        (self.file, self.places, self.end, self.garbage) = (Some(file), places, end, 0);
        Ok(())
    }
}

/// A name and a snapshot behind one another.
struct Record {
    bytes: Vec<u8>,
    snapshot: usize,
}

impl Record {
    fn strip_prefix(&self, name: &[u8]) -> Option<&[u8]> {
        self.bytes.strip_prefix(name)
    }
}

fn lengths(file: &File, place: u64) -> io::Result<(usize, usize)> {
    let mut lengths = [0; LENGTHS];
    file.read_exact_at(&mut lengths, place)?;
    let [a, b, c, d, e, f, g, h] = lengths;
    Ok((u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize))
}

fn read(file: &File, place: u64) -> io::Result<Record> {
    let (name, snapshot) = lengths(file, place)?;
    let mut bytes = vec![0; name + snapshot];
    file.read_exact_at(&mut bytes, place + LENGTHS as u64)?;
    Ok(Record { bytes, snapshot })
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A file without a name: it goes with the process.
fn tempfile() -> io::Result<File> {
    let path =
        std::env::temp_dir().join(format!("offkey-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_comes_back_once() {
        let mut spill = Spill::default();
        spill.put("a", b"first").unwrap();
        spill.put("b", b"other").unwrap();
        spill.put("a", b"second").unwrap();
        assert_eq!(spill.hashes().len(), 2);
        let read = spill.read(name_hash("a")).unwrap();
        assert_eq!(read, Some(("a".to_owned(), b"second".to_vec())), "it stays");
        assert_eq!(spill.take("a").unwrap().as_deref(), Some(&b"second"[..]));
        assert_eq!(spill.take("a").unwrap(), None);
        assert_eq!(spill.take("b").unwrap().as_deref(), Some(&b"other"[..]));
        assert_eq!(spill.garbage, spill.end);
    }

    #[test]
    fn a_rewritten_file_holds_what_the_old_one_held() {
        let mut spill = Spill::default();
        let name = |i: u32| format!("pump-{i}");
        (0..100).for_each(|i| spill.put(&name(i), &i.to_le_bytes()).unwrap());
        (0..50).for_each(|i| drop(spill.take(&name(i)).unwrap()));
        let before = spill.end;
        spill.rewrite().unwrap();
        assert!(spill.end < before && spill.garbage == 0);
        for i in 50..100 {
            assert_eq!(spill.take(&name(i)).unwrap(), Some(i.to_le_bytes().to_vec()));
        }
    }

    #[test]
    fn a_name_of_the_same_hash_is_not_taken_for_another() {
        let mut spill = Spill::default();
        spill.put("a", b"first").unwrap();
        let place = spill.places[&name_hash("a")];
        spill.places.insert(name_hash("b"), place);
        assert_eq!(spill.take("b").unwrap(), None);
        assert_eq!(spill.take("a").unwrap().as_deref(), Some(&b"first"[..]));
    }

    #[test]
    fn what_the_disk_does_not_take_stays_in_memory() {
        let mut spill = Spill { file: Some(File::open("/dev/null").unwrap()), ..Spill::default() };
        assert!(spill.put("a", b"first").is_err());
        assert_eq!(spill.take("b").unwrap(), None);
        assert_eq!(spill.take("a").unwrap().as_deref(), Some(&b"first"[..]));
    }
}
