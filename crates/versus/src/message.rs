//! What is sent: 40 bytes that follow from the message's number, and a check of all of them.

/// Bytes of a message.
pub(crate) const SIZE: usize = 40;

pub(crate) type Bytes = [u8; SIZE];

#[inline(always)]
fn word(n: u64, at: usize) -> u64 {
    n.wrapping_add(at as u64 * 0x9e37_79b9)
}

/// Message number `n`.
#[inline(always)]
pub(crate) fn message(n: u64) -> Bytes {
    let mut bytes = [0; SIZE];
    for at in 0..SIZE / 8 {
        bytes[8 * at..8 * at + 8].copy_from_slice(&word(n, at).to_le_bytes());
    }
    bytes
}

#[inline(always)]
fn said(bytes: &Bytes, at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[8 * at..8 * at + 8]);
    u64::from_le_bytes(word)
}

/// The number of the message `bytes`, if it is one.
#[inline(always)]
pub(crate) fn number(bytes: &Bytes) -> Option<u64> {
    let n = said(bytes, 0);
    is(bytes, n).then_some(n)
}

/// Whether `bytes` is message number `n`: all words are looked at, with one branch at the end.
#[inline(always)]
fn is(bytes: &Bytes, n: u64) -> bool {
    (0..SIZE / 8).fold(0, |differ, at| differ | (said(bytes, at) ^ word(n, at))) == 0
}

/// Fails unless `bytes` is message number `n`.
#[inline(always)]
pub(crate) fn check(bytes: &Bytes, n: u64) -> anyhow::Result<()> {
    if is(bytes, n) { Ok(()) } else { Err(wrong(n)) }
}

#[cold]
#[inline(never)]
fn wrong(n: u64) -> anyhow::Error {
    anyhow::anyhow!("message {n} came changed or out of order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_or_another_number_is_noticed() {
        for n in [0, 1, 255, 1 << 40] {
            assert!(check(&message(n), n).is_ok());
            assert!(check(&message(n), n + 1).is_err());
            for at in 0..SIZE {
                let mut bytes = message(n);
                bytes[at] ^= 1;
                assert!(check(&bytes, n).is_err(), "byte {at}");
            }
        }
    }
}
