//! The gateway over TLS. The certificate beside this file is for tests: it is its own root, for 127.0.0.1, and holds until 2120.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gateway::serve::{Bounds, Tls, TlsError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::connections::{PATIENCE, Running, start_with};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/tls").join(name)
}

fn tls() -> Tls {
    Tls::of_files(&file("cert.pem"), &file("key.pem")).unwrap()
}

/// An exchange over TLS with somebody who trusts this certificate and no other.
async fn get(running: &Running) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, running.connect().await);
    let mut stream = timeout(PATIENCE, stream).await.expect("it shakes hands").unwrap();
    stream.write_all(running.head("GET", "Connection: close\r\n").as_bytes()).await.unwrap();
    let mut all = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut all)).await.expect("it ends").expect("it ends as TLS does");
    all
}

#[tokio::test]
async fn a_request_over_tls_is_answered() {
    let running = start_with(Bounds::default(), Some(tls())).await;
    let answer = get(&running).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn plain_requests_of_a_tls_port_end() {
    let running = start_with(Bounds::default(), Some(tls())).await;
    let mut plain = running.connect().await;
    plain.write_all(running.head("GET", "").as_bytes()).await.unwrap();
    let mut said = Vec::new();
    // At most an alert: 21 is its type.
    let _ = timeout(PATIENCE, plain.read_to_end(&mut said)).await.expect("it ends");
    assert!(said.len() < 16 && said.first().is_none_or(|kind| *kind == 21), "{said:?}");
    assert!(get(&running).await.ends_with("hello"), "others are served");
}

#[tokio::test]
async fn a_handshake_that_drips_ends() {
    let bounds = Bounds { connections: 1, head: Duration::from_millis(300), ..Bounds::default() };
    let running = start_with(bounds, Some(tls())).await;
    let (mut read, mut write) = running.connect().await.into_split();
    // The head of a record of 512 bytes, and then one of them at a time.
    write.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await.unwrap();
    let drip = tokio::spawn(async move {
        while write.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, read.read_to_end(&mut said)).await.expect("it ends");
    assert!(said.is_empty(), "{said:?}");
    assert!(get(&running).await.ends_with("hello"), "its place is free");
    drip.abort();
}

#[tokio::test]
async fn files_that_are_no_certificate_or_key_are_named() {
    let refused = |certificates: &str, key: &str| Tls::of_files(&file(certificates), &file(key)).err();
    let named = |error: Option<TlsError>, name: &str| {
        let error = error.expect(name);
        assert!(error.to_string().contains(name), "{error}");
    };
    named(refused("none.pem", "key.pem"), "none.pem cannot be read");
    named(refused("cert.pem", "none.pem"), "none.pem cannot be read");
    named(refused("", "key.pem"), "cannot be read");
    named(refused("key.pem", "key.pem"), "key.pem holds no certificate in PEM");
    named(refused("cert.pem", "cert.pem"), "cert.pem holds no private key in PEM");
    let unlike = refused("cert.pem", "other-key.pem");
    assert!(matches!(unlike, Some(TlsError::Pair { .. })));
    named(unlike, "other-key.pem cannot be used together");
}
