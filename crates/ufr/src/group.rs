//! Groups of consumers: taking part in one, listing and removing them.

use std::fmt::Write;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use ultrafastring::{
    Builder, Consumer, GroupInfo, GroupState, RingError, RingStats, RingView, Sharing, Slow, Start,
    UltraFastRing,
};

use crate::{completion, or_usage, output};

/// Which group `recv` takes part in.
#[derive(Args)]
#[command(next_help_heading = "Groups")]
pub(crate) struct Membership {
    /// Receive as a member of this group. Each group gets every message, and its members share
    /// them.
    ///
    /// The ring must have been made with `ufr create --joinable` or `--group`. If there is no ring,
    /// a joinable one is made. If there is no such group, it is made as the other options say;
    /// without them, producers wait for it while it has a living member.
    #[arg(short, long, value_name = "GROUP", add = completion::groups())]
    group: Option<String>,
    /// Where the group starts if it is new or closed: latest, oldest, resume, or a position.
    ///
    /// `latest`: at the next message that is sent. `oldest`: at the oldest message that is still in
    /// the ring. `resume`: where the group was, which must be open. A group that is open goes on
    /// where it is, whatever this option says.
    #[arg(long, value_name = "START", requires = "group", default_value = "latest")]
    #[arg(value_parser = any_start, hide_default_value = true, add = completion::starts())]
    from: Start,
    /// Make the group durable: it keeps its place while it has no member, and producers wait for
    /// it until a member resumes, or `ufr group rm` removes it.
    #[arg(long, requires = "group")]
    durable: bool,
    /// Allow the group one member at a time.
    #[arg(long, requires = "group")]
    exclusive: bool,
    /// Let producers go on without the group when they have waited for it so long, for example
    /// 100ms or 2s.
    ///
    /// `recv` then reports on standard error how many messages the group missed, and goes on at the
    /// latest. In such a group a message leaves the ring before it is written, so a kill or a full
    /// disk loses up to 64 messages; with --unbuffered, at most one.
    #[arg(long, value_name = "DURATION", requires = "group")]
    #[arg(value_parser = humantime::parse_duration)]
    evict_after: Option<Duration>,
}

impl Membership {
    /// The group's name, if `recv` is to take part in one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Opens the ring, or makes one that can be joined.
    pub(crate) fn ring(&self, builder: &Builder, name: &str) -> Result<UltraFastRing, RingError> {
        match self.from {
            // There is nothing to be resumed in a new ring.
            Start::Resume => builder.open(name),
            _ => builder.clone().joinable().accept_existing(true).open_or_create(name),
        }
    }

    /// Joins the group.
    pub(crate) fn join(&self, ring: &UltraFastRing, group: &str) -> anyhow::Result<Consumer> {
        let mut join = ring.join(group).start(self.from);
        if self.durable {
            join = join.durable();
        }
        if self.exclusive {
            join = join.exclusive();
        }
        if let Some(after) = self.evict_after {
            join = join.slow(Slow::Evict { after });
        }
        or_usage("recv", join.consumer())
    }
}

/// Where to start: what `--from` takes.
pub(crate) fn any_start(text: &str) -> Result<Start, String> {
    match text {
        "latest" => Ok(Start::Latest),
        "oldest" => Ok(Start::Oldest),
        "resume" => Ok(Start::Resume),
        _ => match u64::from_str(text) {
            Ok(position) => Ok(Start::Position(position)),
            Err(_) => Err("write latest, oldest, resume, or a position".to_string()),
        },
    }
}

/// List or remove the groups of a ring.
#[derive(Args)]
pub(crate) struct Group {
    #[command(subcommand)]
    what: What,
}

// Each subcommand's type has its help.
#[derive(Subcommand)]
enum What {
    Ls(List),
    Rm(Remove),
}

/// List the groups of a ring.
///
/// Prints one line a group, separated by tabs: its name, its state, how many members it has, how
/// many messages it is behind, and how it was made. Producers wait for a group that is `open`. They
/// do not wait for one that is `closed` (it has no member, and keeps no place) or `evicted` (it did
/// not keep up, and no member has found out yet).
#[derive(Args)]
struct List {
    /// Name of the ring.
    #[arg(add = completion::rings())]
    name: String,
}

