//! The header: what a ring was made as, and so what lies where.
//!
//! ```text
//!  word  0  magic            8  capacity                20  ticks a second (f64)
//!        1  version          9  participants            21  clock is stable
//!        2  size            10  bytes of a side buffer  22  creator's pid
//!        3  features        11  exclusive sides         23  created, ns since 1970
//!        4  identity        12  timestamps              24 … 29  lanes (header/lanes.rs)
//!        5  line            13  redelivery              32 … 61  areas: offset, stride, count of
//!        6  page            14  credit limit                     each (areas.rs)
//!        7  0               15 … 19  reserves           30, 31, 62, 63   0
//! ```

#![cfg_attr(not(feature = "std"), allow(dead_code))]

mod lanes;

use super::areas::{AreaInfo, Offsets, PAGE, Part, Sizes, is_page};
#[cfg(feature = "std")]
use super::{areas::PARTICIPANT_SIZE, areas::SLOT_SIZE, terms::LaneTerms};
use crate::limits::{LAYOUT_VERSION, MAX_GROUPS, MAX_SEGMENT};
use crate::settings::{INLINE_SIZE, Invalid, Lanes, Redelivery, Settings, Sharing, Timestamps};

/// First word of every ring, a number: on a little-endian machine its bytes are `UFRring` and a
/// zero.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"UFRring\0");

/// Bytes of a cache line on machines of this kind.
const LINE: u64 = if cfg!(target_arch = "powerpc64") { 128 } else { 64 };

/// Feature bit of a ring made for groups: producers keep a write window and wait for the gates.
pub(crate) const FEATURE_GROUPS: u64 = 1;

/// Feature bit of a ring whose slots name the side buffers of their messages. Such a ring has no
/// tail readers.
const FEATURE_NAMES: u64 = 1 << 1;

/// Feature bit of a ring with lanes: each lane has records, entries and slots of its own.
const FEATURE_LANES: u64 = 1 << 2;

/// The feature bits that this program knows. Who does not know one can do nothing with the ring but
/// remove it.
const KNOWN_FEATURES: u64 = FEATURE_GROUPS | FEATURE_NAMES | FEATURE_LANES;

/// Everything a ring's header says, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Geometry {
    /// What was chosen; all else is not.
    pub(crate) settings: Settings,
    /// Ticks a second as the creator measured them; 0 if it did not.
    pub(crate) ticks_per_second: f64,
    pub(crate) clock_stable: bool,
    pub(crate) creator_pid: u32,
    /// Nanoseconds since 1970.
    pub(crate) created: u64,
    /// A random number that a segment and its lock file share; 0 in memory.
    pub(crate) identity: u64,
    page: usize,
    offsets: Offsets,
}

/// Entries of a participant table that a file has memory for from the beginning.
pub(crate) const FIRST_ENTRIES: usize = 64;

/// Number of header words in use.
pub(crate) const HEADER_WORDS: usize = 64;

// Places of the header's words.
const W_MAGIC: usize = 0;
const W_VERSION: usize = 1;
const W_SIZE: usize = 2;
/// Bits for what an opener must know.
const W_FEATURES: usize = 3;
const W_IDENTITY: usize = 4;
/// Bytes of a line, and of a page, of the machine that the segment was made on.
const W_LINE: usize = 5;
const W_PAGE: usize = 6;
const W_CAPACITY: usize = 8;
const W_PARTICIPANTS: usize = 9;
/// Bytes that each side buffer holds; 0 if there are none.
const W_SIDE_SIZE: usize = 10;
const W_SIDES: usize = 11;
const W_TIMESTAMPS: usize = 12;
const W_REDELIVERY: usize = 13;
const W_CREDIT_LIMIT: usize = 14;
const W_RESERVES: usize = 15; // five words
const W_TICKS_PER_SECOND: usize = 20;
const W_CLOCK_STABLE: usize = 21;
const W_CREATOR_PID: usize = 22;
const W_CREATED: usize = 23;
const W_LANES: usize = 24; // six words
const W_AREAS: usize = 32; // three words for each
/// How many groups there are: the third area's third word.
const W_GROUP_ROWS: usize = W_AREAS + 3 * 2 + 2;
/// How many rows of histograms: the ninth area's third word.
const W_HISTOGRAMS: usize = W_AREAS + 3 * 8 + 2;
/// Words that must be zero.
const UNUSED: [usize; 5] = [7, 30, 31, 62, 63];

