//! What is sent: 40 bytes that follow from the message's number, and a check of all of them.

use anyhow::ensure;

/// Bytes of a message.
pub(crate) const SIZE: usize = 40;

pub(crate) type Bytes = [u8; SIZE];

#[inline(always)]
fn words(n: u64) -> [u64; 5] {
    std::array::from_fn(|at| n.wrapping_add(at as u64 * 0x9e37_79b9))
}

/// Message number `n`.
#[inline(always)]
pub(crate) fn message(n: u64) -> Bytes {
    let mut bytes = [0; SIZE];
    for (word, at) in words(n).into_iter().zip(bytes.as_chunks_mut::<8>().0) {
        *at = word.to_le_bytes();
    }
    bytes
}

/// The number of the message `bytes`, if it is one.
#[inline(always)]
pub(crate) fn number(bytes: &Bytes) -> Option<u64> {
    let said: [u64; 5] = std::array::from_fn(|at| u64::from_le_bytes(bytes.as_chunks::<8>().0[at]));
    (said == words(said[0])).then_some(said[0])
}

/// Fails unless `bytes` is message number `n`.
#[inline(always)]
pub(crate) fn check(bytes: &Bytes, n: u64) -> anyhow::Result<()> {
    ensure!(number(bytes) == Some(n), "message {n} came changed or out of order");
    Ok(())
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
