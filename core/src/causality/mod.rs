//! Cause and effect between versions.
