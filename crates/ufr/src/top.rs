//! All rings of a directory, as they live.

mod blame;
mod draw;
mod history;
mod json;
mod live;
mod one;
mod sample;
mod table;
mod terminal;
mod words;

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ultrafastring::Builder;
use ultrafastring_metrics::Rings;

use self::history::History;
use self::live::Live;
use self::sample::Samples;
use self::table::{Choice, Column};
use crate::wait::Stop;
use crate::{completion, output};

/// Show all rings, live: how much goes through each, how full it is, how long messages take, and
/// who holds whom back.
///
/// Rings are only looked at, by read-only mappings: nobody waits, and no right to write is needed.
/// `?` shows the keys and what the columns mean.
///
/// Latencies are those of messages received between two looks, in rings that were made with
/// `ufr create --histograms`.
#[derive(Args)]
pub(crate) struct Top {
    /// Begin with the page of this ring.
    #[arg(add = completion::rings(), conflicts_with_all = ["once", "json"])]
    name: Option<String>,
    /// Print one table, of two looks an interval apart, and end.
    #[arg(long)]
    once: bool,
    /// Print one JSON object, of two looks an interval apart, and end.
    #[arg(long, conflicts_with = "once")]
    json: bool,
    /// How long from one look to the next.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = crate::interval)]
    interval: Duration,
    /// The column to sort by: names from A on, numbers from the largest on.
    #[arg(long, value_name = "COLUMN", default_value = "name", value_parser = column())]
    sort: Column,
    /// Turn the order round.
    #[arg(long)]
    reverse: bool,
    /// Show only rings whose name has this in it, in capitals or not.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,
    /// Show a row for each priority class too.
    #[arg(long)]
    classes: bool,
}

fn column() -> impl TypedValueParser<Value = Column> {
    PossibleValuesParser::new(Column::ALL.map(Column::name)).try_map(|word| word.parse())
}

impl FromStr for Column {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let column = Self::ALL.into_iter().find(|it| it.name() == word);
        column.ok_or_else(|| format!("there is no column {word}"))
    }
}

impl Top {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        // So long may one look take at most; keys wait for it.
        let rings = Rings::of(builder.clone()).within(Duration::from_secs(1));
        let directory = directory_of(builder);
        let choice = Choice {
            sort: self.sort,
            reverse: self.reverse,
            filter: self.filter,
            classes: self.classes,
        };
        if !self.once && !self.json {
            return Live::new(rings, directory, choice, self.interval, self.name).run();
        }
        let stop = Stop::on_signals()?;
        let mut history = History::default();
        history.add(Samples::of(&rings)?);
        stop.or_after(self.interval)?;
        if let Some(code) = stop.asked() {
            return Ok(code);
        }
        history.add(Samples::of(&rings)?);
        output::say(match self.json {
            true => format!("{:#}\n", json::object(&directory, &history, &choice)),
            false => table::text(&table::rows(&history, &choice)),
        })?;
        if self.once && history.left_out != 0 {
            output::complain(format!("{} rings were left out", history.left_out));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The directory of the rings, as text.
fn directory_of(builder: &Builder) -> String {
    let path = builder.path("any").ok();
    let directory = path.as_ref().and_then(|it| it.parent());
    directory.map_or_else(String::new, |it| it.display().to_string())
}
