//! The settings of a ring: each with its range, its default and its words.
//!
//! The words are those that `ufr create` takes and `ufr stat` shows. Each setting reads them with
//! `FromStr` and writes them with `Display`. The layout defines where a setting lies in a ring's
//! header.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::limits::{MAX_CAPACITY, MAX_GROUPS, MAX_MESSAGE, MAX_PARTICIPANTS};
use crate::name::ParticipantName;
use crate::priority::PriorityClass;

mod invalid;
mod lane;
mod lanes;

pub use invalid::Invalid;
pub(crate) use lanes::ClassChoices;
pub use lanes::{ClassLane, Lanes};

/// Bytes of a message that travel inside the slot.
pub const INLINE_SIZE: usize = 40;

/// Slots of a ring if no capacity was chosen.
pub const DEFAULT_CAPACITY: usize = 256;

/// Entries of a participant table if no size was chosen. Entries that are never used take
/// addresses, but no memory. (Models follow each entry.)
pub const DEFAULT_PARTICIPANTS: usize = if cfg!(loom) { 64 } else { 1_024 };

/// All settings of a ring. They are chosen when it is made, and hold for all who use it.
///
/// [`UltraFastRing::settings`](crate::RingView::settings) returns a ring's settings, and
/// [`Builder::settings`](crate::Builder::settings) those that a new ring would have.
///
/// ```
/// use ultrafastring::{Builder, Settings, Sharing};
///
/// let ours = Builder::new().capacity(1024).exclusive_producer().settings();
/// assert_eq!((ours.capacity, ours.credit_limit), (1024, 1024));
/// let other = Settings::default();
/// let mut differences = ours.differences(&other);
/// assert_eq!(differences.next().unwrap().to_string(), "capacity is 1024 and not 256");
/// let next = differences.next().unwrap();
/// assert_eq!(next.to_string(), "producer_side is exclusive and not shared");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Settings {
    /// Slots: a power of two up to [`MAX_CAPACITY`]; 256 by default.
    pub capacity: usize,
    /// Entries of the participant table, which limits how many handles can exist at once: 1 to
    /// [`MAX_PARTICIPANTS`]; 1024 by default.
    pub participants: usize,
    /// Bytes of the largest message: 40, which is the default, to [`MAX_MESSAGE`]. More than 40
    /// gives each slot a side buffer of this size.
    pub max_message: usize,
    /// How many producers may exist at once; any number by default.
    pub producer_side: Sharing,
    /// How many consumers may exist at once; any number by default.
    pub consumer_side: Sharing,
    /// Which messages carry a timestamp; all by default.
    pub timestamps: Timestamps,
    /// What happens to messages that a consumer held when it died; by default they are redelivered.
    pub redelivery: Redelivery,
    /// How many groups of consumers it has room for, if it was made for groups
    /// ([`Builder::joinable`](crate::Builder::joinable)); 0 if it is a plain ring, whose consumers
    /// are one group without a name.
    pub groups: usize,
    /// Whether consumers count latencies in histograms; by default they do not.
    pub latency_histograms: bool,
    /// How many messages may be in flight: 1 to the capacity, which is the default.
    pub credit_limit: u64,
    /// Credits that only a class and more urgent ones can use, the most urgent class first.
    /// Together they are less than the credit limit; 0 by default.
    pub reserves: [u64; PriorityClass::COUNT],
    /// How many lanes it has, and which message goes into which; one by default. In a ring with
    /// lanes the capacity, the credit limit and the largest message are those of each lane, unless
    /// [`class_lanes`](Self::class_lanes) says otherwise.
    pub lanes: Lanes,
    /// What the lane of each class has, the most urgent class first, if there are lanes
    /// [by class](Lanes::ByClass). In other rings all of it is 0.
    pub class_lanes: [ClassLane; PriorityClass::COUNT],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: DEFAULT_CAPACITY,
            participants: DEFAULT_PARTICIPANTS,
            max_message: INLINE_SIZE,
            producer_side: Sharing::Shared,
            consumer_side: Sharing::Shared,
            timestamps: Timestamps::Every,
            redelivery: Redelivery::Redeliver,
            groups: 0,
            latency_histograms: false,
            credit_limit: DEFAULT_CAPACITY as u64,
            reserves: [0; PriorityClass::COUNT],
            lanes: Lanes::One,
            class_lanes: [ClassLane::NONE; PriorityClass::COUNT],
        }
    }
}