/// The identity that a header's words say; `None` if they are of no ring, or of one of a version
/// that has none. Of an older version too: its lock file is removed with it.
#[cfg(feature = "std")]
pub(crate) fn identity_of(words: &[u64; HEADER_WORDS]) -> Option<u64> {
    /// Where version 2 had it.
    const W_IDENTITY_2: usize = 25;
    match (words[W_MAGIC], words[W_VERSION]) {
        (MAGIC, 2) => Some(words[W_IDENTITY_2]),
        (MAGIC, version) if version == u64::from(LAYOUT_VERSION) => Some(words[W_IDENTITY]),
        _ => None,
    }
}

impl Geometry {
    /// A ring's of which nothing is known but what was chosen. A plain one has one row, which
    /// nobody looks at.
    pub(crate) const fn of(settings: Settings) -> Self {
        Self::laid_out(settings, PAGE)
    }

    /// The same for a machine with pages of this size, or with the least that a segment can be made
    /// for.
    #[cfg(feature = "std")]
    pub(crate) fn for_pages_of(self, page: usize) -> Self {
        let page = if is_page(page) { page } else { PAGE };
        let Self { offsets, .. } = Self::laid_out(self.settings, page);
        Self { page, offsets, ..self }
    }

    const fn laid_out(settings: Settings, page: usize) -> Self {
        Self {
            settings,
            ticks_per_second: 0.0,
            clock_stable: false,
            creator_pid: 0,
            created: 0,
            identity: 0,
            page,
            offsets: Sizes { settings, page }.place(),
        }
    }

    const fn sizes(&self) -> Sizes {
        Sizes { settings: self.settings, page: self.page }
    }

    /// Rows of the table of groups, and of that of cursors.
    #[cfg(any(feature = "std", loom))]
    pub(crate) const fn group_rows(&self) -> usize {
        self.sizes().group_rows()
    }

    /// Rows of the area of histograms; 0 without histograms.
    #[cfg(feature = "std")]
    pub(crate) const fn histograms(&self) -> usize {
        self.sizes().histograms()
    }

    /// What the areas are aligned to that get memory by themselves.
    #[cfg(feature = "std")]
    pub(crate) const fn page(&self) -> usize {
        self.page
    }

    /// Its areas, those that there are, in the order of the header's table.
    pub(crate) fn areas(&self) -> impl Iterator<Item = AreaInfo> + use<> {
        let areas = self.offsets.areas(&self.sizes());
        let there = areas.into_iter().enumerate().filter(|(_, area)| !area.is_absent());
        there.map(|(place, area)| area.info(place))
    }

