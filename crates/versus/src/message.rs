//! What is sent: bytes that follow from the message's number, and a check of all of them.

/// Bytes of a message, unless a case says otherwise.
pub(crate) const SIZE: usize = 40;

/// Bytes of the small messages.
pub(crate) const SMALL: usize = 8;

pub(crate) type Bytes<const N: usize = SIZE> = [u8; N];

#[inline(always)]
fn word(n: u64, at: usize) -> u64 {
    n.wrapping_add(at as u64 * 0x9e37_79b9)
}

/// Message number `n`, of `N` bytes, a multiple of eight.
#[inline(always)]
pub(crate) fn message<const N: usize>(n: u64) -> Bytes<N> {
    let mut bytes = [0; N];
    for at in 0..N / 8 {
        bytes[8 * at..8 * at + 8].copy_from_slice(&word(n, at).to_le_bytes());
    }
    bytes
}

#[inline(always)]
fn said<const N: usize>(bytes: &Bytes<N>, at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[8 * at..8 * at + 8]);
    u64::from_le_bytes(word)
}

/// The number of the message `bytes`, if it is one.
#[inline(always)]
pub(crate) fn number<const N: usize>(bytes: &Bytes<N>) -> Option<u64> {
    let n = said(bytes, 0);
    is(bytes, n).then_some(n)
}

/// Whether `bytes` is message number `n`: all words are looked at, with one branch at the end.
#[inline(always)]
fn is<const N: usize>(bytes: &Bytes<N>, n: u64) -> bool {
    (0..N / 8).fold(0, |differ, at| differ | (said(bytes, at) ^ word(n, at))) == 0
}

/// Fails unless `bytes` is message number `n`.
#[inline(always)]
pub(crate) fn check<const N: usize>(bytes: &Bytes<N>, n: u64) -> anyhow::Result<()> {
    if is(bytes, n) { Ok(()) } else { Err(wrong(n)) }
}

#[cold]
#[inline(never)]
pub(crate) fn wrong(n: u64) -> anyhow::Error {
    anyhow::anyhow!("message {n} came changed or out of order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_or_another_number_is_noticed() {
        noticed::<SIZE>();
        noticed::<SMALL>();
    }

    fn noticed<const N: usize>() {
        for n in [0, 1, 255, 1 << 40] {
            assert!(check(&message::<N>(n), n).is_ok());
            assert!(check(&message::<N>(n), n + 1).is_err());
            for at in 0..N {
                let mut bytes = message::<N>(n);
                bytes[at] ^= 1;
                assert!(check(&bytes, n).is_err(), "byte {at}");
            }
        }
    }
}
