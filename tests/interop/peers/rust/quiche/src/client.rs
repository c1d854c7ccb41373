use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};

use interop_common::{Request, Result, requests};
use quiche::h3::{self, NameValue};

use crate::{Driven, config, connection_id, receive};

const AT_ONCE: usize = 200;

pub fn run(case: &str) -> Result<bool> {
    let (server, requests) = requests()?;
    match case {
        "handshake" | "transfer" | "retry" | "http3" => {
            fetch(case, server, &requests, None)?;
        }
        "multiconnect" => {
            for request in &requests {
                fetch(case, server, std::slice::from_ref(request), None)?;
            }
        }
        "resumption" | "zerortt" => {
            let session = fetch(case, server, &requests[..1], None)?;
            fetch(case, server, &requests[1..], Some(session.ok_or("no session came")?))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

struct Client {
    driven: Driven,
    http3: Option<h3::Connection>,
    waiting: VecDeque<Request>,
    running: HashMap<u64, File>,
    /// What is left to send of requests.
    unsent: HashMap<u64, Vec<u8>>,
    opened: u64,
}

/// Fetches all on one connection; returns the session, once there is one.
fn fetch(
    case: &str,
    server: SocketAddr,
    requests: &[Request],
    session: Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>> {
    let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(any)?;
    let local = socket.local_addr()?;
    let mut config = config(case)?;
    config.verify_peer(false);
    if case == "zerortt" {
        config.enable_early_data();
    }
    let quic = quiche::connect(Some("localhost"), &connection_id()?, local, server, &mut config)?;
    let mut client = Client {
        driven: Driven::new(quic)?,
        http3: None,
        waiting: requests.iter().cloned().collect(),
        running: HashMap::new(),
        unsent: HashMap::new(),
        opened: 0,
    };
    if let Some(session) = &session {
        client.driven.quic.set_session(session)?;
    }
    let wants_session = session.is_none() && matches!(case, "resumption" | "zerortt");
    let mut found = None;
    let mut buffer = vec![0; 65_535];
    client.driven.flush(&socket)?;
    loop {
        if client.driven.quic.is_established() || client.driven.quic.is_in_early_data() {
            client.work(case == "http3")?;
        }
        if client.waiting.is_empty() && client.running.is_empty() {
            found = client.driven.quic.session().map(<[u8]>::to_vec);
            if !wants_session || found.is_some() {
                client.driven.quic.close(true, 0, b"").ok();
            }
        }
        client.driven.flush(&socket)?;
        if client.driven.quic.is_closed() || client.driven.quic.is_draining() {
            break;
        }
        if client.driven.quic.local_error().is_some() {
            break;
        }
        let mut pause = Some(client.driven.pause());
        while let Some((size, from)) = receive(&socket, &mut buffer, pause)? {
            client.driven.receive(&mut buffer[..size], from, local);
            pause = None;
        }
        client.driven.on_time();
        while client.driven.quic.scids_left() > 0 && client.driven.quic.is_established() {
            client.driven.quic.new_scid(&connection_id()?, 0, false)?;
        }
    }
    if client.waiting.is_empty() && client.running.is_empty() {
        return Ok(found);
    }
    let left = client.waiting.len() + client.running.len();
    Err(format!("{left} files did not come: {:?}", client.driven.quic.peer_error()).into())
}

impl Client {
    fn work(&mut self, is_http3: bool) -> Result<()> {
        if is_http3 && self.http3.is_none() {
            let made = h3::Connection::with_transport(&mut self.driven.quic, &h3::Config::new()?)?;
            self.http3 = Some(made);
        }
        self.send_rest()?;
        while self.running.len() < AT_ONCE
            && self.unsent.is_empty()
            && self.driven.quic.peer_streams_left_bidi() > 0
            && !self.waiting.is_empty()
        {
            let request = self.waiting[0].clone();
            let Some(stream) = self.ask(&request)? else { break };
            self.running.insert(stream, File::create(&request.target)?);
            self.waiting.pop_front();
        }
        if self.http3.is_some() { self.read_http3() } else { self.read() }
    }

    fn send_rest(&mut self) -> Result<()> {
        for (stream, rest) in &mut self.unsent {
            match self.driven.quic.stream_send(*stream, rest, true) {
                Ok(sent) => drop(rest.drain(..sent)),
                Err(quiche::Error::Done) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent.retain(|_, rest| !rest.is_empty());
        Ok(())
    }

    fn ask(&mut self, request: &Request) -> Result<Option<u64>> {
        let quic = &mut self.driven.quic;
        if let Some(http3) = &mut self.http3 {
            let headers = [
                h3::Header::new(b":method", b"GET"),
                h3::Header::new(b":scheme", b"https"),
                h3::Header::new(b":authority", b"localhost"),
                h3::Header::new(b":path", request.path.as_bytes()),
            ];
            return match http3.send_request(quic, &headers, true) {
                Ok(stream) => Ok(Some(stream)),
                Err(h3::Error::StreamBlocked) => Ok(None),
                Err(error) => Err(error.into()),
            };
        }
        let stream = self.opened * 4;
        let line = format!("GET {}\r\n", request.path);
        match quic.stream_send(stream, line.as_bytes(), true) {
            Ok(sent) => {
                self.opened += 1;
                if sent < line.len() {
                    self.unsent.insert(stream, line.as_bytes()[sent..].to_vec());
                }
                Ok(Some(stream))
            }
            Err(quiche::Error::Done | quiche::Error::StreamLimit) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        for stream in self.driven.quic.readable() {
            loop {
                match self.driven.quic.stream_recv(stream, &mut buffer) {
                    Ok((size, is_end)) => {
                        if let Some(file) = self.running.get_mut(&stream) {
                            file.write_all(&buffer[..size])?;
                        }
                        if is_end {
                            self.running.remove(&stream);
                            break;
                        }
                    }
                    Err(quiche::Error::Done) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn read_http3(&mut self) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        let quic = &mut self.driven.quic;
        let Some(http3) = &mut self.http3 else { return Ok(()) };
        loop {
            match http3.poll(quic) {
                Ok((_, h3::Event::Headers { list, .. })) => {
                    let status = list.iter().find(|header| header.name() == b":status");
                    if status.is_none_or(|header| header.value() != b"200") {
                        return Err("a status that is not 200".into());
                    }
                }
                Ok((stream, h3::Event::Data)) => {
                    while let Ok(size) = http3.recv_body(quic, stream, &mut buffer) {
                        if let Some(file) = self.running.get_mut(&stream) {
                            file.write_all(&buffer[..size])?;
                        }
                    }
                }
                Ok((stream, h3::Event::Finished)) => {
                    self.running.remove(&stream);
                }
                Ok((_, h3::Event::Reset(code))) => return Err(format!("reset, code {code}").into()),
                Ok(_) => {}
                Err(h3::Error::Done) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
