//! The areas of a segment: which there are, where each lies, and what is checked about them.
//!
//! The header has a table with three words for each area: offset, stride and count. An area that a
//! ring does not have is three zeros. Strides and counts follow from the settings. The creator
//! chooses the offsets. An opener takes them from the table, after checking that the areas lie
//! within the file and do not overlap.

use crate::latency::BUCKETS;
use crate::priority::PriorityClass;
use crate::settings::{Lanes, Settings};

/// The smallest page there is. Areas that get memory separately are aligned to at least this.
pub(crate) const PAGE: usize = 4_096;
/// The largest page that a segment may be made for.
pub(crate) const MAX_PAGE: usize = 1 << 16;

pub(crate) const LANE_SIZE: usize = 512;
pub(crate) const CONTROL_SIZE: usize = 512;
pub(crate) const GROUP_SIZE: usize = 512;
pub(crate) const CURSOR_SIZE: usize = 256;
pub(crate) const PARTICIPANT_SIZE: usize = 1_024;
pub(crate) const SLOT_SIZE: usize = 64;
pub(crate) const HISTOGRAM_SIZE: usize = PriorityClass::COUNT * BUCKETS * 8;

/// The alignment of tables that are written all the time: two lines of 64 bytes, since some
/// processors fetch lines in pairs, or one line of 128.
pub(crate) const APART: usize = 128;

/// Number of areas that the header's table has room for.
pub(crate) const AREAS: usize = 10;

/// Their names, in the order of the table.
const NAMES: [&str; AREAS] = [
    "lanes",
    "control",
    "groups",
    "cursors",
    "participants",
    "holds",
    "slots",
    "side buffers",
    "histograms",
    "calls",
];

/// A part of a segment that is a table: see [`RingView::areas`](crate::RingView::areas), and
/// `docs/layout.md` for what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AreaInfo {
    /// What it is a table of.
    pub name: &'static str,
    /// Where it begins, in bytes from the beginning of the segment.
    pub offset: usize,
    /// Bytes from one record to the next.
    pub stride: usize,
    /// Number of records.
    pub count: usize,
}

/// Where the first area may begin, since the first page is the header's.
const FIRST: usize = PAGE;

/// A table in a segment: `count` records, one every `stride` bytes. The order of the header's table
/// is that of [`Offsets::areas`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) offset: usize,
    pub(crate) stride: usize,
    pub(crate) count: usize,
    /// Its offset is a multiple of this.
    alignment: usize,
}

impl Area {
    /// The ring does not have this area.
    const ABSENT: Self = Self { offset: 0, stride: 0, count: 0, alignment: 1 };

    /// Saturating, since the numbers may not have been validated.
    const fn end(&self) -> usize {
        behind(self.offset, self.count, self.stride)
    }

    pub(crate) const fn is_absent(&self) -> bool {
        self.count == 0
    }

    /// The same for people, as the area at this place of the table.
    pub(crate) fn info(&self, place: usize) -> AreaInfo {
        let Self { offset, stride, count, .. } = *self;
        AreaInfo { name: NAMES[place % AREAS], offset, stride, count }
    }
}

/// The sizes that decide which areas there are and how large each is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) settings: Settings,
    /// The alignment of areas that get memory separately.
    pub(crate) page: usize,
}

impl Sizes {
    /// Rows of the table of groups, and of that of cursors: a plain ring has one of each.
    pub(crate) const fn group_rows(&self) -> usize {
        if self.settings.groups == 0 { 1 } else { self.settings.groups }
    }

    /// Rows of histograms of a lane: one for each of its entries, and one for each group.
    pub(crate) const fn histograms(&self) -> usize {
        let Settings { latency_histograms, participants, groups, .. } = self.settings;
        if latency_histograms { participants.saturating_add(groups) } else { 0 }
    }

    /// From one side buffer of a lane to the next; 0 if there are none. It is whole cache lines, so
    /// that no two buffers share one. From a page on it is whole pages, so that a message takes no
    /// memory of its neighbour's.
    const fn side_stride(&self, lane: usize) -> usize {
        let size = self.settings.of_lane(lane).side_size();
        if size >= self.page { next(size, self.page) } else { size.next_multiple_of(SLOT_SIZE) }
    }

