//! The search: breadth first, exact, with shortest counterexamples.
//!
//! Every state is kept, packed; two states are the same only if all their bits are. When no
//! promise is broken anywhere, all steps are walked backwards from the states in which all is
//! done, and a state that is not met on the way is one from which nothing can finish any more.

use std::fmt;
use std::time::{Duration, Instant};

/// What the search has to know of a protocol.
pub trait Model {
    /// Everything that a state of the world is made of.
    type State: Copy;
    /// The same in few bits, without loss.
    type Packed: Packed;
    /// What can go wrong in a step.
    type Violation: Copy + fmt::Debug + PartialEq;

    /// Where everything begins.
    fn initial(&self) -> Self::State;

    /// All steps from a state, into `steps`.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Step<Self::State>>);

    /// The packed state; of states that are equal but for names, the same one.
    fn canonical(&self, state: &Self::State) -> Self::Packed;

    /// The state that was packed.
    fn unpack(&self, packed: Self::Packed) -> Self::State;

    /// The promise that the step to a state has broken.
    fn violation(&self, state: &Self::State) -> Option<Self::Violation>;

    /// That promise in words.
    fn promise(violation: Self::Violation) -> &'static str;

    /// Whether all is done, and nobody in anybody's way.
    fn is_done(&self, state: &Self::State) -> bool;

    /// A step and what it leaves, in one line of a trace.
    fn describe(&self, step: &Step<Self::State>) -> String;
}

/// A packed state.
pub trait Packed: Copy + Eq {
    /// Spreads states over a table.
    fn hash(self) -> u64;
}

impl Packed for u128 {
    #[inline]
    fn hash(self) -> u64 {
        mix(self as u64, (self >> 64) as u64)
    }
}

impl<const WORDS: usize> Packed for [u64; WORDS] {
    #[inline]
    fn hash(self) -> u64 {
        self.into_iter().fold(0, mix)
    }
}

/// A step from a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<S> {
    /// Who takes it: producers are counted first.
    pub who: usize,
    /// What it is.
    pub what: &'static str,
    /// Where it leads.
    pub after: S,
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<S, V> {
    /// Every promise is kept, and everything can finish.
    Holds,
    /// A promise is broken by the last of these steps; no shorter way breaks one.
    Broken(V, Vec<Step<S>>),
    /// After these steps nothing can finish any more; no shorter way leads to such a state.
    Stuck(Vec<Step<S>>),
}

impl<S, V> Outcome<S, V> {
    /// The steps that lead there, if something is wrong.
    pub fn trace(&self) -> Option<&[Step<S>]> {
        match self {
            Outcome::Holds => None,
            Outcome::Broken(_, trace) | Outcome::Stuck(trace) => Some(trace),
        }
    }
}

/// What a search found.
pub struct Report<M: Model> {
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
    pub outcome: Outcome<M::State, M::Violation>,
}

impl<M: Model> fmt::Display for Report<M> {
    /// How it ended, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Holds => f.write_str("holds"),
            Outcome::Broken(violation, trace) => {
                write!(f, "{} steps break: {}", trace.len(), M::promise(*violation))
            }
            Outcome::Stuck(trace) => {
                write!(f, "{} steps break: everything can finish", trace.len())
            }
        }
    }
}

/// Visits every state of a protocol.
pub fn explore<M: Model>(protocol: &M) -> Report<M> {
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
struct Graph<M: Model> {
    states: Vec<M::Packed>,
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

impl<M: Model> Graph<M> {
    fn new(protocol: &M) -> Self {
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
    fn grow(&mut self, protocol: &M) -> Option<(u32, M::Violation)> {
        let mut steps = Vec::new();
        let (mut next, mut level_end) = (0, 1);
        while next < self.states.len() {
            if next == level_end {
                level_end = self.states.len();
                self.depth += 1;
            }
            let state = protocol.unpack(self.states[next]);
            if next % 64 == 0 {
                self.done.push(0);
            }
            self.done[next / 64] |= u64::from(protocol.is_done(&state)) << (next % 64);
            protocol.steps(&state, &mut steps);
            self.generated += steps.len() as u64;
            let first_edge = self.edges.len();
            for step in &steps {
                let index = self.index_of(protocol.canonical(&step.after), next as u32);
                if let Some(violation) = protocol.violation(&step.after) {
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
    fn index_of(&mut self, state: M::Packed, parent: u32) -> u32 {
        if self.states.len() * 3 >= self.table.len() * 2 {
            self.rehash();
        }
        let mask = self.table.len() - 1;
        let mut at = state.hash() as usize & mask;
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
            let mut at = state.hash() as usize & (size - 1);
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
    fn trace(&self, protocol: &M, mut index: u32) -> Vec<Step<M::State>> {
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

#[inline]
fn mix(low: u64, high: u64) -> u64 {
    let product = u128::from(low ^ 0x9e37_79b9_7f4a_7c15)
        * u128::from(high.rotate_left(29) ^ low ^ 0xd1b5_4a32_d192_ed03);
    let folded = (product as u64 ^ (product >> 64) as u64).wrapping_mul(0xa24b_aed4_963e_e407);
    folded ^ folded >> 32
}

/// A trace, one step a line.
pub fn describe<M: Model>(protocol: &M, trace: &[Step<M::State>]) -> String {
    let mut text = String::new();
    for (number, step) in trace.iter().enumerate() {
        text += &format!("{:>4}  {}\n", number + 1, protocol.describe(step));
    }
    text
}
