//! Metrics of rings for [Prometheus] and [OpenMetrics], as text.
//!
//! `ufr metrics` serves the metrics of all rings of a directory. This crate is for programs that
//! serve metrics themselves. It only makes the text: your program's HTTP server sends it.
//!
//! ```
//! use ultrafastring::Builder;
//! use ultrafastring_metrics::{Format, Rings, Snapshot};
//!
//! // Once in your program: then a ring whose file is cut short harms nobody.
//! ultrafastring::survive_truncation()?;
//!
//! // For each request for /metrics:
//! let accept = "application/openmetrics-text;version=1.0.0"; // the request's header `Accept`
//! let format = Format::accepted(accept);
//! let body = Snapshot::of(&Rings::of(Builder::new()))?.text(format);
//! let header = format!("Content-Type: {}", format.content_type());
//! assert!(body.contains("\nufr_build_info{version="));
//! # let _ = header;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program may also tell of [the rings that it has open](Snapshot::of_open), on the heap or
//! without a name.
//!
//! The rings are mapped read-only, and nobody notices. What is in them is not believed: names are
//! escaped, a damaged ring is reported (`ufr_ring_up` is 0), and [`Rings`] bounds number and time.
//!
//! # The metrics
//!
//! `docs/reference-command.md` of the repository has a table of them. Counters begin at 0 when a
//! ring is made. Of a class, a handle adds its own counts once in up to 64 messages and when it is
//! idle, so `ufr_messages_sent_total` may be that much behind; `ufr_depth_slots` is exact.
//!
//! [Prometheus]: https://prometheus.io/docs/instrumenting/exposition_formats/
//! [OpenMetrics]: https://prometheus.io/docs/specs/om/open_metrics_spec/

mod format;
mod lanes;
mod rings;
mod snapshot;

pub use format::Format;
pub use rings::{Look, Rings};
pub use snapshot::Snapshot;
