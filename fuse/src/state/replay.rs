//! What the journal says, done again.

use encoding::directory::Name;
use tokio::time::Instant;

use super::{Folder, Gone, Node, Owed, State, What};
use crate::file::File;
use crate::journal::{NameRow, NodeKind, NodeRow, Record};
use crate::types::{Ino, ROOT};

impl State {
    /// Does again what these records tell. One that does not fit the others is passed over: it changes nothing.
    pub(crate) fn replay(&mut self, records: Vec<Record>) {
        for record in records {
            self.replay_one(record);
        }
        self.told.clear();
        for ino in self.inos() {
            // What was on its way is not any more, and nobody holds anything.
            let _ = self.change(ino, File::thaw);
            if let Ok(node) = self.node_mut(ino) {
                node.lookups = 0;
            }
        }
        self.inos().into_iter().for_each(|ino| self.cut_incomplete(ino));
        self.inos().into_iter().for_each(|ino| self.drop_idle(ino));
    }

    /// Of a file that was written past the journal there is what the grid has, where it has any of it; of a new one what the journal has.
    /// That replaces nothing.
    fn cut_incomplete(&mut self, ino: Ino) {
        let Ok(Some(end)) = self.change(ino, |file| file.past.take()) else { return };
        let stored = self.node(ino).ok().and_then(|node| node.child.as_ref()?.caps.read.size());
        let _ = self.change(ino, |file| match stored {
            Some(size) => *file = File::stored(size),
            None => file.truncate(file.size.min(end)),
        });
        let Some((folder, name)) = self.node(ino).ok().and_then(|node| node.place.clone()) else { return };
        tracing::warn!(%name, "it was being written when the mount ended: the end of it is lost");
        let replaces = self.owed_of(ino).is_some_and(|owed| owed.base.is_some());
        if replaces && !(stored.is_some() && self.left_its_name(ino)) {
            self.let_be(folder, &name, ino);
        }
    }

    /// Whether something else takes the name that this had: then what the grid has of this is nowhere but under its new name.
    fn left_its_name(&self, ino: Ino) -> bool {
        let mut owed =
            self.owing.iter().filter_map(|folder| self.folder(*folder).ok()).flat_map(|f| f.owed.values());
        owed.any(|owed| owed.to.is_some() && owed.moved.contains(&ino))
    }

    /// What the grid has under this name stays, and whatever else this thing was to leave: half of a rename would be a loss.
    fn let_be(&mut self, folder: Ino, name: &Name, ino: Ino) {
        if let Ok(parent) = self.folder_mut(folder) {
            parent.owed.remove(name);
            parent.names.remove(name);
        }
        if let Ok(node) = self.node_mut(ino) {
            node.place = None;
        }
        for other in self.owing.clone() {
            if let Ok(parent) = self.folder_mut(other) {
                parent.owed.retain(|_, owed| owed.to.is_some() || !owed.moved.contains(&ino));
            }
            self.forget_debt(other);
        }
    }

    fn replay_one(&mut self, record: Record) {
        match record {
            Record::Node(row) => self.replay_node(*row),
            Record::Names(rows) => {
                let replaced: Vec<Ino> = rows.into_iter().filter_map(|row| self.replay_name(row)).collect();
                replaced.into_iter().for_each(|ino| self.forget_below(ino));
            }
            Record::Write { node, at, bytes } => {
                let _ = self.change(Ino(node), |file| file.write(at, Vec::from(bytes).into()));
            }
            Record::Size { node, size } => {
                let _ = self.change(Ino(node), |file| file.truncate(size));
            }
            Record::Meta { node, meta } => {
                if let Ok(node) = self.node_mut(Ino(node)) {
                    node.meta = (*meta).into();
                }
            }
            Record::Freeze { node, size } => {
                let _ = self.change(Ino(node), |file| file.freeze_again(size));
            }
            Record::Past { node, at } => {
                let _ = self.change(Ino(node), |file| file.went_past(at));
            }
            Record::Stored { node, child, content } => {
                let _ = self.change(Ino(node), |file| {
                    file.stored_frozen();
                    file.content = content.and_then(|content| content.parse().ok());
                });
                if let Ok(node) = self.node_mut(Ino(node)) {
                    node.child = child.child(false);
                }
            }
            Record::Made { node, child } => {
                if let Ok(node) = self.node_mut(Ino(node)) {
                    node.child = child.child(false);
                }
            }
            Record::Sent { folder, name, is } => {
                if let Ok(name) = Name::from_stored(&name) {
                    self.note_sent_now(Ino(folder), &name, is);
                }
            }
            Record::Emptied { folder, name, row } => self.replay_emptied(Ino(folder), &name, *row),
            Record::Settled { folder, name, seq, is } => {
                if let Ok(name) = Name::from_stored(&name) {
                    self.settle_debt(Ino(folder), &name, seq, is);
                }
            }
        }
    }

