//! Text and numbers as they stand in the page.

/// Text as it may stand in the page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number as short as its size allows.
pub(super) fn short(number: f64) -> String {
    match number {
        ..9.95 => format!("{number:.1}"),
        ..999.5 => format!("{number:.0}"),
        ..9_950.0 => format!("{:.1}k", number / 1e3),
        ..999_500.0 => format!("{:.0}k", number / 1e3),
        _ => format!("{:.1}M", number / 1e6),
    }
}
