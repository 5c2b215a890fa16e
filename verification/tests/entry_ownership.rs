//! Who owns an entry of the participant table, with a holder that takes long to die.
//!
//! The kernel closes the files of a killed process last: before that it writes the core and takes
//! the memory down, which takes seconds for large processes. From the first moment on `/proc` shows
//! that none of its threads will run again. So an entry has two locks. The *life lock* ends when
//! the holder's files are closed. The *work lock* is held by whoever takes an entry, so that of
//! several who see that the holder is dying one takes over.
//!
//! | who | takes |
//! |---|---|
//! | newcomer | both locks at once; writes who it is; gives the work lock back |
//! | adopter of the dead | both locks at once, and keeps both |
//! | adopter of the dying | the work lock; reads who the holder is; asks whether that process is dying; keeps it |

use stateright::{Checker, Model, Property};

/// What a process is doing with the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Nothing.
    Idle,
    /// As a newcomer it has its locks and has not yet written who it is.
    Introducing,
    /// It is the entry's holder.
    Using,
    /// The locks were refused: it goes on to the work lock alone.
    Refused,
    /// It has the work lock, and reads who the holder is.
    Working,
    /// It asks whether that process is dying.
    Judging(usize),
    /// It does the work of a dead or dying holder.
    Adopting,
}

/// How far a process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Alive,
    /// It runs no more, and `/proc` shows it; its locks are still held.
    Dying,
    /// Its locks are gone; its parent has not asked for it yet, so `/proc` still shows it.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mistake {
    None,
    /// Adopters of the dying do not take the work lock.
    NoWorkLock,
    /// Newcomers ask for the life lock alone.
    NewcomerWithoutWorkLock,
    /// Newcomers give the work lock back before they write who they are.
    WorkLockBackBeforeName,
    /// Adopters of the dead give the work lock back while they work.
    AdopterGivesWorkLockBack,
    /// Adopters read who the holder is before they take the work lock.
    NameBeforeWorkLock,
}

const PROCESSES: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    work: Option<usize>,
    life: Option<usize>,
    /// Who the entry says its holder is.
    name: usize,
    at: [At; PROCESSES],
    fate: [Fate; PROCESSES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Die(usize),
    Close(usize),
    Arrive(usize),
    Adopt(usize),
    Go(usize),
}

#[derive(Clone)]
struct Table(Mistake);

impl Table {
    fn take_both(&self, entry: &mut Entry, who: usize, life_alone: bool) -> bool {
        let free = (life_alone || entry.work.is_none()) && entry.life.is_none();
        if free {
            entry.life = Some(who);
            if !life_alone {
                entry.work = Some(who);
            }
        }
        free
    }
}

fn give_back(lock: &mut Option<usize>, who: usize) {
    if *lock == Some(who) {
        *lock = None;
    }
}

impl Model for Table {
    type State = Entry;
    type Action = Act;

    fn init_states(&self) -> Vec<Entry> {
        let mut at = [At::Idle; PROCESSES];
        at[0] = At::Using;
        let fate = [Fate::Alive; PROCESSES];
        vec![Entry { work: None, life: Some(0), name: 0, at, fate }]
    }

    fn actions(&self, entry: &Entry, actions: &mut Vec<Act>) {
        for who in 0..PROCESSES {
            match entry.fate[who] {
                Fate::Alive => {
                    actions.push(Act::Die(who));
                    if entry.at[who] == At::Idle {
                        actions.extend([Act::Arrive(who), Act::Adopt(who)]);
                    } else {
                        actions.push(Act::Go(who));
                    }
                }
                Fate::Dying => actions.push(Act::Close(who)),
                Fate::Closed => {}
            }
        }
    }

    fn next_state(&self, before: &Entry, act: Act) -> Option<Entry> {
        let mut entry = before.clone();
        match act {
            Act::Die(who) => entry.fate[who] = Fate::Dying,
            Act::Close(who) => {
                entry.fate[who] = Fate::Closed;
                give_back(&mut entry.work, who);
                give_back(&mut entry.life, who);
            }
            Act::Arrive(who) => {
                let alone = self.0 == Mistake::NewcomerWithoutWorkLock;
                if !self.take_both(&mut entry, who, alone) {
                    return None;
                }
                entry.at[who] = At::Introducing;
                if self.0 == Mistake::WorkLockBackBeforeName {
                    give_back(&mut entry.work, who);
                }
            }
            Act::Adopt(who) => {
                entry.at[who] = if self.take_both(&mut entry, who, false) {
                    if self.0 == Mistake::AdopterGivesWorkLockBack {
                        give_back(&mut entry.work, who);
                    }
                    At::Adopting
                } else if self.0 == Mistake::NameBeforeWorkLock {
                    At::Judging(entry.name)
                } else {
                    At::Refused
                };
            }
            Act::Go(who) => match entry.at[who] {
                At::Idle => return None,
                At::Introducing => {
                    entry.name = who;
                    give_back(&mut entry.work, who);
                    entry.at[who] = At::Using;
                }
                At::Refused if self.0 == Mistake::NoWorkLock => entry.at[who] = At::Working,
                At::Refused => {
                    let free = entry.work.is_none();
                    if free {
                        entry.work = Some(who);
                    }
                    entry.at[who] = if free { At::Working } else { At::Idle };
                }
                At::Working => entry.at[who] = At::Judging(entry.name),
                At::Judging(holder) => {
                    let mut dying = entry.fate[holder] != Fate::Alive;
                    if self.0 == Mistake::NameBeforeWorkLock {
                        dying &= entry.work.is_none();
                        if dying {
                            entry.work = Some(who);
                        }
                    } else if !dying {
                        give_back(&mut entry.work, who);
                    }
                    entry.at[who] = if dying { At::Adopting } else { At::Idle };
                }
                At::Using | At::Adopting => {
                    give_back(&mut entry.life, who);
                    give_back(&mut entry.work, who);
                    entry.at[who] = At::Idle;
                }
            },
        }
        Some(entry)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one owner", |_, entry: &Entry| {
                let owns = |who: &usize| {
                    entry.fate[*who] == Fate::Alive
                        && matches!(entry.at[*who], At::Introducing | At::Using | At::Adopting)
                };
                (0..PROCESSES).filter(owns).count() <= 1
            }),
            Property::sometimes("the dying are adopted", |_, entry: &Entry| {
                entry.at[1] == At::Adopting && entry.life == Some(0)
            }),
            Property::sometimes("the dead are adopted", |_, entry: &Entry| {
                entry.at[1] == At::Adopting && entry.life == Some(1)
            }),
            Property::sometimes("an entry is used again", |_, entry: &Entry| {
                entry.at[2] == At::Using && entry.fate[0] == Fate::Closed
            }),
        ]
    }
}

#[test]
fn an_entry_has_one_owner_while_its_holder_takes_long_to_die() {
    let checked = Table(Mistake::None).checker().spawn_bfs().join();
    checked.assert_properties();
}

#[test]
fn each_mistake_gives_an_entry_two_owners() {
    for mistake in [
        Mistake::NoWorkLock,
        Mistake::NewcomerWithoutWorkLock,
        Mistake::WorkLockBackBeforeName,
        Mistake::AdopterGivesWorkLockBack,
        Mistake::NameBeforeWorkLock,
    ] {
        let checked = Table(mistake).checker().spawn_bfs().join();
        assert!(checked.discovery("one owner").is_some(), "{mistake:?} is not found");
    }
}
