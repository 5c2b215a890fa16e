//! The two text formats, and which of them a client would rather have.

/// A text format of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4, which everything reads.
    #[default]
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The value of the header `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that a client asks for by the value of its header `Accept`: OpenMetrics if it
    /// likes that at least as well as plain text, otherwise the format of Prometheus.
    ///
    /// ```
    /// use ultrafastring_metrics::Format;
    ///
    /// let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    /// assert_eq!(Format::accepted(accept), Format::OpenMetrics);
    /// assert_eq!(Format::accepted("*/*"), Format::Prometheus);
    /// ```
    pub fn accepted(accept: &str) -> Self {
        let (mut open, mut plain) = (0.0f32, 0.0f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(|it| it.trim().to_ascii_lowercase());
            let kind = parts.next().unwrap_or_default();
            let (mut quality, mut version) = (1.0f32, None);
            for part in parts {
                let Some((name, value)) = part.split_once('=') else { continue };
                let value = value.trim().trim_matches('"');
                match name.trim() {
                    "q" => quality = value.parse().unwrap_or(0.0),
                    "version" => version = Some(value.to_string()),
                    _ => {}
                }
            }
            match &*kind {
                "application/openmetrics-text"
                    if version.is_none() || version.as_deref() == Some("1.0.0") =>
                {
                    open = quality.max(open);
                }
                "text/plain" | "text/*" => plain = quality.max(plain),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }
}

/// What a family of metrics counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Labels that say something, with the value 1.
    Info,
}

/// Metrics as text, family by family.
#[derive(Debug)]
pub(crate) struct Text {
    format: Format,
    text: String,
    /// The name of the family that is being written, without what its kind adds.
    family: &'static str,
    kind: Kind,
}

impl Text {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, text: String::new(), family: "", kind: Kind::Gauge }
    }

    /// Begins a family. The name is without `_total` and `_info`, which follow from the kind. The
    /// unit, if there is one, is the name's last word.
    pub(crate) fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        unit: Option<&'static str>,
        help: &'static str,
    ) {
        (self.family, self.kind) = (name, kind);
        debug_assert!(unit.is_none_or(|unit| name.ends_with(unit)), "{name} in {unit:?}");
        debug_assert!(!help.contains(['\\', '\n', '"']), "it is written as it is");
        let (word, suffix) = match (self.format, kind) {
            (Format::Prometheus, Kind::Counter) => ("counter", "_total"),
            (Format::OpenMetrics, Kind::Counter) => ("counter", ""),
            (_, Kind::Gauge) => ("gauge", ""),
            (_, Kind::Histogram) => ("histogram", ""),
            (Format::Prometheus, Kind::Info) => ("gauge", "_info"),
            (Format::OpenMetrics, Kind::Info) => ("info", ""),
        };
        self.push(&["# HELP ", name, suffix, " ", help, "\n"]);
        self.push(&["# TYPE ", name, suffix, " ", word, "\n"]);
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            self.push(&["# UNIT ", name, " ", unit, "\n"]);
        }
    }

    /// A sample of the family.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: Value) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.line(suffix, labels, value);
    }

    /// A histogram of the family: how many were at most as large as each bound, which is text as
    /// it is to be written, and all of them, and their sum.
    pub(crate) fn histogram<'a>(
        &mut self,
        labels: &[(&str, &str)],
        buckets: impl IntoIterator<Item = (&'a str, u64)>,
        count: u64,
        sum: f64,
    ) {
        for (bound, below) in buckets.into_iter().chain([("+Inf", count)]) {
            self.line("_bucket", &[labels, &[("le", bound)]].concat(), Value::Count(below));
        }
        self.line("_sum", labels, Value::Number(sum));
        self.line("_count", labels, Value::Count(count));
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: Value) {
        self.push(&[self.family, suffix]);
        let mut before = "{";
        for (name, text) in labels {
            self.push(&[before, name, "=\""]);
            escape(text, &mut self.text);
            self.push(&["\""]);
            before = ",";
        }
        let after = if labels.is_empty() { " " } else { "} " };
        match value {
            Value::Count(count) => self.push(&[after, &count.to_string(), "\n"]),
            Value::Number(number) => self.push(&[after, &number.to_string(), "\n"]),
        }
    }

    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.text.push_str(part));
    }

    /// All of it.
    pub(crate) fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// The value of a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Count(u64),
    Number(f64),
}

/// Writes a label's value as it stands between quotes.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scrapers_send_is_understood() {
        let open = [
            // Prometheus 2.42, 2.55 and 3.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
             version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/\
             openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;\
             escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"",
            "application/openmetrics-text",
        ];
        for accept in open {
            assert_eq!(Format::accepted(accept), Format::OpenMetrics, "{accept}");
        }
        let plain = [
            "",
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.4,text/plain;q=0.5",
            "application/openmetrics-text;q=nonsense",
            ",;=,;;q=;=,",
        ];
        for accept in plain {
            assert_eq!(Format::accepted(accept), Format::Prometheus, "{accept}");
        }
    }

    #[test]
    fn each_format_has_its_own_way_with_counters_units_and_the_end() {
        let write = |format| {
            let mut text = Text::new(format);
            text.family("ufr_bytes_sent", Kind::Counter, None, "Bytes.");
            text.sample(&[("ring", "a\\b\"c\nd")], Value::Count(7));
            text.family("ufr_wait_seconds", Kind::Gauge, Some("seconds"), "Time.");
            text.sample(&[], Value::Number(0.25));
            text.family("ufr_build", Kind::Info, None, "Build.");
            text.sample(&[("version", "1")], Value::Count(1));
            text.end()
        };
        assert_eq!(
            write(Format::Prometheus),
            "# HELP ufr_bytes_sent_total Bytes.\n# TYPE ufr_bytes_sent_total counter\n\
             ufr_bytes_sent_total{ring=\"a\\\\b\\\"c\\nd\"} 7\n\
             # HELP ufr_wait_seconds Time.\n# TYPE ufr_wait_seconds gauge\nufr_wait_seconds 0.25\n\
             # HELP ufr_build_info Build.\n# TYPE ufr_build_info gauge\n\
             ufr_build_info{version=\"1\"} 1\n"
        );
        assert_eq!(
            write(Format::OpenMetrics),
            "# HELP ufr_bytes_sent Bytes.\n# TYPE ufr_bytes_sent counter\n\
             ufr_bytes_sent_total{ring=\"a\\\\b\\\"c\\nd\"} 7\n\
             # HELP ufr_wait_seconds Time.\n# TYPE ufr_wait_seconds gauge\n\
             # UNIT ufr_wait_seconds seconds\nufr_wait_seconds 0.25\n\
             # HELP ufr_build Build.\n# TYPE ufr_build info\n\
             ufr_build_info{version=\"1\"} 1\n# EOF\n"
        );
    }

    #[test]
    fn a_histogram_counts_up_to_all() {
        let mut text = Text::new(Format::Prometheus);
        text.family("h", Kind::Histogram, None, "H.");
        text.histogram(&[("class", "low")], [("0.1", 1), ("1", 3)], 4, 2.5);
        let lines = "h_bucket{class=\"low\",le=\"0.1\"} 1\nh_bucket{class=\"low\",le=\"1\"} 3\n\
                     h_bucket{class=\"low\",le=\"+Inf\"} 4\nh_sum{class=\"low\"} 2.5\n\
                     h_count{class=\"low\"} 4\n";
        assert_eq!(text.end(), format!("# HELP h H.\n# TYPE h histogram\n{lines}"));
    }
}
