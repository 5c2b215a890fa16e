//! A real Prometheus scrapes `ufr metrics`, is asked what it has, and knows the alerts and the
//! dashboard of `docs/monitoring`. `.ci/run metrics` gets `prometheus` and `promtool`.

#[allow(dead_code)]
mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Place, until};
use serde_json::Value;
use ultrafastring::{Builder, Lanes, PriorityClass};

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").canonicalize().unwrap()
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fails unless `promtool` accepts.
fn promtool(arguments: &[&str], input: Option<&str>) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(documents().join("monitoring"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is not on PATH");
    child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}\n{}", input.unwrap_or_default());
    // It also has advice, which is as good as an error.
    assert!(input.is_none() || output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

/// A name that tries to be more than a label.
const HOSTILE: &str = "a\"} 1\\ \u{2603}";

/// Rings of each kind: with and without histograms, for groups, full, damaged, with a hostile name.
/// The first one has a handle on each side as long as what is returned lives.
fn rings(place: &Place) -> impl Sized {
    let builder = || Builder::new().directory(place.path());
    let ring = builder().latency_histograms(true).capacity(64).create("orders").unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for class in PriorityClass::ALL {
        producer.send(b"1234567890", class).unwrap();
    }
    for _ in 0..4 {
        consumer.recv().unwrap();
    }
    builder().create(HOSTILE).unwrap();
    let groups = builder().latency_histograms(true).groups(["risk", "log"]);
    let ring = groups.create("prices").unwrap();
    ring.try_send("AAPL 101", PriorityClass::Normal).unwrap();
    ring.join("risk").consumer().unwrap().try_recv().unwrap();
    let ring = builder().lanes(Lanes::ByClass).create("lanes").unwrap();
    ring.producer().unwrap().send(b"!", PriorityClass::Bulk).unwrap();
    let ring = builder().capacity(2).create("full").unwrap();
    (0..2).for_each(|_| ring.try_send("!", PriorityClass::Low).unwrap());
    fs::write(place.path().join("ufr-garbage"), vec![0x5A; 8192]).unwrap();
    (producer, consumer)
}

/// `ufr metrics` on a free port, which is returned.
fn serve(place: &Place) -> (Running, u16) {
    let mut child =
        place.ufr(&["metrics", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().strip_suffix("/metrics").and_then(|it| it.rsplit(':').next()).unwrap();
    (Running(child), port.parse().unwrap())
}

/// A Prometheus with the configuration of the guide, but for port and pace.
struct Prometheus {
    _process: Running,
    port: u16,
}

impl Prometheus {
    fn start(folder: &Path, scrapes: u16) -> Self {
        let page = fs::read_to_string(documents().join("guide/watching.md")).unwrap();
        let (_, rest) = page.split_once("`prometheus.yml`:\n\n```yaml\n").unwrap();
        let config = rest.split_once("```\n").unwrap().0;
        assert!(config.contains("127.0.0.1:19370"), "{config}");
        let config = config.replace("19370", &scrapes.to_string());
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: \
             200ms }}\n{config}"
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let alerts = documents().join("monitoring/ufr-alerts.yml");
        fs::copy(alerts, folder.join("ufr-alerts.yml")).unwrap();
        // Free a moment ago, and nobody else asks for it by chance.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .expect("prometheus is not on PATH");
        Self { _process: Running(process), port }
    }

    /// What its interface answers; null while it does not.
    fn get(&self, path: &str) -> Value {
        let ask = || -> std::io::Result<String> {
            let mut client = TcpStream::connect(("127.0.0.1", self.port))?;
            // Of version 1.0, so that the answer comes in one piece.
            client.write_all(format!("GET /api/v1/{path} HTTP/1.0\r\n\r\n").as_bytes())?;
            let mut answer = String::new();
            client.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        serde_json::from_str(body).unwrap_or_default()
    }

    /// The samples of a query: labels, and value.
    fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let encoded: String = query.bytes().map(|it| format!("%{it:02X}")).collect();
        let answer = self.get(&format!("query?query={encoded}"));
        if answer.is_null() {
            return Vec::new();
        }
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let samples = answer["data"]["result"].as_array().unwrap().iter();
        let value = |it: &Value| it["value"][1].as_str().unwrap().parse().unwrap();
        samples.map(|it| (it["metric"].clone(), value(it))).collect()
    }

    /// The value of a query that gives one.
    fn value(&self, query: &str) -> Option<f64> {
        match &self.query(query)[..] {
            [(_, value)] => Some(*value),
            _ => None,
        }
    }
}

#[test]
#[ignore = "needs promtool: .ci/run metrics"]
fn promtool_accepts_metrics_and_alerts() {
    let place = Place::new();
    let _handles = rings(&place);
    promtool(&["check", "metrics"], Some(&place.say(&["metrics", "--once"])));
    promtool(&["check", "rules", "ufr-alerts.yml"], None);
    promtool(&["test", "rules", "ufr-alerts-test.yml"], None);
}

#[test]
#[ignore = "needs prometheus: .ci/run metrics"]
fn prometheus_scrapes_what_there_is() {
    let place = Place::new();
    let _handles = rings(&place);
    let (_serving, port) = serve(&place);
    let folder = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(folder.path(), port);
    until("it scrapes", || prometheus.value("up{job=\"ufr\"}") == Some(1.0));
    until("what it scraped can be asked for", || prometheus.query("ufr_ring_up").len() == 6);
    let target = &prometheus.get("targets")["data"]["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
    for (query, value) in [
        ("ufr_messages_sent_total{ring=\"orders\", class=\"bulk\"}", 1.0),
        ("sum(ufr_bytes_sent_total{ring=\"orders\"})", 50.0),
        ("sum(ufr_messages_received_total{ring=\"orders\"})", 4.0),
        ("ufr_depth_slots{ring=\"orders\"}", 1.0),
        ("ufr_capacity_slots{ring=\"orders\"}", 64.0),
        ("sum(ufr_message_latency_seconds_count{ring=\"orders\"})", 4.0),
        ("sum(ufr_message_latency_seconds_bucket{ring=\"orders\", le=\"+Inf\"})", 4.0),
        ("count(ufr_message_latency_seconds_bucket{ring=\"orders\", class=\"low\"})", 16.0),
        ("ufr_group_lag_messages{ring=\"prices\", group=\"log\"}", 1.0),
        ("ufr_group_received_messages_total{ring=\"prices\", group=\"risk\"}", 1.0),
        ("ufr_group_latency_seconds_count{ring=\"prices\", group=\"risk\"}", 1.0),
        ("ufr_depth_slots{ring=\"lanes\", lane=\"bulk\"}", 1.0),
        ("sum by (ring) (ufr_depth_slots{ring=\"lanes\"})", 1.0),
        ("ufr_ring_up{ring=\"garbage\"}", 0.0),
        ("ufr_ring_up{ring=\"a\\\"} 1\\\\ \u{2603}\"}", 1.0),
        ("sum(ufr_participants{ring=\"orders\", state=\"alive\"})", 2.0),
        ("ufr_build_info", 1.0),
        ("ufr_rings{state=\"down\"}", 1.0),
    ] {
        assert_eq!(prometheus.value(query), Some(value), "{query}");
    }
    let kinds = prometheus.get("metadata");
    for (name, kind) in [
        ("ufr_depth_slots", "gauge"),
        ("ufr_message_latency_seconds", "histogram"),
        // Of OpenMetrics, which it asks for: named without what its samples end in.
        ("ufr_messages_sent", "counter"),
        ("ufr_build", "info"),
    ] {
        assert_eq!(kinds["data"][name][0]["type"], kind, "{name}: {kinds}");
    }
    the_alerts_are_evaluated(&prometheus);
    the_dashboard_has_answers(&prometheus);
}

fn the_alerts_are_evaluated(prometheus: &Prometheus) {
    let rules = || prometheus.get("rules")["data"]["groups"][0]["rules"].clone();
    until("each rule is evaluated", || {
        let all = rules();
        let all = all.as_array().map_or(&[][..], |it| it);
        all.len() == 12 && all.iter().all(|it| it["health"] == "ok")
    });
    until("the damaged ring, the full one and the group alone are noticed", || {
        let all = rules();
        let pending = all.as_array().unwrap().iter().filter(|it| it["state"] == "pending");
        let rings: Vec<_> = pending
            .flat_map(|it| it["alerts"].as_array().unwrap().clone())
            .map(|it| format!("{} {}", it["labels"]["alertname"], it["labels"]["ring"]))
            .collect();
        let has = |text: &str| rings.iter().any(|it| it == text);
        has("\"UfrRingDown\" \"garbage\"")
            && has("\"UfrNoConsumer\" \"full\"")
            && has("\"UfrGroupWithoutMember\" \"prices\"")
    });
}

fn the_dashboard_has_answers(prometheus: &Prometheus) {
    let file = documents().join("monitoring/ufr-dashboard.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    let targets = panels.iter().flat_map(|it| it["targets"].as_array().unwrap());
    for target in targets {
        let query = target["expr"].as_str().unwrap();
        let query = query.replace("$__rate_interval", "1m").replace("$ring", ".*");
        until(&query, || !prometheus.query(&query).is_empty());
    }
}
