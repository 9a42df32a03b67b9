//! Codes, and the three letters of an invitation.

use protocol::invitation::{
    Code, CodeError, DEFAULT_PORT, Invitation, Inviter, JoinAnswer, JoinRequest, Joiner, WrongCode,
};
use protocol::membership::Role;
use protocol::{NodeKey, OsRandom, Random};

const RANDOM: &dyn Random = &OsRandom;

fn request() -> JoinRequest {
    JoinRequest { member: NodeKey::from_seed(&[2; 32]).id(), role: Role::Account, name: "attic".into() }
}

fn refused() -> JoinAnswer {
    JoinAnswer::Refused("not today".into())
}

#[test]
fn both_sides_with_the_same_code_understand_each_other() {
    let code = Code::generate(RANDOM);
    let (inviter, first) = Inviter::start(&code, RANDOM);
    let same: Code = code.to_text().parse().unwrap();
    let (joiner, second) = Joiner::start(&same, &first, &request(), RANDOM).unwrap();
    let (invited, asked) = inviter.read(&second).unwrap();
    assert_eq!(asked, request());
    assert_eq!(joiner.read(&invited.answer(&refused())), Ok(refused()));
}

#[test]
fn any_other_code_and_any_changed_byte_is_noticed_by_both() {
    let code: Code = "7-granite-lichen-oak".parse().unwrap();
    for other in ["8-granite-lichen-oak", "7-granite-lichen-elm", "7-oak-lichen-granite"] {
        let (inviter, first) = Inviter::start(&code, RANDOM);
        let (joiner, second) = Joiner::start(&other.parse().unwrap(), &first, &request(), RANDOM).unwrap();
        assert_eq!(inviter.read(&second).map(|_| ()), Err(WrongCode), "{other}");
        // Nor does the side that came believe an answer that was made under another code.
        let (inviter, first) = Inviter::start(&code, RANDOM);
        let (_, second) = Joiner::start(&code, &first, &request(), RANDOM).unwrap();
        let (invited, _) = inviter.read(&second).unwrap();
        assert_eq!(joiner.read(&invited.answer(&refused())), Err(WrongCode));
    }
    let len = {
        let (_, first) = Inviter::start(&code, RANDOM);
        Joiner::start(&code, &first, &request(), RANDOM).unwrap().1.len()
    };
    for at in 0..len {
        let (inviter, first) = Inviter::start(&code, RANDOM);
        let (joiner, mut second) = Joiner::start(&code, &first, &request(), RANDOM).unwrap();
        let right = second.clone();
        second[at] ^= 1;
        assert_eq!(inviter.read(&second).map(|_| ()), Err(WrongCode), "byte {at}");
        assert_eq!(joiner.read(&right), Err(WrongCode), "a letter that comes back is no answer");
    }
    for letter in [&b""[..], &[0; 33], &[0x42; 200]] {
        let (inviter, first) = Inviter::start(&code, RANDOM);
        assert_eq!(inviter.read(letter).map(|_| ()), Err(WrongCode));
        let (joiner, _) = Joiner::start(&code, &first, &request(), RANDOM).unwrap();
        assert_eq!(joiner.read(letter), Err(WrongCode));
    }
    assert_eq!(Joiner::start(&code, b"", &request(), RANDOM).map(|_| ()), Err(WrongCode));
}

#[test]
fn codes_are_read_as_people_type_them() {
    for _ in 0..100 {
        let code = Code::generate(RANDOM);
        assert_eq!(code.to_text().parse::<Code>().as_ref(), Ok(&code));
        assert!((1..=999).contains(&code.channel()));
        let shown = format!("{code:?}");
        assert!(!shown.contains(code.to_text().rsplit('-').next().unwrap()), "{shown}");
    }
    let code: Code = " 7-Granite-LICHEN-oak ".parse().unwrap();
    let invitation: Invitation = "7-granite-lichen-oak@host.example".parse().unwrap();
    assert_eq!((&invitation.code, invitation.host), (&code, format!("host.example:{DEFAULT_PORT}")));
    for (text, host) in [("1.2.3.4:5", "1.2.3.4:5"), ("[::1]:77", "[::1]:77")] {
        let read: Invitation = format!("7-granite-lichen-oak@{text}").parse().unwrap();
        assert_eq!(read.host, host);
    }
    for bad in ["", "7", "7-oak", "0-oak-oak-oak", "1000-oak-oak-oak", "x-oak-oak-oak", "7-oak-oak-oak-oak"] {
        assert_eq!(bad.parse::<Code>(), Err(CodeError::Form), "{bad}");
    }
    assert_eq!("7-oak-oak-oka".parse::<Code>(), Err(CodeError::Word { number: 3 }));
    for bad in ["7-oak-oak-oak", "7-oak-oak-oak@", "7-oak-oak-oak@a b"] {
        assert_eq!(bad.parse::<Invitation>(), Err(CodeError::Form), "{bad}");
    }
}
