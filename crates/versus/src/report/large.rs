//! What the readings of large messages say, beside `memcpy`: as a table, and as JSON.

use serde_json::{Value, json};

use crate::machine;
use crate::measure::{CaseReadings, Distance, Readings};
use crate::median::Middle;

/// The readings of one way at one size.
struct Cell<'r> {
    way: &'r str,
    bytes: usize,
    readings: usize,
    /// Ticks a message, from the least reading to the most.
    least: f64,
    ticks: f64,
    most: f64,
    /// Bytes of memory that its queues took, where that can be told.
    memory: Option<u64>,
}

impl<'r> Cell<'r> {
    fn of(case: &'r CaseReadings, distance: Distance) -> Option<Self> {
        let values = &case.values[distance as usize];
        Some(Self {
            way: case.case.peer,
            bytes: case.case.size,
            readings: values.len(),
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            ticks: Middle::of(values)?.half,
            most: values.iter().copied().fold(0.0, f64::max),
            memory: case.memory,
        })
    }

    fn bytes_per_tick(&self) -> f64 {
        self.bytes as f64 / self.ticks
    }

    fn as_json(&self) -> Value {
        json!({
            "ticks_per_message": self.ticks,
            "bytes_per_tick": self.bytes_per_tick(),
            "least": self.least,
            "most": self.most,
            "readings": self.readings,
            "memory": self.memory,
        })
    }
}

pub(crate) fn as_json(readings: &Readings) -> Value {
    let case = |it: &CaseReadings| {
        let [near, far] =
            Distance::ALL.map(|distance| Cell::of(it, distance).map(|cell| cell.as_json()));
        json!({ "way": it.case.peer, "bytes": it.case.size, "near": near, "far": far })
    };
    json!({
        "machine": machine::describe(readings.cores),
        "cases": readings.cases.iter().map(case).collect::<Vec<_>>(),
    })
}

pub(crate) fn as_table(readings: &Readings) -> String {
    let mut lines = vec![];
    for distance in Distance::ALL {
        let cells: Vec<_> =
            readings.cases.iter().filter_map(|case| Cell::of(case, distance)).collect();
        if cells.is_empty() {
            continue;
        }
        lines.push(format!(
            "\n{:<32} {:>9} {:>12} {:>8} {:>10} {:>12} {:>12} {:>5} {:>9}",
            distance.name(),
            "bytes",
            "ticks",
            "bytes/tk",
            "of memcpy",
            "least",
            "most",
            "n",
            "KiB"
        ));
        for cell in &cells {
            let is_copy = |it: &&Cell| it.way.starts_with("memcpy") && it.bytes == cell.bytes;
            let ratio = cells.iter().find(is_copy).map_or(0.0, |copy| copy.ticks / cell.ticks);
            let memory = cell.memory.map_or(String::new(), |bytes| (bytes >> 10).to_string());
            lines.push(format!(
                "{:<32} {:>9} {:>12.0} {:>8.2} {ratio:>10.2} {:>12.0} {:>12.0} {:>5} {memory:>9}",
                cell.way,
                cell.bytes,
                cell.ticks,
                cell.bytes_per_tick(),
                cell.least,
                cell.most,
                cell.readings,
            ));
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
