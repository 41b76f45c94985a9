//! One statement of a text, and where in it one reads.

use super::{
    facts::{Act, Facts, Name},
    pieces::{self, Modes, Piece, What},
    routine,
};

/// A statement that is being read.
pub(super) struct Reader<'a> {
    sql: &'a [u8],
    modes: Modes,
    pieces: &'a [Piece],
    /// Of each opening parenthesis what is behind the closing one; of others themselves.
    behind_closes: Vec<usize>,
    /// The next piece.
    pub at: usize,
    pub facts: Facts,
    /// The server refuses the statement, in these modes.
    pub refused: bool,
}

/// A name isn't where it has to be, or the like: nothing is known of the statement.
pub(super) struct Strange;

pub(super) type Read<T = ()> = Result<T, Strange>;

impl<'a> Reader<'a> {
    /// Of the first statement of these.
    pub(super) fn new(sql: &'a [u8], modes: Modes, pieces: &'a [Piece]) -> Self {
        let mut reader = Reader {
            sql,
            modes,
            pieces,
            behind_closes: Vec::new(),
            at: 0,
            facts: Facts::default(),
            refused: false,
        };
        let end = routine::end(&mut reader);
        reader.pieces = &pieces[..end];
        reader.behind_closes = behind_closes(reader.pieces);
        reader.at = 0;
        reader
    }

    pub(super) fn read_all(&mut self) -> Facts {
        let is_known = self.statement().is_ok() && self.is_balanced();
        self.facts.unknown |= !is_known;
        std::mem::take(&mut self.facts).consistent()
    }

    /// How many pieces it has.
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    fn is_balanced(&self) -> bool {
        let mut depth = 0usize;
        for piece in self.pieces {
            match piece.what {
                What::Open => depth += 1,
                What::Close if depth == 0 => return false,
                What::Close => depth -= 1,
                _ => {}
            }
        }
        depth == 0
    }

    pub(super) fn what(&self, at: usize) -> Option<What> {
        self.pieces.get(at).map(|piece| piece.what)
    }

