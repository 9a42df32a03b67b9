//! What happened, as a hash and, if wanted, line by line.

#[derive(Default)]
pub(super) struct Trace {
    hasher: blake3::Hasher,
    kept: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn note(&mut self, line: String) {
        self.hasher.update(line.as_bytes()).update(b"\n");
        if let Some(kept) = &mut self.kept {
            kept.push(line);
        }
    }

    pub(super) fn keep(&mut self) {
        self.kept.get_or_insert_default();
    }

    pub(super) fn kept(&self) -> Vec<String> {
        self.kept.clone().unwrap_or_default()
    }

    pub(super) fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}
