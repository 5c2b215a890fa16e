//! What producers and consumers have in common: an entry in a ring, and a mode that is known at
//! compile time or asked of the ring.

/// For a handle type in C's layout with a field `entry`. None of its fields may depend on `S`.
macro_rules! common_to_handles {
    ($Handle:ident) => {
        use $crate::mode::{AnyMode, Exclusive, Shared};
        use $crate::settings::Sharing;

        const _: () = {
            assert!(size_of::<$Handle<Exclusive>>() == size_of::<$Handle<AnyMode>>());
            assert!(size_of::<$Handle<Shared>>() == size_of::<$Handle<AnyMode>>());
            assert!(align_of::<$Handle<Exclusive>>() == align_of::<$Handle<AnyMode>>());
            assert!(align_of::<$Handle<Shared>>() == align_of::<$Handle<AnyMode>>());
        };

        /// The mode.
        impl<S: Mode> $Handle<S> {
            /// How this handle works: what is known of `S`, or what its entry says.
            #[inline(always)]
            pub(crate) fn own(&self) -> $crate::own::Own {
                match S::OWN {
                    Some(own) => own,
                    None => self.entry.own(),
                }
            }

            /// The same handle as one of mode `M`, which must be its own mode.
            #[inline(always)]
            pub(crate) fn in_mode<M: Mode>(&mut self) -> &mut $Handle<M> {
                // SAFETY: both have the same layout, that of C, and no field depends on the mode.
                unsafe { &mut *core::ptr::from_mut(self).cast() }
            }

            /// As [`in_mode`](Self::in_mode), by value.
            pub(crate) fn into_mode<M: Mode>(self) -> $Handle<M> {
                let this = core::mem::ManuallyDrop::new(self);
                // SAFETY: as in `in_mode`; read once, from a handle that is neither used nor
                // dropped afterwards.
                unsafe { core::ptr::read((&raw const *this).cast()) }
            }
        }

        impl From<$Handle<Exclusive>> for $Handle {
            fn from(handle: $Handle<Exclusive>) -> Self {
                handle.into_mode()
            }
        }

        impl From<$Handle<Shared>> for $Handle {
            fn from(handle: $Handle<Shared>) -> Self {
                handle.into_mode()
            }
        }

        /// The ring.
        impl<S: Mode> $Handle<S> {
            /// The ring's capacity in slots.
            pub fn capacity(&self) -> usize {
                self.entry.segment().settings().capacity
            }

            /// Bytes of the largest message.
            pub fn max_message(&self) -> usize {
                self.entry.segment().settings().max_message
            }

            /// How many messages can be in flight, that is, sent and not yet released: the
            /// [`credit_limit`](crate::Builder::credit_limit), or the [`capacity`](Self::capacity)
            /// if none was chosen.
            pub fn max_in_flight(&self) -> u64 {
                self.entry.segment().settings().credit_limit
            }

            /// Another handle of the same side, with the same name and wait strategy. It takes an
            /// entry in the participant table, which can fail, so this is not `Clone`. A closed
            /// ring stays closed. `end_when_deserted` and `await_next_stream` are not copied.
            ///
            /// # Errors
            ///
            /// [`RingError::SideTaken`] if the side is exclusive, since this handle has it;
            /// [`RingError::TableFull`], or an error of the system.
            pub fn try_clone(&self) -> Result<Self, RingError> {
                let name = self.entry.participant().identity().name;
                let identity = Identity::of_this_process(name);
                #[allow(unused_mut)]
                let mut clone = self.attach_again(&identity)?;
                #[cfg(any(feature = "std", loom))]
                {
                    clone.waiting.strategy = self.waiting.strategy;
                }
                Ok(clone)
            }

            pub(crate) fn is_trusted(&self) -> bool {
                self.entry.segment().is_trusted()
            }

            /// The index of this handle's entry in the participant table.
            pub fn participant(&self) -> usize {
                self.entry.index()
            }
        }
    };
}
pub(crate) use common_to_handles;
