//! Under a passphrase and back: age-encryption.org/v1 with its scrypt recipient.

use std::io::{Read, Write};
use std::iter;

use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor};
use zeroize::Zeroizing;

use super::RecoveryError;

/// scrypt's work factor for recovery files, as a power of two: about a second and 256 MiB, as the `age` program does it.
pub const WORK_FACTOR: u8 = 18;
/// The highest work factor accepted, as a power of two: some seconds and 1 GiB.
pub const MAX_WORK_FACTOR: u8 = 20;
/// What every age file begins with.
const MAGIC: &[u8] = b"age-encryption.org/v1\n";
/// What is inside is text of aliases and a few keys: bounded as the file is.
const MAX_PLAINTEXT: u64 = super::MAX_FILE_LEN;

pub(super) fn seal(text: &str, passphrase: &str, work_factor: u8) -> Result<Vec<u8>, RecoveryError> {
    if passphrase.is_empty() {
        return Err(RecoveryError::EmptyPassphrase);
    }
    if !(1..=MAX_WORK_FACTOR).contains(&work_factor) {
        return Err(RecoveryError::WorkFactor { given: work_factor });
    }
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    recipient.set_work_factor(work_factor);
    let encryptor = Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))
        .expect("one recipient, and no other beside it");
    let mut sealed = Vec::with_capacity(text.len() + 1024);
    let written = encryptor.wrap_output(&mut sealed).and_then(|mut writer| {
        writer.write_all(text.as_bytes())?;
        writer.finish()
    });
    written.expect("writing to memory does not fail");
    Ok(sealed)
}

pub(super) fn open(sealed: &[u8], passphrase: &str) -> Result<Zeroizing<String>, RecoveryError> {
    if passphrase.is_empty() {
        return Err(RecoveryError::EmptyPassphrase);
    }
    if !sealed.starts_with(MAGIC) {
        let cut = MAGIC.starts_with(sealed);
        return Err(if cut { RecoveryError::Damaged } else { RecoveryError::NotARecoveryFile });
    }
    let decryptor = Decryptor::new_buffered(sealed).map_err(refused)?;
    if !decryptor.is_scrypt() {
        return Err(RecoveryError::NotARecoveryFile);
    }
    let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let reader = decryptor.decrypt(iter::once(&identity as &dyn age::Identity)).map_err(refused)?;
    // Room for all of it, so that no copy is left behind when it grows.
    let mut text = Zeroizing::new(String::with_capacity(sealed.len()));
    reader.take(MAX_PLAINTEXT).read_to_string(&mut text).map_err(|_| RecoveryError::Damaged)?;
    Ok(text)
}

fn refused(error: DecryptError) -> RecoveryError {
    match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => RecoveryError::WrongPassphrase,
        DecryptError::ExcessiveWork { required, .. } => RecoveryError::TooMuchWork { required },
        DecryptError::NoMatchingKeys | DecryptError::UnknownFormat => RecoveryError::NotARecoveryFile,
        DecryptError::InvalidHeader | DecryptError::InvalidMac | DecryptError::Io(_) => {
            RecoveryError::Damaged
        }
    }
}