    /// Checks the numbers that a user may choose.
    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        self.settings.validate()?;
        // Saturated if it overflows, and then too large for certain.
        let bytes = self.sizes().place().end as u64;
        if bytes > MAX_SEGMENT { Err(Invalid::SegmentSize { bytes }) } else { Ok(()) }
    }

    /// Where its areas begin, and where it ends.
    #[inline(always)]
    pub(crate) const fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// How many lanes it has.
    pub(crate) const fn lanes(&self) -> usize {
        self.settings.lanes.count()
    }

    /// Where the parts of a lane begin; there is such a lane.
    pub(crate) const fn part(&self, lane: usize) -> Part {
        self.offsets.part(&self.sizes(), lane)
    }

    /// Where the entry at `index` of a lane lies.
    #[cfg(feature = "std")]
    pub(crate) fn of_entry(&self, lane: usize, index: usize) -> usize {
        let before = lane * self.settings.participants;
        self.offsets.participants + (before + index) * PARTICIPANT_SIZE
    }

    /// How many of a lane's entries have memory whatever happens, if `used` of them have been used:
    /// these, and the first few. The others get theirs when they are first used.
    #[cfg(feature = "std")]
    pub(crate) fn entries_at_once(&self, used: usize) -> usize {
        used.max(FIRST_ENTRIES).min(self.settings.participants)
    }

    /// How many bytes the slots of all lanes take.
    #[cfg(feature = "std")]
    pub(crate) fn bytes_of_slots(&self) -> usize {
        SLOT_SIZE * self.sizes().slots_before(self.lanes())
    }

    /// Where the last word of the slots lies.
    #[cfg(feature = "std")]
    pub(crate) fn last_of_slots(&self) -> usize {
        self.offsets.slots + self.bytes_of_slots() - 8
    }

    /// What the record of a lane says.
    #[cfg(feature = "std")]
    pub(crate) fn lane_terms(&self, lane: usize) -> LaneTerms {
        LaneTerms::of(&self.settings, lane, &self.part(lane))
    }

    /// The header's words.
    pub(crate) fn encode(&self) -> [u64; HEADER_WORDS] {
        let settings = &self.settings;
        let mut words = [0; HEADER_WORDS];
        words[W_MAGIC] = MAGIC;
        words[W_VERSION] = u64::from(LAYOUT_VERSION);
        words[W_SIZE] = self.offsets.end as u64;
        words[W_FEATURES] = if settings.groups == 0 { 0 } else { FEATURE_GROUPS }
            | if settings.any_names_buffers() { FEATURE_NAMES } else { 0 }
            | if settings.has_lanes() { FEATURE_LANES } else { 0 };
        words[W_IDENTITY] = self.identity;
        words[W_LINE] = LINE;
        words[W_PAGE] = self.page as u64;
        words[W_CAPACITY] = settings.capacity as u64;
        words[W_PARTICIPANTS] = settings.participants as u64;
        words[W_SIDE_SIZE] = settings.side_size() as u64;
        words[W_SIDES] = u64::from(settings.producer_side == Sharing::Exclusive)
            | u64::from(settings.consumer_side == Sharing::Exclusive) << 1;
        words[W_TIMESTAMPS] = settings.timestamps.to_word();
        words[W_REDELIVERY] = u64::from(settings.redelivery == Redelivery::Discard);
        words[W_CREDIT_LIMIT] = settings.credit_limit;
        words[W_RESERVES..W_RESERVES + 5].copy_from_slice(&settings.reserves);
        words[W_LANES..W_LANES + lanes::WORDS].copy_from_slice(&lanes::encode(settings));
        words[W_TICKS_PER_SECOND] = self.ticks_per_second.to_bits();
        words[W_CLOCK_STABLE] = u64::from(self.clock_stable);
        words[W_CREATOR_PID] = u64::from(self.creator_pid);
        words[W_CREATED] = self.created;
        for (place, area) in self.offsets.areas(&self.sizes()).iter().enumerate() {
            let [offset, stride, count] = [area.offset, area.stride, area.count];
            words[W_AREAS + 3 * place..][..3].copy_from_slice(&[
                offset as u64,
                stride as u64,
                count as u64,
            ]);
        }
        words
    }

    /// Reads a header of a segment of `size` bytes and believes nothing of it.
    pub(crate) fn decode(words: &[u64; HEADER_WORDS], size: u64) -> Result<Self, BadHeader> {
        Self::decode_knowing(words, size, KNOWN_FEATURES)
    }

    /// The same for a program that knows these features.
    fn decode_knowing(
        words: &[u64; HEADER_WORDS],
        size: u64,
        known: u64,
    ) -> Result<Self, BadHeader> {
        if words[W_MAGIC] != MAGIC {
            return Err(BadHeader::NotARing("it does not begin as a ring does"));
        }
        if words[W_VERSION] != u64::from(LAYOUT_VERSION) {
            return Err(BadHeader::Version(u32::try_from(words[W_VERSION]).unwrap_or(u32::MAX)));
        }
        let features = words[W_FEATURES];
        if features & !known != 0 {
            return Err(BadHeader::Features(features & !known));
        }
        let refuse = |reason| Err(BadHeader::NotARing(reason));
        if UNUSED.iter().any(|&place| words[place] != 0) {
            return refuse("a word of its header that has no meaning is not zero");
        }
        if words[W_SIDES] > 3 || words[W_REDELIVERY] > 1 || words[W_CLOCK_STABLE] > 1 {
            return refuse("its header has a flag out of range");
        }
        let ticks_per_second = f64::from_bits(words[W_TICKS_PER_SECOND]);
        if !(0.0..1e12).contains(&ticks_per_second) {
            return refuse("its clock has an impossible rate");
        }
        let page = page_of(words)?;
        let chosen = Self::laid_out(settings_of(words)?, page);
        chosen.validate().map_err(|_| {
            BadHeader::NotARing("its capacity, credit, table or side buffers are out of range")
        })?;
        if chosen.settings.names_buffers() != (features & FEATURE_NAMES != 0) {
            return refuse("its slots name side buffers where they must not, or do not");
        }
        let end = words[W_SIZE];
        if size < end {
            return refuse("it is shorter than its header says");
        }
        if size > end {
            return refuse("it is longer than its header says");
        }
        let end = usize::try_from(end).ok().filter(|_| end <= MAX_SEGMENT);
        let Some(end) = end else { return refuse("it is larger than a ring can be") };
        let table = words[W_AREAS..].as_chunks::<3>().0.first_chunk();
        let Some(table) = table else { return refuse("it has no table of parts") };
        let offsets = Offsets::read(table, &chosen.sizes(), end).map_err(BadHeader::NotARing)?;
        Ok(Self {
            ticks_per_second,
            clock_stable: words[W_CLOCK_STABLE] == 1,
            creator_pid: words[W_CREATOR_PID] as u32,
            created: words[W_CREATED],
            identity: words[W_IDENTITY],
            offsets,
            ..chosen
        })
    }
}