    const fn lanes(&self) -> usize {
        self.settings.lanes.count()
    }

    /// Slots of all lanes before this one.
    pub(super) const fn slots_before(&self, lane: usize) -> usize {
        if !matches!(self.settings.lanes, Lanes::ByClass) {
            return self.settings.capacity.saturating_mul(lane);
        }
        let (mut slots, mut before) = (0usize, 0);
        while before < lane {
            slots = slots.saturating_add(self.settings.of_lane(before).capacity);
            before += 1;
        }
        slots
    }

    /// Bytes of the side buffers of all lanes before this one, each lane's in whole pages.
    const fn sides_before(&self, lane: usize) -> usize {
        if !matches!(self.settings.lanes, Lanes::ByClass) {
            return self.sides_of(0).saturating_mul(lane);
        }
        let (mut bytes, mut before) = (0usize, 0);
        while before < lane {
            bytes = bytes.saturating_add(self.sides_of(before));
            before += 1;
        }
        bytes
    }

    /// Bytes of the side buffers of one lane.
    const fn sides_of(&self, lane: usize) -> usize {
        let slots = self.settings.of_lane(lane).capacity;
        next(behind(0, slots, self.side_stride(lane)), self.page)
    }

    /// Stride and count of the side buffers. Where there are lanes, whose buffers may differ, they
    /// are counted in pages.
    const fn side_area(&self) -> (usize, usize) {
        if self.settings.has_lanes() {
            let bytes = self.sides_before(self.lanes());
            if bytes == 0 { (0, 0) } else { (self.page, bytes / self.page) }
        } else {
            let stride = self.side_stride(0);
            (stride, if stride == 0 { 0 } else { self.settings.capacity })
        }
    }

    /// Where everything lies in a segment that is made here, one area behind the other. Saturating:
    /// if the numbers have not been validated, the end may be `usize::MAX`.
    pub(crate) const fn place(&self) -> Offsets {
        let (count, rows) = (self.lanes(), self.group_rows());
        let lanes = FIRST;
        let control = behind(lanes, count, LANE_SIZE);
        let cursors = behind(control, count, CONTROL_SIZE);
        let groups = behind(cursors, rows.saturating_mul(count), CURSOR_SIZE);
        let entries = next(behind(groups, rows, GROUP_SIZE), self.page);
        let participants = self.settings.participants.saturating_mul(count);
        let slots = next(behind(entries, participants, PARTICIPANT_SIZE), self.page);
        let histograms = next(behind(slots, self.slots_before(count), SLOT_SIZE), self.page);
        let rows = self.histograms().saturating_mul(count);
        let sides = next(behind(histograms, rows, HISTOGRAM_SIZE), self.page);
        let end = next(sides.saturating_add(self.sides_before(count)), self.page);
        let histograms = if rows == 0 { 0 } else { histograms };
        Offsets {
            lanes,
            control,
            groups,
            cursors,
            participants: entries,
            slots,
            histograms,
            sides,
            end,
        }
    }
}

/// Where the areas of a segment begin, and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) lanes: usize,
    pub(crate) control: usize,
    pub(crate) groups: usize,
    pub(crate) cursors: usize,
    pub(crate) participants: usize,
    pub(crate) slots: usize,
    /// The histograms; 0 if there are none.
    pub(crate) histograms: usize,
    /// The side buffers; the end if there are none.
    pub(crate) sides: usize,
    pub(crate) end: usize,
}

/// Where the parts of one lane begin, from the beginning of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) counters: usize,
    pub(crate) control: usize,
    /// A row for each group.
    pub(crate) cursors: usize,
    /// The entries of those who work on it.
    pub(crate) participants: usize,
    pub(crate) slots: usize,
    /// Its rows of histograms, if there are any.
    pub(crate) histograms: usize,
    /// Its side buffers; the end of the segment if it has none.
    pub(crate) sides: usize,
    /// From one side buffer to the next; 0 if it has none.
    pub(crate) side_stride: usize,
}

