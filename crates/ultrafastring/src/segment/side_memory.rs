//! The memory of side buffers in a file: taking it before it is touched, and giving it back.
//!
//! Touching a page of a sparse file raises SIGBUS if no memory is left. So nobody touches a part of
//! a side buffer before its memory was taken by a call that can fail. A process remembers what it
//! has taken, so that it need not ask for each message.
//!
//! A producer that finds no memory gives back what consumed messages occupy. Then others may
//! believe that a buffer has memory which has none. Nobody touches such a buffer, because
//!
//! 1. *Who gives back a buffer's memory owns the buffer.* On a shared side it has claimed the slot;
//!    on an exclusive one it is the only producer, and the message is released. Until its ownership
//!    ends nobody else writes there; and nobody reads there, since readers touch the bytes of
//!    committed messages only, between claim and release.
//! 2. *The count comes first.* It raises [`given_back`], and then gives back. The next owner has
//!    the buffer from it, by way of a commit, a release and a grant, or by the lock of the side. So
//!    it sees the new count, and what it remembers under an older one does not count.
//! 3. *What an owner remembers is true.* It notes under the count that it read before it took the
//!    memory, and while it owns the buffer. Whoever gives that memory back later raises the count.
//!    A consumer may take memory before its claim, and lose the claim: what it notes may be wrong
//!    by then. So consumers have notes of their own, on which no producer relies.
//! 4. *A consumer's notes need not be true.* The bytes of a committed message have memory until it
//!    is released. The notes keep a peer's lies from raising a signal: a size that was never
//!    written. Those that it can tell in the moment in which memory is given back are left.
//! 5. *Who may lose a message while it copies it does not touch it.* That is who delivers again
//!    what a dead consumer held. It reads the file ([`Mapping::copy_from_file`]).
//!
//! In a ring made for groups tail readers read what everybody else has released. So there no memory
//! is given back.
//!
//! [`given_back`]: crate::layout::counters::LaneCounters::given_back

use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use rustix::mm::Advice;

use super::backed::{Backed, Purpose, note, says};
use super::mapping::Mapping;
use crate::layout::areas::PAGE;

impl Mapping {
    /// See [`Lane::back`](super::lane::Lane::back). `count` is how often memory was given back.
    #[inline]
    pub(super) fn back(
        &self,
        (lane, buffer): (usize, usize),
        purpose: Purpose,
        size: usize,
        count: u64,
    ) -> bool {
        self.is_known((lane, buffer), purpose, size, count)
            || self.take((lane, buffer), purpose, size, count)
    }

    /// Whether it is known that a buffer has memory for `size` bytes.
    #[inline]
    pub(super) fn is_known(
        &self,
        (lane, buffer): (usize, usize),
        purpose: Purpose,
        size: usize,
        count: u64,
    ) -> bool {
        match self.backed[lane].notes(purpose).get(buffer) {
            // Relaxed: what an owner noted it, or another in this process who owned the buffer
            // before, and then the buffer came from that one.
            Some(noted) => says(noted.load(Ordering::Relaxed), count, size.div_ceil(PAGE)),
            // Nor is there anything to take in a ring without side buffers, whatever its words say.
            None => count == 0 || self.backed[lane].stride == 0,
        }
    }

    #[cold]
    #[inline(never)]
    fn take(
        &self,
        (lane, buffer): (usize, usize),
        purpose: Purpose,
        size: usize,
        count: u64,
    ) -> bool {
        let (backed, page) = (&self.backed[lane], self.geometry().page());
        let Backed { start, stride, .. } = *backed;
        // A buffer smaller than a page may lie in two pages, so all of it is taken at once.
        let size = if stride < page { stride } else { size };
        let first = start + buffer * stride;
        // Whole pages, which small neighbouring buffers may share.
        let (begin, end) = (first / page * page, (first + size).next_multiple_of(page));
        if self.fault_in(begin, end - begin).is_err() {
            if self.is_shorter() {
                // This is not for want of memory.
                self.watch.note_damage();
            }
            return false;
        }
        // Who owns one of the buffers of a page keeps the page from being given back.
        let shared = begin.saturating_sub(start).div_ceil(stride)..(end - start) / stride;
        let taken = if stride < page { shared } else { buffer..buffer + 1 };
        for index in taken.chain([buffer]) {
            if let Some(noted) = backed.notes(purpose).get(index) {
                // Relaxed: as in `back`.
                noted.fetch_max(note(count, size.div_ceil(PAGE)), Ordering::Relaxed);
            }
        }
        true
    }

    /// Gives back the memory of `count` buffers from `first` on, as far as they fill pages. The
    /// caller owns them, and has raised the count of that.
    pub(super) fn give_back(&self, lane: usize, first: usize, count: usize) {
        let bytes = self.backed[lane].bytes_of(first, count);
        let page = self.geometry().page();
        let (begin, end) = (bytes.start.next_multiple_of(page), bytes.end / page * page);
        if begin < end {
            // If the file system cannot do that, there is no more memory than there was.
            let _ = self.populate(begin, end - begin, Advice::LinuxRemove);
        }
    }

    /// How far from `first` the next of `count` buffers is that has memory; the first, if that
    /// cannot be found out.
    pub(super) fn first_with_memory(
        &self,
        lane: usize,
        first: usize,
        count: usize,
    ) -> Option<usize> {
        if count == 0 {
            return None;
        }
        let bytes = self.backed[lane].bytes_of(first, count);
        let Ok(file) = self.file() else { return Some(0) };
        // Nobody reads or writes where the description stands.
        match rustix::fs::seek(file, SeekFrom::Data(bytes.start as u64)) {
            Ok(data) if data >= bytes.end as u64 => None,
            Ok(data) => {
                Some((data as usize).saturating_sub(bytes.start) / self.backed[lane].stride)
            }
            Err(Errno::NXIO) => None,
            Err(_) => Some(0),
        }
    }

    /// Copies the first bytes of a buffer without touching its memory, which may be given back
    /// meanwhile; zeros where there is none, or where that cannot be done.
    pub(super) fn copy_from_file(
        &self,
        (lane, buffer): (usize, usize),
        bytes: &mut [MaybeUninit<u8>],
    ) {
        let mut offset = self.backed[lane].bytes_of(buffer, 1).start as u64;
        let mut left = bytes;
        while !left.is_empty()
            && let Ok(file) = self.file()
        {
            match rustix::io::pread(file, &mut *left, offset) {
                Ok(([], _)) => break,
                Ok((read, _)) => {
                    let count = read.len();
                    offset += count as u64;
                    left = &mut left[count..];
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        left.fill(MaybeUninit::new(0));
    }
}
