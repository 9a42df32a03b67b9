//! Tables that are opened when they are used.

use std::cell::OnceCell;

use redb::{Key, Table, TableDefinition, Value, WriteTransaction};

use super::{IndexResult, Rows, boxed};

/// A table of a transaction. Whether it was changed or not, the commit of one that was opened looks up and compares its root.
pub(crate) struct Lazy<'t, K: Key + 'static, V: Value + 'static> {
    txn: &'t WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: OnceCell<Table<'t, K, V>>,
}

impl<'t, K: Key + 'static, V: Value + 'static> Lazy<'t, K, V> {
    pub(super) fn new(txn: &'t WriteTransaction, definition: TableDefinition<'static, K, V>) -> Self {
        Self { txn, definition, table: OnceCell::new() }
    }

    /// The table, to read it.
    pub(super) fn read(&self) -> IndexResult<&Table<'t, K, V>> {
        if let Some(table) = self.table.get() {
            return Ok(table);
        }
        let opened = self.txn.open_table(self.definition).map_err(boxed)?;
        Ok(self.table.get_or_init(|| opened))
    }

    /// The table, to change it.
    pub(super) fn write(&mut self) -> IndexResult<&mut Table<'t, K, V>> {
        self.read()?;
        Ok(self.table.get_mut().expect("it was just opened"))
    }
}

impl Rows<'_> {
    /// Makes the tables of a new index: whoever reads one takes it for granted.
    pub(super) fn make_tables(&self) -> IndexResult<()> {
        self.shares.read()?;
        self.lengths.read()?;
        self.leases.read()?;
        self.accounts.read()?;
        self.packs.read()?;
        self.slots.read()?;
        self.expiry.read()?;
        self.dying.read()?;
        self.due.read()?;
        self.usage.read()?;
        Ok(())
    }
}
