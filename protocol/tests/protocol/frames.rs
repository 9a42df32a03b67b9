//! Frames on a stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use protocol::frame::{self, FrameError};
use protocol::limits::MAX_FRAME_LEN;
use protocol::message::{Done, Hello, Reply, Request, Subscribe};
use protocol::session::our_hello;
use protocol::transport::RecvHalf;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that arrive one at a time.
struct Drip<'a>(&'a [u8]);

impl AsyncRead for Drip<'static> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((first, rest)) = self.0.split_first() {
            buf.put_slice(&[*first]);
            self.0 = rest;
        }
        Poll::Ready(Ok(()))
    }
}

impl RecvHalf for Drip<'static> {}

fn receive<T: for<'b> minicbor::Decode<'b, ()>>(bytes: Vec<u8>) -> Result<T, FrameError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(frame::receive(&mut Drip(bytes.leak())))
}

#[test]
fn a_frame_is_read_as_it_comes() {
    let request = Request::Subscribe(Subscribe { follow: true });
    let bytes = frame::encode(&request).to_vec();
    assert_eq!(receive::<Request>(bytes.clone()).unwrap(), request);
    for len in 0..bytes.len() {
        assert!(matches!(receive::<Request>(bytes[..len].to_vec()), Err(FrameError::Ended)), "{len}");
    }
}

#[test]
fn a_frame_has_a_bound() {
    let longest = |len: u32| [&len.to_le_bytes()[..], &vec![0xff; len as usize]].concat();
    assert!(matches!(receive::<Request>(longest(MAX_FRAME_LEN)), Err(FrameError::Malformed { .. })));
    let stated = (MAX_FRAME_LEN + 1).to_le_bytes().to_vec();
    let len = MAX_FRAME_LEN + 1;
    assert!(matches!(receive::<Request>(stated), Err(FrameError::TooLong { len: l }) if l == len));
    assert!(matches!(receive::<Request>(vec![255; 4]), Err(FrameError::TooLong { len: u32::MAX })));
}

#[test]
fn nothing_may_follow_a_message() {
    let bytes = minicbor::to_vec(Request::Status).unwrap();
    assert_eq!(frame::decode::<Request>(&bytes).unwrap(), Request::Status);
    let trailing = frame::decode::<Request>(&[&bytes[..], &[0]].concat());
    assert!(matches!(trailing, Err(FrameError::Malformed { reason }) if reason.contains("follow")));
    assert!(matches!(frame::decode::<Request>(&[]), Err(FrameError::Malformed { .. })));
}

#[test]
fn unknown_requests_and_answers_are_told_from_rubbish() {
    for bytes in
        [&[0x82, 0x17, 0x80][..], &[0x82, 0x18, 99, 0x81, 0xa0], &[0x82, 0x1a, 255, 255, 255, 255, 0x80]]
    {
        assert!(matches!(frame::decode::<Request>(bytes), Err(FrameError::Unknown)), "{bytes:?}");
    }
    // An error with code 200.
    let unknown = [0x82, 1, 0x81, 0x82, 0x82, 0x18, 200, 0x80, 0x60];
    assert!(matches!(frame::decode::<Reply<Done>>(&unknown), Err(FrameError::Unknown)));
}

#[test]
fn fields_from_later_versions_are_skipped() {
    // A hello with two fields more, one of them deep: nothing here recurses.
    let deep = [vec![0x81; 900_000], vec![0]].concat();
    let head = [0x82, 0, 0x81, 0x86, 1, 9, 0x81, 0x61, b'x', 0x61, b'y', 0xf6];
    let hello = Hello { minor: 9, features: vec!["x".into()], software: "y".into(), ..our_hello() };
    let bytes = [&head[..], &deep].concat();
    assert_eq!(frame::decode::<Request>(&bytes).unwrap(), Request::Hello(hello));
    // An answer that has fields now and had none.
    assert_eq!(frame::decode::<Reply<Done>>(&[0x82, 0, 0x81, 0x82, 1, 2]).unwrap(), Reply::Ok(Done {}));
}

#[test]
fn absent_fields_may_be_null_or_left_out_at_the_end_only() {
    use protocol::message::{Bytes16, LeaseTerms};
    let tag = [&[0x50][..], &[7; 16]].concat();
    let terms = LeaseTerms { tag: Bytes16([7; 16]), duration_s: None };
    let short = [&[0x81][..], &tag].concat();
    assert_eq!(minicbor::to_vec(terms).unwrap(), short);
    for bytes in [short, [&[0x82][..], &tag, &[0xf6]].concat(), [&[0x9f][..], &tag, &[0xff]].concat()] {
        assert_eq!(frame::decode::<LeaseTerms>(&bytes).unwrap(), terms);
    }
    assert!(frame::decode::<LeaseTerms>(&[0x80]).is_err());
    assert!(frame::decode::<LeaseTerms>(&[0x82, 0xf6, 0xf6]).is_err());
}
