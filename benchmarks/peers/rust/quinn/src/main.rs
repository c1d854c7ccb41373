//! quinn: streams and datagrams of QUIC itself, with its default settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use peer::{Conn, Dial, Result, Role};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

const ALPN: &[u8] = b"bench";
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Checks the signature of the handshake, but not whose certificate it is.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Clone)]
struct Quinn(Connection);

impl Conn for Quinn {
    type Sender = SendStream;
    type Receiver = RecvStream;

    async fn open(&self) -> Result<(SendStream, RecvStream)> {
        Ok(self.0.open_bi().await?)
    }

    async fn accept(&self) -> Result<(SendStream, RecvStream)> {
        Ok(self.0.accept_bi().await?)
    }

    async fn send_datagram(&self, data: Bytes) -> Result<()> {
        Ok(self.0.send_datagram_wait(data).await?)
    }

    async fn receive_datagram(&self) -> Result<()> {
        self.0.read_datagram().await?;
        Ok(())
    }

    fn close(&self) {
        self.0.close(0u8.into(), b"");
    }
}

struct Client(Endpoint);

impl Dial for Client {
    type Conn = Quinn;

    async fn dial(&self, port: u16) -> Result<Quinn> {
        let address = SocketAddr::new(ANY.ip(), port);
        Ok(Quinn(self.0.connect(address, "localhost")?.await?))
    }
}

async fn server(certfile: &str, keyfile: &str) -> Result<()> {
    let certificate = CertificateDer::from_pem_file(certfile)?;
    let key = PrivateKeyDer::from_pem_file(keyfile)?;
    let mut tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    tls.alpn_protocols = vec![ALPN.into()];
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let endpoint = Endpoint::server(config, ANY)?;
    let port = endpoint.local_addr()?.port();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                if let Ok(connection) = incoming.await {
                    peer::handle(Quinn(connection)).await;
                }
            });
        }
    });
    peer::serving(port, peer::version("quinn")).await
}

async fn client(port: u16) -> Result<()> {
    let provider = CryptoProvider::get_default().ok_or("no crypto provider")?.clone();
    let mut tls = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.into()];
    let mut endpoint = Endpoint::client(ANY)?;
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    endpoint.set_default_client_config(config);
    peer::client(Client(endpoint), port, peer::version("quinn")).await
}

#[tokio::main]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "two providers")?;
    match Role::parse()? {
        Role::Server { certfile, keyfile } => server(&certfile, &keyfile).await,
        Role::Client { port } => client(port).await,
    }
}
