//! Snapshots of entities that left memory, on an anonymous temporary file: a cache. The truth is in the state topic.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU32, Ordering};

/// Rewritten when more than this is garbage, and more than half of it.
const GARBAGE: u64 = 64 << 20;

/// One lane's cold entities.
#[derive(Debug, Default)]
pub struct Spill {
    file: Option<std::fs::File>,
    places: HashMap<Box<str>, (u64, u32)>,
    end: u64,
    garbage: u64,
}

impl Spill {
    /// Keeps the bytes of an entity.
    ///
    /// # Errors
    /// The disk does not take them.
    pub fn put(&mut self, entity: &str, bytes: &[u8]) -> io::Result<()> {
        self.forget(entity);
        if self.garbage > GARBAGE && self.garbage > self.end / 2 {
            self.rewrite()?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile()?),
        };
        file.seek(SeekFrom::Start(self.end))?;
        file.write_all(bytes)?;
        let len = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a snapshot of 4 GiB"))?;
        self.places.insert(entity.into(), (self.end, len));
        self.end += u64::from(len);
        Ok(())
    }

    /// Gives the bytes of an entity back, and forgets them. `None`: it is not here.
    ///
    /// # Errors
    /// The disk does not give them.
    pub fn take(&mut self, entity: &str) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.read(entity)?;
        self.forget(entity);
        Ok(bytes)
    }

    fn read(&mut self, entity: &str) -> io::Result<Option<Vec<u8>>> {
        let (Some((start, len)), Some(file)) = (self.places.get(entity), &mut self.file) else { return Ok(None) };
        let mut bytes = vec![0; *len as usize];
        file.seek(SeekFrom::Start(*start))?;
        file.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn forget(&mut self, entity: &str) {
        if let Some((_, len)) = self.places.remove(entity) {
            self.garbage += u64::from(len);
        }
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let mut fresh = Self::default();
        let names: Vec<Box<str>> = self.places.keys().cloned().collect();
        for name in names {
            if let Some(bytes) = self.read(&name)? {
                fresh.put(&name, &bytes)?;
            }
        }
        *self = fresh;
        Ok(())
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A file without a name: it goes with the process.
fn tempfile() -> io::Result<std::fs::File> {
    let path =
        std::env::temp_dir().join(format!("offkey-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
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
        assert_eq!(spill.take("a").unwrap().as_deref(), Some(&b"second"[..]));
        assert_eq!(spill.take("a").unwrap(), None);
        assert_eq!(spill.take("b").unwrap().as_deref(), Some(&b"other"[..]));
    }
}
