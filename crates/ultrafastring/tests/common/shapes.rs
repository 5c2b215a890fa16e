//! The shapes of rings: what kind of ring a test runs on.
//!
//! [`for_shapes`] has the one list. A test that is told apart by nothing but the kind of its ring
//! is a function over a [`Shape`], and
//!
//! ```text
//! on_each_shape!(what_is_sent_is_received);
//! on_each_shape!(two_that_race_lose_nothing, needs(two_consumers));
//! ```
//!
//! makes a test of each shape of it, `what_is_sent_is_received::exclusive_to_shared` and so on.
//! Where a shape lacks what a test needs, the test is shown as ignored, with the reason. So a new
//! shape runs everywhere when it has its line in the list. A test that takes long `needs(quick)`:
//! of the shapes with lanes it runs on two, and one that `needs(quickest)` on none; the rest is
//! left to `.ci/run shapes-long`. `tests/shapes.rs` prints which suite runs on which shape, and
//! fails where a suite does neither run nor say why.
//!
//! Crates that use this name it `shapes` at their root, for the macros.

// Each test file is a crate of its own and uses a part of this; `fuzz/` has no features of the
// library's.
#![allow(dead_code, unexpected_cfgs, unused_imports, unused_macros)]

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ultrafastring::{
    AnyMode, Builder, Consumer, GroupState, Lanes, Mode, PriorityClass, Producer, RingError,
    Sharing, Side, UltraFastRing,
};
pub(crate) use ultrafastring::{Exclusive, Shared};

/// How producers have their side where each has a lane of its own: that lane's side is exclusive.
pub(crate) type Owned = Exclusive;

/// Calls a macro with the list of shapes: how they are called in the names of tests, and their
/// types, whose parameters say how producers and consumers have their sides.
macro_rules! for_shapes {
    ($then:ident $(, $argument:tt)*) => {
        $crate::shapes::and_lanes! {
            $then ($($argument),*)
            exclusive_to_exclusive: Between<Exclusive, Exclusive>;
            exclusive_to_shared: Between<Exclusive, Shared>;
            shared_to_exclusive: Between<Shared, Exclusive>;
            shared_to_shared: Between<Shared, Shared>;
            exclusive_to_one_member: OneGroup<Exclusive, Exclusive>;
            shared_to_members: OneGroup<Shared, Shared>;
            exclusive_to_two_groups: TwoGroups<Exclusive, Shared>;
            shared_to_two_groups: TwoGroups<Shared, Shared>;
        }
    };
}

/// The rest of the list, which needs an allocator.
#[cfg(feature = "alloc")]
macro_rules! and_lanes {
    ($then:ident $arguments:tt $($shapes:tt)*) => {
        $crate::shapes::$then! {
            $arguments
            $($shapes)*
            by_class_exclusive: ByClass<Exclusive, Exclusive>;
            by_class_shared: ByClass<Shared, Shared>;
            by_class_to_one_member: ByClassToGroup<Shared, Exclusive>;
            by_producer_shared: ByProducer<Owned, Shared>;
            by_producer_to_members: ByProducerToGroup<Owned, Shared>;
        }
    };
}

#[cfg(not(feature = "alloc"))]
macro_rules! and_lanes {
    ($then:ident $arguments:tt $($shapes:tt)*) => {
        $crate::shapes::$then! { $arguments $($shapes)* }
    };
}