impl Settings {
    /// How a side is shared.
    pub const fn sharing(&self, side: Side) -> Sharing {
        match side {
            Side::Producer => self.producer_side,
            Side::Consumer => self.consumer_side,
        }
    }

    /// Bytes that each side buffer holds; 0 if there are none.
    #[inline(always)]
    pub(crate) const fn side_size(&self) -> usize {
        if self.max_message > INLINE_SIZE { self.max_message } else { 0 }
    }

    /// Whether slots name the side buffers of their messages: where only one producer takes them,
    /// which then uses those again that were released last. In a ring for groups tail readers read
    /// what is released, so there each slot has its own.
    ///
    /// A producer remembers which are free, which takes an allocator. Without one there are only
    /// rings in memory that this program has lent.
    #[inline]
    pub(crate) const fn names_buffers(&self) -> bool {
        cfg!(feature = "alloc")
            && self.side_size() != 0
            && matches!(self.producer_side, Sharing::Exclusive)
            && self.groups == 0
    }

    /// Checks each number. The layout checks whether the segment would be too large.
    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        self.validate_numbers()?;
        self.validate_lanes()
    }

    /// Checks all numbers but those that only a ring with lanes has.
    fn validate_numbers(&self) -> Result<(), Invalid> {
        let Self { capacity, participants, max_message, groups, credit_limit: limit, .. } = *self;
        if !capacity.is_power_of_two() || capacity > MAX_CAPACITY {
            return Err(Invalid::Capacity(capacity));
        }
        if participants == 0 || participants > MAX_PARTICIPANTS {
            return Err(Invalid::Participants(participants));
        }
        if limit == 0 || limit > capacity as u64 {
            return Err(Invalid::CreditLimit { limit, capacity });
        }
        let reserved = self.reserves.iter().fold(0u64, |sum, &r| sum.saturating_add(r));
        if reserved >= limit {
            return Err(Invalid::Reserves { reserved, limit });
        }
        if !(INLINE_SIZE..=MAX_MESSAGE).contains(&max_message) {
            return Err(Invalid::MaxMessage(max_message));
        }
        if groups > MAX_GROUPS {
            return Err(Invalid::Groups(groups));
        }
        if groups != 0 && self.consumer_side == Sharing::Exclusive {
            return Err(Invalid::ExclusiveGroups);
        }
        match self.timestamps {
            Timestamps::Off if self.latency_histograms => Err(Invalid::NoLatencies),
            Timestamps::OneIn(n) if Timestamps::from_word(n.into()) != Some(self.timestamps) => {
                Err(Invalid::Timestamps(n))
            }
            _ => Ok(()),
        }
    }

    /// Every setting with its name and value, in the order of the fields.
    fn choices(&self) -> [(&'static str, Value); 13] {
        // Destructured by name, so that a new field cannot be forgotten here.
        let Self {
            capacity,
            participants,
            max_message,
            producer_side,
            consumer_side,
            timestamps,
            redelivery,
            groups,
            latency_histograms,
            credit_limit,
            reserves,
            lanes,
            class_lanes,
        } = *self;
        [
            ("capacity", Value::Number(capacity as u64)),
            ("participants", Value::Number(participants as u64)),
            ("max_message", Value::Number(max_message as u64)),
            ("producer_side", Value::Word(producer_side.name())),
            ("consumer_side", Value::Word(consumer_side.name())),
            ("timestamps", Value::Timestamps(timestamps)),
            ("redelivery", Value::Word(redelivery.name())),
            ("groups", Value::Number(groups as u64)),
            ("latency_histograms", Value::Word(if latency_histograms { "on" } else { "off" })),
            ("credit_limit", Value::Number(credit_limit)),
            ("reserves", Value::Reserves(reserves)),
            ("lanes", Value::Lanes(lanes)),
            ("class_lanes", Value::ClassLanes(class_lanes)),
        ]
    }

    /// The settings that differ in `other`; nothing if the two are equal.
    pub fn differences(&self, other: &Self) -> impl Iterator<Item = Difference> + use<> {
        let pairs = self.choices().into_iter().zip(other.choices());
        pairs
            .filter(|((_, here), (_, there))| here != there)
            .map(|((name, here), (_, there))| Difference { name, here, there })
    }
}

