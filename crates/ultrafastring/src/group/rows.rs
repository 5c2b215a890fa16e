//! The table of groups: finding a row by its name, giving one to a name, taking it away.

use super::{closing, passed};
use crate::choices::GroupSettings;
use crate::error::RingError;
use crate::layout::group::{Row, State};
use crate::layout::locks::Place;
use crate::limits::MAX_GROUP_NAME;
use crate::name::{ParticipantName, is_text};
use crate::recover::liveness::Liveness;
use crate::segment::Segment;
use crate::segment::lock::Locker;
use crate::settings::Invalid;

/// The name of a group, if it can be one.
pub(crate) fn group_name(name: &str) -> Result<ParticipantName, Invalid> {
    if name.is_empty() || name.len() > MAX_GROUP_NAME || !name.chars().all(is_text) {
        return Err(Invalid::GroupName);
    }
    Ok(ParticipantName::new(name))
}

/// The row of a group; `None` if there is none of this name.
pub(crate) fn find(segment: &Segment, name: &ParticipantName) -> Option<usize> {
    let has = |row: &Row| row.settings().is_some() && row.name() == *name;
    segment.rows().find(|(_, row)| has(row)).map(|(row, _)| row)
}

/// Finds the row of a group, or gives it one: a row that is nobody's, or one of a passing group in
/// which nobody lives. `None` if somebody is at it just now.
///
/// # Errors
///
/// [`RingError::TooManyGroups`], or what the system says.
pub(super) fn find_or_make(
    segment: &Segment,
    locker: &Locker,
    name: &ParticipantName,
    settings: GroupSettings,
) -> Result<Option<usize>, RingError> {
    if let Some(row) = find(segment, name) {
        return Ok(Some(row));
    }
    if !locker.try_lock(segment, Place::Groups)? {
        return Ok(None);
    }
    let made = find(segment, name)
        .map_or_else(|| make(segment, locker, name, settings), |row| Ok(Some(row)));
    locker.unlock(segment, Place::Groups);
    made
}

/// Gives a row to a name, under the table's lock. `None` if somebody is at a row just now that
/// could be had.
fn make(
    segment: &Segment,
    locker: &Locker,
    name: &ParticipantName,
    settings: GroupSettings,
) -> Result<Option<usize>, RingError> {
    let mut locked = false;
    // Those that are nobody's first: the others may come again.
    for unused in [true, false] {
        for (row, it) in segment.rows() {
            if it.settings().is_none() != unused {
                continue;
            }
            if !locker.try_lock(segment, Place::Group(row))? {
                locked |= it.settings().is_none_or(|settings| !settings.durable);
                continue;
            }
            let given = is_to_be_had(segment, locker, row, it);
            if given {
                name_row(segment, row, it, name, settings);
            }
            locker.unlock(segment, Place::Group(row));
            if given {
                return Ok(Some(row));
            }
        }
    }
    if locked {
        return Ok(None);
    }
    Err(RingError::TooManyGroups { most: segment.groups() })
}

/// Gives a row whose lock the caller has to a name. What was counted for the one before is gone.
fn name_row(
    segment: &Segment,
    row: usize,
    it: &Row,
    name: &ParticipantName,
    settings: GroupSettings,
) {
    let forget_latencies = || {
        for lane in segment.all_lanes() {
            if let Some(histogram) = lane.histogram_of_group(row) {
                histogram.clear();
            }
        }
    };
    // Before, in case this process is killed after the name is there. And afterwards: until then
    // a newcomer may still move counts there.
    forget_latencies();
    segment.all_lanes().for_each(|lane| passed::forget(lane.cursor_of(row)));
    it.name_it(name, settings);
    forget_latencies();
}

