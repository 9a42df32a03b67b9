//! Committed vectors: the bytes of the format, to the letter. `SARSEN_WRITE_VECTORS=1` writes them anew;
//! `SARSEN_WRITE_SHARES=<folder>` also writes every share file, for a reader in another language to try.

use std::path::PathBuf;

use caps::{Cap, ImmutableRead};
use encoding::{ContentKey, Kind, ObjectId, Params};
use serde_json::{Value, json};

use crate::support::{Sample, hex, plaintext, segments_of};

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Holds `value` against the file of that name, or makes the file.
pub(crate) fn compare_or_write(name: &str, value: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testkit/vectors").join(name);
    if std::env::var_os("SARSEN_WRITE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
        return;
    }
    let committed: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // First the names, so that a failure says where to look.
    let lists = |value: &Value| value["objects"].as_array().cloned().unwrap_or_default();
    for (ours, theirs) in lists(value).iter().zip(lists(&committed)) {
        assert_eq!(*ours, theirs, "{name}: {}", ours["name"]);
    }
    assert!(*value == committed, "{name} is not what this code writes");
}

fn object(params: Params, kind: Kind, id: &ObjectId, plain: &[u8]) -> Sample {
    let segments = segments_of(params, &ContentKey::of(id, kind), plain);
    let mut builder = encoding::ObjectBuilder::new(params, kind, id);
    segments.iter().for_each(|segment| builder.add(segment).unwrap());
    let object = builder.finish(plain.len() as u64, blake3::hash(plain).as_bytes()).unwrap();
    let files = crate::support::files(&object, &segments);
    Sample { id: id.clone(), object, files }
}

fn derive(context: &str, id: &ObjectId) -> String {
    let input = [&id.key.expose()[..], &id.salt[..]].concat();
    hex(&blake3::derive_key(context, &input))
}

fn content_key(kind: Kind, id: &ObjectId) -> String {
    match kind {
        Kind::Direct => derive("sarsen v1 content key", id),
        Kind::Tree => {
            let traversal_key = id.key.traversal_key(&id.salt);
            hex(&blake3::derive_key("sarsen v1 tree content key", traversal_key.expose()))
        }
    }
}

fn describe(
    name: &str,
    secret: Option<[u8; 32]>,
    params: Params,
    kind: Kind,
    plain: &[u8],
    sample: &Sample,
) -> Value {
    let (object, geometry) = (&sample.object, sample.object.descriptor.geometry);
    let size = plain.len() as u64;
    let cap = ImmutableRead {
        key: sample.id.key.clone(),
        hash: object.hash,
        needed: params.needed(),
        total: params.total(),
        size,
        directory: false,
    };
    let shares: Vec<Value> = (0..)
        .zip(&sample.files)
        .filter(|(number, _): &(u16, _)| params.total() <= 20 || *number < 2 || number + 2 >= params.total())
        .map(|(number, file)| {
            let mut share = json!({
                "number": number,
                "len": file.len(),
                "root": hex(&object.descriptor.share_roots[usize::from(number)]),
                "sha256": sha256(file),
                "blake3": blake3::hash(file).to_string(),
            });
            assert_eq!(file.len() as u64, object.share_len(number));
            if size <= 100 && params.total() <= 10 {
                share["file"] = hex(file).into();
            }
            share
        })
        .collect();
    json!({
        "name": name,
        "kind": kind as u8,
        "k": params.needed(),
        "N": params.total(),
        "block_len": params.block_len(),
        "size": size,
        "plaintext_blake3": blake3::hash(plain).to_string(),
        "convergence_secret": secret.map(|secret| hex(&secret)),
        "K": hex(sample.id.key.expose()),
        "salt": hex(&sample.id.salt),
        "content_key": content_key(kind, &sample.id),
        "key_commitment": derive("sarsen v1 key commitment", &sample.id),
        "sealed_part_key": derive("sarsen v1 sealed descriptor part", &sample.id),
        "traversal_key": hex(sample.id.key.traversal_key(&sample.id.salt).expose()),
        "storage_index": hex(sample.id.key.immutable_storage_index().expose()),
        "placement_bucket": sample.id.placement_bucket().0,
        "ciphertext_len": geometry.ciphertext_len(),
        "segments": geometry.segments(),
        "last_block_len": geometry.block_len(geometry.segments() - 1),
        "descriptor": hex(&object.descriptor_bytes),
        "H": hex(object.hash.as_bytes()),
        "cap": Cap::ImmutableRead(cap.clone()).to_string(),
        "verify_cap": Cap::ImmutableVerify(cap.to_verify()).to_string(),
        "shares": shares,
        "all_shares_sha256": sha256(&sample.files.concat()),
    })
}

