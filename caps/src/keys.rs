//! The fixed-size values capabilities are made of.

use std::fmt;

use data_encoding::{Encoding, Specification};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// RFC 4648 base32, lower case, no padding; non-zero trailing bits are refused.
pub(crate) fn base32() -> &'static Encoding {
    use std::sync::LazyLock;
    static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        spec.encoding().expect("the specification is a constant and valid")
    });
    &BASE32
}

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Wraps raw key bytes.
            pub fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes, for deriving from; never log or print them.
            pub fn expose(&self) -> &[u8; $len] {
                &self.0
            }

            pub(crate) fn base32(&self) -> String {
                base32().encode(&self.0)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}

secret!(
    /// K: reads an immutable object. R: reads a slot. 16 bytes.
    ReadKey,
    16
);
secret!(
    /// W: writes a slot. 16 bytes.
    WriteKey,
    16
);
secret!(
    /// SI: names an object or slot inside verify caps. It never crosses the wire (DESIGN section 4), so it is kept like a secret. 16 bytes.
    StorageIndex,
    16
);
secret!(
    /// Opens the section of a tree that lists its children's repair caps, and nothing else. 32 bytes.
    TraversalKey,
    32
);

/// H: what servers file an object or slot under, and what everything in it is verified against. Public. 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VerifyHash([u8; 32]);

impl VerifyHash {
    /// Wraps raw hash bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for VerifyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32().encode(&self.0))
    }
}

impl fmt::Debug for VerifyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyHash({self})")
    }
}

/// Where in the grid to look: 16 bits of a hash of the storage index, which every holder of a cap can compute. Public.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PlacementBucket(pub u16);

impl fmt::Display for PlacementBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