/// Which settings were chosen; the others are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choices {
    pub(crate) capacity: Option<usize>,
    pub(crate) participants: Option<usize>,
    pub(crate) max_message: Option<usize>,
    pub(crate) producer_side: Option<Sharing>,
    pub(crate) consumer_side: Option<Sharing>,
    pub(crate) timestamps: Option<Timestamps>,
    pub(crate) redelivery: Option<Redelivery>,
    pub(crate) groups: Option<usize>,
    pub(crate) latency_histograms: Option<bool>,
    pub(crate) credit_limit: Option<u64>,
    pub(crate) reserves: [Option<u64>; PriorityClass::COUNT],
    pub(crate) lanes: Option<Lanes>,
    pub(crate) class_lanes: [ClassChoices; PriorityClass::COUNT],
}

impl Choices {
    /// All settings chosen, as in `settings`.
    pub(crate) fn all(settings: &Settings) -> Self {
        Self {
            capacity: Some(settings.capacity),
            participants: Some(settings.participants),
            max_message: Some(settings.max_message),
            producer_side: Some(settings.producer_side),
            consumer_side: Some(settings.consumer_side),
            timestamps: Some(settings.timestamps),
            redelivery: Some(settings.redelivery),
            groups: Some(settings.groups),
            latency_histograms: Some(settings.latency_histograms),
            credit_limit: Some(settings.credit_limit),
            reserves: settings.reserves.map(Some),
            lanes: Some(settings.lanes),
            class_lanes: match settings.lanes {
                Lanes::ByClass => settings.class_lanes.each_ref().map(ClassChoices::all),
                Lanes::One | Lanes::ByProducer(_) => Default::default(),
            },
        }
    }

    /// The chosen settings, and the others as in `other`.
    pub(crate) fn over(&self, other: &Settings) -> Settings {
        let reserve = |class: usize| self.reserves[class].unwrap_or(other.reserves[class]);
        let of_class = |class: usize| self.class_lanes[class].over(&other.class_lanes[class]);
        Settings {
            capacity: self.capacity.unwrap_or(other.capacity),
            participants: self.participants.unwrap_or(other.participants),
            max_message: self.max_message.unwrap_or(other.max_message),
            producer_side: self.producer_side.unwrap_or(other.producer_side),
            consumer_side: self.consumer_side.unwrap_or(other.consumer_side),
            timestamps: self.timestamps.unwrap_or(other.timestamps),
            redelivery: self.redelivery.unwrap_or(other.redelivery),
            groups: self.groups.unwrap_or(other.groups),
            latency_histograms: self.latency_histograms.unwrap_or(other.latency_histograms),
            credit_limit: self.credit_limit.unwrap_or(other.credit_limit),
            reserves: core::array::from_fn(reserve),
            lanes: self.lanes.unwrap_or(other.lanes),
            class_lanes: core::array::from_fn(of_class),
        }
    }

