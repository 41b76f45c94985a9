//! What a statement does to its session, token by token.
//!
//! It looks for reasons to trust a statement, not for reasons to distrust it: the verb has to be
//! known, and each name before a parenthesis has to be that of a built-in function, or of something
//! that can't be called where it stands. It doesn't know the grammar beyond that: what the
//! server would refuse may have any effect here.

use super::{
    Effect,
    token::{Kind, Token},
    words::{self, Call, Role, Word},
};

/// The token before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Start,
    Open,
    Close,
    Comma,
    Dot,
    Operator,
    Literal,
    /// `"…"`
    Text,
    /// In quotes or behind a dot: if it is called, it is a stored function.
    Name,
    /// Of the table of an `INSERT`, or of a common table expression: columns may follow.
    WithColumns,
    Word(Word),
}

impl Before {
    fn is_role(self, role: Role) -> bool {
        matches!(self, Before::Word(word) if word.role == role)
    }
}

/// What the next token must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Anything,
    Select,
    Over,
    /// Behind `information_schema`.
    Dot,
    Metadata,
    NotDot,
}

/// How far the table of an `INSERT` is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Nothing,
    Modifiers,
    Name,
    Named,
}

/// A statement, as far as it is read.
pub(super) struct Reading {
    other: bool,
    verb: Option<Effect>,
    /// The depth of a `WITH` before the verb.
    with: Option<usize>,
    locks: bool,
    ended: bool,
    depth: usize,
    before: Before,
    before_that: Before,
    /// Where the token before ended.
    end: usize,
    awaits: Awaits,
    target: Target,
    /// The depth of a window function whose arguments are being read.
    window: Option<usize>,
}

impl Reading {
    pub(super) fn new() -> Self {
        Reading {
            other: false,
            verb: None,
            with: None,
            locks: false,
            ended: false,
            depth: 0,
            before: Before::Start,
            before_that: Before::Start,
            end: 0,
            awaits: Awaits::Anything,
            target: Target::Nothing,
            window: None,
        }
    }

    pub(super) fn give_up(&mut self) {
        self.other = true;
    }

    /// Nothing that follows can change it.
    pub(super) fn is_other(&self) -> bool {
        self.other
    }

    pub(super) fn is_query(&self) -> bool {
        self.verb == Some(Effect::Read)
    }

    pub(super) fn effect(&self) -> Effect {
        let whole = self.depth == 0
            && self.window.is_none()
            && matches!(self.awaits, Awaits::Anything | Awaits::NotDot);
        match self.verb {
            _ if self.other || !whole => Effect::Other,
            Some(Effect::Read) if self.locks => Effect::Write,
            Some(effect) => effect,
            None => Effect::Other,
        }
    }

    /// Reads the next token, and what is known of it if it is a name.
    pub(super) fn token(&mut self, token: &Token, sql: &[u8]) {
        if self.other {
            return;
        }
        let word = word_of(token, sql);
        match self.read(token, word) {
            Some(before) if !self.ended || token.kind == Kind::Semicolon => {
                self.before_that = std::mem::replace(&mut self.before, before);
                self.end = token.end;
            }
            _ => self.other = true,
        }
    }

    fn read(&mut self, token: &Token, word: Word) -> Option<Before> {
        let begun = self.verb.is_some() || self.with.is_some();
        if !begun && !matches!(token.kind, Kind::Open | Kind::Word) {
            return None;
        }
        if !self.is_awaited(token.kind, word.role) {
            return None;
        }
        let target = self.target_behind(token.kind, word.role);
        let before = match token.kind {
            Kind::Word | Kind::Quoted => self.name(token.kind, word, target),
            Kind::Text => (self.before != Before::Dot).then_some(Before::Text),
            Kind::Literal => Some(Before::Literal),
            Kind::Open => self.open(token.start != self.end),
            Kind::Close => self.close(),
            Kind::Comma => Some(Before::Comma),
            Kind::Dot => (self.before != Before::Text).then_some(Before::Dot),
            Kind::Semicolon => self.semicolon(),
            Kind::Operator => Some(Before::Operator),
        };
        // The verb itself says what its target is.
        if self.target != Target::Nothing && begun {
            self.target = target;
        }
        before
    }

    fn is_awaited(&mut self, kind: Kind, role: Role) -> bool {
        match std::mem::replace(&mut self.awaits, Awaits::Anything) {
            Awaits::Anything => true,
            Awaits::Select => kind == Kind::Word && role == Role::Select,
            Awaits::Over => kind == Kind::Word && role == Role::Over,
            Awaits::Dot => {
                self.awaits = Awaits::Metadata;
                kind == Kind::Dot
            }
            Awaits::Metadata => role == Role::Metadata,
            Awaits::NotDot => kind != Kind::Dot,
        }
    }

