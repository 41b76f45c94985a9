//! A queue that is hardly ever longer than one: its first element lies in it, and only those behind that
//! take memory of their own.

use std::collections::VecDeque;

/// The elements, in order.
#[derive(Debug, Clone)]
pub(crate) struct Few<T> {
    first: Option<T>,
    /// Those behind the first one; nothing, where there is none.
    more: Option<Box<More<T>>>,
}

#[derive(Debug, Clone)]
struct More<T>(VecDeque<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few {
            first: None,
            more: None,
        }
    }
}

impl<T> Few<T> {
    pub(crate) fn of(one: T) -> Self {
        Few {
            first: Some(one),
            more: None,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.0.len())
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    #[inline]
    pub(crate) fn back(&self) -> Option<&T> {
        let last = self.more.as_ref().and_then(|more| more.0.back());
        last.or(self.first.as_ref())
    }

    #[inline]
    pub(crate) fn push_back(&mut self, element: T) {
        if self.first.is_none() {
            self.first = Some(element);
            return;
        }
        let more = self
            .more
            .get_or_insert_with(|| Box::new(More(VecDeque::new())));
        more.0.push_back(element);
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take();
        if let Some(more) = &mut self.more {
            self.first = more.0.pop_front();
        }
        first
    }

    pub(crate) fn pop_front_if(&mut self, is_it: impl FnOnce(&T) -> bool) -> Option<T> {
        match self.front().is_some_and(is_it) {
            true => self.pop_front(),
            false => None,
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Few::default();
    }

    /// As of [`Self::iter`], in fewer steps.
    #[inline]
    pub(crate) fn any(&self, mut is_it: impl FnMut(&T) -> bool) -> bool {
        self.first.as_ref().is_some_and(&mut is_it)
            || self
                .more
                .as_ref()
                .is_some_and(|more| more.0.iter().any(is_it))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        let more = self.more.iter().flat_map(|more| &more.0);
        self.first.iter().chain(more)
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter =
        std::iter::Chain<std::option::IntoIter<T>, std::collections::vec_deque::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let more = self.more.map(|more| more.0).unwrap_or_default();
        self.first.into_iter().chain(more)
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut few = Few::default();
        all.into_iter().for_each(|element| few.push_back(element));
        few
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_queue(steps in proptest::collection::vec(proptest::option::of(any::<u8>()), 0..40)) {
            let (mut few, mut queue) = (Few::default(), VecDeque::new());
            for step in steps {
                match step {
                    Some(element) => {
                        few.push_back(element);
                        queue.push_back(element);
                    }
                    None => prop_assert_eq!(few.pop_front(), queue.pop_front()),
                }
                prop_assert_eq!((few.len(), few.is_empty()), (queue.len(), queue.is_empty()));
                prop_assert_eq!((few.front(), few.back()), (queue.front(), queue.back()));
                prop_assert!(few.iter().eq(&queue) && few.iter().rev().eq(queue.iter().rev()));
                prop_assert_eq!(few.any(|n| *n == 7), queue.contains(&7));
                prop_assert!(few.clone().into_iter().eq(queue.iter().copied()));
            }
            let collected: Few<u8> = queue.iter().copied().collect();
            prop_assert!(collected.iter().eq(few.iter()));
            let odd = queue.front().is_some_and(|n| n % 2 == 1);
            prop_assert_eq!(few.pop_front_if(|n| n % 2 == 1).is_some(), odd);
            few.clear();
            prop_assert!(few.is_empty());
        }
    }
}