/// A kind of ring.
pub(crate) trait Shape: Named + 'static {
    /// How its producers have their side.
    type Producers: Mode;
    /// How its consumers have theirs.
    type Consumers: Mode;

    /// How many lanes there are.
    const LANES: Lanes = Lanes::One;

    /// A builder of rings of this shape that are otherwise as `builder` says.
    fn of(builder: Builder) -> Builder;

    /// A producer, if one can be had.
    fn try_producer(ring: &UltraFastRing) -> Option<Producer<Self::Producers>>;

    /// A consumer, if one can be had.
    fn try_consumer(ring: &UltraFastRing) -> Option<Consumer<Self::Consumers>>;

    /// A builder that chooses nothing but the shape.
    fn builder() -> Builder {
        Self::of(Builder::new())
    }

    /// A ring of so many slots on the heap.
    #[cfg(feature = "alloc")]
    fn heap(capacity: usize) -> UltraFastRing {
        Self::builder().capacity(capacity).heap().unwrap()
    }

    /// A consumer of any mode, which finds out how it works; or why none can be had.
    fn any_consumer(ring: &UltraFastRing) -> Result<Consumer, RingError> {
        ring.consumer()
    }

    #[track_caller]
    fn consumer_of_any_mode(ring: &UltraFastRing) -> Consumer {
        once_opened::<Self, _, _>(|| Self::any_consumer(ring)).expect("a consumer can be had")
    }

    /// A producer of any mode.
    #[track_caller]
    fn producer_of_any_mode(ring: &UltraFastRing) -> Producer {
        ring.producer().expect("a producer can be had")
    }

    /// Whether there is no producer to be had, since others have all that there can be.
    fn is_producer_taken(ring: &UltraFastRing) -> bool {
        let taken = ring.producer();
        #[cfg(feature = "alloc")]
        if matches!(taken, Err(RingError::NoFreeLane { .. })) {
            return true;
        }
        matches!(taken, Err(RingError::SideTaken { .. }))
    }

    #[track_caller]
    fn producer(ring: &UltraFastRing) -> Producer<Self::Producers> {
        Self::try_producer(ring).expect("a producer can be had")
    }

    #[track_caller]
    fn consumer(ring: &UltraFastRing) -> Consumer<Self::Consumers> {
        let consumer = once_opened::<Self, _, _>(|| Self::try_consumer(ring).ok_or(()));
        consumer.expect("a consumer can be had")
    }

    /// So many producers, or the one that there can be.
    fn producers(ring: &UltraFastRing, wanted: usize) -> Vec<Producer<Self::Producers>> {
        (0..Self::most_producers(wanted)).map(|_| Self::producer(ring)).collect()
    }

    /// So many consumers, or the one that there can be.
    fn consumers(ring: &UltraFastRing, wanted: usize) -> Vec<Consumer<Self::Consumers>> {
        (0..Self::most_consumers(wanted)).map(|_| Self::consumer(ring)).collect()
    }

    /// How many producers of `wanted` there can be at a time.
    fn most_producers(wanted: usize) -> usize {
        match Self::LANES {
            Lanes::ByProducer(lanes) => wanted.min(lanes.into()),
            _ if Self::producers_share() => wanted,
            _ => wanted.min(1),
        }
    }

    /// How many consumers of `wanted` there can be at a time.
    fn most_consumers(wanted: usize) -> usize {
        if Self::consumers_share() { wanted } else { wanted.min(1) }
    }

    /// Whether several producers write one lane.
    fn producers_share() -> bool {
        Self::Producers::SHARING == Some(Sharing::Shared)
    }

    fn consumers_share() -> bool {
        Self::Consumers::SHARING == Some(Sharing::Shared)
    }

    /// Whether there are lanes: then there are no typed handles and no calls on the ring itself.
    fn has_lanes() -> bool {
        Self::LANES != Lanes::One
    }

    /// Whether a consumer claims what it receives, which others see before it is released. One
    /// that has its side alone need not; the only member of a group does.
    fn consumers_claim() -> bool {
        Self::consumers_share()
    }

    /// The groups of its consumers; none of a plain ring.
    fn groups() -> &'static [&'static str] {
        &[]
    }

    /// In which class a sender sends all its messages: where each class has its lane, their order
    /// is that of the class.
    fn class(sender: u32) -> PriorityClass {
        match Self::LANES {
            Lanes::ByClass => PriorityClass::ALL[sender as usize % PriorityClass::COUNT],
            _ => PriorityClass::Normal,
        }
    }

    /// How many entries a handle of a side takes.
    fn entries(side: Side) -> usize {
        match Self::LANES {
            Lanes::ByProducer(_) if side == Side::Producer => 1,
            lanes => lanes.count(),
        }
    }

    /// Where an area has the records of the lane that normal messages of the first producer are
    /// in: in bytes from the beginning of the segment.
    fn place(ring: &UltraFastRing, area: &str) -> usize {
        let lane = match Self::LANES {
            Lanes::ByClass => PriorityClass::Normal.index(),
            _ => 0,
        };
        let area = ring.areas().find(|it| it.name == area).expect("the ring has it");
        // Of the table of groups there is one for all lanes.
        let count = if area.name == "groups" { 0 } else { area.count / Self::LANES.count() };
        area.offset + lane * count * area.stride
    }

    /// So many of something, or a part of them where there are lanes: what these add to a plain
    /// ring is met in fewer.
    fn fewer(count: u64) -> u64 {
        if Self::has_lanes() { count / 5 } else { count }
    }

    /// A member of the second group, if there is one. Producers wait for that as well: a test that
    /// sends more than the ring holds has to read it.
    fn second(ring: &UltraFastRing) -> Option<Consumer> {
        let name = Self::groups().get(1)?;
        Some(ring.join(name).consumer().expect("the second group can be joined"))
    }

    /// Has a thread read the second group, if there is one, as long as what this gives lives.
    fn read_second(ring: &UltraFastRing) -> Reading {
        Reading::begin(Self::second(ring))
    }

    /// Receives what there is for the second group. Says how many messages; `None` without one.
    fn drain_second(ring: &UltraFastRing) -> Option<u64> {
        Self::read_second(ring).finish()
    }

    /// Has what is sent from now on kept for the groups, where handles are taken by several at
    /// once: an exclusive group that is not open yet is opened by whoever is its member then.
    fn open_groups(_ring: &UltraFastRing) {}

    /// Whether what is sent is kept for the first group, or for the consumers of a plain ring.
    fn is_read(ring: &UltraFastRing) -> bool {
        Self::groups().is_empty() || has_open_group(ring)
    }

    /// Whether somebody has taken the consumer side, or is the one member that the first group may
    /// have.
    fn is_taken(ring: &UltraFastRing) -> bool {
        let taken = Self::any_consumer(ring);
        matches!(taken, Err(RingError::SideTaken { .. } | RingError::GroupTaken { .. }))
    }
}

