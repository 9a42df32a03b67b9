//! How somebody comes to belong to a grid with a short code: SPAKE2 between the owner and the one who joins, so that whoever
//! carries the letters learns nothing and a wrong code costs the only guess there is. `docs/spec/membership.md` has the bytes.
//!
//! Pure: letters go in and come out, and somebody else carries them.

mod code;
mod words;

use blake3::Hash;
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use minicbor::{Decode, Encode};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use crate::identity::{NodeAddress, NodeId};
use crate::limits::MAX_LETTER_LEN;
use crate::membership::{Role, SignedCertificate};
use crate::random::Random;

pub use code::{Code, CodeError, DEFAULT_PORT, Invitation};

const INVITER: &[u8] = b"sarsen v1 invitation inviter";
const JOINER: &[u8] = b"sarsen v1 invitation joiner";
/// A group element with the byte that says whose it is.
const ELEMENT_LEN: usize = 33;
const CONFIRMATION_LEN: usize = 32;

/// Whoever wrote this letter does not know the code, or somebody changed the letter on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the code is wrong, or somebody changed what was sent")]
pub struct WrongCode;

/// What the one who joins asks for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct JoinRequest {
    /// Its key.
    #[n(0)]
    pub member: NodeId,
    /// What it wants to be.
    #[n(1)]
    pub role: Role,
    /// What it would call itself; the owner has the last word.
    #[n(2)]
    #[cbor(with = "crate::bounded::text")]
    pub name: String,
}

/// What the owner answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum JoinAnswer {
    /// All that a member needs.
    #[n(0)]
    Welcome(#[n(0)] Welcome),
    /// Why not.
    #[n(1)]
    Refused(
        #[n(0)]
        #[cbor(with = "crate::bounded::text")]
        String,
    ),
}

/// All that a member needs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// The key of the grid's owner.
    #[n(0)]
    pub owner: NodeId,
    /// The member's certificate.
    #[n(1)]
    pub certificate: SignedCertificate,
    /// The grid's introducers: `sarsen://<key>@host:port`. The one that carries the letters must be among them, by its key.
    #[n(2)]
    #[cbor(with = "crate::bounded::short_list")]
    pub introducers: Vec<String>,
    /// k of what clients store.
    #[n(3)]
    pub needed: u16,
    /// `shares_happy`.
    #[n(4)]
    pub happy: u16,
    /// N.
    #[n(5)]
    pub total: u16,
}

impl Welcome {
    /// The introducers' addresses; what cannot be read is left out.
    pub fn addresses(&self) -> Vec<NodeAddress> {
        self.introducers.iter().filter_map(|text| text.parse().ok()).collect()
    }
}

/// The owner's side, until the letter of the one who joins is there.
pub struct Inviter {
    state: Spake2<Ed25519Group>,
    sent: Vec<u8>,
}

/// The owner's side, once the other side proved to know the code.
pub struct Invited {
    keys: Keys,
}

/// The side of the one who joins, until the owner's answer is there.
pub struct Joiner {
    keys: Keys,
}

impl Inviter {
    /// Begins, and gives the first letter.
    pub fn start(code: &Code, random: &dyn Random) -> (Self, Vec<u8>) {
        let (a, b) = (Identity::new(INVITER), Identity::new(JOINER));
        let (state, sent) = Spake2::start_a_with_rng(&password(code), &a, &b, Generator(random));
        (Self { state, sent: sent.clone() }, sent)
    }

    /// Reads the letter of the one who joins. Whatever comes of it, there is no second guess: this side is used up.
    ///
    /// # Errors
    ///
    /// [`WrongCode`].
    pub fn read(self, letter: &[u8]) -> Result<(Invited, JoinRequest), WrongCode> {
        let (element, rest) = letter.split_at_checked(ELEMENT_LEN).ok_or(WrongCode)?;
        let shared = Zeroizing::new(self.state.finish(element).map_err(|_| WrongCode)?);
        let keys = Keys::derive(&shared, &self.sent, element);
        let request = open(&keys.joiner, &keys.transcript, rest)?;
        Ok((Invited { keys }, request))
    }
}

impl Invited {
    /// The last letter.
    pub fn answer(&self, answer: &JoinAnswer) -> Vec<u8> {
        seal(&self.keys.inviter, &self.keys.transcript, answer)
    }
}