#[test]
fn committed_vectors() {
    const SMALL: u32 = 16 * 1024;
    const USUAL: u32 = encoding::BLOCK_LEN;
    let secret: [u8; 32] = std::array::from_fn(|i| i as u8);
    let mut out = Vec::new();
    let mut add = |name: &str, (k, n, block_len), kind, size, id: Option<[u8; 48]>| {
        let params = Params::with_block_len(k, n, block_len).unwrap();
        let plain = plaintext(size);
        let plain_hash = blake3::hash(&plain);
        let (given, id) = match id {
            Some(bytes) => (None, ObjectId::random(bytes)),
            None => {
                let id = ObjectId::convergent(&secret, params, kind, size as u64, plain_hash.as_bytes());
                (Some(secret), id)
            }
        };
        let sample = object(params, kind, &id, &plain);
        if let Some(folder) = std::env::var_os("SARSEN_WRITE_SHARES") {
            for (number, file) in sample.files.iter().enumerate() {
                std::fs::write(PathBuf::from(&folder).join(format!("{name}.{number}")), file).unwrap();
            }
        }
        out.push(describe(name, given, params, kind, &plain, &sample));
    };
    add("empty", (3, 10, USUAL), Kind::Direct, 0, None);
    add("one-byte", (3, 10, USUAL), Kind::Direct, 1, None);
    add("hundred-bytes", (3, 10, USUAL), Kind::Direct, 100, None);
    add("random-id", (2, 4, USUAL), Kind::Direct, 100, Some(std::array::from_fn(|i| 200 - i as u8)));
    add("tree", (3, 10, USUAL), Kind::Tree, 100, None);
    add("no-parity", (4, 4, USUAL), Kind::Direct, 100, None);
    add("replicated", (1, 3, USUAL), Kind::Direct, 100, None);
    add("4-KiB", (3, 10, USUAL), Kind::Direct, 4096, None);
    add("one-cell", (3, 10, USUAL), Kind::Direct, 16_368, None);
    add("one-cell-and-a-byte", (3, 10, USUAL), Kind::Direct, 16_369, None);
    add("one-block-alone", (1, 1, SMALL), Kind::Direct, 16_368, None);
    add("two-blocks-alone", (1, 1, SMALL), Kind::Direct, 20_000, None);
    add("one-segment", (2, 3, SMALL), Kind::Direct, 32_736, None);
    add("one-segment-and-a-byte", (2, 3, SMALL), Kind::Direct, 32_737, None);
    add("straddling", (3, 5, SMALL), Kind::Direct, 130_000, None);
    add("256-shares", (1, 256, SMALL), Kind::Direct, 10, None);
    add("20-of-256", (20, 256, SMALL), Kind::Direct, 5000, None);
    add("two-usual-segments", (3, 10, USUAL), Kind::Direct, 1_000_000, None);
    compare_or_write(
        "objects.json",
        &json!({
            "plaintext": "byte i is (7 i + floor(i / 251)) mod 256",
            "notes": "byte strings are hexadecimal; \"file\" is a whole share file; of more than 20 shares only the first and last two are listed; all_shares_sha256 is of all share files, one after the other, in order of number",
            "objects": out,
        }),
    );
}
