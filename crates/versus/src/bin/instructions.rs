//! Instructions per operation, which can be guarded on machines where times cannot be.
//!
//! ```text
//! cargo run --release -p versus --bin instructions               # compare with recorded ones
//! cargo run --release -p versus --bin instructions -- --record   # record new ones
//! cargo run --release -p versus --bin instructions -- --record --only joinable   # these alone
//! ```
//!
//! A new operation is a line in `OPERATIONS`, with a name that `--only` can tell from the others.
//! It is recorded alone, and the counts of the others stay as recorded.
//!
//! Each operation runs some hundred times under valgrind's callgrind, in two ways:
//!
//! - **call**: the median of calls counted one by one. Under valgrind these are slow, so each
//!   message comes after a pause, and its frontier is announced at once. The count repeats exactly.
//! - **stream**: all calls counted in one loop, the least of several runs divided by the calls. It
//!   has a share of what is done once for several messages, which depends on time and so on the
//!   machine. It repeats to about a tenth, and a run that exceeds this is repeated.
//!
//! The rings have no timestamps. With them every message would come after a pause, since valgrind
//! stretches time.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use clap::Parser;
use ultrafastring::{
    Builder, Consumer, Exclusive, Lanes, Mode, PriorityClass, Producer, Shared, Timestamps,
};

/// How often an operation is done; odd, so that there is a median.
const TIMES: usize = 401;

/// Slots of the rings: as many as are needed, in batches too.
const CAPACITY: usize = 4096;

/// The operation that does nothing: what a call costs.
const NOTHING: &str = "nothing";

/// Messages in a batch.
const BATCH: usize = 8;

/// Runs of a stream, of which the least counts.
const RUNS: usize = 3;

/// So many when the least of them is more than is allowed.
const MOST_RUNS: usize = 12;

/// A count that has grown by more than this part of it is a regression.
const CALL_TOLERANCE: f64 = 0.01;

/// The same for a stream. How many messages share an announcement depends on how fast they come,
/// and under valgrind that depends on the machine: the same program took 147 and 183 a message on
/// two.
const STREAM_TOLERANCE: f64 = 0.3;

const MESSAGE: [u8; 40] = [7; 40];

#[derive(Parser)]
#[command(about = "Count instructions per operation, and compare them with the recorded counts")]
struct Cli {
    /// Write the counts to crates/versus/instructions.txt.
    #[arg(long)]
    record: bool,
    /// Count only the operations whose names contain TEXT; may be repeated. The recorded counts of
    /// others stay.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// The operation to do, under valgrind.
    #[arg(long, hide = true, value_name = "OPERATION")]
    run: Option<String>,
    /// In one loop.
    #[arg(long, hide = true)]
    stream: bool,
}

/// Does an operation many times.
type Run = fn() -> anyhow::Result<()>;

const OPERATIONS: &[(&str, Run)] = &[
    (NOTHING, || often(|| Ok(()))),
    ("exclusive send_fast", || sends(exclusive()?)),
    ("exclusive recv_fast", || receives(exclusive()?)),
    ("exclusive send_batch of 8", || sends_batches(exclusive()?)),
    ("exclusive recv_batch of 8", || receives_batches(exclusive()?)),
    ("shared send_fast", || sends(shared()?)),
    ("shared recv_fast", || receives(shared()?)),
    // Of handles without a mode of their own, which ask the ring.
    ("any-mode exclusive send_fast", || sends(any(alone())?)),
    ("any-mode exclusive recv_fast", || receives(any(alone())?)),
    ("any-mode exclusive send_batch of 8", || sends_batches(any(alone())?)),
    ("any-mode exclusive recv_batch of 8", || receives_batches(any(alone())?)),
    ("any-mode shared send_fast", || sends(any(builder())?)),
    ("any-mode shared recv_fast", || receives(any(builder())?)),
    ("&self send_fast", sends_by_reference),
    ("&self recv_fast", receives_by_reference),
    // Of a ring for groups with one group: by an exclusive and by a shared producer, and by the
    // group's only member, whose path is the same for both.
    ("joinable exclusive send_fast", || sends(joined(builder().exclusive_producer())?)),
    ("joinable shared send_fast", || sends(joined(builder())?)),
    ("joinable recv_fast", || receives(joined(builder())?)),
    // Of rings with lanes, exclusive sides.
    ("lanes by class send_fast", || sends(any(alone().lanes(Lanes::ByClass))?)),
    ("lanes by class recv_fast", || receives(any(alone().lanes(Lanes::ByClass))?)),
    ("lanes by producer recv_fast", || receives(any(alone().lanes(Lanes::ByProducer(4)))?)),
    ("one busy lane of 64 recv_fast", || receives(any(alone().lanes(Lanes::ByProducer(64)))?)),
    ("exclusive recv_fast of an empty ring", || finds_nothing(exclusive()?)),
    ("any-mode recv_fast of an empty ring", || finds_nothing(any(alone())?)),
    ("recv_fast of empty lanes", || finds_nothing(any(alone().lanes(Lanes::ByClass))?)),
    ("exclusive send_fast to a full ring", full),
];

