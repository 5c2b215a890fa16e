//! What is told of rings in each state, and that it is text that can be read.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use ultrafastring::{Builder, PriorityClass, RingError, UltraFastRing};
use ultrafastring_metrics::{Format, Look, Rings, Snapshot};

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn text_of(directory: &tempfile::TempDir) -> String {
    let rings = Rings::of(Builder::new().directory(directory.path()));
    Snapshot::of(&rings).unwrap().text(Format::Prometheus)
}

/// Fails unless `text` has each of these lines once.
#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert_eq!(text.lines().filter(|it| it == line).count(), 1, "{line}\nin:\n{text}");
    }
}

/// The series of a text: samples without their values.
fn series(text: &str) -> Vec<&str> {
    let samples = text.lines().filter(|it| !it.starts_with('#'));
    samples.map(|it| it.rsplit_once(' ').unwrap().0).collect()
}

#[test]
fn a_ring_is_told_by_class_with_what_it_holds_and_who_is_there() {
    let place = directory();
    let ring = Builder::new().directory(place.path()).capacity(64).create("orders").unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for _ in 0..3 {
        producer.send(b"1234567890", PriorityClass::High).unwrap();
    }
    producer.send(b"12", PriorityClass::Bulk).unwrap();
    for _ in 0..2 {
        consumer.recv().unwrap();
    }
    producer.flush();
    consumer.flush();
    let text = text_of(&place);
    assert!(text.contains("\nufr_depth_highest_slots{ring=\"orders\"} "), "{text}");
    has(
        &text,
        &[
            "# TYPE ufr_messages_sent_total counter",
            "ufr_messages_sent_total{ring=\"orders\",class=\"high\"} 3",
            "ufr_messages_sent_total{ring=\"orders\",class=\"bulk\"} 1",
            "ufr_messages_sent_total{ring=\"orders\",class=\"normal\"} 0",
            "ufr_messages_received_total{ring=\"orders\",class=\"high\"} 2",
            "ufr_bytes_sent_total{ring=\"orders\",class=\"high\"} 30",
            "ufr_bytes_received_total{ring=\"orders\",class=\"high\"} 20",
            "ufr_depth_slots{ring=\"orders\"} 2",
            "ufr_capacity_slots{ring=\"orders\"} 64",
            "ufr_credit_spent_messages{ring=\"orders\"} 2",
            "ufr_credit_limit_messages{ring=\"orders\"} 64",
            "ufr_full_lanes{ring=\"orders\"} 0",
            "ufr_credit_stalls_total{ring=\"orders\"} 0",
            "ufr_credit_stall_seconds_total{ring=\"orders\"} 0",
            "ufr_sleeps_total{ring=\"orders\",side=\"consumer\"} 0",
            "ufr_wakeups_total{ring=\"orders\",side=\"consumer\"} 0",
            "ufr_recoveries_total{ring=\"orders\"} 0",
            "ufr_redelivered_messages_total{ring=\"orders\"} 0",
            "ufr_abandoned_messages_total{ring=\"orders\"} 0",
            "ufr_discarded_messages_total{ring=\"orders\"} 0",
            "ufr_late_messages_total{ring=\"orders\"} 0",
            "ufr_participants{ring=\"orders\",side=\"producer\",state=\"alive\"} 1",
            "ufr_participants{ring=\"orders\",side=\"consumer\",state=\"alive\"} 1",
            "ufr_participants{ring=\"orders\",side=\"consumer\",state=\"dead\"} 0",
            "ufr_ring_up{ring=\"orders\"} 1",
            "ufr_rings{state=\"up\"} 1",
            "ufr_rings{state=\"down\"} 0",
        ],
    );
}

