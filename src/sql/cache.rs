//! Texts that came before, and what was read in them: the next time costs a hash and a comparison.
//!
//! What is found is of the very same text, byte by byte: a hash that two texts have in common costs
//! time, and never tells one what the other does. It is not seeded for the same reason.
//!
//! A text is kept when it comes once more, with no other of its set between: texts whose literals
//! never come again are hashed and leave nothing but that hash, and what is common to such texts in
//! [`Alike`]. It knows nothing of what else is made of
//! a text, and forgets nothing by time: what is kept stays until others need its place.
//!
//! # Memory
//! Nothing before the first text. Then about 20 KiB for the places, and at most [`BYTES`] for texts and
//! what was made of them.

use std::sync::Arc;

use super::{Statement, alike::Alike, read};

/// Longer texts are not looked for: they are hardly the same twice, and reading them is little beside
/// what a server does with them.
const LONGEST: usize = 1024;

/// Of all texts that are kept, and what was made of them.
const BYTES: usize = 64 << 10;

/// What was made of one text is kept up to this.
const LARGEST: usize = 4 << 10;

/// Places in a set: of two texts of one set, neither displaces the other.
const WAYS: usize = 2;

/// What was read in texts. A `T` is what else is made of some of them.
#[derive(Debug)]
pub(crate) struct Cache<T, const SETS: usize = 128> {
    /// None, or all.
    sets: Vec<Set<T>>,
    bytes: usize,
    /// The set that makes room next.
    hand: usize,
    alike: Alike,
}

#[derive(Debug)]
struct Set<T> {
    /// The hash of the text that came last. What is used stays: a text that comes in turn with it
    /// never comes twice.
    last: u64,
    hashes: [u64; WAYS],
    kept: [Option<Kept<T>>; WAYS],
    /// The place that was used last.
    used: usize,
}

#[derive(Debug)]
struct Kept<T> {
    text: Box<[u8]>,
    statement: Statement,
    made: Option<Arc<T>>,
    bytes: usize,
}

impl<T> Set<T> {
    fn new() -> Self {
        Set {
            last: 0,
            hashes: [0; WAYS],
            kept: [const { None }; WAYS],
            used: 0,
        }
    }

    fn find(&self, hash: u64, sql: &[u8]) -> Option<usize> {
        let is_it = |kept: &Kept<T>| *kept.text == *sql;
        (0..WAYS)
            .find(|&way| self.hashes[way] == hash && self.kept[way].as_ref().is_some_and(is_it))
    }

    /// The place for another text.
    fn next(&self) -> usize {
        let empty = self.kept.iter().position(Option::is_none);
        empty.unwrap_or((self.used + 1) % WAYS)
    }
}

impl<T, const SETS: usize> Cache<T, SETS> {
    pub(crate) const fn new() -> Self {
        Cache {
            sets: Vec::new(),
            bytes: 0,
            hand: 0,
            alike: Alike::new(),
        }
    }

    /// What [`read`] tells.
    pub(crate) fn read(&mut self, sql: &[u8]) -> Statement {
        if sql.len() > LONGEST {
            return read(sql);
        }
        let hash = hash(sql);
        let Some(set) = self.sets.get_mut(index::<SETS>(hash)) else {
            self.sets.resize_with(SETS, Set::new);
            self.sets[index::<SETS>(hash)].last = hash;
            return read(sql);
        };
        let is_again = std::mem::replace(&mut set.last, hash) == hash;
        if let Some(way) = set.find(hash, sql)
            && let Some(kept) = &set.kept[way]
        {
            set.used = way;
            return kept.statement;
        }
        let statement = self.alike.find(sql).unwrap_or_else(|| {
            let statement = read(sql);
            self.alike.note(sql, statement);
            statement
        });
        if is_again {
            self.keep(hash, sql, statement);
        }
        statement
    }

