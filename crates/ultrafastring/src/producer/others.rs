//! What a producer has besides its own lane: see [`lanes`](super::lanes).

use crate::priority::PriorityClass;

/// The producers `P` of the other lanes, of a handle that sends into lanes by class.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub(super) struct Others<P> {
    /// The class whose producer the handle is itself.
    pub(super) own: PriorityClass,
    /// Those of the other classes.
    pub(super) of_class: [Option<P>; PriorityClass::COUNT],
    /// The class that was last sent in place of the own, and how often in a row.
    pub(super) last: (PriorityClass, u32),
}

/// The producers of the other lanes; in most rings there are none.
#[derive(Debug)]
pub(super) struct OtherLanes<P> {
    #[cfg(feature = "alloc")]
    pub(super) others: Option<alloc::boxed::Box<Others<P>>>,
    /// Where nothing can be allocated there are none.
    #[cfg(not(feature = "alloc"))]
    others: core::marker::PhantomData<fn() -> P>,
}

impl<P> OtherLanes<P> {
    pub(super) const NONE: Self = Self {
        #[cfg(feature = "alloc")]
        others: None,
        #[cfg(not(feature = "alloc"))]
        others: core::marker::PhantomData,
    };

    /// Whether messages of `class` go into the handle's own lane.
    #[inline]
    pub(super) fn leave(&self, class: PriorityClass) -> bool {
        #[cfg(feature = "alloc")]
        return self.others.as_ref().is_none_or(|others| others.own == class);
        #[cfg(not(feature = "alloc"))]
        {
            let _ = class;
            true
        }
    }
}
