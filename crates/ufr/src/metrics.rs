//! Metrics of all rings of a directory, served to Prometheus or written to a file.

mod serve;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueHint};
use ultrafastring::Builder;
use ultrafastring_metrics::{Format, Rings, Snapshot};

use crate::output;
use crate::wait::Stop;

/// Where to listen unless told otherwise. The port is in neither IANA's list nor Prometheus's list
/// of exporters' ports.
const ADDRESS: &str = "127.0.0.1:19370";

/// The file for the node exporter's textfile collector.
const FILE: &str = "ufr.prom";

/// Serve the metrics of all rings to Prometheus, or write them to a file.
///
/// Rings are only looked at, by read-only mappings: nobody waits, and nothing is changed. A ring
/// that is damaged is reported (`ufr_ring_up` is 0), and the others are still told. Rings of others
/// that --trust does not allow are only counted.
///
/// Without --listen or --textfile, serves on 127.0.0.1:19370. Everybody who can connect to the
/// address can read the metrics, with the names of rings, so it is an address of this machine alone
/// unless you choose another. Only GET and HEAD are answered, with the text format 0.0.4 of
/// Prometheus, or with OpenMetrics 1.0 if the request prefers it.
#[derive(Args)]
pub(crate) struct Metrics {
    /// Serve on this address, at /metrics.
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = ADDRESS)]
    listen: Option<SocketAddr>,
    /// Write DIR/ufr.prom, for the node exporter's textfile collector.
    ///
    /// The file is written aside and renamed, so nobody reads half of one.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    textfile: Option<PathBuf>,
    /// How often to write the file.
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    #[arg(value_parser = crate::interval)]
    interval: Duration,
    /// Write the metrics once, to standard output or to the file of --textfile, and end.
    #[arg(long, conflicts_with = "listen")]
    once: bool,
    /// Tell of at most so many rings; how many are left out is a metric.
    #[arg(long, value_name = "RINGS", default_value_t = Rings::MOST)]
    most: usize,
}

impl Metrics {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        // So long does a scrape take at most: Prometheus waits for ten seconds.
        let rings = Rings::of(builder.clone()).most(self.most).within(Rings::WITHIN);
        let source = Source { rings, down: Mutex::default() };
        if self.once {
            match &self.textfile {
                Some(directory) => write_file(directory, &source.text(Format::Prometheus)?)?,
                None => output::say(source.text(Format::Prometheus)?)?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        let stop = Stop::on_signals()?;
        let source = Arc::new(source);
        let listen = match (self.listen, &self.textfile) {
            (None, None) => Some(ADDRESS.parse()?),
            (listen, _) => listen,
        };
        let server = listen.map(|address| serve::Server::on(address, &source)).transpose()?;
        if let Some(server) = &server {
            output::complain(format!("serving http://{}/metrics", server.address()));
        }
        let mut next = self.textfile.as_ref().map(|_| Instant::now());
        while stop.asked().is_none() {
            if let (Some(directory), Some(due)) = (&self.textfile, next)
                && due <= Instant::now()
            {
                // What was written the last time stays, and its age is a metric of its reader.
                let written = source.text(Format::Prometheus).map_err(anyhow::Error::from);
                if let Err(error) = written.and_then(|text| write_file(directory, &text)) {
                    output::complain(crate::explain::text(&error));
                }
                next = Some(Instant::now() + self.interval);
            }
            let until = next.map(|due| due.saturating_duration_since(Instant::now()));
            match &server {
                Some(server) => server.answer_one(&stop, until)?,
                None => stop.or_after(until.unwrap_or(Duration::MAX))?,
            }
        }
        Ok(stop.asked().unwrap_or(ExitCode::SUCCESS))
    }
}

/// What is told.
struct Source {
    rings: Rings,
    /// The rings that could not be looked into the last time, and why.
    down: Mutex<BTreeMap<String, String>>,
}

impl Source {
    /// The metrics now. One look at a time: however many ask, it costs one core.
    fn text(&self, format: Format) -> Result<String, ultrafastring::RingError> {
        let mut down = self.down.lock().unwrap_or_else(|it| it.into_inner());
        let snapshot = Snapshot::of(&self.rings)?;
        let now: BTreeMap<_, _> =
            snapshot.down().map(|(name, why)| (name.to_string(), why.to_string())).collect();
        for (name, why) in now.iter().filter(|(name, _)| !down.contains_key(*name)) {
            output::complain(format!("{name} cannot be looked into: {why}"));
        }
        *down = now;
        Ok(snapshot.text(format))
    }
}

/// Writes `DIR/ufr.prom` in one step.
fn write_file(directory: &Path, text: &str) -> anyhow::Result<()> {
    let path = directory.join(FILE);
    let write = || -> std::io::Result<()> {
        // Its name does not end as those that the collector reads.
        let mut aside = tempfile::Builder::new()
            .prefix(".ufr.prom.")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(directory)?;
        aside.write_all(text.as_bytes())?;
        aside.persist(&path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