/// Whether a row whose lock the caller has can be given to another name.
fn is_to_be_had(segment: &Segment, liveness: &dyn Liveness, row: usize, it: &Row) -> bool {
    match it.settings() {
        Some(settings) if settings.durable => false,
        _ => {
            closing::close_if_deserted(segment, liveness, row);
            let gate = it.gate();
            // Members of one that was evicted come again.
            match gate.state {
                State::Closed => true,
                State::Open => false,
                // Closed first: the next group has missed nothing, and starts where it wants.
                State::Evicted => {
                    closing::is_deserted(segment, liveness, row, gate)
                        && closing::close(segment, row, gate)
                }
            }
        }
    }
}

/// Removes a group: its row is nobody's then, and producers do not wait for it.
///
/// # Errors
///
/// [`RingError::NoSuchGroup`]; [`RingError::GroupInUse`] if a member lives; [`RingError::Busy`] if
/// somebody is at it; or what the system says.
pub(crate) fn remove(segment: &Segment, name: &ParticipantName) -> Result<(), RingError> {
    let locker = segment.locker()?;
    let none = RingError::NoSuchGroup { name: *name };
    let row = find(segment, name).ok_or(none)?;
    let busy = || RingError::Busy { name: *name };
    if !locker.try_lock(segment, Place::Groups)? {
        return Err(busy());
    }
    let removed = match locker.try_lock(segment, Place::Group(row)) {
        Ok(true) => {
            let removed = remove_row(segment, &locker, row, name);
            locker.unlock(segment, Place::Group(row));
            removed
        }
        Ok(false) => Err(busy()),
        Err(error) => Err(error),
    };
    locker.unlock(segment, Place::Groups);
    removed
}

/// Removes the group of a row whose lock the caller has.
fn remove_row(
    segment: &Segment,
    liveness: &dyn Liveness,
    row: usize,
    name: &ParticipantName,
) -> Result<(), RingError> {
    let none = RingError::NoSuchGroup { name: *name };
    // It was found before it was locked, and may be another group's since.
    let has = |it: &&Row| it.settings().is_some() && it.name() == *name;
    let it = segment.row(row).filter(has).ok_or(none)?;
    let gate = it.gate();
    if gate.state != State::Closed {
        let deserted = closing::is_deserted(segment, liveness, row, gate);
        if !deserted || !closing::close(segment, row, gate) {
            return Err(RingError::GroupInUse { name: *name });
        }
    }
    it.forget();
    Ok(())
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use crate::ring::UltraFastRing;

    #[test]
    fn a_row_that_is_another_groups_by_now_is_not_removed() {
        let ring = UltraFastRing::builder().joinable().heap().unwrap();
        drop(ring.join("new").durable().consumer().unwrap());
        let segment = ring.segment();
        let locker = segment.locker().unwrap();
        // As if the one to be removed had been found in this row, and been removed by another.
        let error = remove_row(segment, &locker, 0, &ParticipantName::new("old")).unwrap_err();
        assert!(matches!(error, RingError::NoSuchGroup { .. }));
        assert!(segment.row(0).unwrap().gate().is_open());
    }

    #[test]
    fn a_table_whose_last_row_is_locked_for_a_moment_is_not_full() {
        let ring = UltraFastRing::builder().joinable().heap().unwrap();
        let segment = ring.segment();
        for other in 1..segment.groups() {
            drop(ring.join(&format!("other {other}")).durable().consumer().unwrap());
        }
        let (last, locker) = (segment.groups() - 1, segment.locker().unwrap());
        let (new, settings) = (ParticipantName::new("new"), GroupSettings::default());
        let another = segment.locker().unwrap();
        assert!(another.try_lock(segment, Place::Group(last)).unwrap());
        let made = find_or_make(segment, &locker, &new, settings);
        assert!(matches!(made, Ok(None)), "{made:?}");
        another.unlock(segment, Place::Group(last));
        let made = find_or_make(segment, &locker, &new, settings);
        assert!(matches!(made, Ok(Some(row)) if row == last), "{made:?}");
    }
}
