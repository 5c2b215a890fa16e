//! The words of choices, and what differs.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;

fn come_back<T: ToString + FromStr + PartialEq + fmt::Debug + Copy>(choices: &[T]) {
    for choice in choices {
        assert!(choice.to_string().parse::<T>().is_ok_and(|it| it == *choice), "{choice:?}");
    }
    assert!("".parse::<T>().is_err() && "Shared".parse::<T>().is_err());
}

#[test]
fn every_choice_is_read_from_the_word_that_it_is_written_as() {
    come_back(&Side::ALL);
    come_back(&Sharing::ALL);
    come_back(&Redelivery::ALL);
    come_back(&SideMemory::ALL);
    come_back(&[Timestamps::Every, Timestamps::Off, Timestamps::OneIn(16)]);
    assert_eq!("1/16".parse(), Ok(Timestamps::OneIn(16)));
    for wrong in ["16", "1/", "1/-2", "1/x", "2/16"] {
        let error = wrong.parse::<Timestamps>().unwrap_err();
        assert_eq!(error.to_string(), "write every, off, or 1/N");
    }
}

const LANE: ClassLane = ClassLane { capacity: 8, credit_limit: 7, max_message: 40 };

#[test]
fn lanes_are_read_from_the_words_that_they_are_written_as() {
    come_back(&[Lanes::One, Lanes::ByClass, Lanes::ByProducer(1), Lanes::ByProducer(u16::MAX)]);
    for wrong in ["by-producer", "by-producer:", "by-producer:-1", "by-producer:65536", "2"] {
        let error = wrong.parse::<Lanes>().unwrap_err();
        assert_eq!(error.to_string(), "write one, by-class, or by-producer:N");
    }
}

#[test]
fn lanes_of_classes_have_what_was_chosen_for_them_or_for_all() {
    let mut chosen = Choices {
        lanes: Some(Lanes::ByClass),
        capacity: Some(64),
        credit_limit: Some(32),
        max_message: Some(100),
        ..Choices::default()
    };
    chosen.class_lanes[0].capacity = Some(8);
    chosen.class_lanes[1].credit_limit = Some(64);
    chosen.class_lanes[4].max_message = Some(40);
    let settings = chosen.of_new();
    assert_eq!(settings.validate(), Ok(()));
    let told = settings.class_lanes.map(|lane| lane.to_string());
    assert_eq!(told, ["8/8/100", "64/64/100", "64/32/100", "64/32/100", "64/32/40"]);
    let own = settings.of_lane(0);
    assert_eq!((own.capacity, own.credit_limit, own.max_message), (8, 8, 100));
    // Nothing was chosen for the others, so they are not compared.
    let there = Choices { lanes: Some(Lanes::ByClass), ..Choices::default() }.of_new();
    let differences: Vec<_> = there.differences(&chosen.over(&there)).map(|it| it.name()).collect();
    assert_eq!(differences, ["capacity", "max_message", "credit_limit", "class_lanes"]);
    assert_eq!(Choices::all(&settings).of_new(), settings);
}

#[test]
fn lanes_that_no_ring_can_have_are_refused() {
    let settings = |choices: Choices| choices.of_new().validate();
    let with = |lanes| Choices { lanes: Some(lanes), ..Choices::default() };
    assert_eq!(settings(with(Lanes::ByProducer(0))), Err(Invalid::Lanes(0)));
    assert_eq!(settings(with(Lanes::ByProducer(256))), Ok(()));
    assert_eq!(settings(with(Lanes::ByProducer(257))), Err(Invalid::Lanes(257)));
    assert_eq!(with(Lanes::ByProducer(2)).of_new().producer_side, Sharing::Exclusive);
    let shared = Choices { producer_side: Some(Sharing::Shared), ..with(Lanes::ByProducer(2)) };
    assert_eq!(settings(shared), Err(Invalid::SharedLanes));
    let mut reserves = with(Lanes::ByClass);
    reserves.reserves[0] = Some(1);
    assert_eq!(settings(reserves), Err(Invalid::ReservesByClass));
    for lanes in [Lanes::One, Lanes::ByProducer(2)] {
        let mut of_class = with(lanes);
        of_class.class_lanes[1].capacity = Some(8);
        assert_eq!(settings(of_class), Err(Invalid::NoClassLanes));
    }
    let mut odd = with(Lanes::ByClass);
    odd.class_lanes[3].capacity = Some(100);
    assert_eq!(settings(odd), Err(Invalid::Capacity(100)));
    // Whatever there was in a ring that it is to be like.
    let like = Choices { lanes: Some(Lanes::ByClass), ..Choices::all(&Settings::default()) };
    assert_eq!(settings(like), Ok(()));
}

#[test]
fn differences_name_each_setting_that_differs_and_no_other() {
    let other = Settings {
        capacity: 512,
        participants: 3,
        max_message: 100,
        producer_side: Sharing::Exclusive,
        consumer_side: Sharing::Exclusive,
        timestamps: Timestamps::OneIn(8),
        redelivery: Redelivery::Discard,
        groups: 3,
        latency_histograms: true,
        credit_limit: 9,
        reserves: [2, 0, 1, 0, 0],
        lanes: Lanes::ByProducer(7),
        class_lanes: [ClassLane::NONE, ClassLane::NONE, LANE, ClassLane::NONE, LANE],
    };
    let told: Vec<String> =
        Settings::default().differences(&other).map(|it| it.to_string()).collect();
    assert_eq!(
        told,
        [
            "capacity is 256 and not 512",
            "participants is 1024 and not 3",
            "max_message is 40 and not 100",
            "producer_side is shared and not exclusive",
            "consumer_side is shared and not exclusive",
            "timestamps is every and not 1/8",
            "redelivery is redeliver and not discard",
            "groups is 0 and not 3",
            "latency_histograms is off and not on",
            "credit_limit is 256 and not 9",
            "reserves is none and not real-time=2 normal=1",
            "lanes is one and not by-producer:7",
            "class_lanes is none and not normal=8/7/40 bulk=8/7/40",
        ]
    );
    assert_eq!(other.differences(&other).count(), 0);
}
