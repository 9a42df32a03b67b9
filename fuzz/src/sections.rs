//! The two sections of a tree as one input.

use encoding::Sections;

/// Two bytes with the length of section B, section B, section A; cut short where the input ends.
pub fn sections(data: &[u8]) -> Sections {
    let (len, rest) =
        data.split_first_chunk().map_or((0, data), |(len, rest)| (u16::from_le_bytes(*len), rest));
    let (b, a) = rest.split_at(rest.len().min(len.into()));
    Sections { a: a.to_vec(), b: b.to_vec() }
}

/// The input that gives these sections.
pub fn unite(sections: &Sections) -> Vec<u8> {
    let len = u16::try_from(sections.b.len()).expect("seeds are small");
    [&len.to_le_bytes()[..], &sections.b, &sections.a].concat()
}