#[test]
fn latencies_are_told_in_sixteen_buckets_that_count_all() {
    let ring = UltraFastRing::builder().latency_histograms(true).heap().unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for _ in 0..100 {
        producer.send(b"!", PriorityClass::RealTime).unwrap();
        consumer.recv().unwrap();
    }
    std::thread::sleep(Duration::from_millis(4));
    producer.send(b"!", PriorityClass::RealTime).unwrap();
    std::thread::sleep(Duration::from_millis(4));
    consumer.recv().unwrap();
    consumer.flush();
    let text = Snapshot::of_open([("heap", &*ring)]).text(Format::OpenMetrics);
    has(&text, &["# TYPE ufr_message_latency_seconds histogram"]);
    has(&text, &["# UNIT ufr_message_latency_seconds seconds"]);
    let values = |part: &str| -> Vec<f64> {
        let begin =
            format!("ufr_message_latency_seconds_{part}{{ring=\"heap\",class=\"real-time\"");
        let lines = text.lines().filter(|it| it.starts_with(&begin));
        lines.map(|it| it.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
    };
    let buckets = values("bucket");
    assert_eq!((buckets.len(), buckets[15]), (16, 101.0), "{text}");
    assert!(buckets.is_sorted(), "{text}");
    // The one that waited took more than 3 ms, and less than ten seconds.
    assert!(buckets[9] < 101.0 && buckets[14] == 101.0, "{text}");
    assert_eq!(values("count"), [101.0]);
    assert!((0.004..10.0).contains(&values("sum")[0]), "{text}");
    assert!(!text.contains("_bucket{ring=\"heap\",class=\"bulk\""), "nothing came in that class");
    let plain = UltraFastRing::new(8);
    let text = Snapshot::of_open([("plain", &*plain)]).text(Format::OpenMetrics);
    assert!(!text.contains("_bucket"), "{text}");
}

#[test]
fn each_lane_is_told_with_what_it_holds_and_one_that_is_full() {
    use ultrafastring::Lanes;
    let builder = UltraFastRing::builder().lanes(Lanes::ByClass).capacity(2);
    let ring = builder.heap().unwrap();
    let mut producer = ring.producer().unwrap();
    (0..2).for_each(|_| producer.try_send(b"!", PriorityClass::Bulk).unwrap());
    producer.try_send(b"!", PriorityClass::High).unwrap();
    let text = Snapshot::of_open([("lanes", &*ring)]).text(Format::Prometheus);
    has(
        &text,
        &[
            "ufr_full_lanes{ring=\"lanes\"} 1",
            "ufr_depth_slots{ring=\"lanes\",lane=\"bulk\"} 2",
            "ufr_depth_slots{ring=\"lanes\",lane=\"high\"} 1",
            "ufr_depth_slots{ring=\"lanes\",lane=\"low\"} 0",
            "ufr_capacity_slots{ring=\"lanes\",lane=\"real-time\"} 2",
            "ufr_credit_spent_messages{ring=\"lanes\",lane=\"bulk\"} 2",
            "ufr_credit_limit_messages{ring=\"lanes\",lane=\"bulk\"} 2",
            "ufr_credit_stalls_total{ring=\"lanes\",lane=\"bulk\"} 0",
            "ufr_credit_stall_seconds_total{ring=\"lanes\",lane=\"bulk\"} 0",
            "ufr_depth_highest_slots{ring=\"lanes\",lane=\"bulk\"} 2",
        ],
    );
}

#[test]
fn of_many_lanes_the_first_are_told_apart_and_the_others_together() {
    use ultrafastring::Lanes;
    let ring = UltraFastRing::builder().lanes(Lanes::ByProducer(40)).capacity(2).heap().unwrap();
    let mut producers: Vec<_> = (0..40).map(|_| ring.producer().unwrap()).collect();
    producers.iter_mut().for_each(|it| it.try_send(b"!", PriorityClass::Normal).unwrap());
    producers[39].try_send(b"!", PriorityClass::Normal).unwrap();
    let text = Snapshot::of_open([("lanes", &*ring)]).text(Format::Prometheus);
    has(
        &text,
        &[
            "ufr_depth_slots{ring=\"lanes\",lane=\"0\"} 1",
            "ufr_depth_slots{ring=\"lanes\",lane=\"31\"} 1",
            "ufr_depth_slots{ring=\"lanes\",lane=\"others\"} 9",
            "ufr_capacity_slots{ring=\"lanes\",lane=\"others\"} 16",
            "ufr_full_lanes{ring=\"lanes\"} 1",
        ],
    );
    assert_eq!(series(&text).iter().filter(|it| it.starts_with("ufr_depth_slots{")).count(), 33);
}

#[test]
fn groups_are_told_with_how_far_they_are_behind() {
    let place = directory();
    let builder = Builder::new().directory(place.path()).groups(["risk", "log"]);
    let ring = builder.create("prices").unwrap();
    ring.try_send("AAPL 101", PriorityClass::Normal).unwrap();
    ring.join("risk").consumer().unwrap().try_recv().unwrap();
    let text = text_of(&place);
    assert!(!text.contains("ufr_group_latency_seconds_bucket"), "{text}");
    has(
        &text,
        &[
            "# TYPE ufr_group_received_messages_total counter",
            "ufr_group_received_messages_total{ring=\"prices\",group=\"risk\"} 1",
            "ufr_group_received_messages_total{ring=\"prices\",group=\"log\"} 0",
            "ufr_group_lag_messages{ring=\"prices\",group=\"risk\"} 0",
            "ufr_group_lag_messages{ring=\"prices\",group=\"log\"} 1",
            "ufr_group_open{ring=\"prices\",group=\"log\"} 1",
            "ufr_group_members{ring=\"prices\",group=\"log\"} 0",
            "ufr_group_evictions_total{ring=\"prices\",group=\"log\"} 0",
            "ufr_missed_messages_total{ring=\"prices\",group=\"log\"} 0",
        ],
    );
}

#[test]
fn latencies_are_told_of_each_group_that_has_received_something() {
    let builder = UltraFastRing::builder().groups(["risk", "log", "none"]);
    let ring = builder.latency_histograms(true).heap().unwrap();
    let mut producer = ring.producer().unwrap();
    producer.send(b"!", PriorityClass::High).unwrap();
    producer.send(b"!", PriorityClass::Low).unwrap();
    for (group, count) in [("risk", 2), ("log", 1)] {
        let mut member = ring.join(group).consumer().unwrap();
        for _ in 0..count {
            member.try_recv().unwrap();
        }
    }
    let text = Snapshot::of_open([("prices", &*ring)]).text(Format::OpenMetrics);
    has(
        &text,
        &[
            "# TYPE ufr_group_latency_seconds histogram",
            "ufr_group_latency_seconds_count{ring=\"prices\",group=\"risk\"} 2",
            "ufr_group_latency_seconds_count{ring=\"prices\",group=\"log\"} 1",
            "ufr_group_latency_seconds_bucket{ring=\"prices\",group=\"log\",le=\"+Inf\"} 1",
        ],
    );
    assert!(!text.contains("ufr_group_latency_seconds_count{ring=\"prices\",group=\"none\""));
}

#[test]
fn a_hostile_name_stays_within_its_label() {
    let place = directory();
    let name = "a\"} 1\\";
    Builder::new().directory(place.path()).create(name).unwrap();
    let text = text_of(&place);
    has(&text, &["ufr_ring_up{ring=\"a\\\"} 1\\\\\"} 1"]);
    // A line cannot be begun by a name, which is not even listed then.
    fs::write(place.path().join("ufr-b\nufr_ring_up 1"), "").unwrap();
    assert_eq!(text_of(&place).lines().filter(|it| it.starts_with("ufr_ring_up")).count(), 1);
}

#[test]
fn rings_that_cannot_be_looked_into_are_reported_and_others_are_told() {
    ultrafastring::survive_truncation().unwrap();
    let place = directory();
    let builder = Builder::new().directory(place.path());
    let path = |name| builder.path(name).unwrap();
    builder.create("good").unwrap();
    for name in ["cut", "garbage"] {
        builder.create(name).unwrap();
    }
    fs::File::options().write(true).open(path("cut")).unwrap().set_len(100).unwrap();
    fs::write(path("garbage"), vec![0xAA; 8192]).unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::create_dir(path("folder")).unwrap();
    symlink(path("good"), path("link")).unwrap();
    let text = text_of(&place);
    has(&text, &["ufr_ring_up{ring=\"good\"} 1", "ufr_rings{state=\"down\"} 5"]);
    for name in ["cut", "garbage", "empty", "folder", "link"] {
        has(&text, &[&format!("ufr_ring_up{{ring=\"{name}\"}} 0")]);
    }
    let rings = Rings::of(builder);
    let snapshot = Snapshot::of(&rings).unwrap();
    let down: Vec<_> = snapshot.down().map(|(name, _)| name).collect();
    assert_eq!(down, ["cut", "empty", "folder", "garbage", "link"]);
    assert!(snapshot.down().all(|(_, why)| !why.is_empty()));
}

#[test]
fn a_ring_that_is_cut_short_while_it_is_looked_at_is_reported() {
    ultrafastring::survive_truncation().unwrap();
    let place = directory();
    let ring = Builder::new().directory(place.path()).create("cut").unwrap();
    let file = fs::File::options().write(true).open(ring.path().unwrap()).unwrap();
    file.set_len(0).unwrap();
    let text = Snapshot::of_open([("cut", &*ring)]).text(Format::Prometheus);
    has(&text, &["ufr_ring_up{ring=\"cut\"} 0", "ufr_rings{state=\"down\"} 1"]);
    assert!(!text.contains("ufr_depth_slots{"), "{text}");
}

#[test]
fn rings_that_others_may_write_to_are_counted_and_not_opened() {
    use std::os::unix::fs::PermissionsExt;
    let place = directory();
    let builder = Builder::new().directory(place.path());
    builder.create("loose").unwrap();
    let path = builder.path("loose").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    let text = text_of(&place);
    has(&text, &["ufr_rings{state=\"untrusted\"} 1"]);
    assert!(!text.contains("loose"), "{text}");
}

#[test]
fn number_and_time_are_bounded_and_what_is_left_out_is_said() {
    let place = directory();
    let builder = Builder::new().directory(place.path());
    for index in 0..5 {
        builder.create(&format!("ring-{index}")).unwrap();
    }
    let mut names = Vec::new();
    let rings = Rings::of(builder.clone()).most(3);
    let left_out = rings.each(|name, look| {
        assert!(matches!(look, Look::Ring(_)));
        names.push(name.to_string());
    });
    assert_eq!(
        (left_out.unwrap(), &names[..]),
        (2, &["ring-0", "ring-1", "ring-2"].map(String::from)[..])
    );
    let text = Snapshot::of(&rings).unwrap().text(Format::Prometheus);
    has(&text, &["ufr_rings{state=\"up\"} 3", "ufr_rings{state=\"left_out\"} 2"]);
    let rings = Rings::of(builder).within(Duration::ZERO);
    assert_eq!(rings.each(|_, _| panic!("no time is left")).unwrap(), 5);
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let rings = Rings::of(Builder::new().directory("/nowhere/at/all"));
    assert!(matches!(Snapshot::of(&rings), Err(RingError::File { .. })));
}

#[test]
fn no_series_comes_twice_whatever_is_in_a_ring() {
    // Of two rings of one name the first is told, and of two groups as well.
    let (one, two) = (UltraFastRing::new(8), UltraFastRing::new(16));
    let snapshot = Snapshot::of_open([("same", &*one), ("same", &*two)]);
    let text = snapshot.text(Format::Prometheus);
    has(&text, &["ufr_capacity_slots{ring=\"same\"} 8"]);
    let place = directory();
    let builder = Builder::new().directory(place.path()).groups(["twin-a", "twin-b"]);
    let ring = builder.create("ring").unwrap();
    let path = ring.path().unwrap().to_path_buf();
    let mut bytes = fs::read(&path).unwrap();
    let at: Vec<_> = (0..bytes.len() - 6).filter(|&at| &bytes[at..at + 6] == b"twin-b").collect();
    assert!(!at.is_empty());
    for at in at {
        bytes[at + 5] = b'a';
    }
    let file = fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    let text = text_of(&place);
    has(&text, &["ufr_group_lag_messages{ring=\"ring\",group=\"twin-a\"} 0"]);
    for text in [&text, &Snapshot::of_open([("ring", &*ring)]).text(Format::OpenMetrics)] {
        let all = series(text);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{text}");
    }
}
