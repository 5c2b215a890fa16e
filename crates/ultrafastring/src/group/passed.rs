//! How many positions a group has passed, over all generations of its row.
//!
//! The head says how far it is in this generation. Beside it in the cursor are two words that
//! whoever opens the group stores: what it had passed before, and where it began. Both carry the
//! generation, so an opening that is not finished, by one who was killed, is counted once.

use crate::layout::counters::Cursor;
use crate::layout::group::{Tag, position_of};
use crate::sync::{Ordering, look_at};

/// What a group has passed in one lane, since its row has its name: received, and skipped since
/// nobody finished it. What it missed does not count.
pub(crate) fn passed(cursor: &Cursor) -> u64 {
    // In the reverse order of the stores: whoever sees one of them sees those before it.
    let head = look_at(&cursor.consumer_head);
    let began_at = look_at(&cursor.began_at);
    let before = look_at(&cursor.passed_before);
    let tag = Tag::of_cursor(head);
    match (tag.position(before), tag.position(began_at)) {
        // Less than 2^57 each. A head before the begin is a peer's garbage.
        (Some(before), Some(began_at)) => before + position_of(head).saturating_sub(began_at),
        // The group is being opened, and has passed nothing in its new generation.
        _ => position_of(before),
    }
}

/// Stores that a generation begins at `start`. Whoever has the row's lock does, before it
/// publishes the head.
pub(super) fn begin(cursor: &Cursor, tag: Tag, start: u64) {
    let before = tag.at(passed(cursor));
    // Release, in this order: pairs with the looks in `passed`.
    cursor.passed_before.store(before, Ordering::Release);
    cursor.began_at.store(tag.at(start), Ordering::Release);
}

/// Forgets what was passed under the row's last name.
pub(super) fn forget(cursor: &Cursor) {
    let head = look_at(&cursor.consumer_head);
    // Release, in this order: pairs with the looks in `passed`.
    cursor.passed_before.store(Tag::of_cursor(head).at(0), Ordering::Release);
    cursor.began_at.store(head, Ordering::Release);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_opener_that_is_killed_at_any_step_leaves_the_count_as_it_was() {
        let (first, second) = (Tag::of(7), Tag::of(8));
        // Began at 10, after 3, and came to 15.
        let opened = || {
            let cursor = Cursor::default();
            cursor.consumer_head.store(first.at(15), Ordering::Relaxed);
            cursor.began_at.store(first.at(10), Ordering::Relaxed);
            cursor.passed_before.store(first.at(3), Ordering::Relaxed);
            cursor
        };
        let cursor = opened();
        assert_eq!(passed(&cursor), 8);
        // Killed after its first store, and after its second.
        cursor.passed_before.store(second.at(8), Ordering::Relaxed);
        assert_eq!(passed(&cursor), 8);
        let killed_later = opened();
        begin(&killed_later, second, 100);
        for cursor in [cursor, killed_later] {
            assert_eq!(passed(&cursor), 8);
            // The next one goes on.
            begin(&cursor, second, 200);
            assert_eq!(passed(&cursor), 8);
            cursor.consumer_head.store(second.at(202), Ordering::Relaxed);
            assert_eq!(passed(&cursor), 10);
            forget(&cursor);
            assert_eq!(passed(&cursor), 0);
        }
    }

    #[test]
    fn garbage_is_some_count() {
        let cursor = Cursor::default();
        for (head, began_at, before) in [(1, 2, 3), (u64::MAX, 0, u64::MAX), (0, u64::MAX, 0)] {
            cursor.consumer_head.store(head, Ordering::Relaxed);
            cursor.began_at.store(began_at, Ordering::Relaxed);
            cursor.passed_before.store(before, Ordering::Relaxed);
            let _ = passed(&cursor);
        }
    }
}