    /// What else was made of a text that is kept, or is made now, with the bytes that it takes. `None`:
    /// the text isn't kept, and what is made of it would not be.
    pub(crate) fn made(&mut self, sql: &[u8], make: impl FnOnce() -> (T, usize)) -> Option<Arc<T>> {
        if sql.len() > LONGEST {
            return None;
        }
        let hash = hash(sql);
        if let Some(made) = &self.kept(hash, sql)?.made {
            return Some(made.clone());
        }
        let (made, bytes) = make();
        let made = Arc::new(made);
        if bytes <= LARGEST {
            self.make_room(bytes);
            // Unless room was made of its own place.
            if let Some(kept) = self.kept(hash, sql) {
                kept.made = Some(made.clone());
                kept.bytes += bytes;
                self.bytes += bytes;
            }
        }
        Some(made)
    }

    fn kept(&mut self, hash: u64, sql: &[u8]) -> Option<&mut Kept<T>> {
        let set = self.sets.get_mut(index::<SETS>(hash))?;
        let way = set.find(hash, sql)?;
        set.kept[way].as_mut()
    }

    #[cold]
    fn keep(&mut self, hash: u64, sql: &[u8], statement: Statement) {
        self.make_room(sql.len());
        let set = &mut self.sets[index::<SETS>(hash)];
        let way = set.next();
        let kept = Kept {
            text: sql.into(),
            statement,
            made: None,
            bytes: sql.len(),
        };
        self.bytes += kept.bytes;
        set.hashes[way] = hash;
        set.used = way;
        let before = set.kept[way].replace(kept);
        self.bytes -= before.map_or(0, |kept| kept.bytes);
    }

    /// Forgets what it takes, set by set.
    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > BYTES {
            let set = &mut self.sets[self.hand];
            let gone = set.kept.iter_mut().filter_map(Option::take);
            self.bytes -= gone.map(|kept| kept.bytes).sum::<usize>();
            self.hand = (self.hand + 1) % SETS;
        }
    }
}

fn index<const SETS: usize>(hash: u64) -> usize {
    hash as usize % SETS
}

/// Sixteen bytes at a time, by a multiplication whose halves are folded, as wyhash does it.
pub(super) fn hash(text: &[u8]) -> u64 {
    let mut hash = text.len() as u64;
    let (pairs, _) = text.as_chunks::<16>();
    for pair in pairs {
        hash = with_pair(hash, pair);
    }
    // The rest, with as much of what is before it as makes it whole.
    if let Some(pair) = text.last_chunk::<16>() {
        return with_pair(hash, pair);
    }
    let (one, other) = match text.len() {
        8.. => ends(text, u64::from_le_bytes),
        4.. => ends(text, |half| u32::from_le_bytes(half).into()),
        2.. => ends(text, |pair| u16::from_le_bytes(pair).into()),
        _ => ends(text, |[byte]| byte.into()),
    };
    fold(hash, one, other)
}

/// Its first bytes and its last ones, which may be the same in part.
fn ends<const N: usize>(text: &[u8], number: impl Fn([u8; N]) -> u64) -> (u64, u64) {
    let (first, last) = (text.first_chunk(), text.last_chunk());
    let number = |end: Option<&[u8; N]>| end.map_or(0, |end| number(*end));
    (number(first), number(last))
}

fn with_pair(hash: u64, pair: &[u8; 16]) -> u64 {
    let pair = u128::from_le_bytes(*pair);
    fold(hash, pair as u64, (pair >> 64) as u64)
}