/// A thread that receives all that the second group gets, each message once and in order. It ends
/// when this is dropped, and nothing is left.
#[derive(Debug)]
pub(crate) struct Reading {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Reading {
    fn begin(member: Option<Consumer>) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let thread = member.map(|member| {
            let end = Arc::clone(&end);
            std::thread::spawn(move || read_all(member, &end))
        });
        Self { end, thread }
    }

    /// How many messages there were; `None` without a second group.
    pub(crate) fn finish(mut self) -> Option<u64> {
        self.end.store(true, Ordering::SeqCst);
        self.thread.take().map(|it| it.join().expect("the second group gets all in order"))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        let failed = ended.is_some_and(|it| it.is_err());
        assert!(!failed || std::thread::panicking(), "the second group gets all in order");
    }
}

fn read_all(mut member: Consumer, end: &AtomicBool) -> u64 {
    let mut next = 0;
    let mut count = 0;
    loop {
        let ends = end.load(Ordering::SeqCst);
        if let Ok(message) = member.try_borrow() {
            assert!(message.position() >= next && !message.is_redelivered());
            next = message.position() + 1;
            count += 1;
            continue;
        }
        if ends {
            return count;
        }
        member.flush();
        std::thread::yield_now();
    }
}

/// A shape's place in the list.
pub(crate) trait Named {
    /// As in the names of tests.
    const NAME: &'static str;
}

/// A ring of one lane and one group, by how each side is had.
#[derive(Debug)]
pub(crate) struct Between<P, C>(PhantomData<(P, C)>);

impl<P: Take, C: Take> Shape for Between<P, C>
where
    Self: Named,
{
    type Producers = P;
    type Consumers = C;

    fn of(builder: Builder) -> Builder {
        builder.producer_side(sharing::<P>()).consumer_side(sharing::<C>())
    }

    fn try_producer(ring: &UltraFastRing) -> Option<Producer<P>> {
        P::producer(ring)
    }

    fn try_consumer(ring: &UltraFastRing) -> Option<Consumer<C>> {
        C::consumer(ring)
    }
}

/// The groups of such rings, in their order.
const GROUPS: [&str; 2] = ["first", "second"];

/// A ring that others may join, with one group; its members share it, or one has it alone.
#[derive(Debug)]
pub(crate) struct OneGroup<P, C>(PhantomData<(P, C)>);

/// As [`OneGroup`], with a second group, whose members share it.
#[derive(Debug)]
pub(crate) struct TwoGroups<P, C>(PhantomData<(P, C)>);