fn builder() -> Builder {
    Builder::new().capacity(CAPACITY).timestamps(Timestamps::Off)
}

/// Where one count ends and the next begins: valgrind knows it by its name.
#[inline(never)]
fn boundary() {
    black_box(0);
}

/// Whether calls are counted in one loop.
static STREAM: AtomicBool = AtomicBool::new(false);

/// The loop that is counted: valgrind knows it by its name too.
#[inline(never)]
fn stream(mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    (0..TIMES).try_for_each(|_| once())
}

/// Does `once` as often as it is counted.
fn often(mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    if STREAM.load(Ordering::Relaxed) {
        return stream(once);
    }
    for _ in 0..TIMES {
        boundary();
        once()?;
    }
    boundary();
    Ok(())
}

/// Does `once` as often, not counted.
fn before(mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    (0..TIMES).try_for_each(|_| once())
}

/// Of both sides exclusive.
fn alone() -> Builder {
    builder().exclusive_producer().exclusive_consumer()
}

fn exclusive() -> anyhow::Result<(Producer<Exclusive>, Consumer<Exclusive>)> {
    let ring = alone().heap()?;
    Ok((ring.exclusive_producer()?, ring.exclusive_consumer()?))
}

fn shared() -> anyhow::Result<(Producer<Shared>, Consumer<Shared>)> {
    let ring = builder().heap()?;
    Ok((ring.shared_producer()?, ring.shared_consumer()?))
}

fn any(builder: Builder) -> anyhow::Result<(Producer, Consumer)> {
    let ring = builder.heap()?;
    Ok((ring.producer()?, ring.consumer()?))
}

fn joined(builder: Builder) -> anyhow::Result<(Producer, Consumer)> {
    let ring = builder.groups(["only"]).heap()?;
    Ok((ring.producer()?, ring.join("only").consumer()?))
}

#[inline(always)]
fn send<S: Mode>(producer: &mut Producer<S>) -> anyhow::Result<()> {
    Ok(producer.send_fast(black_box(&MESSAGE), PriorityClass::Normal)?)
}

#[inline(always)]
fn receive<S: Mode>(consumer: &mut Consumer<S>) -> anyhow::Result<()> {
    let mut buffer = [0; 40];
    black_box(consumer.recv_fast(black_box(&mut buffer))?);
    Ok(())
}

fn sends<S: Mode>(ends: (Producer<S>, Consumer<S>)) -> anyhow::Result<()> {
    let (mut producer, _consumer) = ends;
    often(|| send(&mut producer))
}

fn receives<S: Mode>(ends: (Producer<S>, Consumer<S>)) -> anyhow::Result<()> {
    let (mut producer, mut consumer) = ends;
    before(|| send(&mut producer))?;
    often(|| receive(&mut consumer))
}

fn send_batch<S: Mode>(producer: &mut Producer<S>) -> anyhow::Result<()> {
    let batch = [MESSAGE; BATCH];
    let sent = producer.send_batch(black_box(&batch), PriorityClass::Normal)?;
    ensure!(sent == BATCH, "the batch was cut");
    Ok(())
}

fn sends_batches<S: Mode>(ends: (Producer<S>, Consumer<S>)) -> anyhow::Result<()> {
    let (mut producer, _consumer) = ends;
    often(|| send_batch(&mut producer))
}

