//! Each error of the library is in the page about troubleshooting, with its message as it is.

use std::io;
use std::path::Path;

use ultrafastring::error::{FileError, Holder};
use ultrafastring::settings::Invalid;
use ultrafastring::{
    Builder, GroupDifferences, Lanes, ParticipantName, RecvError, RingError, SendError,
    SendManyError, Sharing, Side, Timestamps, TrySendError,
};

const PAGE: &str = include_str!("../guide/troubleshooting.md");

/// Whether `text` is as `shown`, where `…` stands for anything.
fn matches(text: &str, shown: &str) -> bool {
    let Some((start, rest)) = shown.split_once('…') else { return text == shown };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).any(|at| text.get(at..).is_some_and(|text| matches(text, rest)))
}

/// The names of an enum's variants, as its source has them.
fn variants(source: &str, of: &str) -> Vec<String> {
    let start = source.find(&format!("pub enum {of} {{")).unwrap();
    let body = &source[start..];
    let lines = body[..body.find("\n}\n").unwrap()].lines();
    let names = lines.filter_map(|line| line.strip_prefix("    "));
    names
        .filter(|line| line.starts_with(|it: char| it.is_ascii_uppercase()))
        .map(|line| line.split(|it: char| !it.is_alphanumeric()).next().unwrap().to_string())
        .collect()
}

/// Fails unless the page has a row for each variant of `of`, and in that row the message of the
/// error that is given for it here.
fn each_is_explained(of: &str, source: &str, errors: &[(&str, String)]) {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/ultrafastring/src").join(source);
    let all = variants(&std::fs::read_to_string(source).unwrap(), of);
    assert!(all.len() >= errors.len() && !errors.is_empty(), "{of}: {all:?}");
    for variant in all {
        if of == "RingError" && ["Invalid", "File"].contains(&&*variant) {
            continue; // tables of their own
        }
        let (_, text) = errors
            .iter()
            .find(|(name, _)| *name == variant)
            .unwrap_or_else(|| panic!("{of}::{variant} is not in this test"));
        let name = format!("`{of}::{variant}`");
        let mut rows = PAGE.lines().filter(|line| line.starts_with("| ") && line.contains(&name));
        let row = rows.find(|row| row.split('|').nth(2).is_some_and(|cell| cell.trim() == name));
        let row = row.unwrap_or_else(|| panic!("the page has no row for {name}"));
        let shown = row.split('|').nth(1).unwrap().split('`').nth(1).unwrap();
        assert!(matches(text, shown), "{name}\nsays:  {text}\nshown: {shown}");
    }
}

#[test]
fn each_reason_why_nothing_is_sent_is_explained() {
    use SendError::*;
    let all = [
        ("TooLarge", TooLarge { size: 41, max: 40 }),
        ("Full", Full),
        ("OutOfCredit", OutOfCredit),
        ("NoSpace", NoSpace),
        ("NoEntry", NoEntry),
        ("HasLanes", HasLanes),
        ("Closed", Closed),
        ("TimedOut", TimedOut),
        ("Deserted", Deserted),
        ("Damaged", Damaged),
    ];
    let all = all.map(|(name, error)| (name, error.to_string()));
    each_is_explained("SendError", "error/send.rs", &all);
    let one = TrySendError { message: (), reason: Full }.to_string();
    let many = SendManyError { sent: 2, reason: Full }.to_string();
    for text in [one, many] {
        let mut shown = PAGE.split('`').skip(1).step_by(2);
        assert!(shown.any(|shown| matches(&text, shown)), "{text}");
    }
}

#[test]
fn each_reason_why_nothing_is_received_is_explained() {
    use RecvError::*;
    let all = [
        ("Empty", Empty),
        ("BufferTooSmall", BufferTooSmall { needed: 41, available: 40 }),
        ("WrongSize", WrongSize { size: 8, expected: 4 }),
        ("OutOfMemory", OutOfMemory { bytes: 50 }),
        ("NoEntry", NoEntry),
        ("HasLanes", HasLanes),
        ("Closed", Closed),
        ("TimedOut", TimedOut),
        ("Deserted", Deserted),
        ("Evicted", Evicted { missed: 3 }),
        ("Overrun", Overrun { missed: 3 }),
        ("NotInPlace", NotInPlace),
        ("Damaged", Damaged),
    ];
    each_is_explained("RecvError", "error/recv.rs", &all.map(|(name, it)| (name, it.to_string())));
}

