//! What makes no sense is answered, and harms nobody.

use bytes::Bytes;
use protocol::frame::{self, FrameError};
use protocol::limits::MAX_FRAME_LEN;
use protocol::message::{Announcements, ErrorCode, Hello, Reply, Request, Subscribe};
use protocol::session::{RequestError, Session, our_hello, read_reply};
use protocol::transport::Connection;

use crate::harness::{Running, check_refused, key};

/// What comes back for these bytes.
async fn answer(connection: &dyn Connection, bytes: Vec<u8>) -> Result<Announcements, RequestError> {
    let mut stream = connection.open().await.unwrap();
    stream.send.send(Bytes::from(bytes)).await.unwrap();
    stream.send.finish().unwrap();
    read_reply(&mut stream).await
}

fn framed(cbor: &[u8]) -> Vec<u8> {
    [&u32::try_from(cbor.len()).unwrap().to_le_bytes(), cbor].concat()
}

#[tokio::test]
async fn rubbish_is_refused_by_name() {
    let running = Running::start();
    let session = running.session(&key(5)).await;
    let connection = session.connection();
    let bad = ErrorCode::BadRequest;

    let too_long = (MAX_FRAME_LEN + 1).to_le_bytes().to_vec();
    check_refused(answer(connection, too_long).await, bad, "exceeds the bound of 1048576");
    for cbor in [&[][..], &[0xff], &[0x82, 0x0b], &[0x9f], b"GET / HTTP/1.1", &[0xfb; 1000]] {
        check_refused(answer(connection, framed(cbor)).await, bad, "cannot be read");
    }
    let subscribe = minicbor::to_vec(Request::Subscribe(Subscribe { follow: false })).unwrap();
    let trailing = framed(&[&subscribe[..], &[0]].concat());
    check_refused(answer(connection, trailing).await, bad, "bytes follow");
    check_refused(answer(connection, vec![9, 0, 0]).await, bad, "ended before");
    check_refused(answer(connection, vec![9, 0, 0, 0, 0x82]).await, bad, "ended before");

    let unknown = ErrorCode::Unsupported;
    check_refused(answer(connection, framed(&[0x82, 0x18, 99, 0x80])).await, unknown, "unknown kind");
    let status = framed(&minicbor::to_vec(Request::Status).unwrap());
    check_refused(answer(connection, status).await, unknown, "does not answer");

    // The same connection is still good.
    assert!(answer(connection, framed(&subscribe)).await.unwrap().list.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn another_major_version_is_refused_by_name() {
    let running = Running::start();
    let connection = running.connect(&key(5)).await;
    let subscribe = framed(&minicbor::to_vec(Request::Subscribe(Subscribe { follow: false })).unwrap());
    check_refused(answer(&*connection, subscribe.clone()).await, ErrorCode::UnsupportedVersion, "hello");

    let mut stream = connection.open().await.unwrap();
    let hello = Request::Hello(Hello { major: 2, ..our_hello() });
    frame::send(&mut *stream.send, &hello).await.unwrap();
    stream.send.finish().unwrap();
    let answer_to_hello = read_reply::<Hello>(&mut stream).await;
    check_refused(answer_to_hello, ErrorCode::UnsupportedVersion, "speaks version 1, not 2");
    check_refused(answer(&*connection, subscribe).await, ErrorCode::UnsupportedVersion, "hello");

    Session::start(connection).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_stream_given_up_is_no_request() {
    let running = Running::start();
    let session = running.session(&key(5)).await;
    let mut stream = session.connection().open().await.unwrap();
    let request = frame::encode(&Request::Subscribe(Subscribe { follow: false }));
    stream.send.send(request.slice(..3)).await.unwrap();
    drop(stream.send);
    let answer = frame::receive::<Reply<Announcements>>(&mut *stream.recv).await;
    assert!(matches!(answer, Ok(Reply::Err(_)) | Err(FrameError::Io(_))), "{answer:?}");
    assert!(running.listed().await.is_empty());
    running.stop().await;
}
