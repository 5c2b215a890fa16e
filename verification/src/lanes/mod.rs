//! Rings of several lanes: what is new in them.
//!
//! A handle of such a ring is made of ordinary handles of one lane each, so the protocol of one
//! lane is that of the other two models. These are small models of what is between the lanes:
//!
//! | file | is |
//! |---|---|
//! | [`sleep`] | one sleep for all lanes |
//! | [`class`] | lanes by class: what a receive returns, and the dead in an urgent lane |
//! | [`group`] | groups with a cursor in each lane and one gate: opening, joining, closing, eviction |
//! | [`owner`] | lanes by producer: owners that die with a reservation, and their successors |
//! | [`close`] | the end of a stream, and desertion, where each lane has its own |
//! | [`time`] | lanes by producer in time order: what is taken, and what is slept for |
//!
//! README.md says what they leave out.

pub mod class;
pub mod close;
pub mod group;
pub mod owner;
pub mod sleep;
pub mod time;

use std::fmt;

use crate::explore::{Model, Step};
use crate::suite::{Case, Mistake, Size};

/// No position, nobody. Greater than every position.
pub const NONE: u8 = 15;

/// Words of a packed state.
const WORDS: usize = 4;

/// All fields of a state, each with the bits that it takes, in one order.
pub trait Fields: Copy + fmt::Debug + PartialEq {
    /// Shows each field to `visit`, which may change it.
    fn each(&mut self, visit: &mut impl FnMut(&mut u8, usize));
}

/// A model whose states are packed field by field.
pub trait Small: Copy + fmt::Display {
    /// Everything that a state of the world is made of.
    type State: Fields;
    /// A mistake that can be made.
    type Mutation: Copy + fmt::Debug + PartialEq;

    /// Where everything begins.
    fn begin(&self) -> Self::State;

    /// All steps from a state.
    fn steps_from(&self, turn: &mut Turn<'_, Self::State>);

    /// The same state with other names, if there are participants whom only their names tell apart.
    fn renamed(&self, state: &Self::State) -> Option<Self::State>;

    /// The promise that was broken.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;

    /// Whether all is done.
    fn is_over(&self, state: &Self::State) -> bool;

    /// A state in a line, for traces.
    fn show(&self, state: &Self::State) -> String {
        format!("{state:?}")
    }

    /// The same with a mistake, or without.
    fn with(self, mutation: Option<Self::Mutation>) -> Self;
}

/// The steps from a state, as they are found.
pub struct Turn<'a, S> {
    /// The state.
    pub before: &'a S,
    steps: &'a mut Vec<Step<S>>,
    who: usize,
}

impl<S: Fields> Turn<'_, S> {
    /// Whose turn it is from now on.
    fn of(&mut self, who: usize) {
        self.who = who;
    }

    /// Adds a step.
    fn step(&mut self, what: &'static str, change: impl FnOnce(&mut S)) {
        let mut after = *self.before;
        change(&mut after);
        // A step that changes nothing is none.
        if after != *self.before {
            self.steps.push(Step { who: self.who, what, after });
        }
    }
}

impl<M: Small> Model for M {
    type State = M::State;
    type Packed = [u64; WORDS];
    type Violation = &'static str;

    fn initial(&self) -> M::State {
        let mut bits = 0;
        self.begin().each(&mut |_, width| bits += width);
        assert!(bits <= 64 * WORDS, "a state does not fit {WORDS} words: {bits} bits");
        self.begin()
    }

    fn steps(&self, state: &M::State, steps: &mut Vec<Step<M::State>>) {
        steps.clear();
        if self.broken(state).is_none() {
            self.steps_from(&mut Turn { before: state, steps, who: 0 });
        }
    }

    fn canonical(&self, state: &M::State) -> [u64; WORDS] {
        let packed = pack(*state);
        self.renamed(state).map_or(packed, |other| packed.min(pack(other)))
    }

    fn unpack(&self, packed: [u64; WORDS]) -> M::State {
        let (mut state, mut at) = (self.begin(), 0);
        state.each(&mut |field, width| {
            let (word, shift) = (at / 64, at % 64);
            let mut value = packed[word] >> shift;
            if shift + width > 64 {
                value |= packed[word + 1] << (64 - shift);
            }
            *field = value as u8 & ((1 << width) - 1);
            at += width;
        });
        state
    }

    fn violation(&self, state: &M::State) -> Option<&'static str> {
        self.broken(state)
    }

    fn promise(violation: &'static str) -> &'static str {
        violation
    }

    fn is_done(&self, state: &M::State) -> bool {
        self.is_over(state)
    }

    fn describe(&self, step: &Step<M::State>) -> String {
        format!("{} {:<48} {}", step.who, step.what, self.show(&step.after))
    }
}

fn pack<S: Fields>(mut state: S) -> [u64; WORDS] {
    let (mut words, mut at) = ([0; WORDS], 0);
    state.each(&mut |field, width| {
        debug_assert!(u16::from(*field) < 1 << width, "{field} does not fit {width} bits");
        let (word, shift) = (at / 64, at % 64);
        words[word] |= u64::from(*field) << shift;
        if shift + width > 64 {
            words[word + 1] |= u64::from(*field) >> (64 - shift);
        }
        at += width;
    });
    words
}

/// The cases of a model, those that take long last.
fn cases<P>(small: Vec<P>, quick: Vec<P>, full: Vec<P>) -> Vec<Case<P>> {
    [(Size::Small, small), (Size::Quick, quick), (Size::Full, full)]
        .into_iter()
        .flat_map(|(size, all)| all.into_iter().map(move |protocol| Case { protocol, size }))
        .collect()
}

/// The mistakes of a model, each where it must be found.
fn mistakes<M: Small>(
    all: impl IntoIterator<Item = (M::Mutation, M)>,
) -> Vec<Mistake<M::Mutation, M>> {
    let made = |(mutation, protocol): (_, M)| Mistake {
        mutation,
        protocol: protocol.with(Some(mutation)),
    };
    all.into_iter().map(made).collect()
}

/// An enumeration whose values are the bits of a field.
macro_rules! places {
    ($(#[$outer:meta])* pub enum $name:ident { $($(#[$inner:meta])* $place:ident,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$inner])* $place,)* }

        impl $name {
            const ALL: &[$name] = &[$($name::$place),*];

            /// Shows its code to `visit`, which may change it.
            fn visit(&mut self, visit: &mut impl FnMut(&mut u8, usize), width: usize) {
                let mut code = *self as u8;
                visit(&mut code, width);
                *self = $name::ALL[usize::from(code)];
            }
        }
    };
}
use places;
