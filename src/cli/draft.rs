//! A file that a command writes: it stands beside its place until the command has succeeded, and what was there before stays if it
//! fails. What is no file (a pipe, /dev/stdout) is written as it is.

use super::Failed;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Result, Write};
use std::path::{Path, PathBuf};

pub(super) struct Draft {
    path: PathBuf,
    /// Where it stands, and where it will.
    moves: Option<(PathBuf, PathBuf)>,
    out: BufWriter<File>,
}

impl Draft {
    pub(super) fn create(path: &Path) -> std::result::Result<Self, Failed> {
        let failed = |error| failed(path, &error);
        // A link stays one: it is its file that is replaced.
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let older = place.metadata().ok();
        if older.as_ref().is_some_and(|older| !older.is_file()) {
            let out = BufWriter::new(File::create(path).map_err(failed)?);
            return Ok(Self { path: path.to_owned(), moves: None, out });
        }
        if older.is_some() {
            // Who may not write to a file may not replace it.
            OpenOptions::new().write(true).open(&place).map_err(failed)?;
        }
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let beside = place.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = File::create(&beside).map_err(failed)?;
        let draft = Self { path: path.to_owned(), moves: Some((beside, place)), out: BufWriter::new(file) };
        if let Some(older) = older {
            draft.out.get_ref().set_permissions(older.permissions()).map_err(failed)?;
        }
        Ok(draft)
    }

    pub(super) fn write(
        &mut self,
        what: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
    ) -> std::result::Result<(), Failed> {
        what(&mut self.out).map_err(|error| failed(&self.path, &error))
    }

    /// The command has succeeded.
    pub(super) fn keep(mut self) -> std::result::Result<(), Failed> {
        self.write(Write::flush)?;
        if let Some((beside, place)) = &self.moves {
            std::fs::rename(beside, place).map_err(|error| failed(&self.path, &error))?;
        }
        self.moves = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some((beside, _)) = &self.moves {
            let _ = std::fs::remove_file(beside);
        }
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failed {
    Failed::outside(format!("{}: {error}", path.display()))
}
