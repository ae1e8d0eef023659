#![no_std]
#![forbid(unsafe_code)]
//! The pure, deterministic core of Quorate.