impl Offsets {
    /// The areas in the order of the header's table.
    pub(crate) const fn areas(&self, sizes: &Sizes) -> [Area; AREAS] {
        let Settings { participants, .. } = sizes.settings;
        let (rows, lanes, page) = (sizes.group_rows(), sizes.lanes(), sizes.page);
        let (side_stride, sides) = sizes.side_area();
        const fn area(offset: usize, stride: usize, count: usize, alignment: usize) -> Area {
            Area { offset, stride, count, alignment }
        }
        [
            area(self.lanes, LANE_SIZE, lanes, APART),
            area(self.control, CONTROL_SIZE, lanes, APART),
            area(self.groups, GROUP_SIZE, rows, APART),
            area(self.cursors, CURSOR_SIZE, rows.saturating_mul(lanes), APART),
            area(self.participants, PARTICIPANT_SIZE, participants.saturating_mul(lanes), page),
            // Holds.
            Area::ABSENT,
            area(self.slots, SLOT_SIZE, sizes.slots_before(lanes), page),
            if sides == 0 { Area::ABSENT } else { area(self.sides, side_stride, sides, page) },
            match sizes.histograms() {
                0 => Area::ABSENT,
                rows => area(self.histograms, HISTOGRAM_SIZE, rows.saturating_mul(lanes), page),
            },
            // Calls.
            Area::ABSENT,
        ]
    }

    /// The offsets in a header's table, for a segment of these sizes that ends at `end`. The sizes
    /// are in range.
    ///
    /// # Errors
    ///
    /// What is wrong with the table.
    #[cfg_attr(not(feature = "std"), allow(dead_code))]
    pub(crate) fn read(
        table: &[[u64; 3]; AREAS],
        sizes: &Sizes,
        end: usize,
    ) -> Result<Self, &'static str> {
        let at = |place: usize| usize::try_from(table[place][0]).unwrap_or(usize::MAX);
        let (_, sides) = sizes.side_area();
        let read = Self {
            lanes: at(0),
            control: at(1),
            groups: at(2),
            cursors: at(3),
            participants: at(4),
            slots: at(6),
            histograms: at(8),
            sides: if sides == 0 { end } else { at(7) },
            end,
        };
        let areas = read.areas(sizes);
        for (area, words) in areas.iter().zip(table) {
            if [area.offset, area.stride, area.count].map(|word| word as u64) != *words {
                return Err("its parts have other sizes than its choices say");
            }
        }
        check(&areas, sizes.page, end).map(|()| read)
    }

    /// Where the parts of a lane begin, in a segment of these sizes. There is such a lane, and the
    /// sizes are in range.
    pub(crate) const fn part(&self, sizes: &Sizes, lane: usize) -> Part {
        let side_stride = sizes.side_stride(lane);
        Part {
            counters: self.lanes + lane * LANE_SIZE,
            control: self.control + lane * CONTROL_SIZE,
            cursors: self.cursors + lane * sizes.group_rows() * CURSOR_SIZE,
            participants: self.participants + lane * sizes.settings.participants * PARTICIPANT_SIZE,
            slots: self.slots + sizes.slots_before(lane) * SLOT_SIZE,
            histograms: self.histograms + lane * sizes.histograms() * HISTOGRAM_SIZE,
            sides: if side_stride == 0 { self.end } else { self.sides + sizes.sides_before(lane) },
            side_stride,
        }
    }
}

/// Checks that each area is aligned, lies behind the header and before `end`, and overlaps no
/// other.
#[cfg_attr(not(feature = "std"), allow(dead_code))]
fn check(areas: &[Area; AREAS], page: usize, end: usize) -> Result<(), &'static str> {
    if !end.is_multiple_of(page) {
        return Err("it does not end with a page");
    }
    for (place, area) in areas.iter().enumerate().filter(|(_, area)| !area.is_absent()) {
        if !area.offset.is_multiple_of(area.alignment) {
            return Err("a part of it is not aligned");
        }
        if area.offset < FIRST || area.end() > end {
            return Err("a part of it lies outside of it");
        }
        for other in areas[..place].iter().filter(|other| !other.is_absent()) {
            if area.offset < other.end() && other.offset < area.end() {
                return Err("two parts of it overlap");
            }
        }
    }
    Ok(())
}

