use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};

use interop_common::{Result, listen_address, requested, served, variable};
use quiche::h3::{self, NameValue};
use quiche::{Config, ConnectionId, Header, Type};

use crate::{Driven, config, connection_id, receive};

const MAX_REQUEST: usize = 8192;

pub fn run(case: &str) -> Result<bool> {
    let known = [
        "handshake",
        "transfer",
        "chacha20",
        "retry",
        "resumption",
        "zerortt",
        "multiconnect",
        "http3",
        "keyupdate",
        "versionnegotiation",
    ];
    if !known.contains(&case) {
        return Ok(false);
    }
    let certs = variable("CERTS");
    let mut config = config(case)?;
    config.load_cert_chain_from_pem_file(&format!("{certs}/cert.pem"))?;
    config.load_priv_key_from_pem_file(&format!("{certs}/priv.key"))?;
    if case == "zerortt" {
        config.enable_early_data();
    }
    let socket = UdpSocket::bind(listen_address()?)?;
    let local = socket.local_addr()?;
    println!("listening on UDP port {}", local.port());
    let mut server = Server { config, local, is_retrying: case == "retry", ..Server::new()? };
    let mut buffer = vec![0; 65_535];
    loop {
        let pauses = server.clients.values().map(|client| client.driven.pause());
        let mut pause = pauses.min().or(Some(std::time::Duration::from_secs(1)));
        while let Some((size, from)) = receive(&socket, &mut buffer, pause)? {
            server.take(&socket, &mut buffer[..size], from)?;
            pause = None;
        }
        for client in server.clients.values_mut() {
            client.driven.on_time();
            client.work().unwrap_or_else(|error| eprintln!("{error}"));
            client.driven.flush(&socket).unwrap_or_else(|error| eprintln!("{error}"));
        }
        server.clients.retain(|_, client| !client.driven.quic.is_closed());
        let clients = &server.clients;
        server.ids.retain(|_, key| clients.contains_key(key));
    }
}

/// What is left of an answer.
struct Body {
    data: Vec<u8>,
    sent: usize,
}

struct Client {
    driven: Driven,
    http3: Option<h3::Connection>,
    requests: HashMap<u64, Vec<u8>>,
    bodies: HashMap<u64, Body>,
}

struct Server {
    config: Config,
    local: SocketAddr,
    is_retrying: bool,
    clients: HashMap<u64, Client>,
    ids: HashMap<Vec<u8>, u64>,
    next: u64,
}

impl Server {
    fn new() -> Result<Server> {
        Ok(Server {
            config: Config::new(quiche::PROTOCOL_VERSION)?,
            local: listen_address()?,
            is_retrying: false,
            clients: HashMap::new(),
            ids: HashMap::new(),
            next: 0,
        })
    }

    fn take(&mut self, socket: &UdpSocket, data: &mut [u8], from: SocketAddr) -> Result<()> {
        let Ok(header) = Header::from_slice(data, 16) else { return Ok(()) };
        let key = match self.ids.get(header.dcid.as_ref()) {
            Some(key) => *key,
            None => match self.accept(socket, &header, from)? {
                Some(key) => key,
                None => return Ok(()),
            },
        };
        let Some(client) = self.clients.get_mut(&key) else { return Ok(()) };
        client.driven.receive(data, from, self.local);
        while client.driven.quic.is_established() && client.driven.quic.scids_left() > 0 {
            let id = connection_id()?;
            client.driven.quic.new_scid(&id, u128::from(self.next) + 1, false)?;
            self.ids.insert(id.to_vec(), key);
        }
        Ok(())
    }

