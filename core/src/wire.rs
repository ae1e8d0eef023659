//! The bytes that messages and rows are: postcard, into a buffer that is large enough from the beginning. It knows nothing
//! of what is in them.

use alloc::vec::Vec;

use postcard::ser_flavors::Flavor;
use serde::Serialize;

/// As many bytes as most messages and rows have: those that are larger make the buffer grow.
const USUAL_BYTES: usize = 256;

/// Where the bytes are collected.
struct Buffer(Vec<u8>);

impl Flavor for Buffer {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// The bytes of a message or of a row.
///
/// # Panics
/// Never, for what has a wire form: every type of this crate that is sent or stored.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    let buffer = Buffer(Vec::with_capacity(USUAL_BYTES));
    postcard::serialize_with_flavor(value, buffer).expect("what is sent or stored has a wire form")
}
