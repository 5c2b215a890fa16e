//! Inputs made up at random, on each shape of ring: less than a fuzzer finds, in the time of a
//! test.
//!
//! `UFR_SEQUENCES=1000000 cargo test --release -p fuzz --test random` makes up as many for each
//! shape and target as you like.

#[path = "../../crates/ultrafastring/tests/common/shapes.rs"]
mod shapes;

use shapes::{Shape, on_each_shape};

/// A step of splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Plays inputs to `target`, after `prepare` has made each one for its shape. `otherwise`: as many
/// as take some seconds. Those that are changed in the midst of calls take longest, and find least.
fn play(otherwise: u64, target: fn(&[u8]), prepare: impl Fn(&mut [u8], &mut u64)) {
    let number = |name, otherwise| {
        std::env::var(name).map_or(otherwise, |text: String| text.parse().expect("a number"))
    };
    let (first, count) = (number("UFR_FIRST", 0), number("UFR_SEQUENCES", otherwise));
    for seed in first..first + count {
        let mut state = seed;
        // Short ones too, and small rings: what goes wrong at their end is seen.
        let longest = if next(&mut state).is_multiple_of(2) { 64 } else { 480 };
        let length = 24 + next(&mut state) % longest;
        let mut bytes: Vec<u8> = (0..length).map(|_| next(&mut state) as u8).collect();
        prepare(&mut bytes, &mut state);
        let tried = std::panic::catch_unwind(|| target(&bytes));
        if let Err(panic) = tried {
            println!("UFR_FIRST={seed} UFR_SEQUENCES=1 UFR_SHOW=1 shows it again");
            if let Some(path) = std::env::var_os("UFR_KEEP") {
                std::fs::write(path, &bytes).expect("a file");
            }
            std::panic::resume_unwind(panic);
        }
    }
}

fn sequences_made_up_at_random_are_survived_and_come_to_what_they_must<S: Shape>() {
    play(400, fuzz::sequences, |bytes, state| {
        if next(state).is_multiple_of(2) {
            bytes[0] &= !0b11;
        }
        // In honest company, where what comes of each call is known.
        if next(state).is_multiple_of(2) {
            bytes[7..11].fill(0);
        }
        fuzz::choose(bytes, S::NAME);
    });
}
on_each_shape!(sequences_made_up_at_random_are_survived_and_come_to_what_they_must);

fn calls_made_up_at_random_are_survived<S: Shape>() {
    play(3_000, fuzz::calls, |bytes, _| fuzz::choose(bytes, S::NAME));
}
on_each_shape!(calls_made_up_at_random_are_survived);

fn garbage_made_up_at_random_is_survived_in_the_midst_of_calls<S: Shape>() {
    play(100, fuzz::during, |bytes, _| fuzz::choose(bytes, S::NAME));
}
on_each_shape!(garbage_made_up_at_random_is_survived_in_the_midst_of_calls);

fn a_file_changed_at_random_is_opened_or_refused<S: Shape>() {
    play(2_000, fuzz::open, |bytes, _| {
        // A ring's file, of which the next bytes say how it is made.
        bytes[3] |= 0x80;
        fuzz::choose(&mut bytes[4..], S::NAME);
    });
}
on_each_shape!(a_file_changed_at_random_is_opened_or_refused);
