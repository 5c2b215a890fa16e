//! Giving back the memory of side buffers, of which others may believe that it is there.
//!
//! Two processes have a producer and a consumer each, of a ring whose sides are shared. Each slot
//! has a buffer, and there is memory for one of them. A process notes of a buffer that it has
//! memory, together with how often memory was given back by then. Whoever touches a buffer without
//! memory is ended by a signal, in the worst case: where nothing is left.
//!
//! | step | of |
//! |---|---|
//! | claim ── read the count ── note of this count? else take the memory, and note it ── write, commit | a producer |
//! | abandon ── claim the next ── raise the count ── give back its memory ── abandon ── … | one that found none |
//! | see a message ── read the count ── note? else take the memory, and note it ── claim ── read, release | a consumer |

use stateright::{Checker, HasDiscoveries, Model, Property};

/// As many buffers as slots.
const SLOTS: usize = 2;
const MEMORY: usize = 1;
const LAST: u8 = 5;
const PROCESSES: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mistake {
    None,
    /// The count is never raised.
    NoCount,
    /// It is raised once the memory is gone.
    CountLate,
    /// Memory of free slots is given back without a claim.
    Unclaimed,
    /// Producers and consumers of a process have their notes together.
    SharedNotes,
    /// What may be released meanwhile is copied from the buffer itself.
    CopyTouches,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    Free,
    Committed(u8),
    Abandoned(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Make {
    Idle,
    Claimed(u8),
    Counted(u8, u8),
    Taken(u8, u8),
    Write(u8),
    Commit(u8),
    /// It found no memory, and has abandoned what it had claimed.
    InNeed,
    /// It has claimed this to give back its memory.
    Raise(u8),
    GiveBack(u8),
    /// Only with a mistake: the count is raised afterwards.
    RaiseLate(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Use {
    Idle,
    Seen(u8),
    Counted(u8, u8),
    Taken(u8, u8),
    Claim(u8),
    Read(u8),
    Release(u8),
    /// Copies without a claim what may be released meanwhile.
    Copy(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ring {
    slots: [Slot; SLOTS],
    memory: [bool; SLOTS],
    count: u8,
    producer_head: u8,
    consumer_head: u8,
    tail: u8,
    makes: [Make; PROCESSES],
    uses: [Use; PROCESSES],
    /// The count under which memory was seen.
    written: [[Option<u8>; SLOTS]; PROCESSES],
    read: [[Option<u8>; SLOTS]; PROCESSES],
    deaths_left: u8,
    signalled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Make(usize),
    /// One that has found memory where it looked uses that.
    UseIt(usize),
    Use(usize),
    Copy(usize),
    Die(usize),
}

#[derive(Clone, Copy)]
struct Memory(Mistake);

fn slot(position: u8) -> usize {
    position as usize % SLOTS
}

impl Ring {
    fn take_memory(&mut self, position: u8) -> bool {
        let used = self.memory.iter().filter(|&&it| it).count();
        let there = self.memory[slot(position)] || used < MEMORY;
        self.memory[slot(position)] = there;
        there
    }

    fn touch(&mut self, position: u8) {
        self.signalled |= !self.memory[slot(position)];
    }

    fn may_claim(&self) -> bool {
        self.producer_head < LAST && self.producer_head < self.tail + SLOTS as u8
    }

    fn claim(&mut self) -> u8 {
        self.producer_head += 1;
        self.producer_head - 1
    }

    fn abandon(&mut self, position: u8) {
        self.slots[slot(position)] = Slot::Abandoned(position);
    }
}

impl Memory {
    fn make(&self, ring: &mut Ring, who: usize) {
        ring.makes[who] = match ring.makes[who] {
            Make::Idle => Make::Claimed(ring.claim()),
            Make::Claimed(position) => Make::Counted(position, ring.count),
            Make::Counted(position, count) => {
                if ring.written[who][slot(position)] == Some(count) {
                    Make::Write(position)
                } else if ring.take_memory(position) {
                    Make::Taken(position, count)
                } else {
                    ring.abandon(position);
                    Make::InNeed
                }
            }
            Make::Taken(position, count) => {
                ring.written[who][slot(position)] = Some(count);
                Make::Write(position)
            }
            Make::Write(position) => {
                ring.touch(position);
                Make::Commit(position)
            }
            Make::Commit(position) => {
                ring.slots[slot(position)] = Slot::Committed(position);
                Make::Idle
            }
            Make::InNeed if self.0 == Mistake::Unclaimed => Make::Raise(ring.producer_head),
            Make::InNeed => Make::Raise(ring.claim()),
            Make::Raise(position) => {
                if !matches!(self.0, Mistake::NoCount | Mistake::CountLate) {
                    ring.count += 1;
                }
                Make::GiveBack(position)
            }
            Make::GiveBack(position) => {
                ring.memory[slot(position)] = false;
                match self.0 {
                    Mistake::CountLate => Make::RaiseLate(position),
                    Mistake::Unclaimed => Make::Idle,
                    _ => self.given_back(ring, position),
                }
            }
            Make::RaiseLate(position) => {
                ring.count += 1;
                self.given_back(ring, position)
            }
        };
    }

    fn given_back(&self, ring: &mut Ring, position: u8) -> Make {
        ring.abandon(position);
        Make::Idle
    }

    fn consume(&self, ring: &mut Ring, who: usize) {
        let shared = self.0 == Mistake::SharedNotes;
        let noted = if shared { ring.written[who] } else { ring.read[who] };
        let doing = ring.uses[who];
        ring.uses[who] = match doing {
            Use::Idle => {
                let position = ring.consumer_head;
                if ring.slots[slot(position)] == Slot::Abandoned(position) {
                    ring.consumer_head += 1;
                    ring.tail += 1;
                    Use::Idle
                } else {
                    Use::Seen(position)
                }
            }
            Use::Seen(position) => Use::Counted(position, ring.count),
            Use::Counted(position, count) if noted[slot(position)] == Some(count) => {
                Use::Claim(position)
            }
            Use::Counted(position, count) if ring.take_memory(position) => {
                Use::Taken(position, count)
            }
            // It was another's by then.
            Use::Counted(..) => Use::Idle,
            Use::Taken(position, count) => {
                let notes = if shared { &mut ring.written } else { &mut ring.read };
                notes[who][slot(position)] = Some(count);
                Use::Claim(position)
            }
            Use::Claim(position) if ring.consumer_head == position => {
                ring.consumer_head += 1;
                Use::Read(position)
            }
            Use::Claim(_) => Use::Idle,
            Use::Read(position) => {
                ring.touch(position);
                Use::Release(position)
            }
            Use::Release(_) => {
                ring.tail += 1;
                Use::Idle
            }
            Use::Copy(position) => {
                if self.0 == Mistake::CopyTouches {
                    ring.touch(position);
                }
                Use::Idle
            }
        };
    }
}

impl Model for Memory {
    type State = Ring;
    type Action = Act;

    fn init_states(&self) -> Vec<Ring> {
        vec![Ring {
            slots: [Slot::Free; SLOTS],
            memory: [false; SLOTS],
            count: 0,
            producer_head: 0,
            consumer_head: 0,
            tail: 0,
            makes: [Make::Idle; PROCESSES],
            uses: [Use::Idle; PROCESSES],
            written: [[None; SLOTS]; PROCESSES],
            read: [[None; SLOTS]; PROCESSES],
            deaths_left: 1,
            signalled: false,
        }]
    }

    fn actions(&self, ring: &Ring, actions: &mut Vec<Act>) {
        for who in 0..PROCESSES {
            match ring.makes[who] {
                Make::Idle | Make::InNeed if !ring.may_claim() => {}
                Make::Raise(_) if self.0 != Mistake::Unclaimed => {
                    actions.extend([Act::Make(who), Act::UseIt(who)]);
                }
                _ => actions.push(Act::Make(who)),
            }
            let next = ring.consumer_head;
            let there =
                [Slot::Committed(next), Slot::Abandoned(next)].contains(&ring.slots[slot(next)]);
            // An abandoned slot is passed and released in one step: not over one that is held.
            let held = ring.consumer_head != ring.tail;
            match ring.uses[who] {
                Use::Idle if there && !held => actions.extend([Act::Use(who), Act::Copy(who)]),
                Use::Idle => {}
                // Another has it, and releases first.
                Use::Release(position) if position != ring.tail => {}
                _ => actions.push(Act::Use(who)),
            }
            if ring.deaths_left != 0 {
                actions.push(Act::Die(who));
            }
        }
    }

    fn next_state(&self, before: &Ring, act: Act) -> Option<Ring> {
        let mut ring = before.clone();
        match act {
            Act::Make(who) => self.make(&mut ring, who),
            Act::UseIt(who) => {
                if let Make::Raise(position) = ring.makes[who] {
                    ring.makes[who] = Make::Claimed(position);
                }
            }
            Act::Use(who) => self.consume(&mut ring, who),
            Act::Copy(who) => ring.uses[who] = Use::Copy(ring.consumer_head),
            Act::Die(who) => {
                ring.deaths_left -= 1;
                match ring.makes[who] {
                    Make::Idle | Make::InNeed => {}
                    Make::Claimed(position)
                    | Make::Counted(position, _)
                    | Make::Taken(position, _)
                    | Make::Write(position)
                    | Make::Commit(position)
                    | Make::Raise(position)
                    | Make::GiveBack(position)
                    | Make::RaiseLate(position) => {
                        if self.0 != Mistake::Unclaimed || position < ring.producer_head {
                            // By who is blocked by it.
                            ring.abandon(position);
                        }
                    }
                }
                if let Use::Read(_) | Use::Release(_) = ring.uses[who] {
                    // Delivered again by another, and released.
                    ring.tail += 1;
                }
                // Another process, which knows nothing.
                ring.makes[who] = Make::Idle;
                ring.uses[who] = Use::Idle;
                ring.written[who] = [None; SLOTS];
                ring.read[who] = [None; SLOTS];
            }
        }
        (ring != *before).then_some(ring)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nobody is ended by a signal", |_, ring: &Ring| !ring.signalled),
            Property::sometimes("memory given back is used by another", |_, ring: &Ring| {
                ring.count != 0 && ring.makes.iter().any(|it| matches!(it, Make::Taken(_, 1..)))
            }),
            Property::sometimes("all are sent or abandoned", |_, ring: &Ring| ring.tail == LAST),
        ]
    }
}

fn check(mistake: Mistake) -> impl Checker<Memory> {
    Memory(mistake).checker().finish_when(HasDiscoveries::AnyFailures).threads(2).spawn_bfs().join()
}

#[test]
fn nobody_touches_memory_that_was_given_back() {
    let checked = check(Mistake::None);
    println!("{} states", checked.unique_state_count());
    checked.assert_properties();
}

#[test]
fn each_mistake_ends_somebody_by_a_signal() {
    for mistake in [
        Mistake::NoCount,
        Mistake::CountLate,
        Mistake::Unclaimed,
        Mistake::SharedNotes,
        Mistake::CopyTouches,
    ] {
        let checked = check(mistake);
        let found = checked.discovery("nobody is ended by a signal");
        println!(
            "{mistake:?}: {} steps",
            found.as_ref().map_or(0, |it| it.clone().into_vec().len())
        );
        assert!(found.is_some(), "{mistake:?} is not found");
    }
}
