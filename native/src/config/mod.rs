//! What a node is told: flags, environment and file, in that order of strength. Never starts anything.

mod options;
mod settings;
mod sources;
mod units;

pub use options::{LogFormat, Options, StorageKind};
pub(crate) use settings::is_self;
pub use settings::{Settings, SettingsError};
pub use sources::{SourceError, from_environment, from_file};
pub(crate) use units::plain_host;
pub use units::{Durability, Endpoint, Origin, Patience, Size, Span, UnitError};