    fn replay_node(&mut self, row: NodeRow) {
        let ino = Ino(row.ino);
        if ino == ROOT {
            return;
        }
        let symlink = row.kind == NodeKind::Symlink;
        let child = row.child.and_then(|child| child.child(symlink));
        let stored = |child: &Option<client::filestore::Child>| {
            child.as_ref().and_then(|child| child.caps.read.size()).unwrap_or(row.size)
        };
        let what = match row.kind {
            NodeKind::File if child.is_none() => What::File(File::new()),
            NodeKind::File => {
                let content = row.content.and_then(|content| content.parse().ok());
                What::File(File { content, ..File::stored(stored(&child)) })
            }
            NodeKind::Folder => What::Folder(Folder::default()),
            NodeKind::Symlink => What::Symlink,
            NodeKind::Unknown => What::Unknown,
        };
        let place = row.place.and_then(|(folder, name)| Some((Ino(folder), Name::from_stored(&name).ok()?)));
        let place = place.filter(|(folder, _)| !self.loops(ino, *folder));
        let node = Node::bare(what, row.meta.into(), child, place);
        let node = Node { lookups: 1, logged: true, ..node };
        if let (What::Folder(_), Ok(known)) = (&node.what, self.node_mut(ino))
            && matches!(known.what, What::Folder(_))
        {
            // Said anew; what is owed in it still is.
            (known.child, known.meta) = (node.child, node.meta);
            return;
        }
        // What a name shall lead to was said before.
        if let Some((folder, name)) = &node.place
            && self.folder(*folder).is_ok_and(|parent| !parent.owed.contains_key(name))
            && let Ok(parent) = self.folder_mut(*folder)
        {
            parent.names.insert(name.clone(), ino);
        }
        self.nodes.insert(ino, node);
        self.next = self.next.max(row.ino + 1);
    }

    /// What it led to before, in this folder.
    fn replay_name(&mut self, row: NameRow) -> Option<Ino> {
        let NameRow { folder, name, to, base, seq, moved, sent } = row;
        let (folder, to, moved) = (Ino(folder), to.map(Ino), moved.into_iter().map(Ino).collect());
        let name = Name::from_stored(&name).ok()?;
        self.folder(folder).ok()?;
        if to.is_some_and(|ino| self.node(ino).is_err() || self.loops(ino, folder)) {
            return None;
        }
        self.seq = self.seq.max(seq);
        let of_this = |(at, of, _): &mut (Ino, Name, Gone)| *at == folder && *of == name;
        let told: Vec<Gone> = self.told.extract_if(.., of_this).map(|(.., gone)| gone).collect();
        let before = self.folder(folder).ok().and_then(|parent| parent.names.get(&name).copied());
        if let Some(before) = before
            && Some(before) != to
            && self.place(before) == Some((folder, &name))
            && let Ok(node) = self.node_mut(before)
        {
            node.place = None;
        }
        if let Some(ino) = to
            && let Ok(node) = self.node_mut(ino)
        {
            node.place = Some((folder, name.clone()));
        }
        let parent = self.folder_mut(folder).ok()?;
        match to {
            Some(ino) => parent.names.insert(name.clone(), ino),
            None => parent.names.remove(&name),
        };
        if to.is_none() && base.is_none() && sent.is_empty() {
            // It came and went, and the grid never knew.
            parent.owed.remove(&name);
            self.forget_debt(folder);
            return before;
        }
        let (since, sending) = (Instant::now(), false);
        let emptied = parent.owed.get_mut(&name).map(|owed| std::mem::take(&mut owed.emptied));
        let mut emptied = emptied.unwrap_or_default();
        emptied.extend(told);
        parent.owed.insert(name, Owed { to, base, seq, since, sent, moved, emptied, sending });
        self.owing.insert(folder);
        before
    }