    fn accept(
        &mut self,
        socket: &UdpSocket,
        header: &Header<'_>,
        from: SocketAddr,
    ) -> Result<Option<u64>> {
        let mut out = vec![0; 1500];
        if header.ty != Type::Initial {
            return Ok(None);
        }
        if !quiche::version_is_supported(header.version) {
            let size = quiche::negotiate_version(&header.scid, &header.dcid, &mut out)?;
            socket.send_to(&out[..size], from)?;
            return Ok(None);
        }
        let token = header.token.clone().unwrap_or_default();
        let address = from.to_string();
        let mut original = None;
        let mut scid = connection_id()?;
        if self.is_retrying {
            // Good enough against peers that are not trying to deceive.
            let Some(rest) = token.strip_prefix(address.as_bytes()) else {
                let token = [address.as_bytes(), header.dcid.as_ref()].concat();
                let version = header.version;
                let ids = (&header.scid, &header.dcid);
                let size = quiche::retry(ids.0, ids.1, &scid, &token, version, &mut out)?;
                socket.send_to(&out[..size], from)?;
                return Ok(None);
            };
            original = Some(ConnectionId::from_vec(rest.to_vec()));
            scid = ConnectionId::from_vec(header.dcid.to_vec());
        }
        let quic = quiche::accept(&scid, original.as_ref(), self.local, from, &mut self.config)?;
        let key = self.next;
        self.next += 1;
        self.ids.insert(header.dcid.to_vec(), key);
        self.ids.insert(scid.to_vec(), key);
        let client = Client {
            driven: Driven::new(quic)?,
            http3: None,
            requests: HashMap::new(),
            bodies: HashMap::new(),
        };
        self.clients.insert(key, client);
        Ok(Some(key))
    }
}

impl Client {
    fn work(&mut self) -> Result<()> {
        let quic = &mut self.driven.quic;
        if !(quic.is_established() || quic.is_in_early_data()) {
            return Ok(());
        }
        if quic.application_proto() == b"h3" {
            if self.http3.is_none() {
                self.http3 = Some(h3::Connection::with_transport(quic, &h3::Config::new()?)?);
            }
            self.take_http3()?;
        } else {
            self.take()?;
        }
        for stream in self.bodies.keys().copied().collect::<Vec<_>>() {
            self.go_on(stream)?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<()> {
        let mut buffer = vec![0; MAX_REQUEST];
        for stream in self.driven.quic.readable() {
            let mut ended = false;
            while let Ok((size, is_end)) = self.driven.quic.stream_recv(stream, &mut buffer) {
                self.requests.entry(stream).or_default().extend(&buffer[..size]);
                ended |= is_end;
            }
            if !ended {
                continue;
            }
            let line = self.requests.remove(&stream).unwrap_or_default();
            match requested(&line).and_then(|path| std::fs::read(path).ok()) {
                Some(data) => {
                    self.bodies.insert(stream, Body { data, sent: 0 });
                }
                None => self.driven.quic.stream_shutdown(stream, quiche::Shutdown::Write, 1)?,
            }
        }
        Ok(())
    }

    fn take_http3(&mut self) -> Result<()> {
        let quic = &mut self.driven.quic;
        let Some(http3) = &mut self.http3 else { return Ok(()) };
        loop {
            match http3.poll(quic) {
                Ok((stream, h3::Event::Headers { list, .. })) => {
                    let path = list.iter().find(|header| header.name() == b":path");
                    let path = path.map(|header| String::from_utf8_lossy(header.value()));
                    let found = path.and_then(|path| served(&path));
                    let data = found.and_then(|path| std::fs::read(path).ok());
                    let status: &[u8] = if data.is_some() { b"200" } else { b"404" };
                    let headers = [h3::Header::new(b":status", status)];
                    http3.send_response(quic, stream, &headers, data.is_none())?;
                    if let Some(data) = data {
                        self.bodies.insert(stream, Body { data, sent: 0 });
                    }
                }
                Ok(_) => {}
                Err(h3::Error::Done) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends what there is room for.
    fn go_on(&mut self, stream: u64) -> Result<()> {
        let quic = &mut self.driven.quic;
        let Some(body) = self.bodies.get_mut(&stream) else { return Ok(()) };
        let rest = &body.data[body.sent..];
        let sent = match &mut self.http3 {
            Some(http3) => match http3.send_body(quic, stream, rest, true) {
                Ok(sent) => sent,
                Err(h3::Error::Done) => 0,
                Err(error) => {
                    self.bodies.remove(&stream);
                    return Err(error.into());
                }
            },
            None => match quic.stream_send(stream, rest, true) {
                Ok(sent) => sent,
                Err(quiche::Error::Done) => 0,
                Err(error) => {
                    self.bodies.remove(&stream);
                    return Err(error.into());
                }
            },
        };
        body.sent += sent;
        if body.sent == body.data.len() {
            self.bodies.remove(&stream);
        }
        Ok(())
    }
}
