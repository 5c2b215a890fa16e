//! Sequences of calls made up at random: less than a fuzzer finds, in the time of a test.
//!
//! `UFR_SEQUENCES=1000000 cargo test --release -p fuzz --test random` makes up as many as you like.

/// A step of splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn sequences_made_up_at_random_are_survived_and_come_to_what_they_must() {
    let number = |name, otherwise| {
        std::env::var(name).map_or(otherwise, |text: String| text.parse().expect("a number"))
    };
    let (first, count) = (number("UFR_FIRST", 0), number("UFR_SEQUENCES", 2_000));
    for seed in first..first + count {
        let mut state = seed;
        // Short ones too, and small rings: what goes wrong at their end is seen.
        let longest = if next(&mut state).is_multiple_of(2) { 64 } else { 480 };
        let length = 24 + next(&mut state) % longest;
        let mut bytes: Vec<u8> = (0..length).map(|_| next(&mut state) as u8).collect();
        if next(&mut state).is_multiple_of(2) {
            bytes[0] &= !0b11;
        }
        // In honest company, where what comes of each call is known.
        if next(&mut state).is_multiple_of(2) {
            bytes[7..11].fill(0);
        }
        let tried = std::panic::catch_unwind(|| fuzz::sequences(&bytes));
        if let Err(panic) = tried {
            println!("UFR_FIRST={seed} UFR_SEQUENCES=1 UFR_SHOW=1 shows it again");
            if let Some(path) = std::env::var_os("UFR_KEEP") {
                std::fs::write(path, &bytes).expect("a file");
            }
            std::panic::resume_unwind(panic);
        }
    }
}