/// The size of a page that a header's words say.
fn page_of(words: &[u64; HEADER_WORDS]) -> Result<usize, BadHeader> {
    match usize::try_from(words[W_PAGE]) {
        Ok(page) if is_page(page) && matches!(words[W_LINE], 64 | 128) => Ok(page),
        _ => Err(BadHeader::NotARing("it was made for lines or pages of a size that there is not")),
    }
}

/// How many groups a header's words say there is room for: a table of one row is a plain ring's
/// unless the features say otherwise.
fn groups_of(words: &[u64; HEADER_WORDS]) -> Result<usize, BadHeader> {
    let made_for_them = words[W_FEATURES] & FEATURE_GROUPS != 0;
    match usize::try_from(words[W_GROUP_ROWS]) {
        Ok(1) if !made_for_them => Ok(0),
        Ok(rows) if made_for_them && (1..=MAX_GROUPS).contains(&rows) => Ok(rows),
        _ => Err(BadHeader::NotARing("its table of groups has an impossible size")),
    }
}

/// The settings that a header's words say, whether or not they are in range.
fn settings_of(words: &[u64; HEADER_WORDS]) -> Result<Settings, BadHeader> {
    let number = |place: usize| usize::try_from(words[place]).unwrap_or(usize::MAX);
    let lanes = words[W_LANES..].first_chunk().and_then(lanes::decode);
    let has_lanes = words[W_FEATURES] & FEATURE_LANES != 0;
    let Some((lanes, class_lanes)) = lanes.filter(|(it, _)| has_lanes != (*it == Lanes::One))
    else {
        return Err(BadHeader::NotARing("it has lanes of a kind that there is not"));
    };
    let sharing = |bit: u64| {
        if words[W_SIDES] >> bit & 1 == 1 { Sharing::Exclusive } else { Sharing::Shared }
    };
    Ok(Settings {
        capacity: number(W_CAPACITY),
        participants: number(W_PARTICIPANTS),
        max_message: match number(W_SIDE_SIZE) {
            0 => INLINE_SIZE,
            // A side buffer for what a slot holds as well: nobody asks for one.
            1..=INLINE_SIZE => 0,
            size => size,
        },
        producer_side: sharing(0),
        consumer_side: sharing(1),
        timestamps: Timestamps::from_word(words[W_TIMESTAMPS])
            .ok_or(BadHeader::NotARing("its timestamps are taken one in a wrong number"))?,
        redelivery: if words[W_REDELIVERY] == 1 {
            Redelivery::Discard
        } else {
            Redelivery::Redeliver
        },
        groups: groups_of(words)?,
        // As many as follow from the others: the table is compared with that.
        latency_histograms: words[W_HISTOGRAMS] != 0,
        credit_limit: words[W_CREDIT_LIMIT],
        reserves: core::array::from_fn(|i| words[W_RESERVES + i]),
        lanes,
        class_lanes,
    })
}

