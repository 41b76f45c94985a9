//! Makes a program that diverges short: what can go goes, as long as it still diverges.

use crate::{
    program::{Program, Step},
    way::Way,
};

/// A shorter program that still diverges. `diverges` runs one and says up to which step it had to
/// go (all of them, where it was at the end), or `None` where nothing differs. It is called at most
/// `budget` times.
pub fn shrink(
    program: &Program,
    budget: usize,
    mut diverges: impl FnMut(&Program) -> Option<usize>,
) -> Program {
    let mut best = program.clone();
    let mut left = budget;
    // Tries another; keeps it, up to where it diverged, if it did.
    let mut tried = |best: &mut Program, mut shorter: Program| -> bool {
        if left == 0 {
            return false;
        }
        left -= 1;
        let Some(count) = diverges(&shorter) else {
            return false;
        };
        shorter.steps.truncate(count.max(1));
        *best = shorter;
        true
    };
    let mut attempt = |best: &mut Program, steps: Vec<Step>| -> bool {
        if steps.is_empty() || steps.len() >= best.steps.len() {
            return false;
        }
        let shorter = Program {
            steps,
            ..best.clone()
        };
        tried(best, shorter)
    };
    // Whole handles first: that is most at once.
    for handle in 0..program.handles {
        let others = best.steps.iter().filter(|step| step.handle != handle);
        let others = others.cloned().collect();
        attempt(&mut best, others);
    }
    // Then pieces, each time smaller ones.
    let mut size = best.steps.len().div_ceil(2);
    loop {
        let mut removed = false;
        // From the end: what is last matters most, and what was before it often not at all.
        let mut end = best.steps.len();
        while end > 0 {
            let end_now = end.min(best.steps.len());
            let start = end_now.saturating_sub(size);
            let mut steps = best.steps.clone();
            steps.drain(start..end_now);
            removed |= attempt(&mut best, steps);
            end = start;
        }
        match size {
            0 | 1 if !removed => break,
            0 | 1 => {}
            _ => size = size.div_ceil(2),
        }
    }
    // What is sent in a way that doesn't matter is sent plainly.
    for handle in 0..best.ways.len() {
        let acts = best.steps.iter().any(|step| step.handle == handle);
        if acts && best.ways[handle] != Way::Plain {
            let mut plain = best.clone();
            plain.ways[handle] = Way::Plain;
            tried(&mut best, plain);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Action, Mode};

    fn program(count: usize) -> Program {
        Program {
            seed: 0,
            mode: Mode::Sequential,
            handles: 4,
            links: 1,
            may_pin: Vec::new(),
            keeps: Vec::new(),
            ways: vec![Way::Stream; 4],
            prefers: Vec::new(),
            own_tables: false,
            steps: (0..count)
                .map(|number| Step {
                    handle: number % 4,
                    topic: "plain",
                    action: Action::Query(number.to_string()),
                })
                .collect(),
        }
    }

    fn texts(program: &Program) -> Vec<String> {
        let steps = program.steps.iter();
        steps.map(|step| step.action.to_string()).collect()
    }

    #[test]
    fn only_what_it_takes_is_left() {
        let short = shrink(&program(60), 500, |program| {
            let texts = texts(program);
            let first = texts.iter().position(|text| text == "5")?;
            let then = texts.iter().position(|text| text == "42")?;
            (first < then).then_some(then + 1)
        });
        assert_eq!(texts(&short), ["5", "42"]);
    }

    #[test]
    fn only_the_way_that_matters_is_left() {
        let short = shrink(&program(8), 500, |program| {
            let texts = texts(program);
            let first = texts.iter().position(|text| text == "1")?;
            let then = texts.iter().position(|text| text == "6")?;
            (first < then && program.way(2) == Way::Stream).then_some(then + 1)
        });
        assert_eq!(texts(&short), ["1", "6"]);
        assert_eq!((short.way(1), short.way(2)), (Way::Plain, Way::Stream));
    }

    #[test]
    fn what_needs_everything_stays() {
        let whole = program(9);
        let short = shrink(&whole, 500, |program| {
            (program.steps.len() == 9).then_some(9)
        });
        assert_eq!(short.steps, whole.steps);
    }

    #[test]
    fn it_ends_with_its_budget() {
        let mut runs = 0;
        let short = shrink(&program(100), 7, |program| {
            runs += 1;
            Some(program.steps.len())
        });
        assert!(runs <= 7);
        assert!(short.steps.len() < 100);
    }

    #[test]
    fn one_step_may_be_left() {
        let short = shrink(&program(50), 500, |program| {
            texts(program)
                .iter()
                .position(|text| text == "33")
                .map(|at| at + 1)
        });
        assert_eq!(texts(&short), ["33"]);
    }
}
