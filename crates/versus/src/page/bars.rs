//! Bars: what one shows, and how the page draws it. `front` draws the same bars as an SVG.

use super::plot::Tone;
use super::text::{escaped, short};

/// One bar, and the text beside it.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) tone: Tone,
    /// All figures of the case, shown under the pointer.
    pub(super) tip: String,
    /// Length of the bar, of 1.
    pub(super) part: f64,
    /// Where the middle half of the readings begins and ends, of 1.
    pub(super) spread: [f64; 2],
    pub(super) said: Said,
}

/// The figure beside a bar.
pub(super) struct Said {
    /// With its unit.
    pub(super) figure: String,
    /// The same in ticks, where it is a time.
    pub(super) ticks: Option<f64>,
}

impl Said {
    pub(super) fn new(figure: String) -> Self {
        Self { figure, ticks: None }
    }

    pub(super) fn and_ticks(self, ticks: f64) -> Self {
        Self { ticks: Some(ticks), ..self }
    }
}

impl Bar {
    fn html(&self) -> String {
        let [low, high] = self.spread.map(|at| 100.0 * at.clamp(0.0, 1.0));
        let ticks = self.said.ticks.map(|ticks| format!(" <i>{} ticks</i>", short(ticks)));
        format!(
            "<div class=\"row {tone}\" title=\"{tip}\"><span class=\"who\">{label}</span>\
             <span class=\"track\"><span class=\"bar\" style=\"width:{width:.2}%\"></span>\
             <span class=\"spread\" style=\"left:{low:.2}%;width:{wide:.2}%\"></span></span>\
             <span class=\"said\"><b>{figure}</b>{ticks}</span></div>",
            tone = self.tone.class(),
            tip = escaped(&self.tip),
            label = escaped(&self.label),
            width = 100.0 * self.part.clamp(0.0, 1.0),
            wide = (high - low).max(0.0),
            figure = self.said.figure,
            ticks = ticks.unwrap_or_default(),
        )
    }
}

/// Bars as they stand in the page; nothing if there are none.
pub(super) fn html(bars: &[Bar]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let rows: String = bars.iter().map(Bar::html).collect();
    format!("<div class=\"bars\">{rows}</div>")
}
