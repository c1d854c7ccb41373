//! quiche: HTTP/0.9 and HTTP/3 for tests/interop/runner.

mod client;
mod server;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use interop_common::{ALPN, Result, status, variable};
use quiche::{Config, Connection, ConnectionId, RecvInfo, SendInfo};

const MTU: usize = 1350;
const GRAIN: Duration = Duration::from_millis(1);

/// A connection, and the datagram that pacing holds back.
struct Driven {
    quic: Connection,
    held: Option<(Vec<u8>, SendInfo)>,
}

impl Driven {
    fn new(mut quic: Connection) -> Result<Driven> {
        let name = variable("SSLKEYLOGFILE");
        if !name.is_empty() {
            let log = OpenOptions::new().create(true).append(true).open(name)?;
            quic.set_keylog(Box::new(log));
        }
        Ok(Driven { quic, held: None })
    }

    fn receive(&mut self, data: &mut [u8], from: SocketAddr, to: SocketAddr) {
        if let Err(error) = self.quic.recv(data, RecvInfo { from, to }) {
            eprintln!("a datagram of {} bytes: {error}", data.len());
        }
    }

    /// Sends what is due.
    fn flush(&mut self, socket: &UdpSocket) -> Result<()> {
        loop {
            if let Some((data, info)) = &self.held {
                if info.at > Instant::now() + GRAIN {
                    return Ok(());
                }
                if let Err(error) = socket.send_to(data, info.to)
                    && error.kind() != ErrorKind::ConnectionRefused
                {
                    return Err(error.into());
                }
                self.held = None;
            }
            let mut out = vec![0; MTU];
            match self.quic.send(&mut out) {
                Ok((size, info)) => {
                    out.truncate(size);
                    self.held = Some((out, info));
                }
                Err(quiche::Error::Done) => return Ok(()),
                Err(error) => {
                    self.quic.close(false, 1, b"").ok();
                    return Err(error.into());
                }
            }
        }
    }

    fn on_time(&mut self) {
        if self.quic.timeout_instant().is_some_and(|at| at <= Instant::now()) {
            self.quic.on_timeout();
        }
    }

    /// How long nothing is to be done.
    fn pause(&self) -> Duration {
        let held = self.held.as_ref().map(|(_, info)| info.at);
        let next = [held, self.quic.timeout_instant()].into_iter().flatten().min();
        next.map_or(Duration::from_secs(1), |at| at.saturating_duration_since(Instant::now()))
    }
}

/// The next datagram within *pause*; without one, does not wait for another.
fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    pause: Option<Duration>,
) -> Result<Option<(usize, SocketAddr)>> {
    match pause {
        Some(pause) => {
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(pause.max(GRAIN)))?;
        }
        None => socket.set_nonblocking(true)?,
    }
    match socket.recv_from(buffer) {
        Ok(found) => {
            socket.set_nonblocking(false)?;
            Ok(Some(found))
        }
        Err(error) => {
            socket.set_nonblocking(false)?;
            match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused => {
                    Ok(None)
                }
                _ => Err(error.into()),
            }
        }
    }
}

fn config(case: &str) -> Result<Config> {
    let mut config = Config::new(quiche::PROTOCOL_VERSION)?;
    if case == "http3" {
        config.set_application_protos(quiche::h3::APPLICATION_PROTOCOL)?;
    } else {
        config.set_application_protos(&[ALPN])?;
    }
    config.set_max_idle_timeout(30_000);
    config.set_max_recv_udp_payload_size(65_527);
    config.set_max_send_udp_payload_size(MTU);
    config.set_initial_max_data(1 << 20);
    config.set_initial_max_stream_data_bidi_local(1 << 18);
    config.set_initial_max_stream_data_bidi_remote(1 << 18);
    config.set_initial_max_stream_data_uni(1 << 18);
    config.set_initial_max_streams_bidi(100);
    config.set_initial_max_streams_uni(100);
    // A path that a client leaves keeps its connection ID: some more are for those to come.
    config.set_active_connection_id_limit(8);
    config.log_keys();
    Ok(config)
}

fn connection_id() -> Result<ConnectionId<'static>> {
    let mut random = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut random)?;
    Ok(random.to_vec().into())
}

fn main() -> ExitCode {
    let case = variable("TESTCASE");
    status(match variable("ROLE").as_str() {
        "version" => {
            println!("{}", interop_common::version("quiche"));
            Ok(true)
        }
        "server" => server::run(&case),
        "client" => client::run(&case),
        _ => Err("ROLE is server or client".into()),
    })
}
