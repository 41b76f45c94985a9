//! Figures for people.

use std::time::Duration;

/// A time with a unit that fits, three digits.
pub fn time(time: Duration) -> String {
    nanos(time.as_nanos() as f64)
}

/// Nanoseconds with a unit that fits, three digits.
pub fn nanos(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// Three digits, and as many more as the number has before its point.
pub fn digits(value: f64) -> String {
    let places = match value.abs() {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.places$}")
}

/// Kibibytes with a unit that fits.
pub fn kib(kib: i64) -> String {
    match kib.abs() {
        0..=9999 => format!("{kib} KiB"),
        _ => format!("{} MiB", digits(kib as f64 / 1024.0)),
    }
}

/// The value at a share (0 to 1) of sorted values.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

/// The one in the middle, of any order; of none, not a number.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A bar; what is not nothing is seen.
pub fn bar(value: f64, largest: f64, width: usize) -> String {
    if value <= 0.0 || largest <= 0.0 {
        return String::new();
    }
    let eighths = (value / largest * (width * 8) as f64).round().max(1.0) as usize;
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    "█".repeat(eighths / 8) + part
}

/// Prints rows under a head: the first column to the left, the others to the right.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        let lengths = rows.iter().filter_map(|row| row.get(column));
        lengths
            .map(|cell: &String| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (at, row) in rows.iter().enumerate() {
        let mut line = String::from("  ");
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            line += &match column {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        println!("{}", line.trim_end());
        if at == 0 {
            let all = widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1);
            println!("  {}", "─".repeat(all));
        }
    }
}