impl Joiner {
    /// Answers the owner's letter with one's own.
    ///
    /// # Errors
    ///
    /// [`WrongCode`] if what came is no such letter.
    pub fn start(
        code: &Code,
        letter: &[u8],
        request: &JoinRequest,
        random: &dyn Random,
    ) -> Result<(Self, Vec<u8>), WrongCode> {
        let (a, b) = (Identity::new(INVITER), Identity::new(JOINER));
        let (state, mut sent) =
            Spake2::<Ed25519Group>::start_b_with_rng(&password(code), &a, &b, Generator(random));
        let shared = Zeroizing::new(state.finish(letter).map_err(|_| WrongCode)?);
        let keys = Keys::derive(&shared, letter, &sent);
        sent.extend(seal(&keys.joiner, &keys.transcript, request));
        Ok((Self { keys }, sent))
    }

    /// Reads the owner's answer, which nobody can have written who does not know the code.
    ///
    /// # Errors
    ///
    /// [`WrongCode`].
    pub fn read(self, letter: &[u8]) -> Result<JoinAnswer, WrongCode> {
        open(&self.keys.inviter, &self.keys.transcript, letter)
    }
}

fn password(code: &Code) -> Password {
    Password::new(code.to_text().as_bytes())
}

/// The keys of one exchange, of which each seals one letter.
struct Keys {
    joiner: Direction,
    inviter: Direction,
    transcript: [u8; 32],
}

/// The two keys of one direction: a cipher that is not committing gets a hash beside it that is, or one letter could try many codes.
struct Direction {
    confirmation: Zeroizing<[u8; 32]>,
    cipher: Zeroizing<[u8; 32]>,
}

impl Keys {
    fn derive(shared: &[u8], first: &[u8], second: &[u8]) -> Self {
        let key = |context: &str| Zeroizing::new(blake3::derive_key(context, shared));
        let mut transcript = blake3::Hasher::new_derive_key("sarsen v1 invitation transcript");
        transcript.update(first).update(second);
        Self {
            joiner: Direction {
                confirmation: key("sarsen v1 invitation joiner confirmation"),
                cipher: key("sarsen v1 invitation joiner cipher"),
            },
            inviter: Direction {
                confirmation: key("sarsen v1 invitation inviter confirmation"),
                cipher: key("sarsen v1 invitation inviter cipher"),
            },
            transcript: *transcript.finalize().as_bytes(),
        }
    }
}

impl Direction {
    /// Says that its writer has the key, of this exchange and this ciphertext.
    fn confirm(&self, transcript: &[u8; 32], sealed: &[u8]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.confirmation);
        hasher.update(transcript).update(sealed);
        hasher.finalize()
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new((&*self.cipher).into())
    }
}

fn seal<T: Encode<()>>(with: &Direction, transcript: &[u8; 32], content: &T) -> Vec<u8> {
    let content = minicbor::to_vec(content).expect("writing to a Vec cannot fail");
    let sealed = with.cipher().encrypt(&[0; 12].into(), &content[..]).expect("letters are short");
    [&with.confirm(transcript, &sealed).as_bytes()[..], &sealed].concat()
}

fn open<T: for<'b> Decode<'b, ()>>(
    with: &Direction,
    transcript: &[u8; 32],
    letter: &[u8],
) -> Result<T, WrongCode> {
    if letter.len() > MAX_LETTER_LEN {
        return Err(WrongCode);
    }
    let (confirmation, sealed) = letter.split_at_checked(CONFIRMATION_LEN).ok_or(WrongCode)?;
    let confirmation: [u8; 32] = confirmation.try_into().map_err(|_| WrongCode)?;
    // In constant time.
    if with.confirm(transcript, sealed) != Hash::from(confirmation) {
        return Err(WrongCode);
    }
    let content = with.cipher().decrypt(&[0; 12].into(), sealed).map_err(|_| WrongCode)?;
    crate::frame::decode(&content).map_err(|_| WrongCode)
}

/// Our randomness in the form that `spake2` takes.
struct Generator<'a>(&'a dyn Random);

impl rand_core::RngCore for Generator<'_> {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.0.bytes())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.0.bytes())
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill(out);
        Ok(())
    }
}

impl rand_core::CryptoRng for Generator<'_> {}
