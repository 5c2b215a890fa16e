//! Side buffers: where messages over 40 bytes lie, and copying into and out of them.
//!
//! ```text
//!  slot p     │ sequence │ meta: LARGE │ timestamp │ length │ …          64 bytes
//!  side p     │ the message's bytes …                       │ unused     the ring's stride
//! ```
//!
//! The buffer of a slot belongs to the owner of the slot. It is written between claim and commit
//! and read between claim and release. So it adds no step to the protocol: to the models and to
//! recovery its bytes are more payload words.
//!
//! A peer that breaks the protocol may write while we read. A Rust reference to such bytes would be
//! undefined behaviour, and so would `memcpy` from them. So they are words accessed as relaxed
//! atomics. On x86-64 assembly accesses them, which may do whatever such atomics could: a load of
//! bytes stands for loads of their words, and a store of bytes for read-modify-writes of their
//! words, in any order. So a hostile peer can turn a message into garbage and no more.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::processor;
use crate::sync::AtomicU64;
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom))))]
use crate::sync::Ordering;

/// How bytes are copied on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copying {
    /// Whether 32-byte vectors can be used.
    avx: bool,
}

impl Copying {
    pub(crate) fn of_this_machine() -> Self {
        Self { avx: processor::has_vectors() }
    }
}

/// The side buffer of one slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SideBuffer<'a> {
    words: NonNull<AtomicU64>,
    /// Bytes that it holds.
    size: usize,
    segment: PhantomData<&'a AtomicU64>,
}

impl<'a> SideBuffer<'a> {
    /// The buffer of `size` bytes at `words`.
    ///
    /// # Safety
    ///
    /// During `'a` there are `size` bytes at `words`, rounded up to whole words, all initialised,
    /// and accessed only as atomics.
    #[inline(always)]
    pub(crate) unsafe fn new(words: NonNull<AtomicU64>, size: usize) -> Self {
        Self { words, size, segment: PhantomData }
    }

    /// The address of the bytes, for code that trusts all peers.
    #[inline]
    pub(crate) fn as_ptr(self) -> *mut u8 {
        self.words.as_ptr().cast()
    }

    /// Writes `data` from byte `offset` on. The caller has claimed the slot.
    ///
    /// # Panics
    ///
    /// If it does not fit.
    #[inline]
    pub(crate) fn write(self, copying: Copying, offset: usize, data: &[u8]) {
        assert!(offset <= self.size && data.len() <= self.size - offset, "beyond the side buffer");
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom)))]
        // SAFETY: both ranges are long enough, by the assertion. `data` is borrowed, so it is not
        // in the segment.
        unsafe {
            copy_bytes(copying, self.as_ptr().add(offset), data.as_ptr(), data.len());
        }
        #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom))))]
        {
            let _ = copying.avx;
            self.write_words(offset, data);
        }
    }

    /// Reads into all of `buffer` from byte `offset` on.
    ///
    /// # Panics
    ///
    /// If there are fewer bytes.
    #[inline]
    pub(crate) fn read(self, copying: Copying, offset: usize, buffer: &mut [MaybeUninit<u8>]) {
        assert!(
            offset <= self.size && buffer.len() <= self.size - offset,
            "beyond the side buffer"
        );
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom)))]
        // SAFETY: as in `write`.
        unsafe {
            copy_bytes(
                copying,
                buffer.as_mut_ptr().cast(),
                self.as_ptr().add(offset),
                buffer.len(),
            );
        }
        #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom))))]
        {
            let _ = copying.avx;
            self.read_words(offset, buffer);
        }
    }

    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom))))]
    fn word(self, index: usize) -> &'a AtomicU64 {
        debug_assert!(index * 8 < self.size);
        // SAFETY: one of the buffer's words, as the callers' assertions say.
        unsafe { self.words.add(index).as_ref() }
    }

    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom))))]
    fn write_words(self, mut offset: usize, mut data: &[u8]) {
        while !data.is_empty() {
            let within = offset % 8;
            let (bytes, rest) = data.split_at(data.len().min(8 - within));
            let word = self.word(offset / 8);
            // Relaxed: made visible by the release of the slot's sequence.
            let mut value = match bytes.len() {
                8 => [0; 8],
                _ => word.load(Ordering::Relaxed).to_ne_bytes(),
            };
            value[within..within + bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
            offset += bytes.len();
            data = rest;
        }
    }

    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom))))]
    fn read_words(self, mut offset: usize, mut buffer: &mut [MaybeUninit<u8>]) {
        while !buffer.is_empty() {
            let within = offset % 8;
            let count = buffer.len().min(8 - within);
            // Relaxed: ordered after the commit by the acquire of the slot's sequence.
            let value = self.word(offset / 8).load(Ordering::Relaxed).to_ne_bytes();
            let (bytes, rest) = buffer.split_at_mut(count);
            for (to, from) in bytes.iter_mut().zip(&value[within..within + count]) {
                to.write(*from);
            }
            offset += count;
            buffer = rest;
        }
    }
}