/// Whether a segment may be made for pages of this size.
pub(crate) const fn is_page(page: usize) -> bool {
    page.is_power_of_two() && page >= PAGE && page <= MAX_PAGE
}

/// Where an area ends; saturating.
const fn behind(offset: usize, count: usize, stride: usize) -> usize {
    offset.saturating_add(count.saturating_mul(stride))
}

/// The first multiple of `unit` at `bytes` or after it; saturating.
pub(crate) const fn next(bytes: usize, unit: usize) -> usize {
    match bytes.checked_next_multiple_of(unit) {
        Some(boundary) => boundary,
        None => usize::MAX,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::limits::MAX_GROUPS;
    use crate::settings::ClassLane;

    fn sizes_for(groups: usize) -> Sizes {
        let settings =
            Settings { max_message: 5_000, participants: 5, groups, ..Settings::default() };
        Sizes { settings, page: PAGE }
    }

    fn sizes() -> Sizes {
        sizes_for(3)
    }

    /// The table of a header, of areas where `offsets` says.
    fn table(sizes: &Sizes, offsets: &Offsets) -> [[u64; 3]; AREAS] {
        let words = |area: Area| [area.offset, area.stride, area.count].map(|word| word as u64);
        offsets.areas(sizes).map(words)
    }

    #[test]
    fn small_tables_lie_together_and_the_rest_from_pages_on() {
        let plain = sizes_for(0).place();
        assert_eq!((plain.lanes, plain.control, plain.cursors), (4_096, 4_608, 5_120));
        assert_eq!((plain.groups, plain.participants, plain.slots), (5_376, 8_192, 16_384));
        let most = sizes_for(MAX_GROUPS).place();
        assert_eq!((most.cursors, most.groups), (5_120, 5_120 + 56 * 256));
        assert_eq!(most.participants, 49_152);
        let wide = Sizes { page: MAX_PAGE, ..sizes() }.place();
        assert_eq!((wide.lanes, wide.participants, wide.slots), (4_096, 1 << 16, 2 << 16));
        assert_eq!(wide.end % MAX_PAGE, 0);
        for (offsets, page) in [(plain, PAGE), (most, PAGE), (wide, MAX_PAGE)] {
            let groups = match offsets {
                _ if offsets == most => MAX_GROUPS,
                _ if offsets == wide => sizes().settings.groups,
                _ => 0,
            };
            let sizes = Sizes { page, ..sizes_for(groups) };
            assert_eq!(check(&offsets.areas(&sizes), page, offsets.end), Ok(()));
        }
    }

    /// The sizes of rings with lanes, of which some have side buffers.
    fn sizes_with_lanes() -> [Sizes; 2] {
        let lane = |capacity, max_message| ClassLane { capacity, credit_limit: 1, max_message };
        let settings = sizes().settings;
        let class_lanes = [lane(1, 40), lane(64, 100), lane(2, 5_000), lane(8, 40), lane(16, 41)];
        let by_class = Settings { lanes: Lanes::ByClass, class_lanes, ..settings };
        let by_producer = Settings { lanes: Lanes::ByProducer(7), ..settings };
        [by_class, by_producer].map(|settings| Sizes { settings, page: PAGE })
    }

    #[test]
    fn the_parts_of_lanes_lie_one_behind_the_other_within_their_areas() {
        for sizes in sizes_with_lanes() {
            let offsets = sizes.place();
            let areas = offsets.areas(&sizes);
            assert_eq!(check(&areas, PAGE, offsets.end), Ok(()));
            let mut at =
                [&areas[0], &areas[1], &areas[3], &areas[4], &areas[6]].map(|area| area.offset);
            let mut sides = offsets.sides;
            for lane in 0..sizes.lanes() {
                let Part { counters, control, cursors, participants, slots, .. } =
                    offsets.part(&sizes, lane);
                assert_eq!(at, [counters, control, cursors, participants, slots], "{lane}");
                let capacity = sizes.settings.of_lane(lane).capacity;
                let lengths = [512, 512, 3 * 256, 5 * 1_024, capacity * 64];
                at = core::array::from_fn(|place| at[place] + lengths[place]);
                let part = offsets.part(&sizes, lane);
                if part.side_stride != 0 {
                    assert_eq!((part.sides, sides % PAGE), (sides, 0));
                    sides += (capacity * part.side_stride).next_multiple_of(PAGE);
                }
            }
            let ends = [&areas[0], &areas[1], &areas[3], &areas[4], &areas[6]].map(Area::end);
            assert_eq!(at, ends);
            assert_eq!(sides, areas[7].end());
            assert_eq!(Offsets::read(&table(&sizes, &offsets), &sizes, offsets.end), Ok(offsets));
        }
    }

    #[test]
    fn areas_may_lie_in_any_order_but_aligned_apart_and_within() {
        let sizes = sizes();
        let placed = sizes.place();
        let end = placed.end + 4 * PAGE;
        let read = |offsets: Offsets| Offsets::read(&table(&sizes, &offsets), &sizes, end);
        let elsewhere = Offsets {
            lanes: placed.end + PAGE,
            participants: placed.end + 2 * PAGE,
            end,
            ..placed
        };
        assert_eq!(read(elsewhere), Ok(elsewhere));
        for (offsets, reason) in [
            (Offsets { lanes: 0, ..elsewhere }, "a part of it lies outside of it"),
            (Offsets { lanes: PAGE - APART, ..elsewhere }, "a part of it lies outside of it"),
            (Offsets { lanes: end, ..elsewhere }, "a part of it lies outside of it"),
            (
                Offsets { lanes: end - LANE_SIZE + APART, ..elsewhere },
                "a part of it lies outside of it",
            ),
            (
                Offsets { lanes: usize::MAX / APART * APART, ..elsewhere },
                "a part of it lies outside of it",
            ),
            (Offsets { lanes: placed.cursors - APART, ..elsewhere }, "two parts of it overlap"),
            (Offsets { sides: placed.slots, ..elsewhere }, "two parts of it overlap"),
            (Offsets { lanes: placed.end + 64, ..elsewhere }, "a part of it is not aligned"),
            (Offsets { slots: placed.slots + APART, ..elsewhere }, "a part of it is not aligned"),
        ] {
            assert_eq!(read(offsets), Err(reason), "{offsets:?}");
        }
        let uneven = Offsets::read(&table(&sizes, &elsewhere), &sizes, end + 64);
        assert_eq!(uneven, Err("it does not end with a page"));
    }

    #[cfg(not(miri))]
    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            /// Close enough to a valid table that some of them are valid.
            #[test]
            fn a_table_is_refused_or_its_areas_are_apart_and_within(
                moves in prop::collection::vec(
                    (0usize..AREAS, 0usize..3, prop_oneof![
                        (0u64..64).prop_map(|page| page * 4_096),
                        (0u64..512).prop_map(|line| line * 128),
                        any::<u64>(),
                    ]),
                    0..6,
                ),
                more in 0usize..8,
                groups in 0usize..=MAX_GROUPS,
                max_message in prop_oneof![Just(40usize), 41usize..9_000],
            ) {
                let settings = Settings { capacity: 16, max_message, groups, ..sizes().settings };
                let sizes = Sizes { settings, page: PAGE };
                let placed = sizes.place();
                let end = placed.end + more * PAGE;
                let mut table = table(&sizes, &placed);
                for (area, word, value) in moves {
                    table[area][word] = value;
                }
                let Ok(read) = Offsets::read(&table, &sizes, end) else { return Ok(()) };
                let mut areas = read.areas(&sizes).to_vec();
                areas.retain(|area| area.count != 0);
                areas.sort_by_key(|area| area.offset);
                let mut begin = FIRST;
                for area in areas {
                    prop_assert!(area.offset >= begin && area.offset % area.alignment == 0);
                    begin = area.offset + area.stride * area.count;
                }
                prop_assert!(begin <= end);
            }
        }
    }
}
