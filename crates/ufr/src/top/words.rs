//! Numbers in few letters, for columns.

/// Three digits and a unit: `999`, `1.23k`, `45.6M`.
pub(super) fn count(number: f64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    scaled(number, 1e3, &UNITS, "")
}

/// Bytes: `999B`, `1.23kB`.
pub(super) fn bytes(number: f64) -> String {
    const UNITS: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    scaled(number, 1e3, &UNITS, "B")
}

/// A time from nanoseconds: `850ns`, `1.23us`, `45.6ms`, `7.89s`, `12min`, `3.5h`, `12d`.
pub(super) fn time(nanoseconds: f64) -> String {
    const DAY: f64 = 24.0 * HOUR;
    const HOUR: f64 = 60.0 * MINUTE;
    const MINUTE: f64 = 60e9;
    let rounded = |number: f64, unit| format!("{number:.0}{unit}");
    match nanoseconds {
        it if it >= 3.0 * DAY => rounded(it / DAY, "d"),
        it if it >= 3.0 * HOUR => rounded(it / HOUR, "h"),
        it if it >= 3.0 * MINUTE => rounded(it / MINUTE, "min"),
        it if it >= 999.5e6 => digits(it / 1e9) + "s",
        it => scaled(it, 1e3, &["ns", "us", "ms"], ""),
    }
}

/// A number that has at most the units given, with three digits.
fn scaled(number: f64, step: f64, units: &[&str], after: &str) -> String {
    let (mut number, mut unit) = (number, 0);
    // What would round to a thousand has the next unit.
    while number >= step - 0.5 && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    // There are no halves of what is counted.
    let text = if unit == 0 && number >= 10.0 { format!("{number:.0}") } else { digits(number) };
    format!("{text}{}{after}", units[unit])
}

/// At most three digits, or all of those before the point.
fn digits(number: f64) -> String {
    let text = match number {
        it if it < 9.995 => format!("{it:.2}"),
        it if it < 99.95 => format!("{it:.1}"),
        it => return format!("{it:.0}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_never_more_than_six_letters() {
        let counts = [
            (0.0, "0"),
            (0.5, "0.5"),
            (7.0, "7"),
            (12.4, "12"),
            (999.4, "999"),
            (999.6, "1k"),
            (1_234.0, "1.23k"),
            (45_678.0, "45.7k"),
            (999_700.0, "1M"),
            (12_300_000.0, "12.3M"),
        ];
        for (number, text) in counts {
            assert_eq!(count(number), text, "{number}");
        }
        assert_eq!((&*bytes(1_500.0), &*bytes(3.0)), ("1.5kB", "3B"));
        let times = [
            (0.0, "0ns"),
            (61.0, "61ns"),
            (1_234.0, "1.23us"),
            (123_456.0, "123us"),
            (45.6e6, "45.6ms"),
            (999.9e6, "1s"),
            (7.89e9, "7.89s"),
            (119e9, "119s"),
            (720e9, "12min"),
            (4.0 * 3600e9, "4h"),
            (12.0 * 86_400e9, "12d"),
        ];
        for (nanoseconds, text) in times {
            assert_eq!(time(nanoseconds), text, "{nanoseconds}");
        }
        for exponent in 0..18 {
            for digit in [1.0, 4.449, 9.994, 9.9951] {
                let number = digit * 10f64.powi(exponent);
                for text in [count(number), bytes(number), time(number.min(1e20))] {
                    assert!(text.len() <= 6, "{number}: {text}");
                }
            }
        }
    }
}