macro_rules! impl_groups {
    ($kind:ident, $count:literal) => {
        impl<P: Take, C: Take> Shape for $kind<P, C>
        where
            Self: Named,
        {
            type Producers = P;
            type Consumers = AnyMode;

            fn of(builder: Builder) -> Builder {
                let builder = builder.producer_side(sharing::<P>()).joinable();
                match sharing::<C>() {
                    #[cfg(feature = "alloc")]
                    Sharing::Shared => builder.groups(GROUPS[..$count].iter().copied()),
                    // Those that a ring is made with are shared, and need an allocator.
                    _ => builder,
                }
            }

            fn try_producer(ring: &UltraFastRing) -> Option<Producer<P>> {
                open_first::<C>(ring);
                P::producer(ring)
            }

            fn try_consumer(ring: &UltraFastRing) -> Option<Consumer> {
                join_first::<C>(ring).ok()
            }

            fn open_groups(ring: &UltraFastRing) {
                open_first::<C>(ring);
            }

            fn any_consumer(ring: &UltraFastRing) -> Result<Consumer, RingError> {
                join_first::<C>(ring)
            }

            fn producer_of_any_mode(ring: &UltraFastRing) -> Producer {
                open_first::<C>(ring);
                ring.producer().expect("a producer can be had")
            }

            fn consumers_share() -> bool {
                sharing::<C>() == Sharing::Shared
            }

            fn consumers_claim() -> bool {
                true
            }

            fn groups() -> &'static [&'static str] {
                &GROUPS[..$count]
            }
        }
    };
}
impl_groups!(OneGroup, 1);
impl_groups!(TwoGroups, 2);

/// Lanes of a ring with lanes by producer.
const OWNED: Lanes = Lanes::ByProducer(4);

/// A ring with a lane for each class, by how each side is had.
#[derive(Debug)]
pub(crate) struct ByClass<P, C>(PhantomData<(P, C)>);

/// As [`ByClass`], with one group.
#[derive(Debug)]
pub(crate) struct ByClassToGroup<P, C>(PhantomData<(P, C)>);

/// A ring with a lane for each of some producers, by how the side of a lane, and the consumers'
/// side, are had.
#[derive(Debug)]
pub(crate) struct ByProducer<P, C>(PhantomData<(P, C)>);

/// As [`ByProducer`], with one group.
#[derive(Debug)]
pub(crate) struct ByProducerToGroup<P, C>(PhantomData<(P, C)>);

#[cfg(feature = "alloc")]
macro_rules! impl_lanes {
    ($($kind:ident: $lanes:expr, $(to $group:ident)?;)*) => {$(
        impl<P: Take, C: Take> Shape for $kind<P, C>
        where
            Self: Named,
        {
            type Producers = AnyMode;
            type Consumers = AnyMode;

            const LANES: Lanes = $lanes;

            fn of(builder: Builder) -> Builder {
                let builder = builder.lanes($lanes);
                let builder = match $lanes {
                    Lanes::ByProducer(_) => builder,
                    _ => builder.producer_side(sharing::<P>()),
                };
                impl_lanes!(of builder, C $($group)?)
            }

            fn try_producer(ring: &UltraFastRing) -> Option<Producer> {
                Self::open_groups(ring);
                ring.producer().ok()
            }

            fn try_consumer(ring: &UltraFastRing) -> Option<Consumer> {
                Self::any_consumer(ring).ok()
            }

            fn producer_of_any_mode(ring: &UltraFastRing) -> Producer {
                Self::open_groups(ring);
                ring.producer().expect("a producer can be had")
            }

            fn producers_share() -> bool {
                sharing::<P>() == Sharing::Shared
            }

            fn consumers_share() -> bool {
                sharing::<C>() == Sharing::Shared
            }

            impl_lanes!(rest C $($group)?);
        }
    )*};
    (of $builder:ident, $c:ident) => {
        $builder.consumer_side(sharing::<$c>())
    };
    (of $builder:ident, $c:ident Group) => {
        match sharing::<$c>() {
            #[cfg(feature = "alloc")]
            Sharing::Shared => $builder.joinable().groups(GROUPS[..1].iter().copied()),
            _ => $builder.joinable(),
        }
    };
    (rest $c:ident) => {};
    (rest $c:ident Group) => {
        fn open_groups(ring: &UltraFastRing) {
            open_first::<$c>(ring);
        }

        fn any_consumer(ring: &UltraFastRing) -> Result<Consumer, RingError> {
            join_first::<$c>(ring)
        }

        fn consumers_claim() -> bool {
            true
        }

        fn groups() -> &'static [&'static str] {
            &GROUPS[..1]
        }
    };
}
#[cfg(feature = "alloc")]
impl_lanes! {
    ByClass: Lanes::ByClass,;
    ByClassToGroup: Lanes::ByClass, to Group;
    ByProducer: OWNED,;
    ByProducerToGroup: OWNED, to Group;
}

