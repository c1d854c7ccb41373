//! quinn: HTTP/0.9 for tests/interop/runner, and HTTP/3 by hyperium's h3.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use interop_common::{
    ALPN, Request, Result, listen_address, requested, requests, served, status, variable,
};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use rustls::KeyLogFile;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::quic::Suite;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const AT_ONCE: usize = 200;

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

/// What TLS may use: only ChaCha20 in the case of this name.
fn provider(case: &str) -> Arc<CryptoProvider> {
    let mut made = default_provider();
    if case == "chacha20" {
        made.cipher_suites = vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    }
    Arc::new(made)
}

/// What Initial packets are protected with, whatever TLS offers.
fn initial_suite() -> Suite {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
    suite.quic_suite().expect("a suite for QUIC")
}

fn alpn(case: &str) -> Vec<u8> {
    if case == "http3" { b"h3".into() } else { ALPN.into() }
}

async fn server(case: &str) -> Result<bool> {
    let known = [
        "handshake",
        "transfer",
        "chacha20",
        "retry",
        "resumption",
        "zerortt",
        "multiconnect",
        "keyupdate",
        "ecn",
        "http3",
        "versionnegotiation",
        "connectionmigration",
    ];
    if !known.contains(&case) {
        return Ok(false);
    }
    let certs = variable("CERTS");
    let chain = CertificateDer::pem_file_iter(format!("{certs}/cert.pem"))?
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(format!("{certs}/priv.key"))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider(case))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![alpn(case)];
    tls.key_log = Arc::new(KeyLogFile::new());
    if case == "zerortt" {
        tls.max_early_data_size = u32::MAX;
    }
    let crypto = QuicServerConfig::with_initial(Arc::new(tls), initial_suite())?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    match variable("PREFERRED_ADDRESS").parse() {
        Ok(SocketAddr::V4(address)) => drop(config.preferred_address_v4(Some(address))),
        Ok(SocketAddr::V6(address)) => drop(config.preferred_address_v6(Some(address))),
        Err(_) => {}
    }
    let endpoint = Endpoint::server(config, listen_address()?)?;
    println!("listening on UDP port {}", endpoint.local_addr()?.port());
    while let Some(incoming) = endpoint.accept().await {
        if case == "retry" && !incoming.remote_address_validated() {
            incoming.retry().map_err(|error| error.to_string())?;
            continue;
        }
        let is_http3 = case == "http3";
        tokio::spawn(async move {
            match incoming.await {
                Ok(connection) if is_http3 => {
                    if let Err(error) = serve_http3(connection).await {
                        eprintln!("{error}");
                    }
                }
                Ok(connection) => serve(connection).await,
                Err(error) => eprintln!("{error}"),
            }
        });
    }
    Ok(true)
}

async fn serve(connection: Connection) {
    while let Ok((mut sender, mut receiver)) = connection.accept_bi().await {
        tokio::spawn(async move {
            let line = receiver.read_to_end(8192).await.unwrap_or_default();
            let content = match requested(&line) {
                Some(path) => tokio::fs::read(path).await.ok(),
                None => None,
            };
            match content {
                Some(data) => {
                    if sender.write_all(&data).await.is_ok() {
                        let _ = sender.finish();
                        let _ = sender.stopped().await;
                    }
                }
                None => {
                    let _ = sender.reset(1u8.into());
                }
            }
        });
    }
}

async fn serve_http3(connection: Connection) -> Result<()> {
    let connection = h3_quinn::Connection::new(connection);
    let mut http3 = h3::server::Connection::<_, Bytes>::new(connection).await?;
    while let Ok(Some(resolver)) = http3.accept().await {
        tokio::spawn(async move {
            let (request, mut stream) = resolver.resolve_request().await?;
            let content = match served(request.uri().path()) {
                Some(path) => tokio::fs::read(path).await.ok(),
                None => None,
            };
            let status = if content.is_some() { 200 } else { 404 };
            stream.send_response(http::Response::builder().status(status).body(())?).await?;
            stream.send_data(content.unwrap_or_default().into()).await?;
            stream.finish().await?;
            Result::Ok(())
        });
    }
    Ok(())
}

