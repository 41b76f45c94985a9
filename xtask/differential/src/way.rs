//! By which of the library's faces a handle sends, and what a user of that face is told.

use clap::ValueEnum;

use crate::outcome::{Outcome, Reply};

/// One handle's way of sending. What is no statement (a ping, a reset, preparing) goes the same way in all of
/// them, but for who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Way {
    /// The blocking handle, its results whole.
    Plain,
    /// The blocking handle, rows as they are read.
    Stream,
    /// The blocking handle's pipeline, of one statement or of two neighbours.
    Pipeline,
    /// The async handle, its results whole.
    Aio,
    /// The async handle, rows as they are read.
    AioStream,
    /// The async handle's pipeline.
    AioPipeline,
}

impl Way {
    pub const ALL: [Way; 6] = [
        Way::Plain,
        Way::Stream,
        Way::Pipeline,
        Way::Aio,
        Way::AioStream,
        Way::AioPipeline,
    ];

    /// As in the arguments.
    pub fn name(self) -> &'static str {
        match self {
            Way::Plain => "plain",
            Way::Stream => "stream",
            Way::Pipeline => "pipeline",
            Way::Aio => "aio",
            Way::AioStream => "aio-stream",
            Way::AioPipeline => "aio-pipeline",
        }
    }

    /// How often it is chosen. Streams and pipelines have a link alone: only the others' statements meet on
    /// links that many use at once.
    pub fn weight(self) -> u32 {
        match self {
            Way::Plain | Way::Aio => 3,
            _ => 1,
        }
    }

    pub fn is_async(self) -> bool {
        matches!(self, Way::Aio | Way::AioStream | Way::AioPipeline)
    }

    pub fn streams(self) -> bool {
        matches!(self, Way::Stream | Way::AioStream)
    }

    pub fn pipelines(self) -> bool {
        matches!(self, Way::Pipeline | Way::AioPipeline)
    }

    /// What of an outcome this way tells. A stream gives the rows of the first result and the first error of
    /// any, and not its columns where it has no row: the number of results, the columns of an empty one and
    /// the counts of any but the last are not to be had. Everything else is told whole.
    pub fn tells(self, outcome: Outcome) -> Outcome {
        let Outcome::Replies { mut replies, last } = outcome else {
            return outcome;
        };
        if self.streams() {
            let is_error = |reply: &Reply| matches!(reply, Reply::Error { .. } | Reply::Client(_));
            match replies.iter().position(is_error) {
                // Whether rows before it were of the statement that failed isn't told either.
                Some(at) => drop(replies.drain(..at)),
                None => replies.truncate(1),
            }
            replies.truncate(1);
            for reply in &mut replies {
                let is_empty = match reply {
                    Reply::Ok { .. } => true,
                    Reply::Rows { rows, .. } => rows.is_empty(),
                    _ => false,
                };
                if is_empty {
                    *reply = Reply::NoRows;
                }
            }
        }
        Outcome::Replies { replies, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Cell, Last};

    fn rows(values: &[i64]) -> Reply {
        Reply::Rows {
            columns: Vec::new(),
            rows: values.iter().map(|value| vec![Cell::Int(*value)]).collect(),
        }
    }

    fn ok() -> Reply {
        Reply::Ok {
            affected: 3,
            last_insert_id: None,
            warnings: 0,
            info: String::new(),
        }
    }

    fn told(way: Way, replies: Vec<Reply>) -> Vec<Reply> {
        let last = Some(Last::default());
        match way.tells(Outcome::Replies { replies, last }) {
            Outcome::Replies { replies, last } => {
                assert!(last.is_some());
                replies
            }
            Outcome::Honest { .. } => panic!("it is none"),
        }
    }

    #[test]
    fn a_stream_tells_of_one_result() {
        let way = Way::AioStream;
        assert_eq!(told(way, vec![rows(&[1, 2]), ok()]), [rows(&[1, 2])]);
        assert_eq!(told(way, vec![ok(), rows(&[1])]), [Reply::NoRows]);
        assert_eq!(told(way, vec![rows(&[])]), [Reply::NoRows]);
        let error = Reply::Client("any".into());
        assert_eq!(told(way, vec![rows(&[1]), error.clone()]), [error]);
        assert_eq!(told(way, vec![Reply::Unfit]), [Reply::Unfit]);
    }

    #[test]
    fn the_others_tell_everything() {
        for way in Way::ALL.into_iter().filter(|way| !way.streams()) {
            let all = vec![rows(&[]), ok(), rows(&[1])];
            assert_eq!(told(way, all.clone()), all);
        }
    }

    #[test]
    fn names_are_those_of_the_arguments() {
        for way in Way::ALL {
            assert_eq!(Way::from_str(way.name(), false), Ok(way));
        }
    }
}
