//! Errors: what went wrong, and what to do about it.
//!
//! The text of an error is complete, and says what to do. Only errors that carry something besides
//! a reason ([`TrySendError`], [`SendManyError`]) have a `source`, which is the reason, and do not
//! repeat it. So a program that prints an error with its sources prints each thing once.

#[cfg(feature = "std")]
mod file;
mod recv;
mod ring;
mod send;

#[cfg(feature = "std")]
pub use file::FileError;
pub use recv::RecvError;
pub use ring::{Holder, RingError};
pub use send::{SendError, SendManyError, TrySendError};