    /// Of a folder that was removed: it was empty, and of what had been taken out of it nobody will ask.
    pub(super) fn forget_below(&mut self, ino: Ino) {
        let gone = self.node(ino).is_ok_and(|node| node.place.is_none());
        if let Ok(folder) = self.folder_mut(ino)
            && gone
        {
            folder.owed.clear();
            self.owing.remove(&ino);
        }
    }

    /// The records that say all that is owed, and nothing that is not.
    pub(crate) fn checkpoint(&mut self) -> Vec<Record> {
        let (mut records, mut said) = (Vec::new(), std::collections::HashSet::from([ROOT]));
        let owing: Vec<Ino> = self.owing.iter().copied().filter(|ino| self.is_reached(*ino)).collect();
        for folder in owing {
            self.say(folder, &mut said, &mut records);
            let Ok(parent) = self.folder(folder) else { continue };
            let owed: Vec<(Name, Owed)> = parent.owed.iter().map(|(n, o)| (n.clone(), o.clone())).collect();
            for (name, owed) in owed {
                if let Some(ino) = owed.to {
                    self.say(ino, &mut said, &mut records);
                }
                let gone = owed.emptied.iter();
                records.extend(gone.flat_map(|(seq, gone)| gone.records(*seq, folder.0, name.as_str())));
                records.push(Record::Names(vec![owed.row(folder, &name)]));
            }
        }
        for (ino, node) in &mut self.nodes {
            node.logged = said.contains(ino);
        }
        records
    }

    /// Says what a number is, those above it first, and its content where that is not stored.
    fn say(&self, ino: Ino, said: &mut std::collections::HashSet<Ino>, records: &mut Vec<Record>) {
        if !said.insert(ino) {
            return;
        }
        let Ok(node) = self.node(ino) else { return };
        if let Some((folder, _)) = &node.place {
            self.say(*folder, said, records);
        }
        let Ok(row) = self.row(ino) else { return };
        records.push(Record::Node(Box::new(row)));
        let What::File(file) = &node.what else { return };
        let (mut size, ino) = (node.child.as_ref().and_then(|child| child.caps.read.size()), ino.0);
        let mut cut = |records: &mut Vec<Record>, to: u64| {
            if size.is_none_or(|size| size != to) {
                records.push(Record::Size { node: ino, size: to });
                size = Some(to);
            }
        };
        if let Some(frozen) = &file.frozen {
            cut(records, frozen.visible);
            write_all(records, ino, &frozen.extents);
            cut(records, frozen.size);
            records.push(Record::Freeze { node: ino, size: frozen.size });
            cut(records, frozen.shows);
        } else {
            cut(records, file.visible);
        }
        write_all(records, ino, &file.live);
        records.push(Record::Size { node: ino, size: file.size });
    }
}

fn write_all(records: &mut Vec<Record>, node: u64, extents: &crate::extents::Extents) {
    const PIECE: usize = 1024 * 1024;
    for (start, bytes) in extents.pieces() {
        for (index, piece) in bytes.chunks(PIECE).enumerate() {
            let at = start + (index * PIECE) as u64;
            records.push(Record::Write { node, at, bytes: piece.to_vec().into() });
        }
    }
}
