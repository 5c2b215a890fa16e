//! What `top` knows, as one JSON object. `docs/reference-command.md` has each key.

use serde_json::{Value, json};
use ultrafastring::{GroupInfo, LatencyHistogram, ParticipantInfo, PriorityClass};

use super::blame::{Blame, Culprit};
use super::history::{Claim, History, Rates, Watched, all_of};
use super::sample::{Ring, Sample, state_of, whole};
use super::table::{Choice, chosen};
use crate::group;

pub(super) fn object(directory: &str, history: &History, choice: &Choice) -> Value {
    json!({
        "directory": directory,
        "interval_ns": history.interval.map(whole),
        "left_out": history.left_out,
        "rings": chosen(history, choice)
            .into_iter()
            .map(|(name, watched)| ring(name, watched))
            .collect::<Vec<_>>(),
    })
}

fn ring(name: &str, watched: &Watched) -> Value {
    let it = match &watched.now {
        Ring::Seen(it) => it,
        Ring::Closed(word, reason) => {
            return json!({ "name": name, "state": word, "reason": reason });
        }
    };
    let change = watched.change.as_ref();
    let latency = change.and_then(|it| it.latency.as_ref());
    let mut object = json!({
        "name": name,
        "state": it.state,
        "capacity": it.capacity(),
        "depth": it.depth,
        "most_in_flight": it.stats.most_in_flight,
        "credits_spent": it.stats.credits_spent,
        "credit_limit": it.stats.credit_limit,
        "credit_stalls": it.stats.credit_stalls,
        "sent": it.stats.sent,
        "received": it.stats.received,
        "redelivered": it.stats.redelivered,
        "abandoned": it.stats.abandoned,
        "discarded": it.stats.discarded,
        "latency_ns": quantiles(latency),
        "latency_since_made_ns": quantiles(it.latencies.as_ref().map(all_of).as_ref()),
        "held_back": Blame::of(watched).map(|it| held_back(&it)),
        "classes": PriorityClass::ALL.map(|class| of_class(class, it, watched)),
        "groups": it.groups.iter().map(of_group).collect::<Vec<_>>(),
        "participants": it
            .participants
            .iter()
            .map(|participant| of_participant(participant, watched))
            .collect::<Vec<_>>(),
    });
    add_rates(&mut object, change.map(|it| &it.all));
    object
}

/// Adds the rates, or nulls, to an object.
fn add_rates(object: &mut Value, rates: Option<&Rates>) {
    for (key, rate) in [
        ("sent_per_second", rates.map(|it| it.sent)),
        ("received_per_second", rates.map(|it| it.received)),
        ("bytes_sent_per_second", rates.map(|it| it.sent_bytes)),
        ("bytes_received_per_second", rates.map(|it| it.received_bytes)),
    ] {
        object[key] = rate.into();
    }
}

/// Quantiles in nanoseconds; null without histograms, or if there is no message.
fn quantiles(latency: Option<&LatencyHistogram>) -> Value {
    let Some(it) = latency.filter(|it| !it.is_empty()) else { return Value::Null };
    json!({
        "count": it.count(),
        "p50": it.quantile(0.5),
        "p99": it.quantile(0.99),
        "p99_9": it.quantile(0.999),
    })
}

fn of_class(class: PriorityClass, ring: &Sample, watched: &Watched) -> Value {
    let index = class.index();
    let (change, counts) = (watched.change.as_ref(), &ring.stats.classes[index]);
    let latency = change.and_then(|it| Some(&it.latencies.as_ref()?[index]));
    let since_made = ring.latencies.as_ref().map(|it| &it[index]);
    let mut object = json!({
        "class": class.name(),
        "sent": counts.sent,
        "received": counts.received,
        "bytes_sent": counts.sent_bytes,
        "bytes_received": counts.received_bytes,
        "latency_ns": quantiles(latency),
        "latency_since_made_ns": quantiles(since_made),
    });
    add_rates(&mut object, change.map(|it| &it.classes[index]));
    object
}

fn of_group(it: &GroupInfo) -> Value {
    json!({
        "name": it.name.as_str(),
        "state": group::state(it.state),
        "members": it.members,
        "lag": it.lag,
        "missed": it.missed,
        "evictions": it.evictions,
    })
}

fn of_participant(it: &ParticipantInfo, watched: &Watched) -> Value {
    let claimed = |claim, span: Option<(u64, u64)>| {
        let (first, count) = span?;
        let held_ns = watched.held_for(it, claim);
        Some(json!({ "first": first, "count": count, "held_ns": held_ns }))
    };
    json!({
        "lane": it.lane,
        "entry": it.index,
        "pid": it.pid,
        "name": it.name.as_str(),
        "side": it.side.name(),
        "group": it.group.as_ref().map(|it| it.as_str()),
        "state": state_of(it),
        "since_ns": watched.clock.saturating_sub(it.attached),
        "intent": claimed(Claim::Intent, it.intent),
        "hold": claimed(Claim::Hold, it.hold),
    })
}

fn held_back(blame: &Blame<'_>) -> Value {
    let (by, group, claimed) = match &blame.by {
        Culprit::Group { name, holder, .. } => ("group", Some(*name), holder.as_ref()),
        Culprit::Participant(it) => ("participant", None, Some(it)),
        Culprit::Nobody => ("nobody", None, None),
        Culprit::Slow => ("consumers", None, None),
    };
    json!({
        "side": blame.waits.name(),
        "by": by,
        "group": group,
        "lane": claimed.map(|it| it.who.lane),
        "entry": claimed.map(|it| it.who.index),
        "pid": claimed.map(|it| it.who.pid),
        "text": blame.sentence(),
    })
}