/// Remove a group: producers no longer wait for it, and its name is free.
///
/// Messages that only this group had not received are lost to it. A group with a living member
/// cannot be removed.
#[derive(Args)]
struct Remove {
    /// Name of the ring.
    #[arg(add = completion::rings())]
    name: String,
    /// Name of the group.
    #[arg(add = completion::groups())]
    group: String,
}

impl Group {
    pub(crate) fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        match self.what {
            What::Ls(list) => list.run(builder),
            What::Rm(remove) => {
                or_usage("group", builder.open(&remove.name)?.remove_group(&remove.group))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl List {
    fn run(self, builder: &Builder) -> anyhow::Result<ExitCode> {
        let ring = builder.observe(&self.name)?;
        if ring.settings().groups == 0 {
            return Err(RingError::NotMadeForGroups.into());
        }
        let mut lines = String::new();
        for it in ring.groups() {
            let (name, state, made) = (it.name.as_str(), state(it.state), made(&it));
            let members = members(it.members);
            writeln!(lines, "{name}\t{state}\t{members}\t{} behind\t{made}", it.lag)?;
        }
        output::say(lines)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// So many members.
fn members(count: usize) -> String {
    format!("{count} member{}", if count == 1 { "" } else { "s" })
}

/// The word for a group's state.
pub(crate) fn state(state: GroupState) -> &'static str {
    match state {
        GroupState::Open => "open",
        GroupState::Evicted => "evicted",
        _ => "closed",
    }
}

/// How a group was made, in words.
pub(crate) fn made(group: &GroupInfo) -> String {
    let durable = if group.durable { "durable" } else { "passing" };
    let alone = if group.sharing == Sharing::Exclusive { ", exclusive" } else { "" };
    let slow = match group.slow {
        Slow::Wait => String::new(),
        Slow::Evict { after } => {
            format!(", evicted after {}", humantime::format_duration(after))
        }
    };
    format!("{durable}{alone}{slow}")
}

/// The groups in the output of `stat --json`.
pub(crate) fn as_json(ring: &RingView) -> Value {
    let group = |it: GroupInfo| {
        let evict_after_ns = match it.slow {
            Slow::Wait => Value::Null,
            Slow::Evict { after } => u64::try_from(after.as_nanos()).unwrap_or(u64::MAX).into(),
        };
        json!({
            "row": it.row,
            "name": it.name.as_str(),
            "state": state(it.state),
            "sharing": it.sharing.name(),
            "durable": it.durable,
            "evict_after_ns": evict_after_ns,
            "members": it.members,
            "head": it.consumer_head,
            "tail": it.consumer_tail,
            "received": it.received,
            "lag": it.lag,
            "evictions": it.evictions,
            "missed": it.missed,
        })
    };
    ring.groups().map(group).collect::<Vec<_>>().into()
}

/// Whether producers wait for consumers.
pub(crate) fn is_full(stats: &RingStats) -> bool {
    stats.credits_spent >= stats.credit_limit
}

/// What `doctor` says of the group that holds producers back, if one does.
pub(crate) fn explain_gate(name: &str, ring: &RingView) -> Option<String> {
    let group = ring.slowest_group().filter(|_| is_full(&ring.stats()))?;
    let (which, lag) = (group.name.as_str(), group.lag);
    Some(match group.members {
        0 => format!(
            "{name}: producers wait for the group {which:?}, which has no member and is {lag} \
             messages behind; start one, or remove the group with `ufr group rm {name} {which}`\n"
        ),
        count => format!(
            "{name}: producers wait for the group {which:?}, which has {} and is {lag} messages \
             behind; `ufr stat {name}` lists the consumers\n",
            members(count)
        ),
    })
}

/// The groups in the output of `stat`.
pub(crate) fn as_text(out: &mut String, ring: &RingView) -> std::fmt::Result {
    writeln!(
        out,
        "\n{:<12} {:<8} {:>7} {:>14} {:>10} {:>9} {:>10}  made",
        "group", "state", "members", "head", "lag", "evictions", "missed"
    )?;
    for it in ring.groups() {
        writeln!(
            out,
            "{:<12} {:<8} {:>7} {:>14} {:>10} {:>9} {:>10}  {}",
            it.name.as_str(),
            state(it.state),
            it.members,
            it.consumer_head,
            it.lag,
            it.evictions,
            it.missed,
            made(&it),
        )?;
    }
    Ok(())
}
