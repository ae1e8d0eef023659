//! The commands of the command line that talk to a running cluster. They ask the first endpoint that can be reached and
//! show what it answers; nothing is decided here.

mod command;
mod connection;
mod events;
mod ownership;
mod table;

pub use command::{ClientArguments, ClientCommand, ClientError, run};
pub(crate) use connection::Call;
pub use events::EventsArguments;
pub use ownership::{ChangeArguments, ChangeMode, LayoutCommand, OwnershipCommand};
pub(crate) use table::render;