async fn client(case: &str) -> Result<bool> {
    let known = [
        "handshake",
        "transfer",
        "chacha20",
        "retry",
        "resumption",
        "zerortt",
        "multiconnect",
        "keyupdate",
        "ecn",
        "http3",
    ];
    if !known.contains(&case) {
        return Ok(false);
    }
    let provider = provider(case);
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn(case)];
    tls.key_log = Arc::new(KeyLogFile::new());
    tls.enable_early_data = case == "zerortt";
    let crypto = QuicClientConfig::with_initial(Arc::new(tls), initial_suite())?;
    let config = ClientConfig::new(Arc::new(crypto));
    let (server, requests) = requests()?;
    match case {
        "multiconnect" => {
            for request in requests {
                fetch(&config, server, vec![request], case).await?;
            }
        }
        "resumption" | "zerortt" => {
            fetch(&config, server, requests[..1].to_vec(), "first").await?;
            fetch(&config, server, requests[1..].to_vec(), case).await?;
        }
        _ => fetch(&config, server, requests, case).await?,
    }
    Ok(true)
}

async fn fetch(
    config: &ClientConfig,
    server: SocketAddr,
    requests: Vec<Request>,
    case: &str,
) -> Result<()> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut endpoint = Endpoint::client(SocketAddr::new(any, 0))?;
    endpoint.set_default_client_config(config.clone());
    let connecting = endpoint.connect(server, "localhost")?;
    let connection = if case == "zerortt" {
        match connecting.into_0rtt() {
            Ok((connection, _)) => connection,
            Err(_) => return Err("no session to send early data with".into()),
        }
    } else {
        connecting.await?
    };
    if case == "http3" {
        fetch_http3(connection.clone(), requests).await?;
        connection.close(0x100u32.into(), b"");
        endpoint.wait_idle().await;
        return Ok(());
    }
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for request in requests {
        let slot = slots.clone().acquire_owned().await?;
        let connection = connection.clone();
        tasks.spawn(async move {
            let ended = get(&connection, &request).await;
            drop(slot);
            ended
        });
    }
    if case == "keyupdate" {
        connection.force_key_update();
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    if case == "first" {
        // The session may come after the file.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    connection.close(0u8.into(), b"");
    endpoint.wait_idle().await;
    Ok(())
}

async fn fetch_http3(connection: Connection, requests: Vec<Request>) -> Result<()> {
    let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    let driving = tokio::spawn(async move { poll_fn(|context| driver.poll_close(context)).await });
    let mut tasks = JoinSet::new();
    for request in requests {
        let mut sender = sender.clone();
        tasks.spawn(async move {
            let uri = format!("https://localhost{}", request.path);
            let mut stream = sender.send_request(http::Request::get(uri).body(())?).await?;
            stream.finish().await?;
            let status = stream.recv_response().await?.status();
            if status != 200 {
                return Err(status.to_string().into());
            }
            let mut content = Vec::new();
            while let Some(mut data) = stream.recv_data().await? {
                content.extend(data.copy_to_bytes(data.remaining()));
            }
            tokio::fs::write(&request.target, content).await?;
            Result::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    driving.abort();
    Ok(())
}

async fn get(connection: &Connection, request: &Request) -> Result<()> {
    let (mut sender, mut receiver) = connection.open_bi().await?;
    sender.write_all(format!("GET {}\r\n", request.path).as_bytes()).await?;
    sender.finish()?;
    let content = receiver.read_to_end(usize::MAX).await?;
    tokio::fs::write(&request.target, content).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let case = variable("TESTCASE");
    status(match variable("ROLE").as_str() {
        "version" => {
            println!("{}", interop_common::version("quinn"));
            Ok(true)
        }
        "server" => server(&case).await,
        "client" => client(&case).await,
        _ => Err("ROLE is server or client".into()),
    })
}
