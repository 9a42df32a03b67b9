//! The erasure code against a slow decoder made of nothing but `docs/spec/erasure-code.md`: field, basis, points, Lagrange.

use encoding::{ErasureDecoder, ErasureEncoder, ErasureError};
use serde_json::{Value, json};

use crate::support::{Random, hex, plaintext};
use crate::vectors::{compare_or_write, sha256};

const POLYNOMIAL: u32 = 0x1002D;
const BASIS: [u16; 16] = [
    0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012, 0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8,
    0xFB34, 0xFF38, 0x991E,
];

/// GF(2^16) as its 16-bit coordinates in the Cantor basis.
struct Field {
    /// For every coordinate vector, the polynomial it stands for.
    polynomial: Vec<u16>,
    /// And back.
    coordinates: Vec<u16>,
}

impl Field {
    fn new() -> Self {
        let sum = |c: u32| (0..16).filter(|bit| c >> bit & 1 == 1).fold(0, |sum, bit| sum ^ BASIS[bit]);
        let polynomial: Vec<u16> = (0..1 << 16).map(sum).collect();
        let mut coordinates = vec![0; 1 << 16];
        (0..=u16::MAX).for_each(|c| coordinates[usize::from(polynomial[usize::from(c)])] = c);
        assert!(
            (0..=u16::MAX).all(|c| coordinates[usize::from(polynomial[usize::from(c)])] == c),
            "not a basis"
        );
        Self { polynomial, coordinates }
    }

    fn multiply(&self, a: u16, b: u16) -> u16 {
        let (mut a, b) =
            (u32::from(self.polynomial[usize::from(a)]), u32::from(self.polynomial[usize::from(b)]));
        let mut product = 0;
        for bit in 0..16 {
            product ^= if b >> bit & 1 == 1 { a } else { 0 };
            a <<= 1;
            a ^= if a >> 16 == 1 { POLYNOMIAL } else { 0 };
        }
        self.coordinates[product as usize]
    }

    /// a^(2^16 - 2).
    fn invert(&self, a: u16) -> u16 {
        assert_ne!(a, 0);
        let (mut power, mut out) = (a, 1);
        for _ in 1..16 {
            power = self.multiply(power, power);
            out = self.multiply(out, power);
        }
        out
    }
}

/// Where block `number` is the polynomial's value.
fn point(k: u16, number: u16) -> u16 {
    if number < k { number } else { k.next_power_of_two() + (number - k) }
}

/// Symbol `index` of a block: the positions of its low and its high byte.
fn symbol(len: usize, index: usize) -> (usize, usize) {
    let (chunk, within) = (index / 32 * 64, index % 32);
    let half = (len - chunk).min(64) / 2;
    (chunk + within, chunk + half + within)
}

/// The blocks `wanted`, from any k `given`: Lagrange interpolation through these and the zeros at k..m.
fn interpolate(field: &Field, k: u16, given: &[(u16, &[u8])], wanted: &[u16]) -> Vec<Vec<u8>> {
    let nodes: Vec<u16> = given.iter().map(|(n, _)| point(k, *n)).chain(k..k.next_power_of_two()).collect();
    let product =
        |x: u16| nodes.iter().filter(|l| **l != x).fold(1, |product, l| field.multiply(product, x ^ l));
    let weights: Vec<u16> = nodes.iter().take(given.len()).map(|i| field.invert(product(*i))).collect();
    let len = given[0].1.len();
    let combine = |number: &u16| {
        let x = point(k, *number);
        let all = product(x);
        let mut out = vec![0; len];
        for (((_, block), i), weight) in given.iter().zip(&nodes).zip(&weights) {
            let coefficient = field.multiply(field.multiply(all, *weight), field.invert(x ^ i));
            // Multiplying by a constant is linear: 16 products give all.
            let bits: Vec<u16> = (0..16).map(|bit| field.multiply(coefficient, 1 << bit)).collect();
            let table = |shift: usize| -> Vec<u16> {
                (0..256)
                    .map(|v| (0..8).filter(|b| v >> b & 1 == 1).fold(0, |sum, b| sum ^ bits[shift + b]))
                    .collect()
            };
            let (by_low, by_high) = (table(0), table(8));
            for index in 0..len / 2 {
                let (low, high) = symbol(len, index);
                let value = by_low[usize::from(block[low])] ^ by_high[usize::from(block[high])];
                out[low] ^= value as u8;
                out[high] ^= (value >> 8) as u8;
            }
        }
        out
    };
    wanted.iter().map(combine).collect()
}

const CODES: [(u16, u16); 11] = [
    (1, 1),
    (1, 2),
    (2, 3),
    (3, 10),
    (5, 7),
    (10, 14),
    (16, 20),
    (20, 256),
    (128, 256),
    (255, 256),
    (256, 256),
];
const LENGTHS: [usize; 7] = [2, 6, 62, 64, 66, 130, 1372];

