//! From `ufr_settings` to a builder, and from a ring's settings back.

use std::ffi::{CStr, OsStr, c_char};
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use ultrafastring::{
    Builder, Lanes, PriorityClass, Redelivery, Settings, Sharing, SideMemory, Timestamps, Trust,
};

use crate::basic as code;
use crate::basic::ufr_settings;
use crate::failure;
use crate::handle::not_null;

/// Size of the smallest structure that a caller may have: that of the first version.
const FIRST_SIZE: usize = 136;
const _: () = {
    assert!(offset_of!(ufr_settings, size) == 0);
    // What came later lies behind it: of an older caller's structure it stays unset.
    assert!(offset_of!(ufr_settings, lanes) == FIRST_SIZE);
    // A caller's structure may end anywhere: it has no part of the list without a part of its
    // length, which is 0 then.
    assert!(offset_of!(ufr_settings, groups) < offset_of!(ufr_settings, group_count));
};

/// Everything left to the library.
pub(crate) const NOTHING_CHOSEN: ufr_settings = ufr_settings {
    size: size_of::<ufr_settings>(),
    capacity: 0,
    participants: 0,
    max_message: 0,
    credit_limit: 0,
    reserves: [0; 5],
    directory: ptr::null(),
    participant_name: ptr::null(),
    producer_side: code::UFR_SIDE_UNSET,
    consumer_side: code::UFR_SIDE_UNSET,
    timestamps: code::UFR_TIMESTAMPS_UNSET,
    redelivery: code::UFR_REDELIVERY_UNSET,
    side_memory: code::UFR_SIDE_MEMORY_ON_DEMAND,
    trust: code::UFR_TRUST_OWN_USER,
    accept_existing: 0,
    huge_pages: 0,
    fences: 0,
    joinable: 0,
    lanes: code::UFR_LANES_UNSET,
    latency_histograms: 0,
    capacity_of: [0; 5],
    credit_limit_of: [0; 5],
    max_message_of: [0; 5],
    groups: ptr::null(),
    group_count: 0,
};

/// Copies the caller's structure, which may be that of an older header or of a newer one.
///
/// # Safety
///
/// `settings` is null, or leads to as many readable bytes as it says in its first word.
unsafe fn copy(settings: *const ufr_settings) -> Result<ufr_settings, i32> {
    let mut copy = NOTHING_CHOSEN;
    if settings.is_null() {
        return Ok(copy);
    }
    // SAFETY: the first word is there, as the caller promises; it need not be aligned.
    let size = unsafe { settings.cast::<usize>().read_unaligned() };
    if !(FIRST_SIZE..=4096).contains(&size) {
        return Err(failure::invalid(&format_args!(
            "settings.size is {size}; call ufr_settings_init first"
        )));
    }
    let known = size.min(size_of::<ufr_settings>());
    // SAFETY: `known` bytes are there and are no more than the copy has; every field takes any bits.
    unsafe { ptr::copy_nonoverlapping(settings.cast::<u8>(), (&raw mut copy).cast(), known) };
    let unset = |at: usize| {
        // SAFETY: below `size`, so readable.
        unsafe { settings.cast::<u8>().add(at).read() == 0 }
    };
    if !(known..size).all(unset) {
        return Err(failure::invalid(
            &"a setting is chosen that this version of the library does not know; use the library \
              of the header's version",
        ));
    }
    Ok(copy)
}

