//! Sending: who flushes does so for everybody who asks meanwhile, and what the transport does not take is
//! the reactor's. Knows nothing of replies.

use std::{io, sync::Arc};

use bytes::{Buf, BytesMut};

use super::{Core, Flush, Half, Lane};
use crate::{
    error::LostCause,
    link::{
        KEEP_BUFFER,
        sync::{MutexGuard, Ordering},
        transport::Limit,
    },
};

impl Lane {
    /// Sends what a task was going to, should it not be gone on with.
    pub(crate) fn send_deferred(self: &Arc<Self>) {
        drop(Deferred(self));
    }

    /// Sends what is asked, until nothing is left or the transport takes no more.
    #[inline]
    pub(super) fn flush(self: &Arc<Self>) {
        let mut core = self.core.lock();
        if core.flush == Flush::Idle {
            return;
        }
        core.flush = Flush::Active;
        loop {
            let now = &mut *core;
            let Some(Half { common, tx }) = now.link.as_mut().filter(|h| !h.tx.is_empty()) else {
                now.flush = Flush::Idle;
                let at_rest = now.all_answered();
                drop(core);
                if at_rest {
                    self.room();
                }
                return;
            };
            common.counters.writes.fetch_add(1, Ordering::Relaxed);
            let mut plain = std::mem::replace(tx.out(), std::mem::take(&mut now.spare));
            let mut raw = std::mem::take(&mut now.unsent);
            now.gone = now.made;
            now.sent_count = now.asked_count;
            drop(core);
            let sent = self
                .wire
                .seal(&mut plain, &mut raw)
                .and_then(|()| self.send(&mut raw));
            core = self.core.lock();
            if sent.is_ok() && raw.is_empty() {
                // Whichever buffer has room is used again; what one large packet took is not kept.
                raw.clear();
                if raw.capacity() > KEEP_BUFFER {
                    raw = BytesMut::new();
                }
                if plain.capacity() > raw.capacity() {
                    std::mem::swap(&mut plain, &mut raw);
                }
                core.spare = raw;
                if core.sent_count - core.answered_count > self.load.enough()
                    && core.asked_count > core.sent_count
                {
                    core.flush = Flush::Held;
                    return;
                }
                continue;
            }
            return self.unsent(core, raw, sent);
        }
    }

    /// Sends until the transport takes no more.
    #[inline]
    pub(super) fn send(&self, raw: &mut BytesMut) -> io::Result<()> {
        while !raw.is_empty() {
            match self.wire.try_send(raw, Limit::default()) {
                Ok(sent) if sent == raw.len() => raw.clear(),
                Ok(sent) => raw.advance(sent),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Some bytes were not taken: the reactor goes on when there is room, or this is the end.
    pub(super) fn unsent<'a>(
        self: &'a Arc<Self>,
        mut core: MutexGuard<'a, Core>,
        raw: BytesMut,
        sent: io::Result<()>,
    ) {
        core.unsent = raw;
        let failed = match sent {
            Ok(()) => {
                let look = self.watch_writes(&mut core);
                drop(core);
                self.look_at_time(look);
                let me = Arc::downgrade(self);
                let armed = self.wire.registration().and_then(|r| r.on_writable(me));
                let Err(e) = armed else { return };
                core = self.core.lock();
                e
            }
            Err(e) => e,
        };
        self.fail(core, None, LostCause::Io(Arc::new(failed)));
    }
}

/// A flush that is owed, even by a task that goes away.
pub(super) struct Deferred<'a>(pub(super) &'a Arc<Lane>);

impl Drop for Deferred<'_> {
    fn drop(&mut self) {
        let mut core = self.0.core.lock();
        // Somebody else may have done it, or be doing it.
        if let Flush::Deferred(_) = core.flush {
            core.flush = Flush::Active;
            drop(core);
            self.0.flush();
        }
    }
}
