//! wtransport: WebTransport over quinn, with its default settings.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use peer::{Conn, DATAGRAM, Dial, Result, Role};
use wtransport::endpoint::endpoint_side::Client;
use wtransport::{
    ClientConfig, Connection, Endpoint, Identity, RecvStream, SendStream, ServerConfig, VarInt,
};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Clone)]
struct Session(std::sync::Arc<Connection>);

impl Conn for Session {
    type Sender = SendStream;
    type Receiver = RecvStream;

    async fn open(&self) -> Result<(SendStream, RecvStream)> {
        Ok(self.0.open_bi().await?.await?)
    }

    async fn accept(&self) -> Result<(SendStream, RecvStream)> {
        Ok(self.0.accept_bi().await?)
    }

    /// wtransport drops the oldest when there is no room, so this looks whether there is.
    async fn send_datagram(&self, data: Bytes) -> Result<()> {
        while self.0.quic_connection().datagram_send_buffer_space() < 2 * DATAGRAM {
            tokio::task::yield_now().await;
        }
        Ok(self.0.send_datagram(data)?)
    }

    async fn receive_datagram(&self) -> Result<()> {
        self.0.receive_datagram().await?;
        Ok(())
    }

    fn close(&self) {
        self.0.close(VarInt::from_u32(0), b"");
    }
}

struct Dialer(Endpoint<Client>);

impl Dial for Dialer {
    type Conn = Session;

    /// With several at once, one in a few hundred ends with H3_FRAME_UNEXPECTED: those are done again, and
    /// count as one.
    async fn dial(&self, port: u16) -> Result<Session> {
        let url = format!("https://127.0.0.1:{port}/");
        let mut dialed = self.0.connect(&url).await;
        for _ in 0..3 {
            if dialed.is_err() {
                dialed = self.0.connect(&url).await;
            }
        }
        Ok(Session(dialed?.into()))
    }
}

async fn server(certfile: &str, keyfile: &str) -> Result<()> {
    let identity = Identity::load_pemfiles(certfile, keyfile).await?;
    let config = ServerConfig::builder().with_bind_address(ANY).with_identity(identity).build();
    let endpoint = Endpoint::server(config)?;
    let port = endpoint.local_addr()?.port();
    tokio::spawn(async move {
        loop {
            let incoming = endpoint.accept().await;
            tokio::spawn(async move {
                if let Ok(request) = incoming.await
                    && let Ok(session) = request.accept().await
                {
                    peer::handle(Session(session.into())).await;
                }
            });
        }
    });
    peer::serving(port, peer::version("wtransport")).await
}

#[tokio::main]
async fn main() -> Result<()> {
    match Role::parse()? {
        Role::Server { certfile, keyfile } => server(&certfile, &keyfile).await,
        Role::Client { port } => {
            let config =
                ClientConfig::builder().with_bind_address(ANY).with_no_cert_validation().build();
            let dialer = Dialer(Endpoint::client(config)?);
            peer::client(dialer, port, peer::version("wtransport")).await
        }
    }
}
