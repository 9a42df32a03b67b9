//! TLS 1.3 with raw public keys: no certificates, no names, no authorities. A client knows whom it calls; a server learns who calls.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::identity::{NodeId, NodeKey};

/// The protocol's name in the handshake.
const ALPN: &[u8] = b"sarsen/1";
/// An Ed25519 SubjectPublicKeyInfo (RFC 8410) up to the key itself.
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// An Ed25519 PKCS #8 private key (RFC 8410) up to the seed itself.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// AES-128-GCM first: the machines that matter have it in hardware, and the wire carries ciphertext anyway.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![
        ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

fn certified(key: &NodeKey) -> Arc<CertifiedKey> {
    let pkcs8 = zeroize::Zeroizing::new([&PKCS8_HEAD[..], &key.seed()[..]].concat());
    let signing = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&pkcs8[..]))
        .expect("the encoding is RFC 8410's");
    let spki = [&SPKI_HEAD[..], key.id().as_bytes()].concat();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signing))
}

/// The key in an Ed25519 SubjectPublicKeyInfo.
pub(crate) fn key_of(spki: &[u8]) -> Option<NodeId> {
    spki.strip_prefix(&SPKI_HEAD)?.try_into().ok().map(NodeId::new)
}

/// The name under which a client asks for a key; it stays within the client, since SNI is off.
pub(crate) fn name_of(id: &NodeId) -> String {
    format!("{id}.sarsen")
}

pub(crate) fn client(key: &NodeKey) -> rustls::ClientConfig {
    client_of(key, false)
}

/// Of a client that does not know yet whom it calls, and must find out by other means who answered.
pub(crate) fn client_of_anybody(key: &NodeKey) -> rustls::ClientConfig {
    client_of(key, true)
}

fn client_of(key: &NodeKey, anybody: bool) -> rustls::ClientConfig {
    let provider = provider();
    let verifier = PinnedKey { algorithms: provider.signature_verification_algorithms, anybody };
    let resolver = rustls::client::AlwaysResolvesClientRawPublicKeys::new(certified(key));
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider's suites are TLS 1.3's")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = rustls::client::Resumption::disabled();
    config
}

pub(crate) fn server(key: &NodeKey) -> rustls::ServerConfig {
    let provider = provider();
    let verifier = AnyKey { algorithms: provider.signature_verification_algorithms };
    let resolver = rustls::server::AlwaysResolvesServerRawPublicKeys::new(certified(key));
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider's suites are TLS 1.3's")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Neither 0-RTT nor resumption: a replay could cancel or renew (design review, finding 26).
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config
}

/// A client's check: the server has the very key that was asked for; or, for `anybody`, some key that it proves.
#[derive(Debug)]
struct PinnedKey {
    algorithms: WebPkiSupportedAlgorithms,
    anybody: bool,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match key_of(end_entity) {
            Some(id) if self.anybody || name_of(&id) == server_name.to_str() => {
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(&cert[..]),
            dss,
            &self.algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// A server's check: the client has some key, and proves it. What the key may do is decided per request.
#[derive(Debug)]
struct AnyKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match key_of(end_entity) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(&cert[..]),
            dss,
            &self.algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