    /// The settings of a new ring: the others have their defaults, and the credit limit is the
    /// capacity. Lanes by class are as the ring, where nothing else was chosen for them.
    pub(crate) fn of_new(&self) -> Settings {
        let defaults = Settings::default();
        let capacity = self.capacity.unwrap_or(DEFAULT_CAPACITY);
        let lanes = self.lanes.unwrap_or_default();
        let producer_side = match lanes {
            Lanes::ByProducer(_) => Sharing::Exclusive,
            Lanes::One | Lanes::ByClass => Sharing::Shared,
        };
        let of_class = |choices: &ClassChoices| {
            let capacity = choices.capacity.unwrap_or(capacity);
            let limit = self.credit_limit.unwrap_or(capacity as u64).min(capacity as u64);
            let max_message = self.max_message.unwrap_or(defaults.max_message);
            ClassLane { capacity, credit_limit: limit, max_message }
        };
        let class_lanes = match lanes {
            Lanes::ByClass => self.class_lanes.each_ref().map(of_class),
            Lanes::One | Lanes::ByProducer(_) => defaults.class_lanes,
        };
        let credit_limit = capacity as u64;
        self.over(&Settings { credit_limit, producer_side, class_lanes, ..defaults })
    }
}

/// A setting that differs: see [`Settings::differences`]. Its text is `capacity is 1024 and not
/// 256`, with the value of the settings on which `differences` was called first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    name: &'static str,
    here: Value,
    there: Value,
}

impl Difference {
    /// The setting's name: that of the field.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// A group that was chosen and is not there.
    #[cfg(feature = "std")]
    pub(crate) const fn missing_group(name: ParticipantName) -> Self {
        let (here, there) = (Value::Group(None), Value::Group(Some(name)));
        Self { name: "group", here, there }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, here, there } = self;
        match here {
            Value::Group(None) => write!(f, "{name} {there} is {here}"),
            _ => write!(f, "{name} is {here} and not {there}"),
        }
    }
}

/// The value of any setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Number(u64),
    Word(&'static str),
    Timestamps(Timestamps),
    Reserves([u64; PriorityClass::COUNT]),
    Lanes(Lanes),
    ClassLanes([ClassLane; PriorityClass::COUNT]),
    /// A group; `None` if the ring has none of the name that was chosen.
    #[cfg_attr(not(feature = "std"), allow(dead_code))]
    Group(Option<ParticipantName>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => f.write_str(word),
            Self::Group(Some(name)) => write!(f, "{:?}", name.as_str()),
            Self::Group(None) => f.write_str("missing"),
            Self::Timestamps(timestamps) => timestamps.fmt(f),
            Self::Reserves(reserves) => by_class(f, reserves, |&kept| kept != 0),
            Self::Lanes(lanes) => lanes.fmt(f),
            Self::ClassLanes(lanes) => by_class(f, lanes, |it| *it != ClassLane::NONE),
        }
    }
}

/// Writes what each class has, if it has anything.
fn by_class<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    each: &[T; PriorityClass::COUNT],
    has: impl Fn(&T) -> bool,
) -> fmt::Result {
    let mut between = "";
    for (class, it) in PriorityClass::ALL.iter().zip(each).filter(|(_, it)| has(it)) {
        write!(f, "{between}{class}={it}")?;
        between = " ";
    }
    if between.is_empty() { f.write_str("none") } else { Ok(()) }
}

/// A text that is not one of a setting's words. The error lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write {words}")]
pub struct UnknownWord {
    words: &'static str,
}

/// Gives a setting its words: `ALL`, `name`, `Display`, `FromStr`.
macro_rules! words {
    ($choice:ident: $($variant:ident $word:literal),+; $all:literal) => {
        impl $choice {
            /// All values, in the order in which the command line shows them.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            #[doc = concat!("Its word: ", $all, ".")]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl core::fmt::Display for $choice {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }

        impl core::str::FromStr for $choice {
            type Err = $crate::settings::UnknownWord;

            /// Reads a [`name`](Self::name).
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.into_iter().find(|it| it.name() == text);
                found.ok_or($crate::settings::UnknownWord::of($all))
            }
        }
    };
}
#[cfg_attr(not(feature = "std"), expect(unused_imports))]
pub(crate) use words;

impl UnknownWord {
    pub(crate) const fn of(words: &'static str) -> Self {
        Self { words }
    }
}

/// One of a ring's two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The producers' side.
    Producer,
    /// The consumers' side.
    Consumer,
}

words!(Side: Producer "producer", Consumer "consumer"; "producer or consumer");

