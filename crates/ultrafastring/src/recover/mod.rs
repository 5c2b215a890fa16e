//! What happens after a death: adoption.
//!
//! A participant that is stuck tries the lock of each entry that could block it. Getting a lock
//! proves that the entry's holder is dead, and makes the taker the owner. So two never repair the
//! same thing, a taker that dies is adopted in turn, and a paused process keeps its claim. The dead
//! one's intent or hold stays in its own line until the work is finished. If it moved to another
//! line, a scan of the frontier, which is no snapshot, could miss it in both.
//!
//! To a stuck participant a dying holder counts as dead: its locks are not given back yet, but
//! `/proc` shows that none of its threads will run again (`liveness.rs`). Then its work lock makes
//! the taker the owner. Such an entry stays taken until the kernel has closed the dying process's
//! files. Newcomers and `repair` only finish the work of dead participants whose locks they get,
//! and leave dying ones alone.
//!
//! | the dead one was | what is left | what is done |
//! |---|---|---|
//! | a shared producer | an intent below the head, slots not committed | each is marked abandoned, by compare-and-swap from its old sequence |
//! | a shared consumer | a hold between the frontier and the head | its messages are delivered again, marked, or dropped |
//! | an exclusive producer | nothing: the sequences show how far it came | the successor goes on there |
//! | an exclusive consumer | `consumer_head`, and a hold if it read in place | the successor goes on there, and marks what was held |

pub(crate) mod adopt;
pub(crate) mod counting;
pub(crate) mod entry;
pub(crate) mod finish;
pub(crate) mod frontier;
pub(crate) mod identity;
pub(crate) mod info;
pub(crate) mod liveness;
#[cfg(any(feature = "std", loom))]
pub(crate) mod presence;
#[cfg(all(test, feature = "std", not(loom)))]
mod tests;
