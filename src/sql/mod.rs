//! stub
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
    Other,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement {
    pub effect: Effect,
    pub digest: u64,
    pub hint_at: Option<usize>,
}
pub(crate) fn read(sql: &[u8], _nbe: bool) -> Statement {
    let l = sql.to_ascii_lowercase();
    let bad = [
        &b"@"[..],
        b"last_insert",
        b"get_lock",
        b"found_rows",
        b"row_count",
        b"connection_id",
        b" into ",
        b"release",
    ]
    .iter()
    .any(|w| l.windows(w.len()).any(|x| x == *w));
    let effect = if bad && !l.starts_with(b"insert into") {
        Effect::Other
    } else if l.starts_with(b"select") {
        Effect::Read
    } else if [&b"insert"[..], b"update", b"delete", b"replace"]
        .iter()
        .any(|w| l.starts_with(w))
    {
        Effect::Write
    } else {
        Effect::Other
    };
    let effect = if bad { Effect::Other } else { effect };
    Statement {
        effect,
        digest: l
            .iter()
            .filter(|b| !b.is_ascii_digit())
            .fold(7u64, |h, b| (h ^ *b as u64).wrapping_mul(0x100000001b3)),
        hint_at: l.starts_with(b"select").then_some(6),
    }
}