/// How a group is otherwise than somebody wants it.
fn group_that_differs() -> GroupDifferences {
    let ring = Builder::new().groups(["risk"]).heap().unwrap();
    match ring.join("risk").passing().consumer() {
        Err(RingError::GroupDiffers { differences, .. }) => differences,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_reason_why_a_ring_cannot_be_had_is_explained() {
    use RingError::*;
    let holder = Some(Holder { pid: 12, name: ParticipantName::default() });
    let differences = Builder::new().capacity(8).differences(&Builder::new().settings());
    let path = || "/dev/shm/ufr-orders".into();
    let name = || ParticipantName::new("risk");
    let group = group_that_differs();
    let all = [
        ("OutOfMemory", OutOfMemory { bytes: 50 }),
        ("SideTaken", SideTaken { side: Side::Producer, holder }),
        ("WrongSharing", WrongSharing { side: Side::Producer, actual: Sharing::Shared }),
        ("HasLanes", HasLanes),
        ("NoFreeLane", NoFreeLane { lanes: 2, owners: holder.into_iter().collect() }),
        ("NoTimeOrder", NoTimeOrder { lanes: Lanes::One, timestamps: Timestamps::Every }),
        ("NoClassLanes", NoClassLanes { lanes: Lanes::One }),
        ("Closed", Closed),
        ("NotMadeForGroups", NotMadeForGroups),
        ("MadeForGroups", MadeForGroups),
        ("NoSuchGroup", NoSuchGroup { name: name() }),
        ("GroupDiffers", GroupDiffers { name: name(), differences: group }),
        ("TooManyGroups", TooManyGroups { most: 16 }),
        ("GroupTaken", GroupTaken { name: name() }),
        ("GroupInUse", GroupInUse { name: name() }),
        ("Busy", Busy { name: name() }),
        ("TableFull", TableFull { participants: 8 }),
        ("BadName", BadName { name: "a/b".into() }),
        ("SettingsDiffer", SettingsDiffer { path: path(), differences }),
        ("ForeignPeer", ForeignPeer { pid: 12, uid: 1000 }),
        ("NotHandedOver", NotHandedOver { reason: "no file came with it" }),
        ("NoMemoryFile", NoMemoryFile),
    ];
    each_is_explained("RingError", "error/ring.rs", &all.map(|(name, it)| (name, it.to_string())));
}

#[test]
fn each_number_out_of_range_is_explained() {
    use Invalid::*;
    let all = [
        ("Capacity", Capacity(3)),
        ("Participants", Participants(0)),
        ("CreditLimit", CreditLimit { limit: 0, capacity: 8 }),
        ("Reserves", Reserves { reserved: 8, limit: 8 }),
        ("Timestamps", Timestamps(3)),
        ("NoLatencies", NoLatencies),
        ("Groups", Groups(57)),
        ("ExclusiveGroups", ExclusiveGroups),
        ("GroupName", GroupName),
        ("MaxMessage", MaxMessage(1 << 60)),
        ("Lanes", Lanes(0)),
        ("SharedLanes", SharedLanes),
        ("NoClassLanes", NoClassLanes),
        ("ReservesByClass", ReservesByClass),
        ("SegmentSize", SegmentSize { bytes: 1 << 60 }),
    ];
    let all = all.map(|(name, error)| (name, RingError::from(error).to_string()));
    each_is_explained("Invalid", "settings/invalid.rs", &all);
}

#[test]
fn all_that_can_be_wrong_with_a_file_is_explained() {
    use FileError::*;
    let lock_file = "/dev/shm/.ufr-orders.lock".into();
    let all = [
        ("NameTaken", NameTaken),
        ("NoSuchRing", NoSuchRing),
        ("PermissionDenied", PermissionDenied),
        ("ForeignOwner", ForeignOwner { uid: 1000 }),
        ("LooseMode", LooseMode { mode: 0o666 }),
        ("NoDirectory", NoDirectory),
        ("NoDescriptors", NoDescriptors),
        ("NoLocks", NoLocks),
        ("BeingRemoved", BeingRemoved),
        ("BadLockFile", BadLockFile { lock_file, reason: "is missing" }),
        ("LooseDirectory", LooseDirectory),
        ("FileSizeLimit", FileSizeLimit { bytes: 50, limit: 40 }),
        ("ForeignDescriptor", ForeignDescriptor),
        ("LayoutVersion", LayoutVersion { found: 1 }),
        ("UnknownFeatures", UnknownFeatures { features: 2 }),
        ("Forked", Forked),
        ("NotARing", NotARing { reason: "it is a directory" }),
        ("NoSpace", NoSpace { bytes: 50 }),
        ("Io", Io { action: "open", reason: io::Error::from_raw_os_error(22) }),
    ];
    let of_file = |kind| RingError::File { path: "/dev/shm/ufr-orders".into(), kind }.to_string();
    each_is_explained("FileError", "error/file.rs", &all.map(|(name, kind)| (name, of_file(kind))));
}

#[test]
fn a_message_that_is_shown_otherwise_is_noticed() {
    assert!(matches("the ring is full", "the … is full"));
    assert!(!matches("the ring is full; go away", "the … is full"));
    let source =
        "pub enum Some {\n    /// One.\n    One,\n    Two {\n        Three: u8,\n    },\n}\n";
    assert_eq!(variants(source, "Some"), ["One", "Two"]);
}
