//! Ratios beside peers, and what each is held to.

use crate::show::{digits, table};

/// Figures of one section, by client; more is better.
pub struct Figures<'a>(pub Vec<(&'a str, f64)>);

/// A client beside the best of others.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    pub ours: &'static str,
    pub peers: &'static [&'static str],
    /// At least so many times the peer's; `None`: it is just of interest.
    pub least: Option<f64>,
}

impl Bar {
    pub const fn new(ours: &'static str, peers: &'static [&'static str]) -> Bar {
        let least = None;
        Bar { ours, peers, least }
    }

    pub const fn least(self, times: f64) -> Bar {
        let least = Some(times);
        Bar { least, ..self }
    }
}

/// All ratios of a run, for its end.
#[derive(Debug, Default)]
pub struct Bars {
    rows: Vec<Vec<String>>,
}

impl Bars {
    /// Nothing is added where a client was not measured.
    pub fn add(&mut self, section: &str, figures: &Figures<'_>, bar: Bar) {
        let ours = figures.0.iter().find(|(name, _)| *name == bar.ours);
        let peers = figures.0.iter();
        let peers = peers.filter(|(name, _)| bar.peers.contains(name));
        let peer = peers.max_by(|a, b| a.1.total_cmp(&b.1));
        if let (Some((ours, value)), Some((peer, beside))) = (ours, peer) {
            self.ratio(section, ours, peer, value / beside, bar.least);
        }
    }

    pub fn ratio(&mut self, section: &str, ours: &str, peer: &str, is: f64, least: Option<f64>) {
        // A bar near 1 has two digits behind the point.
        let bar = |least: f64| match least {
            ..1.0 => format!("{least:.2} x"),
            _ => format!("{least:.1} x"),
        };
        let (bar, verdict) = match least {
            None => ("-".to_owned(), ""),
            Some(least) if is >= least => (bar(least), "met"),
            Some(least) => (bar(least), "MISSED"),
        };
        let cells = [
            section,
            ours,
            peer,
            &bar,
            &format!("{} x", digits(is)),
            verdict,
        ];
        self.rows.push(cells.map(str::to_owned).to_vec());
    }

    pub fn print(self) {
        if self.rows.is_empty() {
            return;
        }
        println!("\nBeside peers (more is better for the first):");
        let head = ["section", "what", "beside", "bar", "is", ""];
        table(&[vec![head.map(str::to_owned).to_vec()], self.rows].concat());
    }
}