    fn target_behind(&self, kind: Kind, role: Role) -> Target {
        let is_name = matches!(kind, Kind::Word | Kind::Quoted);
        match (self.target, role) {
            (Target::Modifiers, Role::Modifier) => Target::Modifiers,
            (Target::Modifiers, Role::Into) => Target::Name,
            (Target::Modifiers | Target::Name, _) if is_name => Target::Named,
            (Target::Named, _) if kind == Kind::Dot => Target::Name,
            _ => Target::Nothing,
        }
    }

    fn name(&mut self, kind: Kind, word: Word, target: Target) -> Option<Before> {
        match word.role {
            Role::Forbidden => return None,
            Role::Into if self.target != Target::Modifiers => return None,
            // `NEXT VALUE FOR`, `PREVIOUS VALUE FOR` a sequence.
            Role::For if self.before.is_role(Role::Value) => return None,
            // MariaDB sets variables for it, and reports them as if they stayed.
            Role::Wait if self.locks => return None,
            Role::InformationSchema => self.awaits = Awaits::Dot,
            Role::Sys => self.awaits = Awaits::NotDot,
            Role::Update | Role::Lock => self.locks = true,
            Role::Share if self.before.is_role(Role::For) => self.locks = true,
            _ => {}
        }
        let is_expression_name = self.is_expression_name(word.role);
        if self.verb.is_none() && !self.verb(word.role) {
            return None;
        }
        Some(match kind {
            _ if target == Target::Named || is_expression_name => Before::WithColumns,
            Kind::Quoted => Before::Name,
            _ if self.before == Before::Dot => Before::Name,
            _ => Before::Word(word),
        })
    }

    /// `WITH name`, `WITH RECURSIVE name`, and behind a comma of these.
    fn is_expression_name(&self, role: Role) -> bool {
        self.verb.is_none()
            && role != Role::Recursive
            && self.with == Some(self.depth)
            && (self.before == Before::Comma
                || self.before.is_role(Role::With)
                || self.before.is_role(Role::Recursive))
    }

    /// A word before which there was no verb: the verb, or part of what `WITH` names.
    fn verb(&mut self, role: Role) -> bool {
        let is_here = self.with.is_none_or(|depth| depth == self.depth);
        let is_outside = self.depth == 0 && is_here;
        match role {
            Role::Select if is_here => self.verb = Some(Effect::Read),
            Role::Update | Role::Delete if is_outside => self.verb = Some(Effect::Write),
            Role::Insert if is_outside && self.with.is_none() => {
                self.verb = Some(Effect::Write);
                self.target = Target::Modifiers;
            }
            Role::With if self.with.is_none() => self.with = Some(self.depth),
            _ => return self.with.is_some(),
        }
        true
    }

    fn open(&mut self, gap: bool) -> Option<Before> {
        let is_fine = match self.before {
            Before::Start | Before::Open | Before::Close | Before::Comma | Before::Operator => true,
            Before::WithColumns => true,
            Before::Dot | Before::Literal | Before::Text | Before::Name => false,
            Before::Word(word) => self.target == Target::Nothing && self.call(word, gap),
        };
        self.depth += 1;
        is_fine.then_some(Before::Open)
    }

    fn call(&mut self, word: Word, gap: bool) -> bool {
        match word.call {
            Call::Unknown => false,
            Call::Builtin | Call::Keyword => true,
            Call::Attached => !gap,
            Call::Windowed => !gap && self.window.replace(self.depth).is_none(),
            Call::Type => self.before_that.is_role(Role::As),
            Call::BehindClose => self.before_that == Before::Close,
            Call::Subquery => {
                self.awaits = Awaits::Select;
                true
            }
        }
    }

    fn close(&mut self) -> Option<Before> {
        self.depth = self.depth.checked_sub(1)?;
        if self.window == Some(self.depth) {
            self.window = None;
            self.awaits = Awaits::Over;
        }
        Some(Before::Close)
    }

    fn semicolon(&mut self) -> Option<Before> {
        let is_first = !std::mem::replace(&mut self.ended, true);
        is_first.then_some(Before::Operator)
    }
}

fn word_of(token: &Token, sql: &[u8]) -> Word {
    match token.kind {
        Kind::Word => words::find(&sql[token.start..token.end], token.hash),
        Kind::Quoted => {
            let name = sql.get(token.start + 1..token.end - 1);
            words::find(name.unwrap_or_default(), token.hash).in_quotes()
        }
        _ => Word::UNKNOWN,
    }
}
