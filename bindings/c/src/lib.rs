//! UltraFastRing for C: what the headers in `include` declare.
//!
//! ```text
//!  basic.rs     ultrafastring.h: settings, rings, handles, send and receive, errors
//!  more/        ultrafastring_more.h: batches, in place, groups, tail readers, event loops, and more
//!  settings.rs  from `ufr_settings` to a builder, and back
//!  handle.rs    what is behind the pointers: checks, and how a call gets in and out
//!  make.rs      rings and handles that are made for C
//!  held.rs      messages and places that stay with a handle between calls
//!  inline.rs    ultrafastring_inline.h: what its code calls, now and then
//!  failure.rs   from Rust's errors to codes, and the text of the last one
//! ```
//!
//! `cbindgen` makes the headers of the first file and the first folder, so their comments are written for
//! readers of C. A call from C can pass any number and null: both are checked. What cannot be
//! checked is said in the headers: that a pointer leads to a live handle or to so many bytes, and
//! that a handle is used by one thread at a time.

// Types have the names that C gives them.
#![allow(non_camel_case_types)]
// What is safe to call with what, the header says of all functions at once.
#![allow(clippy::missing_safety_doc)]

pub mod basic;
mod failure;
mod handle;
mod held;
pub mod inline;
mod make;
pub mod more;
mod settings;
