//! The data directory of one node: who owns it, which format it has, and which engine made it. Never looks at the data
//! itself.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::DiskEngine;

/// The format that this binary writes: a line with its number, and one that names the engine.
const FORMAT: u32 = 2;
/// The oldest one that it reads: the same without the second line, for the engine was always the same.
const OLDEST_FORMAT: u32 = 1;
/// The engine of those.
const OLDEST_ENGINE: DiskEngine = DiskEngine::Lsm;
/// What the format file begins with.
const FORMAT_TITLE: &str = "quorate data directory, format ";
/// What its second line begins with.
const ENGINE_TITLE: &str = "engine ";
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
        "the data directory {} has format {found}, this binary understands {OLDEST_FORMAT} to {FORMAT}: start it with the \
         newer binary that made it", path.display()
    )]
    Newer {
        /// Which directory.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// It was made by a version that is too old.
    #[error(
        "the data directory {} has format {found}, this binary understands {OLDEST_FORMAT} to {FORMAT}: start it with the \
         older binary that made it, or let this node join anew with an empty --data-dir", path.display()
    )]
    Older {
        /// Which directory.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// Another engine made it.
    #[error(
        "the data directory {} was made with --storage {}, not {}: start it with that, or choose an empty --data-dir for a \
         node that pulls everything from the others", path.display(), made.as_str(), wanted.as_str()
    )]
    OtherEngine {
        /// Which directory.
        path: PathBuf,
        /// Whose it is.
        made: DiskEngine,
        /// What was asked for.
        wanted: DiskEngine,
    },
    /// This process may not write there.
    #[error(
        "the data directory {} cannot be written ({source}): give the user of this process the right to write it, mount its \
         file system writable, or choose another --data-dir", path.display()
    )]
    NotWritable {
        /// Which directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be used for another reason.
    #[error("the data directory {} cannot be used: {source}", path.display())]
    Io {
        /// Which directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DirectoryError {
    fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::NotWritable { path, source },
            _ => Self::Io { path, source },
        }
    }
}

/// A data directory that belongs to this process as long as this lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Takes a directory, makes it if there is none, and checks its format and its engine. `make_store` makes the engine's
    /// empty files in a directory that it is to make; it runs once in the life of the data directory.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn open(
        path: &Path,
        engine: DiskEngine,
        make_store: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Self, DirectoryError> {
        let failed = |source| DirectoryError::from_io(path, source);
        fs::create_dir_all(path).map_err(failed)?;
        let found = read_format(path)?;
        if found.is_none() && !is_unused(path).map_err(failed)? {
            return Err(DirectoryError::Foreign(path.into()));
        }
        if let Some(made) = found.filter(|made| *made != engine) {
            return Err(DirectoryError::OtherEngine { path: path.into(), made, wanted: engine });
        }
        let lock = lock(path)?;
        if found.is_none() {
            make(path, engine, make_store).map_err(failed)?;
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
    let failed = |source| DirectoryError::from_io(path, source);
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK_FILE)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DirectoryError::Locked(path.into())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The engine that made it, or nothing if there is no format file.
fn read_format(path: &Path) -> Result<Option<DiskEngine>, DirectoryError> {
    let text = match fs::read_to_string(path.join(FORMAT_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(DirectoryError::Foreign(path.into())),
        Err(source) => return Err(DirectoryError::from_io(path, source)),
    };
    let mut lines = text.lines();
    let number = lines.next().and_then(|line| line.strip_prefix(FORMAT_TITLE)).and_then(|rest| rest.parse().ok());
    match number {
        Some(found) if found > FORMAT => Err(DirectoryError::Newer { path: path.into(), found }),
        Some(found) if found < OLDEST_FORMAT => Err(DirectoryError::Older { path: path.into(), found }),
        Some(OLDEST_FORMAT) => Ok(Some(OLDEST_ENGINE)),
        Some(_) => {
            let name = lines.next().and_then(|line| line.strip_prefix(ENGINE_TITLE));
            let engine = DiskEngine::ALL.into_iter().find(|engine| Some(engine.as_str()) == name);
            engine.map(Some).ok_or_else(|| DirectoryError::Foreign(path.into()))
        }
        None => Err(DirectoryError::Foreign(path.into())),
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
fn make(path: &Path, engine: DiskEngine, make_store: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
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
    writeln!(file, "{FORMAT_TITLE}{FORMAT}\n{ENGINE_TITLE}{}", engine.as_str())?;
    file.sync_all()?;
    fs::rename(path.join(FORMAT_UNFINISHED), path.join(FORMAT_FILE))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<DataDirectory, DirectoryError> {
        DataDirectory::open(path, DiskEngine::Lsm, |store| fs::create_dir(store))
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
        let again =
            DataDirectory::open(&path, DiskEngine::Lsm, |_| Err(io::ErrorKind::Other.into())).expect("not made again");
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
    fn foreign_newer_and_older_directories_are_refused_and_left_alone() {
        let root = tempfile::tempdir().expect("a directory");
        for (place, name, content, part) in [
            ("a", "photo.jpg", "", "not a data directory"),
            ("b", FORMAT_FILE, "something else\n", "not a data directory"),
            ("c", FORMAT_FILE, "quorate data directory, format 2\nengine steam\n", "not a data directory"),
            ("d", FORMAT_FILE, "quorate data directory, format 3\nengine lsm\n", "has format 3"),
            ("e", FORMAT_FILE, "quorate data directory, format 0\n", "older binary"),
        ] {
            let path = root.path().join(place);
            fs::create_dir_all(&path).expect("makes");
            fs::write(path.join(name), content).expect("writes");
            assert!(refused(&path).contains(part), "{}", refused(&path));
            assert_eq!(fs::read_dir(&path).expect("reads").count(), 1);
        }
    }

    #[test]
    fn a_directory_belongs_to_the_engine_that_made_it() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("new");
        let open_with = |path: &Path, engine| DataDirectory::open(path, engine, |store| fs::create_dir(store));
        drop(open_with(&path, DiskEngine::Btree).expect("made"));
        assert!(refused(&path).contains("was made with --storage btree, not lsm"), "{}", refused(&path));
        open_with(&path, DiskEngine::Btree).expect("its own");
        let first_format = root.path().join("old");
        fs::create_dir_all(first_format.join(STORE)).expect("makes");
        fs::write(first_format.join(FORMAT_FILE), "quorate data directory, format 1\n").expect("writes");
        drop(open(&first_format).expect("the first format had one engine"));
        let error = open_with(&first_format, DiskEngine::Btree).expect_err("refused").to_string();
        assert!(error.contains("was made with --storage lsm, not btree"), "{error}");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_refused_with_what_to_do() {
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem] {
            let error = DirectoryError::from_io(Path::new("/mnt/data"), kind.into()).to_string();
            assert!(error.contains("/mnt/data") && error.contains("mount its file system writable"), "{error}");
        }
        // Nobody makes directories there, whoever it is.
        assert!(
            refused(Path::new("/sys/quorate")).contains("cannot be written"),
            "{}",
            refused(Path::new("/sys/quorate"))
        );
    }
}