/// Has the first group opened, if it is not, before anything is sent that it is to get.
fn open_first<C: Mode>(ring: &UltraFastRing) {
    // Another process may be about to open it, and be the only member that there can be.
    for _ in 0..1_000 {
        if has_open_group(ring) {
            return;
        }
        drop(join_first::<C>(ring));
        std::thread::yield_now();
    }
}

/// What `attempt` gives. With groups it is tried for a while: whoever takes a producer elsewhere
/// may be opening the group meanwhile, and be the only member that there can be.
fn once_opened<S: Shape + ?Sized, T, E>(attempt: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let mut result = attempt();
    let end = Instant::now() + Duration::from_secs(10);
    while result.is_err() && !S::groups().is_empty() && Instant::now() < end {
        std::thread::yield_now();
        result = attempt();
    }
    result
}

fn has_open_group(ring: &UltraFastRing) -> bool {
    ring.groups().any(|it| it.state == GroupState::Open)
}

fn join_first<C: Mode>(ring: &UltraFastRing) -> Result<Consumer, RingError> {
    let join = ring.join(GROUPS[0]).durable();
    match sharing::<C>() {
        Sharing::Exclusive => join.exclusive().consumer(),
        Sharing::Shared => join.shared().consumer(),
    }
}

/// The side of such handles.
fn sharing<M: Mode>() -> Sharing {
    M::SHARING.expect("a shape says how each side is had")
}

/// How a handle of this mode is taken.
pub(crate) trait Take: Mode {
    fn producer(ring: &UltraFastRing) -> Option<Producer<Self>>
    where
        Self: Sized;
    fn consumer(ring: &UltraFastRing) -> Option<Consumer<Self>>
    where
        Self: Sized;
}

impl Take for Exclusive {
    fn producer(ring: &UltraFastRing) -> Option<Producer<Self>> {
        ring.exclusive_producer().ok()
    }

    fn consumer(ring: &UltraFastRing) -> Option<Consumer<Self>> {
        ring.exclusive_consumer().ok()
    }
}

impl Take for Shared {
    fn producer(ring: &UltraFastRing) -> Option<Producer<Self>> {
        ring.shared_producer().ok()
    }

    fn consumer(ring: &UltraFastRing) -> Option<Consumer<Self>> {
        ring.shared_consumer().ok()
    }
}

/// Makes a test of each shape of a function over one.
macro_rules! on_each_shape {
    ($test:ident) => {
        $crate::shapes::for_shapes! { test_each, $test, [] }
    };
    ($test:ident, needs($($need:ident),*)) => {
        $crate::shapes::for_shapes! { test_each, $test, [$($need)*] }
    };
}

macro_rules! test_each {
    (($test:tt, $needs:tt) $($name:ident: $kind:ident<$p:ident, $c:ident>;)*) => {
        mod $test {
            $($crate::shapes::lack! {
                $needs $kind $p $c, test_one ($test $name $kind $p $c)
            })*
        }
    };
}

/// A test of one shape; or, if that lacks what the test needs, what says so in its place.
macro_rules! test_one {
    ([] ($test:ident $name:ident $kind:ident $p:ident $c:ident)) => {
        #[test]
        fn $name() {
            super::$test::<$crate::shapes::$kind<$crate::shapes::$p, $crate::shapes::$c>>();
        }
    };
    ([$why:literal] ($test:ident $name:ident $($shape:ident)*)) => {
        #[test]
        #[ignore = $why]
        fn $name() {}
    };
    ([later $why:literal] ($test:ident $name:ident $kind:ident $p:ident $c:ident)) => {
        #[test]
        #[ignore = $why]
        fn $name() {
            super::$test::<$crate::shapes::$kind<$crate::shapes::$p, $crate::shapes::$c>>();
        }
    };
}