/// Copies `length` bytes that other processes may access meanwhile.
///
/// Vectors of 32 bytes are as fast as the C library's `memcpy` at every size tried, on one core and
/// between two. `rep movsb` takes as long to start as copying 256 bytes takes.
///
/// # Safety
///
/// There are `length` bytes to read at `from` and to write at `to`, and they do not overlap. A
/// range that is not in the segment belongs to the caller.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri), not(loom)))]
#[inline]
unsafe fn copy_bytes(copying: Copying, to: *mut u8, from: *const u8, length: usize) {
    // Each loop copies whole blocks and then the last block, which may cover bytes again.
    if length >= 128 && copying.avx {
        // SAFETY: `length` is at least one block, so each block lies within it. The processor has
        // the instructions. Everything that a C function may clobber is declared, with whole vector
        // registers.
        unsafe {
            core::arch::asm!(
                "xor eax, eax",
                "jmp 3f",
                ".p2align 5",
                "2:",
                "vmovups ymm0, [rsi + rax]",
                "vmovups ymm1, [rsi + rax + 32]",
                "vmovups ymm2, [rsi + rax + 64]",
                "vmovups ymm3, [rsi + rax + 96]",
                "vmovups [rdi + rax], ymm0",
                "vmovups [rdi + rax + 32], ymm1",
                "vmovups [rdi + rax + 64], ymm2",
                "vmovups [rdi + rax + 96], ymm3",
                "sub rax, -128",
                "3:",
                "cmp rax, rdx",
                "jb 2b",
                "vmovups ymm0, [rsi + rdx]",
                "vmovups ymm1, [rsi + rdx + 32]",
                "vmovups ymm2, [rsi + rdx + 64]",
                "vmovups ymm3, [rsi + rdx + 96]",
                "vmovups [rdi + rdx], ymm0",
                "vmovups [rdi + rdx + 32], ymm1",
                "vmovups [rdi + rdx + 64], ymm2",
                "vmovups [rdi + rdx + 96], ymm3",
                "vzeroupper",
                in("rdi") to,
                in("rsi") from,
                in("rdx") length - 128,
                clobber_abi("sysv64"),
                options(nostack)
            );
        }
    } else if length >= 16 {
        // SAFETY: as above, with blocks of 16 bytes and registers that every x86-64 has.
        unsafe {
            core::arch::asm!(
                "xor {at:e}, {at:e}",
                "jmp 3f",
                "2:",
                "movups {block}, [{from} + {at}]",
                "movups [{to} + {at}], {block}",
                "add {at}, 16",
                "3:",
                "cmp {at}, {last}",
                "jb 2b",
                "movups {block}, [{from} + {last}]",
                "movups [{to} + {last}], {block}",
                at = out(reg) _,
                block = out(xmm_reg) _,
                to = in(reg) to,
                from = in(reg) from,
                last = in(reg) length - 16,
                options(nostack)
            );
        }
    } else {
        // SAFETY: copies `length` bytes, one after the other.
        unsafe {
            core::arch::asm!(
                "rep movsb",
                inout("rdi") to => _,
                inout("rsi") from => _,
                inout("rcx") length => _,
                options(nostack, preserves_flags)
            );
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Bytes of the buffer under test: several blocks of each kind, and a part of one.
    const SIZE: usize = 500;

    fn bytes(seed: u8, count: usize) -> [u8; SIZE] {
        core::array::from_fn(|i| if i < count { seed.wrapping_add(i as u8) } else { 0xee })
    }

    fn check(copying: Copying, offset: usize, length: usize) {
        let words: [AtomicU64; SIZE.div_ceil(8)] =
            core::array::from_fn(|_| AtomicU64::new(u64::from_ne_bytes([0xcc; 8])));
        // SAFETY: the words are borrowed, and only atomics.
        let side = unsafe { SideBuffer::new(NonNull::from(&words).cast(), SIZE) };
        let message = bytes(7, SIZE);
        side.write(copying, offset, &message[..length]);
        let read = |offset: usize, buffer: &mut [u8]| {
            let mut uninit = [const { MaybeUninit::uninit() }; SIZE];
            side.read(copying, offset, &mut uninit[..buffer.len()]);
            for (to, from) in buffer.iter_mut().zip(uninit) {
                // SAFETY: `read` has filled this many.
                *to = unsafe { from.assume_init() };
            }
        };
        let mut back = [0xaa; SIZE];
        read(offset, &mut back[..length]);
        assert_eq!(back[..length], message[..length], "{length} bytes at {offset}");
        let mut all = [0; SIZE];
        read(0, &mut all);
        assert!(all[..offset].iter().all(|&byte| byte == 0xcc), "{length} bytes at {offset}");
        assert!(all[offset + length..].iter().all(|&byte| byte == 0xcc), "{length} at {offset}");
        assert_eq!(all[offset..offset + length], message[..length]);
    }

    #[test]
    fn what_is_written_at_any_place_is_read_back_and_nothing_else_is_touched() {
        let copying = Copying::of_this_machine();
        let lengths = if cfg!(miri) { 30..33 } else { 0..SIZE };
        for length in lengths.chain(SIZE..=SIZE) {
            for offset in [0, 1, 7, 8, 33, 64] {
                if offset + length <= SIZE {
                    check(copying, offset, length);
                    #[cfg(all(target_arch = "x86_64", not(miri)))]
                    check(Copying { avx: false }, offset, length);
                }
            }
        }
    }

    #[test]
    #[should_panic = "beyond the side buffer"]
    fn nothing_is_written_beyond_the_buffer() {
        check(Copying::of_this_machine(), 1, SIZE);
    }

    #[test]
    #[should_panic = "beyond the side buffer"]
    fn an_offset_that_overflows_is_beyond_the_buffer() {
        let word = AtomicU64::new(0);
        // SAFETY: one word, borrowed.
        let side = unsafe { SideBuffer::new(NonNull::from(&word), 8) };
        side.read(Copying::of_this_machine(), usize::MAX, &mut [MaybeUninit::uninit(); 2]);
    }
}
