//! Waiting: how one side sleeps, and how the other wakes it.
//!
//! ```text
//!  the sleeper                              the busy side
//!  ticket = wakes                           commit the slot   (or: grant)
//!  state |= ASLEEP                          state & ASLEEP?   one relaxed load, no fence
//!  membarrier                                 │ seldom: state &= !ASLEEP
//!  look once more                             └─────────  wakes += 1, wake in the kernel
//!  sleep while wakes == ticket
//! ```
//!
//! The busy side has no fence between its store and its load. The sleeper's expedited `membarrier`
//! (membarrier(2)) supplies it: when that call returns, every thread of every process that has
//! joined a ring has passed a full fence. So there are two cases. The busy side's load comes after
//! the fence and sees ASLEEP, or its store comes before the fence and the sleeper's last look sees
//! the message. If a process cannot use `membarrier`, or the ring was made for that, FENCES in the
//! same word sends the busy side to the slow path after each message, where it fences and looks
//! again.
//!
//! A wake-up is for one consumer of a shared side, or for all producers, since their classes have
//! different credit. Until the woken one sleeps again, nobody else is woken, however many messages
//! come. So several messages share a wake-up; spinning and grants, which follow the coalescing
//! controller, save more. A woken consumer of a shared side checks whether there is work for
//! another one, and wakes it.
//!
//! Nobody sleeps longer than [`LONGEST_PARK`](sleep::LONGEST_PARK) at a time. So a peer that is
//! killed between its commit and its wake, or that was woken and is killed before it looks, delays
//! the others by at most this time.
//!
//! | | |
//! |---|---|
//! | [`kernel`] | sleeping on a word, and fences in other threads |
//! | [`bell`] | the words that sleepers watch: arm, look, wake |
//! | `strategy` | how to wait, and how long to spin |
//! | `sleep` | a handle's wait: spin, arm, look, sleep |
//! | `any` | waiting for several handles at once |
//! | `readiness` | a descriptor that becomes readable, for event loops |

#[cfg(feature = "std")]
pub(crate) mod any;
pub(crate) mod bell;
pub(crate) mod kernel;
#[cfg(feature = "std")]
pub(crate) mod readiness;
#[cfg(any(feature = "std", loom))]
pub(crate) mod sleep;
#[cfg(any(feature = "std", loom))]
pub(crate) mod strategy;
