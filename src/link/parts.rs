//! Rows of a result that is still being read, for a caller that makes something of them meanwhile:
//! while it does, the server goes on. Small results never come in parts.
//!
//! Knows nothing of what is made of the rows.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use mysql_common::packets::Column;
use parking_lot::Mutex;

use crate::proto::result::Rows;

/// What a caller learns of a result before its end.
#[derive(Debug)]
pub(crate) enum News {
    /// The next rows of the first result set.
    Rows(Arc<[Column]>, Rows),
    /// The statement runs once more: what came of it so far is void.
    Again,
}

/// Where parts lie for the caller.
#[derive(Debug, Default)]
pub(crate) struct Parts(Mutex<Lying>);

#[derive(Debug, Default)]
struct Lying {
    news: VecDeque<News>,
    /// Some rows were put since the statement began.
    begun: bool,
}

impl Parts {
    /// Gives the caller rows, and its turn to take them. Only where the caller is in
    /// [`Self::take_from`] or [`Self::take_as_task`].
    pub(super) async fn put(&self, columns: Arc<[Column]>, rows: Rows) {
        self.lay(columns, rows);
        let mut given = false;
        poll_fn(|_| match std::mem::replace(&mut given, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Puts rows where the caller finds them at its next turn.
    pub(super) fn lay(&self, columns: Arc<[Column]>, rows: Rows) {
        let mut lying = self.0.lock();
        lying.begun = true;
        lying.news.push_back(News::Rows(columns, rows));
    }

    /// The statement is about to run.
    pub(crate) fn begin(&self) {
        let mut lying = self.0.lock();
        if std::mem::take(&mut lying.begun) {
            lying.news.clear();
            lying.news.push_back(News::Again);
        }
    }

    /// Runs what waits only as [`Face::Blocking`](super::Face::Blocking), and hands over what is put
    /// while it does.
    pub(crate) fn take_from<T>(
        &self,
        future: impl Future<Output = T>,
        mut taken: impl FnMut(News),
    ) -> T {
        let mut future = pin!(future);
        loop {
            let polled = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            while let Some(news) = self.next() {
                taken(news);
            }
            if let Poll::Ready(done) = polled {
                return done;
            }
        }
    }

    /// Runs what may wait as a task, and hands over what is put while it does.
    pub(crate) async fn take_as_task<T>(
        &self,
        future: impl Future<Output = T>,
        mut taken: impl FnMut(News),
    ) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            while let Some(news) = self.next() {
                taken(news);
                // Other tasks have their turn between two parts.
                cx.waker().wake_by_ref();
            }
            polled
        })
        .await
    }

    fn next(&self) -> Option<News> {
        self.0.lock().news.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn rows(count: usize) -> Rows {
        let mut rows = Rows::default();
        (0..count).for_each(|_| rows.push_whole(Bytes::from_static(b"row")));
        rows
    }

    #[test]
    fn a_caller_takes_each_part_before_the_next_is_read() {
        let parts = Parts::default();
        let read = std::cell::RefCell::new(Vec::new());
        let run = async {
            parts.begin();
            for n in 1..3 {
                read.borrow_mut().push(format!("read {n}"));
                parts.put(Arc::new([]), rows(n)).await;
            }
            parts.begin();
            parts.put(Arc::new([]), rows(3)).await;
            "done"
        };
        let done = parts.take_from(run, |news| {
            read.borrow_mut().push(match news {
                News::Rows(_, rows) => format!("took {}", rows.len()),
                News::Again => "again".to_owned(),
            });
        });
        assert_eq!(done, "done");
        assert_eq!(
            *read.borrow(),
            ["read 1", "took 1", "read 2", "took 2", "again", "took 3"]
        );
    }
}
