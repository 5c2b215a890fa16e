//! A [`Readiness`] in a tokio runtime.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::waiting::readiness::Readiness;

/// How often a poll that finds the ring ready and gets nothing tries again before it yields.
pub(super) const TRIES: usize = 16;

pub(super) fn register(readiness: Readiness) -> io::Result<AsyncFd<Readiness>> {
    // SAFETY: a `Readiness` owns its descriptor, which stays open and the same as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(readiness, Interest::READABLE) }?)
}

/// Waits until the descriptor was readable, and clears it.
pub(super) fn poll_cleared(readiness: &AsyncFd<Readiness>, cx: &mut Context<'_>) -> Poll<()> {
    match ready!(readiness.poll_read_ready(cx)) {
        Ok(mut guard) => {
            readiness.get_ref().clear();
            guard.clear_ready();
            Poll::Ready(())
        }
        // The runtime is shutting down, and drops its tasks when they yield.
        Err(_) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
}