impl Side {
    /// The other side.
    pub const fn other(self) -> Self {
        match self {
            Self::Producer => Self::Consumer,
            Self::Consumer => Self::Producer,
        }
    }
}

/// How many handles a side of a ring may have at once; fixed when the ring is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Sharing {
    /// Any number, up to the size of the participant table.
    #[default]
    Shared,
    /// One. The fast path of that side then needs no compare-and-swap.
    Exclusive,
}

words!(Sharing: Shared "shared", Exclusive "exclusive"; "shared or exclusive");

/// Which messages carry a timestamp; fixed when the ring is made. Its words are `every`, `off`, and
/// `1/16` for one in sixteen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Timestamps {
    /// All.
    #[default]
    Every,
    /// One in this many positions, a power of two from 2 to 65,536. All messages of a batch carry
    /// the same one.
    OneIn(u32),
    /// None: latencies are 0.
    Off,
}

impl Timestamps {
    /// The value in the header.
    pub(crate) const fn to_word(self) -> u64 {
        match self {
            Self::Off => 0,
            Self::Every => 1,
            Self::OneIn(n) => n as u64,
        }
    }

    /// The setting for a header's value; `None` if it is out of range.
    pub(crate) const fn from_word(word: u64) -> Option<Self> {
        match word {
            0 => Some(Self::Off),
            1 => Some(Self::Every),
            n if n.is_power_of_two() && n <= 65_536 => Some(Self::OneIn(n as u32)),
            _ => None,
        }
    }
}

impl fmt::Display for Timestamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.pad("every"),
            Self::OneIn(n) => write!(f, "1/{n}"),
            Self::Off => f.pad("off"),
        }
    }
}

impl FromStr for Timestamps {
    type Err = UnknownWord;

    /// Reads what `Display` writes. Making the ring checks whether the number is in range.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("1/").map(str::parse)) {
            ("every", _) => Ok(Self::Every),
            ("off", _) => Ok(Self::Off),
            (_, Some(Ok(n))) => Ok(Self::OneIn(n)),
            _ => Err(UnknownWord::of("every, off, or 1/N")),
        }
    }
}

/// What happens to a message that a consumer had claimed and not released when it died; fixed when
/// the ring is made. On a shared side the same happens to a message that the dead consumer was only
/// about to claim, and that another consumer has, because the ring cannot tell the two cases apart
/// ([`Consumer::try_borrow`](crate::Consumer::try_borrow)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Redelivery {
    /// Another consumer gets it, marked as redelivered.
    ///
    /// On a shared consumer side it may come after later messages: consumers that already receive
    /// get it when they find the ring empty, or check for dead consumers. A handle that is taken
    /// afterwards begins with it. An exclusive side keeps the order.
    #[default]
    Redeliver,
    /// It is dropped and counted as discarded. If another consumer has the message, that consumer
    /// keeps it, but it may still be counted.
    Discard,
}

words!(Redelivery: Redeliver "redeliver", Discard "discard"; "redeliver or discard");

/// When the memory of the side buffers is taken. The process that makes the ring chooses, and the
/// ring does not store it.
///
/// In every case, running out of memory is an error and not a SIGBUS: before a page is first
/// touched, its memory is taken by a call that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SideMemory {
    /// Page by page, as messages need it. A ring is refused if there is not enough memory for all
    /// of it when it is made. If others take that memory later, a send fails with
    /// [`SendError::NoSpace`](crate::SendError::NoSpace).
    #[default]
    OnDemand,
    /// All of it when the ring is made.
    Preallocated,
    /// As on demand, but without checking whether there is enough. This is for large buffers of
    /// which most messages use little.
    Overcommitted,
}

words!(
    SideMemory: OnDemand "on-demand", Preallocated "preallocated", Overcommitted "overcommitted";
    "on-demand, preallocated or overcommitted"
);

impl SideMemory {
    /// Whether all memory is taken once the ring is made.
    #[cfg(feature = "std")]
    pub(crate) const fn is_taken_at_once(self) -> bool {
        matches!(self, Self::Preallocated)
    }
}

#[cfg(all(test, feature = "alloc", not(loom)))]
mod tests;
