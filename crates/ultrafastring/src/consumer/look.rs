//! Reading a message in place: what the guards have in common.

use core::mem::MaybeUninit;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use crate::lane::view::OwnLane;
use crate::layout::side::Copying;
use crate::message::Message;

/// Where the bytes of a held message are.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// In the message, copied from the slot.
    Slot,
    /// In the side buffer of its position, whose memory has been taken.
    Side(OwnLane<'a>, Copying),
    /// On the heap, copied from a side buffer whose hold may be ignored.
    #[cfg(feature = "alloc")]
    Copy(&'a [u8]),
}

/// A held message, to read.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(super) message: &'a Message,
    pub(super) place: Place<'a>,
}

impl<'a> Look<'a> {
    #[cfg(feature = "zerocopy")]
    #[inline]
    pub(crate) fn len(self) -> usize {
        self.message.about().size
    }

    #[inline]
    pub(crate) fn as_inline(self) -> Option<&'a [u8]> {
        matches!(self.place, Place::Slot).then_some(&**self.message)
    }

    /// The side buffer of the message, as its slot said when it was taken.
    #[inline]
    fn buffer(self, lane: OwnLane<'_>) -> u64 {
        lane.buffer_of(self.message.position(), self.message.payload())
    }

    /// Copies `buffer.len()` bytes from `offset` on. Panics if the message has fewer.
    #[inline]
    pub(crate) fn read_at(self, offset: usize, buffer: &mut [MaybeUninit<u8>]) {
        let (size, count) = (self.message.about().size, buffer.len());
        assert!(
            offset <= size && count <= size - offset,
            "{count} bytes at {offset} go beyond a message of {size}"
        );
        let bytes: &[u8] = match self.place {
            Place::Slot => self.message,
            Place::Side(lane, copying) => {
                return lane.side(self.buffer(lane)).read(copying, offset, buffer);
            }
            #[cfg(feature = "alloc")]
            Place::Copy(copy) => copy,
        };
        for (to, from) in buffer.iter_mut().zip(&bytes[offset..offset + count]) {
            to.write(*from);
        }
    }

    /// Appends the message to `buffer`, which has room for it.
    #[cfg(feature = "alloc")]
    #[inline]
    pub(crate) fn append_to(self, buffer: &mut Vec<u8>) {
        let size = self.message.about().size;
        self.read_at(0, &mut buffer.spare_capacity_mut()[..size]);
        // SAFETY: `read_at` has filled this many bytes behind the old length.
        unsafe { buffer.set_len(buffer.len() + size) };
    }

    /// Writes the message to `output`, in pieces of up to 4096 bytes.
    #[cfg(feature = "std")]
    pub(crate) fn write_to(self, output: &mut impl std::io::Write) -> std::io::Result<()> {
        if let Some(bytes) = self.as_inline() {
            return output.write_all(bytes);
        }
        let mut piece = [0; 4096];
        let (mut offset, size) = (0, self.message.about().size);
        while offset < size {
            let count = piece.len().min(size - offset);
            self.read_at(offset, crate::lane::reader::room::as_uninit(&mut piece[..count]));
            output.write_all(&piece[..count])?;
            offset += count;
        }
        Ok(())
    }

    /// All bytes, in place.
    ///
    /// # Safety
    ///
    /// While the slice is used, no process that has the ring mapped may write into this message.
    #[inline(always)]
    pub(crate) unsafe fn as_slice(self) -> &'a [u8] {
        match self.place {
            Place::Slot => self.message,
            Place::Side(lane, _) => {
                let start = lane.side(self.buffer(lane)).as_ptr();
                // SAFETY: the side buffer has this many bytes, initialised and backed by memory.
                // The position is held, so nobody who keeps to the protocol writes there. The
                // caller vouches for the others.
                unsafe { core::slice::from_raw_parts(start, self.message.about().size) }
            }
            #[cfg(feature = "alloc")]
            Place::Copy(copy) => copy,
        }
    }
}

/// The calls that read a guard's message. The guard has a `look`.
macro_rules! reads_in_place {
    ([$($generics:tt)*] $Guard:ty) => {
        impl $($generics)* $Guard {
            /// Bytes of the message.
            #[inline]
            pub fn len(&self) -> usize {
                self.about().size
            }

            /// Whether the message has no bytes.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The priority class with which it was sent.
            pub fn class(&self) -> PriorityClass {
                self.about().class
            }

            /// Ticks from send until it was taken; 0 if it carried no timestamp.
            pub fn latency(&self) -> u64 {
                self.about().latency
            }

            /// When it was sent, in ticks; `None` if it carried no timestamp.
            pub fn timestamp(&self) -> Option<u64> {
                self.about().timestamp()
            }

            /// Whether it may have been delivered before, since a consumer that held it or was
            /// about to claim it died ([`Consumer::try_borrow`]).
            pub fn is_redelivered(&self) -> bool {
                self.about().redelivered
            }

            /// Whether it was sent before one that the handle had received earlier. Only of a
            /// handle that receives [in time order](Consumer::in_time_order).
            pub fn is_late(&self) -> bool {
                self.about().is_late()
            }

            /// What is known about it besides its bytes.
            #[inline]
            pub fn about(&self) -> Received {
                self.look().message.about()
            }

            /// Its place in the endless order of messages.
            #[inline]
            pub fn position(&self) -> u64 {
                self.look().message.position()
            }

            /// An owned copy of the message, if it has at most 40 bytes.
            pub fn message(&self) -> Option<Message> {
                let look = self.look();
                look.as_inline().map(|_| *look.message)
            }

            /// The bytes of a message of at most 40 bytes. They are copied, so no peer can change
            /// them.
            #[inline]
            pub fn as_inline(&self) -> Option<&[u8]> {
                self.look().as_inline()
            }

            /// Copies `buffer.len()` bytes from `offset` on. Other bytes are not read.
            ///
            /// # Panics
            ///
            /// If the message has fewer.
            #[inline]
            pub fn read_at(&self, offset: usize, buffer: &mut [u8]) {
                self.look().read_at(offset, as_uninit(buffer));
            }

            /// The message, copied.
            ///
            /// # Panics
            ///
            /// If there is no memory.
            #[cfg(feature = "alloc")]
            pub fn to_vec(&self) -> alloc::vec::Vec<u8> {
                let mut bytes = alloc::vec::Vec::with_capacity(self.len());
                self.look().append_to(&mut bytes);
                bytes
            }

            /// Writes the message to `output`, in pieces of up to 4096 bytes.
            ///
            /// # Errors
            ///
            /// An error of `output`.
            #[cfg(feature = "std")]
            pub fn write_to(&self, output: &mut impl std::io::Write) -> std::io::Result<()> {
                self.look().write_to(output)
            }

            /// All bytes, in place.
            ///
            /// # Safety
            ///
            /// Until the last use of the slice, no process that has the ring mapped may write into
            /// this message. A process that keeps to the protocol does not.
            #[inline(always)]
            pub unsafe fn as_slice(&self) -> &[u8] {
                // SAFETY: as the caller promises.
                unsafe { self.look().as_slice() }
            }
        }
    };
}
pub(super) use reads_in_place;
