//! Handles for tokio, over a [`Readiness`](crate::Readiness).
//!
//! Each of their calls polls a call that does not wait until that returns something, which is the
//! future's result. So a future that is dropped before its end has taken or sent nothing.

mod consumer;
mod polling;
mod producer;

pub use consumer::{AsyncConsumer, Vecs};
pub use producer::AsyncProducer;
