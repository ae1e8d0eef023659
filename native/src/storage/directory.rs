//! The data directory of one node: who owns it, and which format it has. Never looks at the data itself.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The format that this binary writes.
const FORMAT: u32 = 1;
/// What the format file begins with.
const FORMAT_TITLE: &str = "quorate data directory, format ";
/// Names the format and the engine.
const FORMAT_FILE: &str = "format";
/// Held locked by the process that uses the directory.
const LOCK_FILE: &str = "quorate.lock";
/// The engine's own directory.
const STORE: &str = "store";
/// The same while it is being made: a crash leaves it behind, and nothing in it was ever promised.
const STORE_UNFINISHED: &str = "store.new";
/// The format file while it is being written.
const FORMAT_UNFINISHED: &str = "format.new";

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error("the data directory {} is in use by another process: stop that one, or choose another --data-dir", .0.display())]
    Locked(PathBuf),
    /// There is something else in it.
    #[error(
        "{} is not a data directory of quorate (it holds files but no file \"format\"): choose an empty or new one with \
         --data-dir", .0.display()
    )]
    Foreign(PathBuf),
    /// It was made by a later version.
    #[error(
        "the data directory {} has format {found}, this binary understands {FORMAT}: start it with the newer binary that \
         made it", path.display()
    )]
    Newer {
        /// Which directory.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// It cannot be read or written.
    #[error("the data directory {} cannot be used: {source}", path.display())]
    Io {
        /// Which directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A data directory that belongs to this process as long as this lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Takes a directory, makes it if there is none, and checks its format. `make_store` makes the engine's empty files
    /// in the directory it is given; it runs once in the life of the directory.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn open(path: &Path, make_store: impl FnOnce(&Path) -> io::Result<()>) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::Io { path: path.into(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let found = read_format(path)?;
        if found.is_none() && !is_unused(path).map_err(failed)? {
            return Err(DirectoryError::Foreign(path.into()));
        }
        let lock = lock(path)?;
        if found.is_none() {
            make(path, make_store).map_err(failed)?;
        }
        Ok(Self { path: path.into(), _lock: lock })
    }

    /// Where the engine's files are.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path.join(STORE)
    }
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let failed = |source| DirectoryError::Io { path: path.into(), source };
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK_FILE)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DirectoryError::Locked(path.into())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The format found, or nothing if there is no format file.
fn read_format(path: &Path) -> Result<Option<u32>, DirectoryError> {
    let text = match fs::read_to_string(path.join(FORMAT_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(DirectoryError::Foreign(path.into())),
        Err(source) => return Err(DirectoryError::Io { path: path.into(), source }),
    };
    let number = text.trim_end().strip_prefix(FORMAT_TITLE).and_then(|rest| rest.parse().ok());
    match number {
        Some(found) if found > FORMAT => Err(DirectoryError::Newer { path: path.into(), found }),
        Some(found) if found == FORMAT => Ok(Some(found)),
        _ => Err(DirectoryError::Foreign(path.into())),
    }
}

/// Whether there is nothing but what an interrupted first start leaves behind.
fn is_unused(path: &Path) -> io::Result<bool> {
    let ours = [LOCK_FILE, STORE, STORE_UNFINISHED, FORMAT_UNFINISHED];
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !ours.iter().any(|known| name == *known) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Each step leaves something that the next start can go on from; the format file, written last, ends it.
fn make(path: &Path, make_store: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let unfinished = path.join(STORE_UNFINISHED);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    if !path.join(STORE).exists() {
        make_store(&unfinished)?;
        fs::rename(&unfinished, path.join(STORE))?;
        File::open(path)?.sync_all()?;
    }
    let mut file = File::create(path.join(FORMAT_UNFINISHED))?;
    writeln!(file, "{FORMAT_TITLE}{FORMAT}")?;
    file.sync_all()?;
    fs::rename(path.join(FORMAT_UNFINISHED), path.join(FORMAT_FILE))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<DataDirectory, DirectoryError> {
        DataDirectory::open(path, |store| fs::create_dir(store))
    }

    fn refused(path: &Path) -> String {
        open(path).expect_err("refused").to_string()
    }

    #[test]
    fn a_new_directory_is_made_and_opened_again() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("a/b");
        let first = open(&path).expect("made");
        assert!(first.store().is_dir());
        drop(first);
        fs::write(path.join(STORE).join("row"), "1").expect("writes");
        let again = DataDirectory::open(&path, |_| Err(io::ErrorKind::Other.into())).expect("not made again");
        assert!(again.store().join("row").exists());
    }

    #[test]
    fn an_interrupted_first_start_is_taken_up_again() {
        let root = tempfile::tempdir().expect("a directory");
        for leftover in [STORE, STORE_UNFINISHED] {
            let path = root.path().join(leftover);
            fs::create_dir_all(path.join(leftover)).expect("makes");
            fs::write(path.join(FORMAT_UNFINISHED), "quor").expect("writes");
            open(&path).expect("goes on");
            assert!(path.join(FORMAT_FILE).exists() && !path.join(STORE_UNFINISHED).exists());
        }
    }

    #[test]
    fn two_owners_are_one_too_many() {
        let root = tempfile::tempdir().expect("a directory");
        let first = open(root.path()).expect("made");
        assert!(refused(root.path()).contains("in use by another process"));
        drop(first);
        open(root.path()).expect("free again");
    }

    #[test]
    fn foreign_and_newer_directories_are_refused_and_left_alone() {
        let root = tempfile::tempdir().expect("a directory");
        for (name, content, part) in [
            ("photo.jpg", "", "not a data directory"),
            (FORMAT_FILE, "something else\n", "not a data directory"),
            (FORMAT_FILE, "quorate data directory, format 2\n", "has format 2"),
        ] {
            let path = root.path().join(name);
            fs::create_dir_all(&path).expect("makes");
            fs::write(path.join(name), content).expect("writes");
            assert!(refused(&path).contains(part), "{}", refused(&path));
            assert_eq!(fs::read_dir(&path).expect("reads").count(), 1);
        }
    }
}
