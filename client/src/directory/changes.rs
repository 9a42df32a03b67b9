//! What differs between two trees, without a look into what they share.

use std::cmp::Ordering;
use std::sync::Arc;

use encoding::directory::{Entry, Name, Node, NodeRef};

use super::tree::{Link, NodeStore, Tree};

/// A name whose entries differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The name.
    pub name: Name,
    /// Its entry on the left; `None` where only the right has it.
    pub old: Option<Entry>,
    /// Its entry on the right.
    pub new: Option<Entry>,
}

/// A stream of differences in order of name. It ends at the first error.
pub struct Diff<'a, S: NodeStore, T: NodeStore> {
    left: Side<'a, S>,
    right: Side<'a, T>,
    same: fn(&Entry, &Entry) -> bool,
}

/// The differences between two trees, which may be in two stores. Entries that readers see as equal are equal
/// ([`Entry::shows_same`]).
pub fn diff<'a, S: NodeStore, T: NodeStore<Error = S::Error>>(
    left: (&'a Tree<S>, Option<&NodeRef>),
    right: (&'a Tree<T>, Option<&NodeRef>),
) -> Diff<'a, S, T> {
    Diff { left: Side::new(left.0, left.1), right: Side::new(right.0, right.1), same: Entry::shows_same }
}

/// The same of entries that are equal only if all of them is, what readers cannot see as well.
pub fn diff_all<'a, S: NodeStore, T: NodeStore<Error = S::Error>>(
    left: (&'a Tree<S>, Option<&NodeRef>),
    right: (&'a Tree<T>, Option<&NodeRef>),
) -> Diff<'a, S, T> {
    Diff { same: PartialEq::eq, ..diff(left, right) }
}

enum Item {
    Node(Link),
    Entry(Name, Box<Entry>),
}

impl Item {
    /// The first name in it; of a root that was not looked into, nothing.
    fn first(&self) -> Option<&Name> {
        match self {
            Self::Node(link) => link.place.as_ref().map(|(_, name)| name),
            Self::Entry(name, _) => Some(name),
        }
    }

    /// How much is below it: entries are below leaves, and a root may be of any level.
    fn height(&self) -> u16 {
        match self {
            Self::Node(link) => link.place.as_ref().map_or(u16::MAX, |(level, _)| u16::from(*level) + 1),
            Self::Entry(..) => 0,
        }
    }
}

/// What is still to come on one side, the next one last.
struct Side<'a, S> {
    tree: &'a Tree<S>,
    stack: Vec<Item>,
}

impl<'a, S: NodeStore> Side<'a, S> {
    fn new(tree: &'a Tree<S>, root: Option<&NodeRef>) -> Self {
        Self { tree, stack: root.map(|root| Item::Node(Link::root(root))).into_iter().collect() }
    }

    /// Puts what is in the next node in its place. An entry stays.
    async fn open(&mut self) -> Result<(), S::Error> {
        let Some(Item::Node(link)) = self.stack.last() else { return Ok(()) };
        let node = self.tree.load(link).await?;
        let end = link.end.clone();
        self.stack.pop();
        self.stack.extend(Link::children(&node, end.as_ref()).into_iter().rev().map(Item::Node));
        if let Node::Leaf(entries) = Arc::unwrap_or_clone(node) {
            self.stack
                .extend(entries.into_iter().rev().map(|(name, entry)| Item::Entry(name, Box::new(entry))));
        }
        Ok(())
    }

    fn take(&mut self) -> Option<(Name, Entry)> {
        match self.stack.pop()? {
            Item::Entry(name, entry) => Some((name, *entry)),
            node => {
                self.stack.push(node);
                None
            }
        }
    }
}

/// What to do with the two next items.
enum Step {
    Done,
    /// They are the same.
    Skip,
    /// Look into the left one, the right one.
    Open(bool, bool),
    /// Take the entry on the left, on the right.
    Take(bool, bool),
}

fn step(left: Option<&Item>, right: Option<&Item>) -> Step {
    let one = |item: &Item, is_left: bool| {
        let (l, r) = (is_left, !is_left);
        if item.height() > 0 { Step::Open(l, r) } else { Step::Take(l, r) }
    };
    let (left, right) = match (left, right) {
        (None, None) => return Step::Done,
        (Some(left), None) => return one(left, true),
        (None, Some(right)) => return one(right, false),
        (Some(left), Some(right)) => (left, right),
    };
    if let (Item::Node(left), Item::Node(right)) = (left, right)
        && left.node == right.node
    {
        return Step::Skip;
    }
    let (Some(left_first), Some(right_first)) = (left.first(), right.first()) else {
        return Step::Open(left.first().is_none(), right.first().is_none());
    };
    match left_first.cmp(right_first) {
        Ordering::Less => one(left, true),
        Ordering::Greater => one(right, false),
        Ordering::Equal if left.height() == 0 && right.height() == 0 => Step::Take(true, true),
        // The higher one first: the other may turn out to be its first child.
        Ordering::Equal => Step::Open(left.height() >= right.height(), right.height() >= left.height()),
    }
}

impl<S: NodeStore, T: NodeStore<Error = S::Error>> Diff<'_, S, T> {
    /// The next name that differs; `None` at the end.
    ///
    /// # Errors
    ///
    /// The stores', [`super::TreeError`] among them.
    pub async fn next(&mut self) -> Result<Option<Change>, S::Error> {
        let result = self.find().await;
        if result.is_err() {
            self.left.stack.clear();
            self.right.stack.clear();
        }
        result
    }

    async fn find(&mut self) -> Result<Option<Change>, S::Error> {
        loop {
            match step(self.left.stack.last(), self.right.stack.last()) {
                Step::Done => return Ok(None),
                Step::Skip => {
                    self.left.stack.pop();
                    self.right.stack.pop();
                }
                Step::Open(true, true) => {
                    let (left, right) = tokio::join!(self.left.open(), self.right.open());
                    left.and(right)?;
                }
                Step::Open(true, false) => self.left.open().await?,
                Step::Open(false, _) => self.right.open().await?,
                Step::Take(left, right) => {
                    let old = if left { self.left.take() } else { None };
                    let new = if right { self.right.take() } else { None };
                    if let (Some((_, old)), Some((_, new))) = (&old, &new)
                        && (self.same)(old, new)
                    {
                        continue;
                    }
                    let name = old.as_ref().or(new.as_ref()).map(|(name, _)| name.clone());
                    let Some(name) = name else { continue };
                    return Ok(Some(Change {
                        name,
                        old: old.map(|(_, entry)| entry),
                        new: new.map(|(_, entry)| entry),
                    }));
                }
            }
        }
    }
}