    pub(super) fn text(&self, at: usize) -> &'a [u8] {
        let piece = self.pieces.get(at);
        piece.map_or(&[], |piece| &self.sql[piece.start..piece.end])
    }

    /// Whether nothing is between a piece and the next one.
    pub(super) fn is_attached(&self, at: usize) -> bool {
        let ends = self.pieces.get(at).map(|piece| piece.end);
        ends.is_some() && ends == self.pieces.get(at + 1).map(|piece| piece.start)
    }

    /// A keyword, perhaps; in capitals here.
    pub(super) fn is(&self, at: usize, word: &str) -> bool {
        self.what(at) == Some(What::Word) && self.text(at).eq_ignore_ascii_case(word.as_bytes())
    }

    pub(super) fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    pub(super) fn is_operator(&self, at: usize, text: &[u8]) -> bool {
        self.what(at) == Some(What::Operator) && self.text(at) == text
    }

    pub(super) fn is_name(&self, at: usize) -> bool {
        matches!(self.what(at), Some(What::Word | What::Name))
    }

    /// Goes behind the word, if it is there.
    pub(super) fn eat(&mut self, word: &str) -> bool {
        let is = self.is(self.at, word);
        self.at += is as usize;
        is
    }

    pub(super) fn eat_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.eat(word))
    }

    pub(super) fn eat_all(&mut self, words: &[&str]) -> bool {
        let all = words.iter().zip(self.at..);
        let is = all.clone().all(|(word, at)| self.is(at, word));
        self.at += if is { words.len() } else { 0 };
        is
    }

    pub(super) fn eat_what(&mut self, what: What) -> bool {
        let is = self.what(self.at) == Some(what);
        self.at += is as usize;
        is
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.pieces.len()
    }

    pub(super) fn end(&mut self) -> Read {
        if self.is_done() { Ok(()) } else { Err(Strange) }
    }

    /// Takes all that follows for names, literals and keywords.
    pub(super) fn skip(&mut self) -> Read {
        self.at = self.pieces.len();
        Ok(())
    }

    pub(super) fn act(&mut self, act: Act) {
        self.facts.acts.push(act);
    }

    pub(super) fn commits(&mut self) {
        self.facts.commits = true;
    }

    pub(super) fn identifier(&mut self) -> Read<Vec<u8>> {
        let at = self.at;
        if !self.is_name(at) {
            // A string in double quotes, which under `ANSI_QUOTES` would be a name.
            self.refused |= self.text(at).first() == Some(&b'"');
            return Err(Strange);
        }
        self.at += 1;
        Ok(pieces::unquoted(self.text(at)))
    }

    /// One whose case doesn't matter.
    pub(super) fn label(&mut self) -> Read<Vec<u8>> {
        let mut name = self.identifier()?;
        if !name.is_ascii() {
            return Err(Strange);
        }
        name.make_ascii_lowercase();
        Ok(name)
    }

    pub(super) fn name(&mut self) -> Read<Name> {
        let first = self.identifier()?;
        if !self.eat_what(What::Dot) {
            return Ok(Name {
                schema: None,
                name: first,
            });
        }
        let name = self.identifier()?;
        let schema = Some(first);
        Ok(Name { schema, name })
    }

    /// A plain string that is all of what an expression may be here.
    pub(super) fn string(&mut self, ends: bool) -> Option<Vec<u8>> {
        let at = self.at;
        let is_text = self.what(at) == Some(What::Text);
        // Strings side by side are one.
        if !is_text || ends && self.what(at + 1).is_some() || self.what(at + 1) == Some(What::Text)
        {
            return None;
        }
        self.at += 1;
        Some(pieces::unescaped(self.text(at), self.modes))
    }

    /// Under `ANSI_QUOTES`, a name where only a string makes sense.
    pub(super) fn is_misquoted(&self, at: usize) -> bool {
        self.what(at) == Some(What::Name) && self.text(at).first() == Some(&b'"')
    }

    /// Behind the parenthesis that closes the one there.
    pub(super) fn behind_close(&self, open: usize) -> usize {
        let behind = self.behind_closes.get(open).copied();
        behind.unwrap_or(open).min(self.pieces.len())
    }

    /// The first such word from there on that is in no parentheses.
    pub(super) fn find_outside(&self, from: usize, words: &[&str]) -> Option<usize> {
        let mut at = from;
        while at < self.pieces.len() {
            match self.what(at) {
                Some(What::Open) => at = self.behind_close(at),
                _ if self.is_any(at, words) && !self.is_behind_dot(at) => return Some(at),
                _ => at += 1,
            }
        }
        None
    }

    pub(super) fn find(&self, from: usize, words: &[&str]) -> Option<usize> {
        (from..self.pieces.len()).find(|at| self.is_any(*at, words) && !self.is_behind_dot(*at))
    }

    pub(super) fn is_behind_dot(&self, at: usize) -> bool {
        at > 0 && self.what(at - 1) == Some(What::Dot)
    }

    /// Only what is before that piece, from now on.
    pub(super) fn cut(&mut self, end: usize) -> &'a [Piece] {
        let all = self.pieces;
        self.pieces = &all[..end.min(all.len())];
        all
    }

    /// Undoes [`cut`](Reader::cut).
    pub(super) fn uncut(&mut self, all: &'a [Piece]) {
        self.pieces = all;
    }
}

fn behind_closes(pieces: &[Piece]) -> Vec<usize> {
    let mut behind: Vec<usize> = (0..pieces.len()).collect();
    let mut open = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece.what {
            What::Open => open.push(at),
            What::Close => {
                if let Some(open) = open.pop() {
                    behind[open] = at + 1;
                }
            }
            _ => {}
        }
    }
    for open in open {
        behind[open] = pieces.len();
    }
    behind
}
