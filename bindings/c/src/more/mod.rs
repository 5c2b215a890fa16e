//! What `ultrafastring_more.h` declares, one file for each matter. The comments are the header's.

pub mod batches;
pub mod groups;
pub mod in_place;
pub mod lanes;
pub mod latencies;
pub mod observers;
pub mod rings;
pub mod tails;
pub mod waiting;
