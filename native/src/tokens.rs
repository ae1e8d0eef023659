//! Tokens of clients and what each may do, from a file that is read again while the node runs. Only hashes of them are
//! kept, so none can be read out of this process. Never sees a request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;
use std::{fmt, fs, io};

use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};
use tokio::time::interval;

/// Fewest bytes of a token: what is shorter can be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Most bytes of a token.
const TOKEN_BYTES_MAX: usize = 512;
/// Most tokens of a file: each is compared with each time.
const TOKENS_MAX: usize = 1_000;
/// Most bytes of a file.
const FILE_BYTES_MAX: u64 = 1_024 * 1_024;
/// Between two looks at the file.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the bearer of a token may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read data and look at the cluster.
    Read = 1,
    /// Write data and tell the cluster something.
    Write = 2,
    /// Change who belongs to the cluster, and who owns what.
    Admin = 3,
}

impl Role {
    fn named(name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

/// Why a file of tokens cannot be used. No token is ever part of the text.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("the file of tokens {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is not understood.
    #[error("the file of tokens {} cannot be used: line {line}: {reason}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is none, or there are too many.
    #[error("the file of tokens {} must hold 1 to {TOKENS_MAX} tokens, not {count}", path.display())]
    Count {
        /// Which file.
        path: PathBuf,
        /// How many it holds.
        count: usize,
    },
}

/// The tokens of a file as they are now.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    known: RwLock<Arc<[Known]>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    hash: [u8; 32],
    role: Role,
}

impl Tokens {
    /// Reads a file, and reads it again whenever it has changed, as long as the result is held. A change that cannot be
    /// used is logged, and what was before it stays. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn watch(path: PathBuf) -> Result<Arc<Self>, TokensError> {
        let known = read(&path)?;
        let tokens = Arc::new(Self { path, known: RwLock::new(known.into()) });
        tokio::spawn(follow(Arc::downgrade(&tokens)));
        Ok(tokens)
    }

    /// What the bearer of a token may do; nothing if nobody knows it. How long it takes says nothing about the tokens.
    #[must_use]
    pub fn role(&self, token: &str) -> Option<Role> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let hash = hash(token);
        let mut found = 0_u8;
        for one in &*known {
            found.conditional_assign(&(one.role as u8), one.hash.ct_eq(&hash));
        }
        [Role::Read, Role::Write, Role::Admin].into_iter().find(|role| *role as u8 == found)
    }

    /// Takes over what the file says now; says how many tokens there are if that was news.
    fn refresh(&self) -> Result<Option<usize>, TokensError> {
        let fresh = read(&self.path)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if **known == *fresh {
            return Ok(None);
        }
        *known = fresh.into();
        Ok(Some(known.len()))
    }
}

async fn follow(tokens: Weak<Tokens>) {
    let mut looks = interval(LOOK_INTERVAL);
    let mut complaint = String::new();
    loop {
        looks.tick().await;
        let Some(tokens) = tokens.upgrade() else { return };
        // A file may be on a disk that hangs.
        let Ok(result) = tokio::task::spawn_blocking(move || tokens.refresh()).await else { return };
        match result {
            Ok(news) => {
                complaint.clear();
                if let Some(count) = news {
                    tracing::info!("the file of tokens has changed: {count} tokens are known now");
                }
            }
            Err(error) if complaint != error.to_string() => {
                tracing::error!("{error}; the tokens of before stay");
                complaint = error.to_string();
            }
            Err(_) => {}
        }
    }
}

fn read(path: &Path) -> Result<Vec<Known>, TokensError> {
    let unreadable = |source| TokensError::Unreadable { path: path.into(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(unreadable(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes"))));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let mut known = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let entry = parse(line.trim());
        let entry = entry.map_err(|reason| TokensError::Line { path: path.into(), line: index + 1, reason })?;
        known.extend(entry);
    }
    let count = known.len();
    if (1..=TOKENS_MAX).contains(&count) { Ok(known) } else { Err(TokensError::Count { path: path.into(), count }) }
}

/// A line is a role and a token, a remark behind `#`, or empty.
fn parse(line: &str) -> Result<Option<Known>, String> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(role), Some(token), None) = (words.next().and_then(Role::named), words.next(), words.next()) else {
        return Err(
            "it must be a role (read, write or admin), a space and a token; or a remark that begins with #".into()
        );
    };
    check(token)?;
    Ok(Some(Known { hash: hash(token), role }))
}

/// Whether a text can be a token at all: it must fit a header, and not be guessed.
///
/// # Errors
/// What would be right.
pub(crate) fn check(token: &str) -> Result<(), String> {
    let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len());
    if fits && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(format!("a token is {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} visible ASCII characters without spaces"))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens");
        fs::write(&path, text).expect("writes");
        (directory, path)
    }

    #[tokio::test]
    async fn a_token_has_the_role_of_its_line() {
        let (_directory, path) =
            file("# people\nadmin aaaaaaaaaaaaaaaa\n\n  write\tbbbbbbbbbbbbbbbb  \nread cccccccccccccccc\n");
        let tokens = Tokens::watch(path).expect("good");
        for (token, role) in [
            ("aaaaaaaaaaaaaaaa", Some(Role::Admin)),
            ("bbbbbbbbbbbbbbbb", Some(Role::Write)),
            ("cccccccccccccccc", Some(Role::Read)),
            ("aaaaaaaaaaaaaaab", None),
            ("aaaaaaaaaaaaaaa", None),
            ("", None),
        ] {
            assert_eq!(tokens.role(token), role, "{token}");
        }
        assert!(!format!("{tokens:?}").contains("aaaa"), "no token can be printed");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_line_and_without_its_tokens() {
        for (text, parts) in [
            ("", vec!["1 to 1000", "not 0"]),
            ("read cccccccccccccccc\nroot secretsecretsecret", vec!["line 2", "read, write or admin"]),
            ("read secretshort", vec!["line 1", "16 to 512"]),
            ("read secret secretsecretsecret", vec!["line 1"]),
            ("read s\u{e9}cretsecretsecret", vec!["line 1", "ASCII"]),
        ] {
            let (_directory, path) = file(text);
            let message = read(&path).expect_err("refused").to_string();
            assert!(parts.iter().all(|part| message.contains(part)) && message.contains("tokens"), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
        let missing = read(Path::new("/nowhere/tokens")).expect_err("refused").to_string();
        assert!(missing.contains("/nowhere/tokens"), "{missing}");
    }

    #[tokio::test]
    async fn what_has_changed_counts_and_what_cannot_be_used_does_not() {
        let (_directory, path) = file("read cccccccccccccccc");
        let tokens = Tokens::watch(path.clone()).expect("good");
        assert!(matches!(tokens.refresh(), Ok(None)));
        fs::write(&path, "admin").expect("writes");
        assert!(tokens.refresh().is_err());
        assert_eq!(tokens.role("cccccccccccccccc"), Some(Role::Read));
        fs::write(&path, "admin dddddddddddddddd").expect("writes");
        assert!(matches!(tokens.refresh(), Ok(Some(1))));
        assert_eq!((tokens.role("cccccccccccccccc"), tokens.role("dddddddddddddddd")), (None, Some(Role::Admin)));
    }
}