/// Why a header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// It is no ring, and why.
    NotARing(&'static str),
    /// It is a ring of this layout version.
    Version(u32),
    /// It is a ring with these features, which are unknown here.
    Features(u64),
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use super::*;
    use crate::layout::areas::{HISTOGRAM_SIZE, SLOT_SIZE};
    use crate::limits::{MAX_CAPACITY, MAX_MESSAGE};

    pub(crate) fn geometry() -> Geometry {
        let settings = Settings {
            capacity: 256,
            participants: 64,
            max_message: 5_000,
            producer_side: Sharing::Exclusive,
            consumer_side: Sharing::Shared,
            timestamps: Timestamps::OneIn(16),
            redelivery: Redelivery::Discard,
            groups: 0,
            latency_histograms: false,
            credit_limit: 200,
            reserves: [10, 5, 0, 0, 0],
            ..Settings::default()
        };
        Geometry {
            ticks_per_second: 2.6e9,
            clock_stable: true,
            creator_pid: 4321,
            created: 1_790_000_000_000_000_000,
            identity: 0x0123_4567_89ab_cdef,
            ..Geometry::of(settings)
        }
    }

    #[test]
    fn a_header_says_again_what_was_written_into_it() {
        let geometry = geometry();
        let size = geometry.offsets().end as u64;
        assert_eq!(Geometry::decode(&geometry.encode(), size), Ok(geometry));
    }

    #[test]
    fn a_segment_of_another_size_or_version_is_refused() {
        let geometry = geometry();
        let size = geometry.offsets().end as u64;
        let words = geometry.encode();
        assert!(matches!(Geometry::decode(&words, size - 1), Err(BadHeader::NotARing(_))));
        assert!(matches!(Geometry::decode(&words, size + 1), Err(BadHeader::NotARing(_))));
        let mut future = words;
        future[W_VERSION] += 1;
        let version = LAYOUT_VERSION + 1;
        assert_eq!(Geometry::decode(&future, size), Err(BadHeader::Version(version)));
        let mut feature = words;
        let bit = 1 << 63;
        assert_eq!(KNOWN_FEATURES & bit, 0);
        feature[W_FEATURES] |= bit;
        let unknown = BadHeader::Features(bit);
        assert_eq!(Geometry::decode(&feature, size), Err(unknown));
        assert!(matches!(Geometry::decode(&[0; HEADER_WORDS], size), Err(BadHeader::NotARing(_))));
    }

    fn with(max_message: usize, capacity: usize) -> Geometry {
        Geometry::of(Settings { max_message, capacity, ..geometry().settings })
    }

    #[test]
    fn histograms_lie_between_the_slots_and_the_side_buffers_a_row_for_each_entry_and_group() {
        let settings = Settings { latency_histograms: true, groups: 3, ..geometry().settings };
        let (plain, counting) = (geometry(), Geometry { settings, ..Geometry::of(settings) });
        let (offsets, size) = (*counting.offsets(), counting.offsets().end as u64);
        assert_eq!(offsets.histograms % PAGE, 0);
        assert_eq!(offsets.histograms, offsets.slots + SLOT_SIZE * 256);
        let bytes = (64 + 3) * HISTOGRAM_SIZE;
        assert_eq!(offsets.sides, (offsets.histograms + bytes).next_multiple_of(PAGE));
        let words = counting.encode();
        assert_eq!(Geometry::decode(&words, size), Ok(counting));
        assert_eq!(
            words[W_HISTOGRAMS - 2..=W_HISTOGRAMS],
            [offsets.histograms as u64, HISTOGRAM_SIZE as u64, 67]
        );
        assert_eq!(plain.encode()[W_HISTOGRAMS], 0);
        // Any other number is refused, also one of a ring without timestamps.
        for rows in [1, 66, 68, u64::MAX] {
            let mut other = words;
            other[W_HISTOGRAMS] = rows;
            assert!(Geometry::decode(&other, size).is_err(), "{rows}");
        }
        let mut unstamped = words;
        unstamped[W_TIMESTAMPS] = 0;
        assert!(Geometry::decode(&unstamped, size).is_err());
    }

    #[test]
    fn side_buffers_lie_behind_the_slots_each_on_lines_or_pages_of_its_own() {
        let of = |max_message| *with(max_message, 256).offsets();
        let slots_end = of(40).slots + 256 * SLOT_SIZE;
        let stride = |max_message| with(max_message, 256).part(0).side_stride;
        assert_eq!((stride(40), of(40).end), (0, slots_end));
        assert_eq!((of(41).sides, stride(41)), (slots_end, 64));
        assert_eq!((stride(4_000), stride(4_097)), (4_032, 8_192));
        assert_eq!(of(5_000).end, slots_end + 256 * 8_192);
    }

    #[test]
    fn messages_of_more_than_can_be_addressed_are_refused() {
        let validate = |max_message, capacity| with(max_message, capacity).validate();
        assert_eq!(validate(40, 256), Ok(()));
        assert_eq!(validate(41, 256), Ok(()));
        assert_eq!(validate(39, 256), Err(Invalid::MaxMessage(39)));
        assert_eq!(validate(MAX_MESSAGE + 1, 256), Err(Invalid::MaxMessage(MAX_MESSAGE + 1)));
        assert_eq!(validate(usize::MAX, 256), Err(Invalid::MaxMessage(usize::MAX)));
        assert!(matches!(validate(MAX_MESSAGE, MAX_CAPACITY), Err(Invalid::SegmentSize { .. })));
        assert_eq!(with(usize::MAX - 5, 256).offsets().end, usize::MAX);
    }

    #[test]
    fn a_ring_made_for_groups_is_read_by_who_knows_of_them_and_refused_by_who_does_not() {
        let geometry = Geometry::of(Settings { groups: 7, ..geometry().settings });
        let (words, size) = (geometry.encode(), geometry.offsets().end as u64);
        assert_eq!(Geometry::decode_knowing(&words, size, FEATURE_GROUPS), Ok(geometry));
        assert_eq!(Geometry::decode_knowing(&words, size, 0), Err(BadHeader::Features(1)));
        let mut plain = words;
        plain[W_FEATURES] = 0;
        let reason = "its table of groups has an impossible size";
        assert_eq!(Geometry::decode(&plain, size), Err(BadHeader::NotARing(reason)));
        for rows in [0, MAX_GROUPS + 1, usize::MAX] {
            let mut many = words;
            many[W_GROUP_ROWS] = rows as u64;
            let read = Geometry::decode_knowing(&many, size, FEATURE_GROUPS);
            assert_eq!(read, Err(BadHeader::NotARing(reason)));
        }
    }

    #[test]
    fn lines_and_pages_are_of_a_size_that_there_is() {
        let geometry = geometry();
        let size = geometry.offsets().end as u64;
        for (place, value, good) in [
            (W_LINE, 64, true),
            (W_LINE, 128, true),
            (W_LINE, 0, false),
            (W_LINE, 256, false),
            (W_PAGE, 0, false),
            (W_PAGE, 2_048, false),
            (W_PAGE, 4_097, false),
            (W_PAGE, 1 << 17, false),
        ] {
            let mut words = geometry.encode();
            words[place] = value;
            assert_eq!(Geometry::decode(&words, size).is_ok(), good, "{place} as {value}");
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn the_identity_of_an_older_version_is_known_by_which_its_lock_file_is_removed() {
        let mut words = geometry().encode();
        assert_eq!(identity_of(&words), Some(geometry().identity));
        (words[W_VERSION], words[25]) = (2, 77);
        assert_eq!(identity_of(&words), Some(77));
        words[W_VERSION] = 1;
        assert_eq!(identity_of(&words), None);
    }

    #[test]
    fn side_buffers_of_no_use_are_no_rings() {
        let geometry = with(40, 256);
        let mut words = geometry.encode();
        words[W_SIDE_SIZE] = 40;
        let size = geometry.offsets().end as u64;
        assert!(matches!(Geometry::decode(&words, size), Err(BadHeader::NotARing(_))));
    }

    #[cfg(not(miri))]
    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn a_header_changed_in_one_word_is_refused_or_still_describes_its_file(
                place in 0usize..HEADER_WORDS, value: u64, bit in 0u32..64, flip: bool,
            ) {
                let geometry = geometry();
                let size = geometry.offsets().end as u64;
                let mut words = geometry.encode();
                words[place] = if flip { words[place] ^ 1 << bit } else { value };
                if let Ok(read) = Geometry::decode(&words, size) {
                    prop_assert!(read.validate().is_ok());
                    prop_assert_eq!(read.offsets().end as u64, size);
                    prop_assert_eq!(read.settings.groups, 0);
                }
            }

            #[test]
            fn noise_is_never_a_ring(
                words in prop::collection::vec(any::<u64>(), HEADER_WORDS), size: u64,
            ) {
                let words: [u64; HEADER_WORDS] = words.try_into().unwrap();
                prop_assert!(Geometry::decode(&words, size).is_err());
            }
        }
    }
}