fn fold(hash: u64, one: u64, other: u64) -> u64 {
    // Any odd numbers with as many ones as zeros.
    const ONE: u64 = 0xa076_1d64_78bd_642f;
    const OTHER: u64 = 0xe703_7ed1_a0b4_28db;
    let product = u128::from(one ^ ONE) * u128::from(other ^ hash ^ OTHER);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One set, so that all texts are for the same places.
    type Small = Cache<Vec<u8>, 1>;

    fn is_kept<const SETS: usize>(cache: &mut Cache<Vec<u8>, SETS>, sql: &[u8]) -> bool {
        cache.kept(hash(sql), sql).is_some()
    }

    fn bytes<const SETS: usize>(cache: &Cache<Vec<u8>, SETS>) -> usize {
        let kept = cache.sets.iter().flat_map(|set| set.kept.iter().flatten());
        kept.map(|kept| kept.bytes).sum()
    }

    /// Something that can only be of this text.
    fn made(cache: &mut Small, sql: &[u8]) -> Option<Arc<Vec<u8>>> {
        cache.made(sql, || (sql.to_vec(), sql.len()))
    }

    fn is_right(made: Option<Arc<Vec<u8>>>, sql: &[u8]) -> bool {
        made.is_none_or(|made| *made == sql)
    }

    #[test]
    fn a_text_is_kept_at_its_second_sight() {
        let mut cache = Small::new();
        for sights in 1..=3 {
            assert_eq!(cache.read(b"SELECT 1"), read(b"SELECT 1"));
            assert_eq!(is_kept(&mut cache, b"SELECT 1"), sights > 1);
        }
    }

    #[test]
    fn what_is_made_of_a_text_is_kept_with_it() {
        let mut cache = Small::new();
        let mut times = 0;
        let mut make = |cache: &mut Small| {
            cache.read(b"BEGIN");
            let made = cache.made(b"BEGIN", || {
                times += 1;
                (b"BEGIN".to_vec(), 5)
            });
            made.map(|made| (made.to_vec(), times))
        };
        let once = Some((b"BEGIN".to_vec(), 1));
        assert_eq!(make(&mut cache), None);
        assert_eq!(
            [(); 3].map(|()| make(&mut cache)),
            [(); 3].map(|()| once.clone())
        );
    }

    #[test]
    fn texts_that_never_come_again_leave_nothing() {
        let mut cache = Cache::<Vec<u8>>::new();
        for id in 0..10_000 {
            let sql = format!("SELECT a FROM t WHERE id = {id}");
            assert_eq!(cache.read(sql.as_bytes()), read(sql.as_bytes()));
        }
        assert_eq!((cache.bytes, bytes(&cache)), (0, 0));
    }

    #[test]
    fn what_is_used_is_not_displaced_by_what_comes_in_turn_with_it() {
        let mut cache = Small::new();
        let hot: [&[u8]; 2] = [b"SELECT 1", b"COMMIT"];
        for sql in [hot[0], hot[0], hot[1], hot[1]] {
            cache.read(sql);
        }
        for _ in 0..10 {
            for sql in [hot[0], b"SELECT 3", hot[1], b"DO 4"] {
                assert_eq!(cache.read(sql), read(sql));
            }
        }
        assert!(hot.iter().all(|sql| is_kept(&mut cache, sql)));
        // Another load: what was used last stays for longer.
        cache.read(hot[0]);
        cache.read(b"DO 4");
        cache.read(b"DO 4");
        assert!(is_kept(&mut cache, b"DO 4") && is_kept(&mut cache, hot[0]));
        assert!(!is_kept(&mut cache, hot[1]));
    }

    #[test]
    fn a_hash_in_common_is_no_hit() {
        let mut cache = Small::new();
        cache.read(b"SELECT 1");
        cache.read(b"SELECT 1");
        // As if it were that of the other text.
        let set = &mut cache.sets[0];
        set.hashes = [hash(b"SELECT @a"); WAYS];
        set.last = hash(b"SELECT @a");
        assert_eq!(cache.read(b"SELECT @a"), read(b"SELECT @a"));
        assert_ne!(read(b"SELECT @a"), read(b"SELECT 1"));
    }

    #[test]
    fn texts_that_differ_in_one_byte_are_two() {
        let text = [b'a'; 100];
        for len in 1..=text.len() {
            for at in 0..len {
                let mut other = text;
                other[at] = b'b';
                let (text, other) = (&text[..len], &other[..len]);
                assert_ne!(hash(text), hash(other), "{at} of {len}");
                let mut cache = Small::new();
                for _ in 0..2 {
                    cache.read(text);
                    made(&mut cache, text);
                }
                cache.read(other);
                assert!(!is_kept(&mut cache, other));
                assert_eq!(made(&mut cache, other), None);
                assert_eq!(made(&mut cache, text).as_deref(), Some(&text.to_vec()));
            }
        }
    }

    #[test]
    fn short_texts_have_hashes_of_their_own() {
        let texts = (0..=17).map(|len| hash(&[0; 17][..len]));
        let mut hashes: Vec<_> = texts.collect();
        hashes.extend((1..=255u8).map(|byte| hash(&[byte])));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 18 + 255);
    }

    /// As many of these texts share a set as of any others.
    #[test]
    fn texts_are_spread_over_all_sets() {
        let mut counts = [0; 128];
        for id in 0..12_800 {
            let sql = format!("SELECT name FROM bench_pk WHERE id = {id}");
            counts[index::<128>(hash(sql.as_bytes()))] += 1;
        }
        assert!(
            counts.iter().all(|count| (50..=170).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn memory_is_bounded() {
        let mut cache = Cache::<Vec<u8>>::new();
        for id in 0..1000 {
            let sql = format!("DO {id}{}", " ".repeat(id % 1100));
            for _ in 0..2 {
                assert_eq!(cache.read(sql.as_bytes()), read(sql.as_bytes()));
                cache.made(sql.as_bytes(), || (Vec::new(), id * 7 % 5000));
            }
            assert_eq!(cache.bytes, bytes(&cache));
            assert!(cache.bytes <= BYTES);
        }
        assert!(cache.bytes > BYTES / 2);
        let place = size_of::<Set<Vec<u8>>>();
        assert!(place * 128 <= 20 << 10, "{place}");
    }

    #[test]
    fn what_is_too_long_or_too_large_is_not_kept() {
        let mut cache = Cache::<Vec<u8>>::new();
        let long = [b' '; LONGEST + 1];
        for _ in 0..3 {
            cache.read(&long);
            cache.read(b"DO 1");
            cache.made(&long, || (Vec::new(), 0));
            cache.made(b"DO 1", || (Vec::new(), LARGEST + 1));
        }
        assert!(cache.kept(hash(&long), &long).is_none());
        assert!(cache.kept(hash(b"DO 1"), b"DO 1").is_some());
        assert_eq!(cache.bytes, 4);
    }

    fn any_texts() -> impl Strategy<Value = Vec<String>> {
        let text = prop_oneof![
            "(SELECT|DELETE FROM|DO|SET) [@a1'\\\\;#-]{0,3}",
            "SELECT a FROM t WHERE b = [0-9]",
            "(BEGIN|COMMIT|CALL p\\(\\)|SELECT GET_LOCK\\('[ab]', 1\\))",
        ];
        prop::collection::vec(text, 1..8)
    }

    proptest! {
        #[test]
        fn a_hit_is_what_reading_gives(
            texts in any_texts(),
            order in prop::collection::vec(any::<(prop::sample::Index, bool)>(), 0..200),
        ) {
            let mut cache = Small::new();
            for (index, again) in order {
                let sql = index.get(&texts).as_bytes();
                for _ in 0..=u8::from(again) {
                    prop_assert_eq!(cache.read(sql), read(sql));
                    prop_assert!(is_right(made(&mut cache, sql), sql));
                }
            }
            prop_assert_eq!(cache.bytes, bytes(&cache));
        }

        #[test]
        fn a_hit_is_what_reading_any_bytes_gives(
            texts in prop::collection::vec(prop::collection::vec(0u8..4, 0..20), 1..6),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        ) {
            let mut cache = Small::new();
            for index in order {
                let sql = index.get(&texts);
                prop_assert_eq!(cache.read(sql), read(sql));
                prop_assert!(is_right(made(&mut cache, sql), sql));
            }
        }
    }
}