/// Calls a macro with what such a shape lacks of what a test needs, if anything.
macro_rules! lack {
    ([] $k:ident $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { [] $rest }
    };
    ([plain $($more:ident)*] Between $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::lack! { [$($more)*] Between $p $c, $then $rest }
    };
    ([plain $($more:ident)*] $k:ident $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a plain ring"] $rest }
    };
    ([no_groups $($more:ident)*] OneGroup $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a ring without groups"] $rest }
    };
    ([no_groups $($more:ident)*] TwoGroups $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a ring without groups"] $rest }
    };
    ([no_groups $($more:ident)*] ByClassToGroup $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a ring without groups"] $rest }
    };
    ([no_groups $($more:ident)*] ByProducerToGroup $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a ring without groups"] $rest }
    };
    ([one_lane $($more:ident)*] ByClass $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a ring of one lane"] $rest }
    };
    ([one_lane $($more:ident)*] ByClassToGroup $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a ring of one lane"] $rest }
    };
    ([one_lane $($more:ident)*] ByProducer $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a ring of one lane"] $rest }
    };
    ([one_lane $($more:ident)*] ByProducerToGroup $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a ring of one lane"] $rest }
    };
    ([scenes_of_plain_rings $($more:ident)*] OneGroup $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["loom_groups has scenes of groups"] $rest }
    };
    ([scenes_of_plain_rings $($more:ident)*] TwoGroups $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["loom_groups has scenes of groups"] $rest }
    };
    ([scenes_of_plain_rings $($more:ident)*] ByClass $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["loom_lanes has scenes of lanes"] $rest }
    };
    ([scenes_of_plain_rings $($more:ident)*] ByClassToGroup $p:ident $c:ident, $then:ident
        $rest:tt) => {
        $crate::shapes::$then! { ["loom_lanes has scenes of lanes"] $rest }
    };
    ([scenes_of_plain_rings $($more:ident)*] ByProducer $p:ident $c:ident, $then:ident
        $rest:tt) => {
        $crate::shapes::$then! { ["loom_lanes has scenes of lanes"] $rest }
    };
    ([scenes_of_plain_rings $($more:ident)*] ByProducerToGroup $p:ident $c:ident, $then:ident
        $rest:tt) => {
        $crate::shapes::$then! { ["loom_lanes has scenes of lanes"] $rest }
    };
    ([reserves $($more:ident)*] ByClass $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a credit that classes share"] $rest }
    };
    ([reserves $($more:ident)*] ByClassToGroup $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a credit that classes share"] $rest }
    };
    ([exclusive_lane $($more:ident)*] $k:ident Shared $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs lanes that one producer has"] $rest }
    };
    ([one_group $($more:ident)*] TwoGroups $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs producers that wait for one group"] $rest }
    };
    ([two_producers $($more:ident)*] $k:ident Owned $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs two producers in one lane"] $rest }
    };
    ([two_of_each $($more:ident)*] $k:ident Owned $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs two producers in one lane"] $rest }
    };
    ([shared_producer $($more:ident)*] $k:ident Owned $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a lane that producers share"] $rest }
    };
    ([exclusive_producer $($more:ident)*] $k:ident Owned $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a side that one producer has"] $rest }
    };
    ([exclusive_sides $($more:ident)*] $k:ident Owned $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a side that one producer has"] $rest }
    };
    ([several_producers $($more:ident)*] $k:ident Exclusive $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs two producers"] $rest }
    };
    ([several_of_each $($more:ident)*] $k:ident Exclusive $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs two producers"] $rest }
    };
    ([several_of_each $($more:ident)*] $k:ident $p:ident Exclusive, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs two consumers"] $rest }
    };
    ([quickest $($more:ident)*] ByClass $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { [later "left to `.ci/run shapes-long`"] $rest }
    };
    ([quickest $($more:ident)*] ByClassToGroup $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { [later "left to `.ci/run shapes-long`"] $rest }
    };
    ([quickest $($more:ident)*] ByProducer $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { [later "left to `.ci/run shapes-long`"] $rest }
    };
    ([quickest $($more:ident)*] ByProducerToGroup $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { [later "left to `.ci/run shapes-long`"] $rest }
    };
    ([quick $($more:ident)*] ByClass Exclusive $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { [later "left to `.ci/run shapes-long`"] $rest }
    };
    ([quick $($more:ident)*] ByClassToGroup $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { [later "left to `.ci/run shapes-long`"] $rest }
    };
    ([quick $($more:ident)*] ByProducer $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { [later "left to `.ci/run shapes-long`"] $rest }
    };
    ([two_producers $($more:ident)*] $k:ident Exclusive $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs two producers"] $rest }
    };
    ([two_consumers $($more:ident)*] $k:ident $p:ident Exclusive, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs two consumers"] $rest }
    };
    ([two_of_each $($more:ident)*] $k:ident Exclusive $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs two producers"] $rest }
    };
    ([two_of_each $($more:ident)*] $k:ident $p:ident Exclusive, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs two consumers"] $rest }
    };
    ([shared_producer $($more:ident)*] $k:ident Exclusive $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a shared producer"] $rest }
    };
    ([shared_consumer $($more:ident)*] $k:ident $p:ident Exclusive, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs a shared consumer"] $rest }
    };
    ([exclusive_producer $($more:ident)*] $k:ident Shared $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs an exclusive producer"] $rest }
    };
    ([exclusive_consumer $($more:ident)*] $k:ident $p:ident Shared, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs an exclusive consumer"] $rest }
    };
    ([exclusive_sides $($more:ident)*] $k:ident Shared $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs exclusive sides"] $rest }
    };
    ([exclusive_sides $($more:ident)*] $k:ident $p:ident Shared, $then:ident $rest:tt) => {
        $crate::shapes::$then! { ["needs exclusive sides"] $rest }
    };
    ([$met:ident $($more:ident)*] $k:ident $p:ident $c:ident, $then:ident $rest:tt) => {
        $crate::shapes::lack! { [$($more)*] $k $p $c, $then $rest }
    };
}

