//! Directories made by somebody who knows of another's nodes what everybody may know, and no key.

use caps::{Cap, ImmutableRead};
use client::Client;
use client::filestore::Child;
use encoding::directory::{Name, NodeRef, SlotContent, SlotDirectory};
use testkit::grid::SimGrid;

use crate::filestore::{file, name, names, writer};
use crate::support::simulate;

/// The root of a directory's tree.
async fn root(client: &Client, top: &Child) -> NodeRef {
    let view = client.read_slot(&writer(top).to_read()).await.unwrap();
    let content = SlotContent::parse(&view.sections).unwrap();
    content.into_directory().unwrap().base.expect("so many entries are a tree")
}

/// Whether whoever may read both is shown entries in a directory that names this node.
async fn shows(client: &Client, node: NodeRef) -> bool {
    let forged = SlotDirectory { base: Some(node), ..SlotDirectory::default() };
    let sections = SlotContent::Directory(forged).to_sections();
    let slot = client.create_slot(true, |_, _| sections.clone()).await.unwrap();
    let view = client.open_directory(&Cap::SlotWrite(slot.cap)).await.unwrap();
    view.list().await.is_ok()
}

#[test]
fn nodes_in_memory_are_shown_for_no_other_reference() {
    simulate(async {
        let mut grid = SimGrid::start(40, 4).await;
        let client = grid.client("1/3/4").await;
        let below = client.make_directory().await.unwrap();
        let many: Vec<(Name, Child)> = (0..300).map(|i| (name(&format!("d{i:04}")), below.clone())).collect();
        let top = client.make_directory_with(many).await.unwrap();
        let root = root(&client, &top).await;
        let reader = grid.client("1/3/4").await;
        assert_eq!(names(&reader, top.cap()).await.len(), 300);
        assert!(shows(&reader, root.clone()).await, "the very same reference");
        let cap = || root.cap.clone();
        let others = [
            ImmutableRead { key: caps::ReadKey::new([9; 16]), ..cap() },
            ImmutableRead { needed: cap().needed + 1, ..cap() },
            ImmutableRead { total: cap().total + 1, ..cap() },
            ImmutableRead { size: cap().size + 1, ..cap() },
        ];
        for cap in others {
            assert!(!shows(&reader, NodeRef { cap: cap.clone(), ..root.clone() }).await, "{cap:?}");
        }
        // What may change has no place in what may not.
        let fixed = Cap::ImmutableRead(root.cap);
        let listed = match reader.open_directory(&fixed).await {
            Ok(view) => view.list().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(listed.is_err());
        let leaf = file(&client, b"leaf").await;
        let fixed = client.make_immutable((0..300).map(|i| (name(&format!("f{i}")), leaf.clone())).collect());
        assert_eq!(names(&reader, fixed.await.unwrap().cap()).await.len(), 300);
    });
}