fn receives_batches<S: Mode>(ends: (Producer<S>, Consumer<S>)) -> anyhow::Result<()> {
    let (mut producer, mut consumer) = ends;
    before(|| send_batch(&mut producer))?;
    let mut buffers = [[0; 40]; BATCH];
    often(|| {
        let received = consumer.recv_batch(black_box(&mut buffers))?;
        ensure!(received.len() == BATCH, "the batch was cut");
        Ok(())
    })
}

fn sends_by_reference() -> anyhow::Result<()> {
    let ring = builder().heap()?;
    often(|| Ok(ring.send_fast(black_box(&MESSAGE), PriorityClass::Normal)?))
}

fn receives_by_reference() -> anyhow::Result<()> {
    let ring = builder().heap()?;
    before(|| Ok(ring.send_fast(&MESSAGE, PriorityClass::Normal)?))?;
    let mut buffer = [0; 40];
    often(|| {
        black_box(ring.recv_fast(black_box(&mut buffer))?);
        Ok(())
    })
}

fn finds_nothing<S: Mode>(ends: (Producer<S>, Consumer<S>)) -> anyhow::Result<()> {
    let (_producer, mut consumer) = ends;
    let mut buffer = [0; 40];
    often(|| {
        ensure!(black_box(consumer.recv_fast(black_box(&mut buffer))).is_err(), "not empty");
        Ok(())
    })
}

fn full() -> anyhow::Result<()> {
    let ring = alone().capacity(64).heap()?;
    let mut producer = ring.exclusive_producer()?;
    while producer.send_fast(&MESSAGE, PriorityClass::Normal).is_ok() {}
    often(|| {
        let sent = producer.send_fast(black_box(&MESSAGE), PriorityClass::Normal);
        ensure!(black_box(sent).is_err(), "not full");
        Ok(())
    })
}

/// What valgrind, asked by `options`, said of `operation`.
fn valgrind(operation: &str, options: &[&str], stream: bool) -> anyhow::Result<String> {
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .args(options)
        .arg(std::env::current_exe()?)
        .args(["--run", operation])
        .args(stream.then_some("--stream"))
        .output()
        .context("cannot run valgrind; apt install valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{operation} failed under valgrind:\n{said}");
    Ok(said)
}

/// The least of the instructions that a call of `operation` takes in a loop, sought for longer if
/// it is more than `most`.
fn count_in_stream(operation: &str, most: f64) -> anyhow::Result<u64> {
    let options = ["--toggle-collect=instructions::stream*", "--callgrind-out-file=/dev/null"];
    let mut least = u64::MAX;
    for run in 0..MOST_RUNS {
        if run >= RUNS && least as f64 <= most {
            break;
        }
        let said = valgrind(operation, &options, true)?;
        let count = |line: &str| line.split_once("Collected :")?.1.trim().parse::<u64>().ok();
        let all = said.lines().find_map(count).context("valgrind did not say what it counted")?;
        least = least.min(all / TIMES as u64);
    }
    Ok(least)
}

/// The median of the instructions that a call of `operation` takes.
fn count(operation: &str) -> anyhow::Result<u64> {
    let calls = std::env::temp_dir().join(format!("instructions-{}", std::process::id()));
    let file = format!("--callgrind-out-file={}", calls.display());
    let options = ["--dump-after=instructions::boundary", "--combine-dumps=yes", &file];
    valgrind(operation, &options, false)?;
    let text = fs::read_to_string(&calls)?;
    fs::remove_file(&calls)?;
    let count = |line: &str| line.strip_prefix("totals:")?.trim().parse().ok();
    let counts: Vec<u64> = text.lines().filter_map(count).collect();
    // Before the first boundary lies all that is prepared, and after the last what is dropped.
    ensure!(counts.len() == TIMES + 2, "{} counts of {operation}", counts.len());
    let mut counts = counts[1..=TIMES].to_vec();
    counts.sort_unstable();
    Ok(counts[TIMES / 2])
}

fn record() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

/// What was recorded for `operation`.
fn recorded(text: &str, operation: &str) -> Option<u64> {
    let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
    lines.filter(|(_, name)| *name == operation).find_map(|(count, _)| count.parse().ok())
}