macro_rules! lack_text {
    ([] ()) => {
        None
    };
    ([later $why:literal] ()) => {
        Some($why)
    };
    ([$why:literal] ()) => {
        Some($why)
    };
}

macro_rules! lack_of_each {
    (($need:tt) $($name:ident: $kind:ident<$p:ident, $c:ident>;)*) => {
        [$($crate::shapes::lack! { [$need] $kind $p $c, lack_text () }),*]
    };
}

/// What tests may need.
macro_rules! know_needs {
    ($($need:ident)*) => {
        /// What each shape lacks of what a test needs; `None` if nobody knows of such a need.
        pub(crate) fn lacks(need: &str) -> Option<[Option<&'static str>; NAMES.len()]> {
            match need {
                $(stringify!($need) => Some(for_shapes! { lack_of_each, $need }),)*
                _ => None,
            }
        }
    };
}

/// Of a function of each shape, that of the shape with this name.
#[track_caller]
pub(crate) fn of_shape<F: Copy>(name: &str, functions: [F; NAMES.len()]) -> F {
    let place = NAMES.iter().position(|it| *it == name);
    functions[place.unwrap_or_else(|| panic!("there is no shape {name}"))]
}

/// A function of each shape, as a list in the order of [`NAMES`].
macro_rules! of_each_shape {
    ($function:ident) => {
        $crate::shapes::for_shapes! { list_each, $function }
    };
}

macro_rules! list_each {
    (($function:tt) $($name:ident: $kind:ident<$p:ident, $c:ident>;)*) => {
        {
            // A name of its own, so that Rust 1.89 sees pointers of one type and not the functions.
            let each = [$(
                $function::<$crate::shapes::$kind<$crate::shapes::$p, $crate::shapes::$c>>
            ),*];
            each
        }
    };
}

macro_rules! name_each {
    (() $($name:ident: $kind:ident<$p:ident, $c:ident>;)*) => {
        $(impl Named for $kind<$p, $c> {
            const NAME: &'static str = stringify!($name);
        })*

        /// The names of all shapes.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

pub(crate) use {
    and_lanes, for_shapes, lack, lack_of_each, lack_text, list_each, name_each, of_each_shape,
    on_each_shape, test_each, test_one,
};

for_shapes! { name_each }

know_needs! {
    nothing
    plain
    no_groups
    one_lane
    scenes_of_plain_rings
    one_group
    several_producers
    several_of_each
    exclusive_lane
    reserves
    quick
    quickest
    two_producers
    two_consumers
    two_of_each
    shared_producer
    shared_consumer
    exclusive_producer
    exclusive_consumer
    exclusive_sides
}