#[test]
fn encoder_and_decoder_agree_with_the_slow_one() {
    let field = Field::new();
    let mut random = Random(1);
    for (k, n) in CODES {
        let mut encoder = ErasureEncoder::new(k, n);
        let mut decoder = ErasureDecoder::new(k, n);
        // One encoder and decoder for all lengths, up and down, as they keep working memory.
        for len in LENGTHS.into_iter().chain([6, 130, 2]) {
            if k > 20 && len == 1372 {
                continue;
            }
            let data = random.bytes(usize::from(k) * len);
            let views: Vec<(u16, &[u8])> = (0..k).zip(data.chunks(len)).collect();
            let parity = encoder.parity(&data).unwrap();
            let wanted: Vec<u16> = (k..n).collect();
            assert!(
                parity.iter().eq(&interpolate(&field, k, &views, &wanted)),
                "parity of {k}-of-{n}, {len} bytes"
            );
            let all: Vec<&[u8]> = data.chunks(len).chain(parity.iter().map(|block| &block[..])).collect();
            for lost in [0, 1, 2, 12, 13, 256] {
                let lost = lost.min(usize::from(k)).min(usize::from(n - k));
                let gone = random.pick(lost, k.into());
                let extra = random.pick(lost, (n - k).into());
                let kept = (0..k).filter(|number| !gone.contains(number)).chain(extra.iter().map(|j| k + j));
                let mut given: Vec<(u16, &[u8])> =
                    kept.map(|number| (number, all[usize::from(number)])).collect();
                let shift = random.next() as usize % given.len();
                given.rotate_left(shift);
                let decoded = decoder.missing_data(&given).unwrap();
                let mut missing = gone.clone();
                missing.sort_unstable();
                assert!(decoded.iter().map(|(number, _)| *number).eq(missing.iter().copied()));
                for (number, block) in &decoded {
                    assert_eq!(block, all[usize::from(*number)], "{k}-of-{n}, {len} bytes, lost {missing:?}");
                }
            }
        }
    }
}

#[test]
fn the_slow_decoder_decodes() {
    let field = Field::new();
    for (k, n, len) in [(3, 10, 66), (20, 256, 6), (255, 256, 2)] {
        let data = plaintext(usize::from(k) * len);
        let parity = ErasureEncoder::new(k, n).parity(&data).unwrap();
        let mut random = Random(u64::from(k));
        let all: Vec<&[u8]> = data.chunks(len).chain(parity.iter().map(|block| &block[..])).collect();
        let numbers = random.pick(k.into(), n.into());
        let given: Vec<(u16, &[u8])> =
            numbers.iter().map(|number| (*number, all[usize::from(*number)])).collect();
        let wanted: Vec<u16> = (0..n).filter(|number| !numbers.contains(number)).collect();
        for (number, block) in wanted.iter().zip(interpolate(&field, k, &given, &wanted)) {
            assert_eq!(block, all[usize::from(*number)], "{k}-of-{n} block {number}");
        }
    }
}

#[test]
fn callers_mistakes_are_named() {
    let not_enough = ErasureError::NotEnoughBlocks { needed: 2, total: 4 };
    for len in [0, 1, 2, 3, 5, 6, 7] {
        assert_eq!(ErasureEncoder::new(2, 4).parity(&vec![0; len]), Err(ErasureError::BlockLength), "{len}");
    }
    let mut decoder = ErasureDecoder::new(2, 4);
    let (a, b) = ([1u8; 4], [2u8; 6]);
    for (blocks, error) in [
        (vec![], not_enough),
        (vec![(0, &a[..])], not_enough),
        (vec![(0, &a[..]), (0, &a[..])], not_enough),
        (vec![(0, &a[..]), (4, &a[..])], not_enough),
        (vec![(0, &a[..]), (300, &a[..])], not_enough),
        (vec![(0, &a[..]), (1, &a[..]), (1, &a[..])], not_enough),
        (vec![(0, &a[..]), (2, &b[..])], ErasureError::BlockLength),
        (vec![(3, &a[..3]), (2, &a[..3])], ErasureError::BlockLength),
        (vec![(3, &a[..0]), (2, &a[..0])], ErasureError::BlockLength),
    ] {
        assert_eq!(decoder.missing_data(&blocks), Err(error), "{blocks:?}");
    }
}

#[test]
fn committed_vectors() {
    let mut out = Vec::new();
    for (k, n) in CODES {
        for len in [2, 6, 62, 64, 66, 130, 1372] {
            let data = plaintext(usize::from(k) * len);
            let parity = ErasureEncoder::new(k, n).parity(&data).unwrap().concat();
            let mut entry = json!({ "k": k, "N": n, "block_len": len, "data_sha256": sha256(&data), "parity_sha256": sha256(&parity) });
            if parity.len() <= 512 && data.len() <= 512 {
                entry["data"] = hex(&data).into();
                entry["parity"] = hex(&parity).into();
            }
            out.push(entry);
        }
    }
    let field = Field::new();
    let pairs =
        [(1, 1), (2, 2), (2, 3), (3, 4), (256, 2), (0x8000, 0x8000), (0xffff, 0xffff), (0x1234, 0xabcd)];
    let products: Vec<Value> = pairs.iter().map(|(a, b)| json!([a, b, field.multiply(*a, *b)])).collect();
    compare_or_write(
        "erasure.json",
        &json!({
            "data": "byte i of the k data blocks, one after the other, is (7 i + floor(i / 251)) mod 256",
            "parity": "the N - k parity blocks, one after the other",
            "products": products,
            "codes": out,
        }),
    );
}
