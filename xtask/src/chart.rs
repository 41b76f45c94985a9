//! A bar chart as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const NAMES: f64 = 220.0;
const FIGURES: f64 = 80.0;
const ROW: f64 = 22.0;
const TITLE: f64 = 34.0;
const OURS: &str = "mysql_mux";

/// A bar for each; the longest is as wide as there is room.
pub fn bars(title: &str, figures: &[(String, f64)]) -> String {
    let most = figures.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let height = TITLE + ROW * figures.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"12\">{}</text>\n",
        escaped(title)
    );
    for (at, (name, value)) in figures.iter().enumerate() {
        let top = TITLE + ROW * at as f64;
        let length = (WIDTH - NAMES - FIGURES) * value / most.max(1.0);
        let color = if name.starts_with(OURS) {
            "#c2571a"
        } else {
            "#8a9aa8"
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{}\" width=\"{length:.0}\" height=\"{}\" fill=\"{color}\"/>\
             <text x=\"{:.0}\" y=\"{}\">{value:.0}</text>",
            NAMES - 8.0,
            top + 15.0,
            escaped(name),
            top + 3.0,
            ROW - 6.0,
            NAMES + length + 6.0,
            top + 15.0,
        );
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