/// `old`, a record, with what was `counted` now under `head`: each in the order of [`OPERATIONS`].
fn with(old: &str, head: &str, counted: &[(String, u64)]) -> String {
    let names = OPERATIONS[1..]
        .iter()
        .flat_map(|(operation, _)| ["call", "stream"].map(|way| format!("{way} {operation}")));
    let lines = names.filter_map(|name| {
        let new = counted.iter().find(|it| it.0 == name).map(|it| it.1);
        Some(format!("{:6} {name}\n", new.or_else(|| recorded(old, &name))?))
    });
    format!("{head}\n{}", lines.collect::<String>())
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if let Some(operation) = &cli.run {
        STREAM.store(cli.stream, Ordering::Relaxed);
        OPERATIONS.iter().find(|it| it.0 == operation).context("no such operation")?.1()?;
        return Ok(ExitCode::SUCCESS);
    }
    let compiler = option_env!("VERSUS_COMPILER").unwrap_or("a compiler that is not known");
    let head = format!("# instructions a call, {}, {compiler}", std::env::consts::ARCH);
    let old = fs::read_to_string(record()).unwrap_or_default();
    let old_head = old.lines().next().unwrap_or("nothing");
    if !cli.record && old_head != head {
        println!("recorded by another compiler or processor, so expect differences: {old_head}");
    }
    let asked = |name: &str| cli.only.is_empty() || cli.only.iter().any(|it| name.contains(it));
    let operations = || OPERATIONS[1..].iter().map(|(operation, _)| *operation);
    ensure!(operations().any(asked), "no operation has a name that contains it");
    ensure!(
        !cli.record || old_head == head || operations().all(asked),
        "another compiler or processor recorded the counts, so record all of them: {old_head}"
    );
    let call = count(NOTHING)?;
    let (mut counted, mut worse) = (vec![], vec![]);
    let mut compare = |operation: String, count: &dyn Fn(f64) -> anyhow::Result<u64>, tolerance| {
        let before = recorded(&old, &operation).filter(|_| !cli.record);
        let most = before.map_or(f64::INFINITY, |before| before as f64 * (1.0 + tolerance));
        let count = count(most)?;
        let said = before.map_or(String::new(), |before| format!(", recorded {before}"));
        println!("{count:6} {operation}{said}");
        if before.is_none() || count as f64 > most {
            worse.push(operation.clone());
        }
        counted.push((operation, count));
        anyhow::Ok(())
    };
    for operation in operations().filter(|operation| asked(operation)) {
        let one = |_| Ok(count(operation)?.saturating_sub(call));
        compare(format!("call {operation}"), &one, CALL_TOLERANCE)?;
        let all = |most| count_in_stream(operation, most);
        compare(format!("stream {operation}"), &all, STREAM_TOLERANCE)?;
    }
    if cli.record {
        fs::write(record(), with(&old, &head, &counted))?;
    } else if !worse.is_empty() {
        eprintln!(
            "more instructions than recorded: {}. If they are worth it, record them:\n\
             cargo run --release -p versus --bin instructions -- --record",
            worse.join(", ")
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_the_whole_name_of_its_operation() {
        let text = "# head\n   50 exclusive send_fast\n   90 shared send_fast\n";
        assert_eq!(recorded(text, "exclusive send_fast"), Some(50));
        assert_eq!(recorded(text, "shared send_fast"), Some(90));
        assert_eq!(recorded(text, "recv_fast"), None);
    }

    #[test]
    fn what_is_recorded_alone_leaves_the_others_as_they_are() {
        let old = fs::read_to_string(record()).unwrap();
        let head = old.lines().next().unwrap();
        assert_eq!(with(&old, head, &[]), old);
        let line = "call shared send_fast";
        let new = with(&old, head, &[(line.into(), 1)]);
        let others = |text: &str| -> Vec<_> {
            text.lines()
                .filter(|it| !it.ends_with(&format!(" {line}")))
                .map(str::to_string)
                .collect()
        };
        assert_eq!(recorded(&new, line), Some(1));
        assert_eq!(others(&new), others(&old));
        // A line that was not there comes where its operation stands.
        assert_eq!(
            with(&old.replace(&format!(" {line}"), " none"), head, &[(line.into(), 1)]),
            new
        );
    }

    #[test]
    fn every_operation_runs() {
        for (operation, run) in OPERATIONS {
            run().unwrap_or_else(|error| panic!("{operation}: {error}"));
        }
    }
}
