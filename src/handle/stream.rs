//! Rows one by one, as they are read.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures_core::Stream;
use mysql_common::row::{
    Row,
    convert::{FromRow, from_row},
};

use super::result::{Protocol, QueryResult};
use crate::{
    error::{Error, Result},
    link::{Streamed, now},
    mux::Seat,
    proto::result::{OkInfo, Outcome, Response, ResultSet},
};

/// The rows of the first result set that are here, and what is to come.
#[derive(Debug)]
struct Pieces<P: Protocol> {
    rows: Option<QueryResult<P>>,
    /// The first set is complete: what comes is passed over.
    whole: bool,
    /// There is nothing to come.
    over: bool,
    /// Comes behind the rows that are here.
    failed: Option<Error>,
}

impl<P: Protocol> Pieces<P> {
    fn new() -> Self {
        Pieces {
            rows: None,
            whole: false,
            over: false,
            failed: None,
        }
    }

    fn next_row(&mut self) -> Option<Result<Row>> {
        let row = self.rows.as_mut().and_then(Iterator::next);
        row.or_else(|| self.failed.take().map(Err))
    }

    /// The statement failed before it had any rows.
    fn begun(mut self) -> Result<Self> {
        match (&self.rows, self.failed.take()) {
            (None, Some(e)) => Err(e),
            (_, failed) => Ok(Pieces { failed, ..self }),
        }
    }

    fn take(&mut self, piece: Result<Streamed>) {
        let (mut outcomes, unfinished) = match piece {
            Ok(Streamed::Part(part)) => (part.outcomes, part.set),
            Ok(Streamed::End(response, left)) => {
                self.over = true;
                (response.outcomes, left)
            }
            Err(e) => {
                self.over = true;
                self.failed = Some(e);
                return;
            }
        };
        let is_rows = |outcome: &Outcome| !matches!(outcome, Outcome::Err(_));
        let first = match self.whole {
            true => None,
            false => outcomes.pop_front_if(is_rows),
        };
        // What comes after the first set has no rows for anybody, but may have failed.
        self.failed = outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Err(failure) => Some(failure.into()),
            _ => None,
        });
        let set = match (first, unfinished) {
            (Some(outcome), _) => {
                self.whole = true;
                Some(outcome)
            }
            (None, Some((columns, rows))) if !self.whole => {
                Some(Outcome::Set(Box::new(ResultSet {
                    columns,
                    rows,
                    ok: OkInfo::default(),
                })))
            }
            (None, _) => None,
        };
        let result = set.map(|outcome| QueryResult::new(Response::from(outcome)));
        match result.transpose() {
            Ok(rows) => self.rows = rows,
            Err(e) => self.failed = Some(e),
        }
    }
}

/// The rows of a result that is read piece by piece, for a blocking handle. It has the handle's link
/// until it is dropped.
pub struct QueryStream<'a, P: Protocol, T> {
    seat: &'a mut Seat,
    pieces: Pieces<P>,
    row: PhantomData<fn() -> T>,
}

impl<P: Protocol, T> fmt::Debug for QueryStream<'_, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryStream").finish_non_exhaustive()
    }
}

impl<'a, P: Protocol, T> QueryStream<'a, P, T> {
    pub(super) fn new(seat: &'a mut Seat) -> Result<Self> {
        let mut stream = QueryStream {
            seat,
            pieces: Pieces::new(),
            row: PhantomData,
        };
        stream.read();
        match std::mem::replace(&mut stream.pieces, Pieces::new()).begun() {
            Ok(pieces) => {
                stream.pieces = pieces;
                Ok(stream)
            }
            Err(e) => Err(e),
        }
    }

    fn read(&mut self) {
        self.pieces.take(now(pin!(self.seat.next_part())));
    }
}

impl<P: Protocol, T: FromRow> Iterator for QueryStream<'_, P, T> {
    type Item = Result<T>;

    /// # Panics
    /// A row can't be converted, as [`Queryable::query`](super::Queryable::query).
    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(row) = self.pieces.next_row() {
                return Some(row.map(from_row));
            }
            if self.pieces.over {
                return None;
            }
            self.read();
        }
    }
}

impl<P: Protocol, T> Drop for QueryStream<'_, P, T> {
    fn drop(&mut self) {
        // Session state that is lost with the link is told to the handle's next statement.
        let ended = now(pin!(self.seat.end_stream()));
        if let Err(e) = ended {
            self.seat.owe(e);
        }
    }
}

type Step<'a> = Pin<Box<dyn Future<Output = (Leaving<'a>, Result<Streamed>)> + Send + 'a>>;

/// Has the link back, or rid of, in the background when the stream is left before its end: a drop
/// can't wait.
struct Leaving<'a>(&'a mut Seat);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.abandon_stream();
    }
}

/// The rows of a result that is read piece by piece, for an async handle. It has the handle's link
/// until it is dropped.
pub struct RowStream<'a, P: Protocol, T> {
    state: State<'a>,
    pieces: Pieces<P>,
    row: PhantomData<fn() -> T>,
}

enum State<'a> {
    Here(Leaving<'a>),
    Reading(Step<'a>),
    Over,
}

impl<P: Protocol, T> fmt::Debug for RowStream<'_, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStream").finish_non_exhaustive()
    }
}

// The rows at hand are plain values, and `T` is none of them.
impl<P: Protocol, T> Unpin for RowStream<'_, P, T> {}

impl<'a, P: Protocol, T> RowStream<'a, P, T> {
    pub(super) async fn new(seat: &'a mut Seat) -> Result<Self> {
        let mut stream = RowStream {
            state: State::Over,
            pieces: Pieces::new(),
            row: PhantomData,
        };
        let leaving = Leaving(seat);
        stream.pieces.take(leaving.0.next_part().await);
        stream.pieces = std::mem::replace(&mut stream.pieces, Pieces::new()).begun()?;
        stream.state = State::Here(leaving);
        Ok(stream)
    }
}

impl<P: Protocol, T: FromRow> Stream for RowStream<'_, P, T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let this = &mut *self;
        loop {
            if let Some(row) = this.pieces.next_row() {
                return Poll::Ready(Some(row.map(from_row)));
            }
            if this.pieces.over {
                return Poll::Ready(None);
            }
            match std::mem::replace(&mut this.state, State::Over) {
                State::Here(leaving) => {
                    this.state = State::Reading(Box::pin(async move {
                        let piece = leaving.0.next_part().await;
                        (leaving, piece)
                    }));
                }
                State::Reading(mut step) => match step.as_mut().poll(cx) {
                    Poll::Pending => {
                        this.state = State::Reading(step);
                        return Poll::Pending;
                    }
                    Poll::Ready((leaving, piece)) => {
                        this.state = State::Here(leaving);
                        this.pieces.take(piece);
                    }
                },
                State::Over => return Poll::Ready(None),
            }
        }
    }
}
