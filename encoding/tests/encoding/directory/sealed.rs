//! Sealed write caps.

use caps::{Cap, VerifyHash, WriteKey};
use encoding::directory::{EntryError, SealError, SealedWrite, open_write, seal_write};

use super::{SALT, cap, hash, sealed, slot, write_key};

fn open(read: &Cap, sealed: &SealedWrite) -> Result<Option<Cap>, SealError> {
    open_write(&write_key(), &SALT, &hash(), read, sealed)
}

#[test]
fn writers_open_what_readers_cannot_tell_from_a_dummy() {
    let longest = "URI:".to_owned() + &"x".repeat(506);
    for (write, read, len) in [
        (Cap::SlotWrite(slot(1, false)), Cap::SlotWrite(slot(1, false)).read().unwrap(), 168),
        (Cap::SlotWrite(slot(1, true)), Cap::SlotWrite(slot(1, true)).read().unwrap(), 168),
        (cap("URI:X:1"), cap("ro.URI:X:2"), 552),
        (cap(&longest), cap("ro.URI:X:2"), 552),
    ] {
        let (real, dummy) = (sealed(&read, Some(&write), 1), sealed(&read, None, 2));
        assert_eq!((real.as_bytes().len(), dummy.as_bytes().len()), (len, len));
        assert_eq!(open(&read, &real), Ok(Some(write.clone())));
        assert_eq!(open(&read, &dummy), Ok(None));
        // Sealed again under another nonce, nothing of the bytes stays.
        let again = sealed(&read, Some(&write), 3);
        let same = real.as_bytes().iter().zip(again.as_bytes()).filter(|(a, b)| a == b).count();
        assert!(same < 20, "{same} of {len} bytes are the same");
        assert_eq!(SealedWrite::from_bytes(&read, real.as_bytes()), Ok(real));
    }
}

#[test]
fn a_sealed_cap_opens_in_its_own_directory_alone() {
    let write = Cap::SlotWrite(slot(1, false));
    let read = write.read().unwrap();
    let real = sealed(&read, Some(&write), 1);
    let ours = Err(SealError::NotOurs);
    assert_eq!(open_write(&WriteKey::new([2; 16]), &SALT, &hash(), &read, &real), ours);
    assert_eq!(open_write(&write_key(), &[6; 32], &hash(), &read, &real), ours);
    assert_eq!(open_write(&write_key(), &SALT, &VerifyHash::new([8; 32]), &read, &real), ours);
    for at in [0, 30, 167] {
        let mut bytes = real.as_bytes().to_vec();
        bytes[at] ^= 1;
        assert_eq!(open(&read, &SealedWrite::from_bytes(&read, &bytes).unwrap()), ours);
    }
    let cut = SealedWrite::from_bytes(&read, &real.as_bytes()[..167]);
    assert_eq!(cut, Err(EntryError::WriteLength { len: 167 }));
}

#[test]
fn a_write_cap_of_another_slot_is_refused() {
    let (one, other) = (Cap::SlotWrite(slot(1, false)), Cap::SlotWrite(slot(2, false)));
    let (read, other_read) = (one.read().unwrap(), other.read().unwrap());
    let stray = sealed(&other_read, Some(&other), 1);
    assert_eq!(open(&read, &stray), Err(SealError::NotItsReadCap));
    let seal =
        |read: &Cap, write: &Cap| seal_write(&write_key(), &SALT, &hash(), read, Some(write), &[1; 24]);
    assert_eq!(seal(&read, &other), Err(SealError::NotItsReadCap));
    assert_eq!(seal(&read, &read), Err(SealError::NotItsReadCap), "a read cap writes nothing");
    assert_eq!(seal(&cap("URI:LIT:"), &one), Err(SealError::NotItsReadCap));
    assert_eq!(seal(&cap("imm.URI:X:1"), &cap("URI:X:2")), Err(SealError::NotItsReadCap));
    assert_eq!(seal(&cap("ro.URI:X:1"), &cap("ro.URI:X:2")), Err(SealError::NotItsReadCap));
    let long = "URI:".to_owned() + &"x".repeat(507);
    assert_eq!(seal(&cap("ro.URI:X:1"), &cap(&long)), Err(SealError::TooLong { len: 511 }));
}
