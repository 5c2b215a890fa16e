//! Groups of consumers: who reads a lane, and whom its producers wait for.
//!
//! | file | has |
//! |---|---|
//! | `gates.rs` | what holds producers back: the gates, and what producers have claimed and not committed |
//! | `rows.rs` | the table of groups: finding a row, giving it to a name, taking it away |
//! | `joining.rs` | becoming a member |
//! | `opening.rs` | opening a group that is closed, from where it starts |
//! | `closing.rs` | closing a group in which nobody lives |
//! | `passed.rs` | how many messages a group has received, counted over all its openings |
//! | `info.rs` | what the table tells people |
//!
//! `verification/README.md` has the protocol, step by step, and the mistakes that its model finds.

pub(crate) mod closing;
pub(crate) mod gates;
pub(crate) mod info;
pub(crate) mod joining;
mod opening;
pub(crate) mod passed;
pub(crate) mod rows;
