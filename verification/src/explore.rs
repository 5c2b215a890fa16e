//! The search: breadth first, exact, with shortest counterexamples.
//!
//! Every state is kept, packed; two states are the same only if all their bits are. When no
//! promise is broken anywhere, all steps are walked backwards from the states in which all is
//! done, and a state that is not met on the way is one from which nothing can finish any more.

use std::fmt;
use std::time::{Duration, Instant};

use crate::invariant::Violation;
use crate::protocol::{Protocol, Step};

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every promise is kept, and everything can finish.
    Holds,
    /// A promise is broken by the last of these steps; no shorter way breaks one.
    Broken(Violation, Vec<Step>),
    /// After these steps nothing can finish any more; no shorter way leads to such a state.
    Stuck(Vec<Step>),
}

impl Outcome {
    /// The steps that lead there, if something is wrong.
    pub fn trace(&self) -> Option<&[Step]> {
        match self {
            Outcome::Holds => None,
            Outcome::Broken(_, trace) | Outcome::Stuck(trace) => Some(trace),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Holds => f.write_str("holds"),
            Outcome::Broken(violation, trace) => {
                write!(f, "{} steps break: {}", trace.len(), violation.promise())
            }
            Outcome::Stuck(trace) => {
                write!(f, "{} steps break: everything can finish", trace.len())
            }
        }
    }
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Report {
    /// States generated: one for each step from each state, and the first.
    pub states: u64,
    /// States that differ.
    pub unique: usize,
    /// Steps to the farthest state by the shortest way.
    pub depth: usize,
    /// States in which all is done.
    pub done: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// Visits every state of a protocol.
pub fn explore(protocol: &Protocol) -> Report {
    assert!(protocol.shape.bits() <= 128, "a state does not fit 128 bits");
    let begun = Instant::now();
    let mut graph = Graph::new(protocol);
    let broken = graph.grow(protocol);
    let outcome = match broken {
        Some((index, violation)) => Outcome::Broken(violation, graph.trace(protocol, index)),
        None => match graph.first_stuck() {
            Some(index) => Outcome::Stuck(graph.trace(protocol, index)),
            None => Outcome::Holds,
        },
    };
    Report {
        states: graph.generated,
        unique: graph.states.len(),
        depth: graph.depth,
        done: graph.done.iter().map(|word| word.count_ones() as usize).sum(),
        elapsed: begun.elapsed(),
        outcome,
    }
}

/// The states found so far, in the order in which they were found, and the steps between them.
struct Graph {
    states: Vec<u128>,
    /// From which state each was found first.
    parents: Vec<u32>,
    /// Steps from each state.
    degrees: Vec<u8>,
    /// Where they lead, one state after the other.
    edges: Vec<u32>,
    /// A bit for each state: all is done there.
    done: Vec<u64>,
    /// Open addressing: the index of a state plus one, or 0.
    table: Vec<u32>,
    generated: u64,
    depth: usize,
}

impl Graph {
    fn new(protocol: &Protocol) -> Self {
        let mut graph = Self {
            states: Vec::new(),
            parents: Vec::new(),
            degrees: Vec::new(),
            edges: Vec::new(),
            done: Vec::new(),
            table: vec![0; 1 << 12],
            generated: 1,
            depth: 0,
        };
        graph.index_of(protocol.canonical(&protocol.initial()), 0);
        graph
    }

    /// Finds all states, up to the first in which a promise is broken.
    fn grow(&mut self, protocol: &Protocol) -> Option<(u32, Violation)> {
        let mut steps = Vec::new();
        let (mut next, mut level_end) = (0, 1);
        while next < self.states.len() {
            if next == level_end {
                level_end = self.states.len();
                self.depth += 1;
            }
            let state = protocol.shape.unpack(self.states[next]);
            if next % 64 == 0 {
                self.done.push(0);
            }
            self.done[next / 64] |= u64::from(protocol.is_done(&state)) << (next % 64);
            protocol.steps(&state, &mut steps);
            self.generated += steps.len() as u64;
            let first_edge = self.edges.len();
            for step in &steps {
                let index = self.index_of(protocol.canonical(&step.after), next as u32);
                if let Some(violation) = step.after.violation {
                    self.depth += 1;
                    return Some((index, violation));
                }
                if index != next as u32 && !self.edges[first_edge..].contains(&index) {
                    self.edges.push(index);
                }
            }
            self.degrees.push((self.edges.len() - first_edge) as u8);
            next += 1;
        }
        None
    }

    /// The index of a state, which is new if it was not found before.
    fn index_of(&mut self, state: u128, parent: u32) -> u32 {
        if self.states.len() * 3 >= self.table.len() * 2 {
            self.rehash();
        }
        let mask = self.table.len() - 1;
        let mut at = hash(state) & mask;
        loop {
            match self.table[at] {
                0 => break,
                found if self.states[found as usize - 1] == state => return found - 1,
                _ => at = (at + 1) & mask,
            }
        }
        let index = u32::try_from(self.states.len()).ok().filter(|&index| index < u32::MAX);
        let index = index.unwrap_or_else(|| panic!("more than {} states", u32::MAX));
        self.table[at] = index + 1;
        self.states.push(state);
        self.parents.push(parent);
        index
    }

    fn rehash(&mut self) {
        let size = self.table.len() * 2;
        self.table = Vec::new();
        self.table = vec![0; size];
        for (index, &state) in self.states.iter().enumerate() {
            let mut at = hash(state) & (size - 1);
            while self.table[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            self.table[at] = index as u32 + 1;
        }
    }

    /// The first state from which no state can be reached in which all is done.
    fn first_stuck(&self) -> Option<u32> {
        let mut can_finish = self.done.clone();
        let is_set = |bits: &[u64], index: usize| bits[index / 64] >> (index % 64) & 1 != 0;
        loop {
            // Later states lead to where all is done, mostly: so backwards, until nothing changes.
            let mut changed = false;
            let mut end = self.edges.len();
            for index in (0..self.states.len()).rev() {
                let begin = end - usize::from(self.degrees[index]);
                if !is_set(&can_finish, index)
                    && self.edges[begin..end].iter().any(|&to| is_set(&can_finish, to as usize))
                {
                    can_finish[index / 64] |= 1 << (index % 64);
                    changed = true;
                }
                end = begin;
            }
            if !changed {
                break;
            }
        }
        (0..self.states.len()).find(|&index| !is_set(&can_finish, index)).map(|index| index as u32)
    }

    /// The steps to a state, with everybody under one name all the way.
    fn trace(&self, protocol: &Protocol, mut index: u32) -> Vec<Step> {
        let mut path = Vec::new();
        while index != 0 {
            path.push(self.states[index as usize]);
            index = self.parents[index as usize];
        }
        let mut state = protocol.initial();
        let mut steps = Vec::new();
        let mut trace = Vec::new();
        for packed in path.into_iter().rev() {
            protocol.steps(&state, &mut steps);
            let step = steps.iter().find(|step| protocol.canonical(&step.after) == packed);
            let Some(&step) = step else {
                unreachable!("a path leads from each state to the next")
            };
            state = step.after;
            trace.push(step);
        }
        trace
    }
}

fn hash(state: u128) -> usize {
    let (low, high) = (state as u64, (state >> 64) as u64);
    let product = u128::from(low ^ 0x9e37_79b9_7f4a_7c15)
        * u128::from(high.rotate_left(29) ^ low ^ 0xd1b5_4a32_d192_ed03);
    let folded = (product as u64 ^ (product >> 64) as u64).wrapping_mul(0xa24b_aed4_963e_e407);
    (folded ^ folded >> 32) as usize
}

/// A trace, one step a line.
pub fn describe(protocol: &Protocol, trace: &[Step]) -> String {
    let mut text = String::new();
    for (number, step) in trace.iter().enumerate() {
        let (letter, index) = if protocol.is_producer(step.who) {
            ('P', step.who)
        } else {
            ('C', step.who - protocol.shape.producers)
        };
        let me = step.after.participants[step.who];
        let word = if me.word == crate::state::NONE { "-".into() } else { me.word.to_string() };
        text += &format!(
            "{:>4}  {letter}{index} {:<52} knows {} shows {word}   heads {} {} tails {} {}\n",
            number + 1,
            step.what,
            me.known,
            step.after.producer_head,
            step.after.consumer_head,
            step.after.producer_tail,
            step.after.consumer_tail,
        );
    }
    text
}