/// A string of the caller's.
///
/// # Safety
///
/// `text` is null, or leads to bytes that end with a zero and live as long as the caller says.
pub(crate) unsafe fn text<'a>(text: *const c_char, what: &str) -> Result<&'a str, i32> {
    if text.is_null() {
        return Err(failure::null(what));
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str()
        .map_err(|_| failure::fail(code::UFR_ERR_BAD_NAME, &format_args!("{what} is not in UTF-8")))
}

/// A number that stands for one of several choices.
pub(crate) fn choice<T: Copy>(value: i32, choices: &[(i32, T)], what: &str) -> Result<T, i32> {
    choices.iter().find(|(number, _)| *number == value).map(|(_, choice)| *choice).ok_or_else(
        || failure::invalid(&format_args!("{what} is {value}, which is none of its values")),
    )
}

const SIDES: &[(i32, Option<Sharing>)] = &[
    (code::UFR_SIDE_UNSET, None),
    (code::UFR_SIDE_SHARED, Some(Sharing::Shared)),
    (code::UFR_SIDE_EXCLUSIVE, Some(Sharing::Exclusive)),
];
const REDELIVERIES: &[(i32, Option<Redelivery>)] = &[
    (code::UFR_REDELIVERY_UNSET, None),
    (code::UFR_REDELIVERY_REDELIVER, Some(Redelivery::Redeliver)),
    (code::UFR_REDELIVERY_DISCARD, Some(Redelivery::Discard)),
];
const SIDE_MEMORIES: &[(i32, SideMemory)] = &[
    (code::UFR_SIDE_MEMORY_ON_DEMAND, SideMemory::OnDemand),
    (code::UFR_SIDE_MEMORY_PREALLOCATED, SideMemory::Preallocated),
    (code::UFR_SIDE_MEMORY_OVERCOMMITTED, SideMemory::Overcommitted),
];
const TRUSTS: &[(i32, Trust)] = &[
    (code::UFR_TRUST_OWN_USER, Trust::OwnUser),
    (code::UFR_TRUST_GROUP, Trust::Group),
    (code::UFR_TRUST_ANYONE, Trust::Anyone),
];
const FLAGS: &[(i32, bool)] = &[(0, false), (1, true)];

/// The builder that these settings ask for. Null chooses nothing.
///
/// # Safety
///
/// `settings` is null, or leads to as many readable bytes as it says in its first word; its strings
/// are null, or end with a zero; its list of groups is as long as it says.
pub(crate) unsafe fn builder(settings: *const ufr_settings) -> Result<Builder, i32> {
    // SAFETY: as the caller promises.
    let chosen = unsafe { copy(settings)? };
    let mut builder = Builder::new();
    if chosen.capacity != 0 {
        builder = builder.capacity(chosen.capacity);
    }
    if chosen.participants != 0 {
        builder = builder.participants(chosen.participants);
    }
    if chosen.max_message != 0 {
        builder = builder.max_message(chosen.max_message);
    }
    if chosen.credit_limit != 0 {
        builder = builder.credit_limit(chosen.credit_limit);
    }
    for (class, credits) in PriorityClass::ALL.into_iter().zip(chosen.reserves) {
        if credits != 0 {
            builder = builder.reserve(class, credits);
        }
    }
    if let Some(sharing) = choice(chosen.producer_side, SIDES, "producer_side")? {
        builder = builder.producer_side(sharing);
    }
    if let Some(sharing) = choice(chosen.consumer_side, SIDES, "consumer_side")? {
        builder = builder.consumer_side(sharing);
    }
    if let Some(redelivery) = choice(chosen.redelivery, REDELIVERIES, "redelivery")? {
        builder = builder.redelivery(redelivery);
    }
    if let Some(timestamps) = timestamps(chosen.timestamps)? {
        builder = builder.timestamps(timestamps);
    }
    builder = lanes(builder, &chosen)?;
    if choice(chosen.latency_histograms, FLAGS, "latency_histograms")? {
        builder = builder.latency_histograms(true);
    }
    // SAFETY: as the caller promises.
    let builder = unsafe { groups(around(builder, &chosen)?, &chosen)? };
    Ok(if choice(chosen.fences, FLAGS, "fences")? { builder.fences() } else { builder })
}

/// How many lanes are chosen, and what those of classes have.
fn lanes(mut builder: Builder, chosen: &ufr_settings) -> Result<Builder, i32> {
    match chosen.lanes {
        code::UFR_LANES_UNSET => {}
        code::UFR_LANES_BY_CLASS => builder = builder.lanes(Lanes::ByClass),
        code::UFR_LANES_ONE => builder = builder.lanes(Lanes::One),
        // Whether there are too many, making the ring says.
        many if many > 0 => {
            builder = builder.lanes(Lanes::ByProducer(u16::try_from(many).unwrap_or(u16::MAX)));
        }
        other => choice(other, &[], "lanes")?,
    }
    for (at, class) in PriorityClass::ALL.into_iter().enumerate() {
        if chosen.capacity_of[at] != 0 {
            builder = builder.capacity_of(class, chosen.capacity_of[at]);
        }
        if chosen.credit_limit_of[at] != 0 {
            builder = builder.credit_limit_of(class, chosen.credit_limit_of[at]);
        }
        if chosen.max_message_of[at] != 0 {
            builder = builder.max_message_of(class, chosen.max_message_of[at]);
        }
    }
    Ok(builder)
}

/// The groups that are chosen, and whether others can join.
///
/// # Safety
///
/// The list has as many strings as is said, each null or ended by a zero.
unsafe fn groups(mut builder: Builder, chosen: &ufr_settings) -> Result<Builder, i32> {
    /// More than a ring can have is a mistake, such as of a structure that nobody has filled in.
    const MOST: usize = 4096;
    if chosen.group_count > MOST {
        let text = format_args!("settings.group_count is {}; it is too many", chosen.group_count);
        return Err(failure::fail(code::UFR_ERR_INVALID_SETTINGS, &text));
    }
    if chosen.group_count != 0 {
        not_null(chosen.groups, "settings.groups")?;
        // SAFETY: as the caller promises.
        let name = |at| unsafe { text(*chosen.groups.add(at), "a name in settings.groups") };
        let names = (0..chosen.group_count).map(name).collect::<Result<Vec<&str>, i32>>()?;
        builder = builder.groups(names);
    }
    Ok(if choice(chosen.joinable, FLAGS, "joinable")? { builder.joinable() } else { builder })
}

/// What is chosen for this process, and not written in a ring.
///
/// # Safety
///
/// The strings are null, or end with a zero.
unsafe fn around(builder: Builder, chosen: &ufr_settings) -> Result<Builder, i32> {
    let mut builder = builder
        .side_memory(choice(chosen.side_memory, SIDE_MEMORIES, "side_memory")?)
        .trust(choice(chosen.trust, TRUSTS, "trust")?)
        .accept_existing(choice(chosen.accept_existing, FLAGS, "accept_existing")?)
        .huge_pages(choice(chosen.huge_pages, FLAGS, "huge_pages")?);
    if !chosen.directory.is_null() {
        // SAFETY: as the caller promises.
        let directory = unsafe { CStr::from_ptr(chosen.directory) };
        builder = builder.directory(OsStr::from_bytes(directory.to_bytes()));
    }
    if !chosen.participant_name.is_null() {
        // SAFETY: as the caller promises.
        let name = unsafe { text(chosen.participant_name, "settings.participant_name")? };
        builder = builder.participant_name(name);
    }
    Ok(builder)
}

fn timestamps(value: i32) -> Result<Option<Timestamps>, i32> {
    match value {
        code::UFR_TIMESTAMPS_UNSET => Ok(None),
        code::UFR_TIMESTAMPS_OFF => Ok(Some(Timestamps::Off)),
        code::UFR_TIMESTAMPS_EVERY => Ok(Some(Timestamps::Every)),
        // Whether it is in range, making the ring says.
        one_in if one_in > 1 => Ok(Some(Timestamps::OneIn(one_in as u32))),
        _ => choice(value, &[], "timestamps"),
    }
}

/// The number of how a side is shared.
pub(crate) fn side_number(sharing: Sharing) -> i32 {
    match sharing {
        Sharing::Shared => code::UFR_SIDE_SHARED,
        Sharing::Exclusive => code::UFR_SIDE_EXCLUSIVE,
    }
}

/// What a ring was made with. The strings, the names of groups, and what is not written in a ring,
/// stay unset.
pub(crate) fn of_ring(settings: &Settings) -> ufr_settings {
    ufr_settings {
        capacity: settings.capacity,
        participants: settings.participants,
        max_message: settings.max_message,
        credit_limit: settings.credit_limit,
        reserves: settings.reserves,
        producer_side: side_number(settings.producer_side),
        consumer_side: side_number(settings.consumer_side),
        timestamps: match settings.timestamps {
            Timestamps::Off => code::UFR_TIMESTAMPS_OFF,
            Timestamps::Every => code::UFR_TIMESTAMPS_EVERY,
            // The largest is 65,536.
            Timestamps::OneIn(n) => n as i32,
        },
        redelivery: match settings.redelivery {
            Redelivery::Redeliver => code::UFR_REDELIVERY_REDELIVER,
            Redelivery::Discard => code::UFR_REDELIVERY_DISCARD,
        },
        // Of a ring that was made with named groups it is not known, and so not chosen.
        joinable: i32::from(settings.groups == ultrafastring::layout::ROOM_FOR_GROUPS),
        lanes: match settings.lanes {
            Lanes::One => code::UFR_LANES_ONE,
            Lanes::ByClass => code::UFR_LANES_BY_CLASS,
            Lanes::ByProducer(lanes) => lanes.into(),
        },
        latency_histograms: settings.latency_histograms.into(),
        capacity_of: settings.class_lanes.map(|lane| lane.capacity),
        credit_limit_of: settings.class_lanes.map(|lane| lane.credit_limit),
        max_message_of: settings.class_lanes.map(|lane| lane.max_message),
        ..NOTHING_CHOSEN
    }
}
