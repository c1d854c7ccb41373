//! quiche under tokio-quiche: streams and datagrams of QUIC itself, with its default settings.
//!
//! tokio-quiche calls the application when packets came and when there may be room to send, so both ends
//! are written as such callbacks.

use std::collections::HashMap;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use peer::{CHUNK, Counter, DATAGRAM, Done, HANDSHAKES, IN_FLIGHT, PAYLOAD, Result, Role, STREAMS};
use peer::{ZEROS, unix_nanoseconds, version};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio_quiche::metrics::DefaultMetrics;
use tokio_quiche::quic::{HandshakeInfo, QuicheConnection, connect_with_config};
use tokio_quiche::quiche::{Error, Shutdown};
use tokio_quiche::settings::{CertificateKind, Hooks, QuicSettings, TlsCertificatePaths};
use tokio_quiche::socket::Socket;
use tokio_quiche::{ApplicationOverQuic, ConnectionParams, QuicResult};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a stream still has to send: a few bytes, and so many zeros after them.
#[derive(Default)]
struct Output {
    head: Vec<u8>,
    zeros: usize,
}

impl Output {
    /// Send what there is room for; true when everything has been sent.
    fn send(&mut self, conn: &mut QuicheConnection, stream: u64) -> bool {
        while !self.head.is_empty() {
            match conn.stream_send(stream, &self.head, self.zeros == 0) {
                Ok(sent) => drop(self.head.drain(..sent)),
                Err(Error::Done) => return false,
                Err(_) => return true,
            }
        }
        while self.zeros > 0 {
            let piece = &ZEROS[..self.zeros.min(CHUNK)];
            match conn.stream_send(stream, piece, piece.len() == self.zeros) {
                Ok(sent) => self.zeros -= sent,
                Err(Error::Done) => return false,
                Err(_) => return true,
            }
        }
        true
    }
}

fn send_all(conn: &mut QuicheConnection, outputs: &mut HashMap<u64, Output>) {
    outputs.retain(|stream, output| !output.send(conn, *stream));
}

/// What came on a stream: its first bytes, and how many there were.
#[derive(Default)]
struct Input {
    head: Vec<u8>,
    count: u64,
    fin: bool,
}

const HEAD: usize = 256;

impl Input {
    fn receive(&mut self, conn: &mut QuicheConnection, stream: u64, buffer: &mut [u8]) {
        while let Ok((got, fin)) = conn.stream_recv(stream, buffer) {
            let keep = got.min(HEAD - self.head.len());
            self.head.extend_from_slice(&buffer[..keep]);
            self.count += got as u64;
            self.fin |= fin;
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The server's end of a connection.
struct Server {
    established: bool,
    buffer: Vec<u8>,
    counter: Counter,
    inputs: HashMap<u64, Input>,
    outputs: HashMap<u64, Output>,
}

impl Server {
    fn new() -> Self {
        Server {
            established: false,
            buffer: vec![0; CHUNK],
            counter: Counter::default(),
            inputs: HashMap::new(),
            outputs: HashMap::new(),
        }
    }

    fn answer(&self, input: Input) -> Output {
        let head = match input.head.first() {
            Some(b'U') => (input.count - 1).to_be_bytes().to_vec(),
            Some(b'C') => self.counter.answer(),
            Some(b'D') => return Output { head: vec![], zeros: number(&input.head[1..]) as usize },
            _ => input.head[1..].to_vec(),
        };
        Output { head, zeros: 0 }
    }
}

impl ApplicationOverQuic for Server {
    fn on_conn_established(
        &mut self,
        _: &mut QuicheConnection,
        _: &HandshakeInfo,
    ) -> QuicResult<()> {
        self.established = true;
        Ok(())
    }

    fn should_act(&self) -> bool {
        self.established
    }

    async fn wait_for_data(&mut self, _: &mut QuicheConnection) -> QuicResult<()> {
        pending().await
    }

    fn process_reads(&mut self, conn: &mut QuicheConnection) -> QuicResult<()> {
        while conn.dgram_recv(&mut self.buffer).is_ok() {
            self.counter.add();
        }
        for stream in conn.readable() {
            let input = self.inputs.entry(stream).or_default();
            input.receive(conn, stream, &mut self.buffer);
            if input.fin
                && let Some(input) = self.inputs.remove(&stream)
            {
                self.outputs.insert(stream, self.answer(input));
            }
        }
        Ok(())
    }

    fn process_writes(&mut self, conn: &mut QuicheConnection) -> QuicResult<()> {
        send_all(conn, &mut self.outputs);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Job {
    Upload(u64),
    Download(u64),
    Echo,
    Count,
    Datagram,
}

/// *amount* times a job, with at most so many at once; the reply is the sum of what the answers say, and
/// the last answer.
struct Task {
    job: Job,
    amount: usize,
    at_once: usize,
    reply: oneshot::Sender<(u64, Vec<u8>)>,
}

struct Running {
    task: Task,
    started: usize,
    total: u64,
    last: Vec<u8>,
}

/// The client's end of a connection.
struct Client {
    established: Option<oneshot::Sender<()>>,
    tasks: mpsc::Receiver<Task>,
    running: Option<Running>,
    next_stream: u64,
    buffer: Vec<u8>,
    inputs: HashMap<u64, Input>,
    outputs: HashMap<u64, Output>,
}

impl Client {
    fn start_streams(&mut self, conn: &mut QuicheConnection) {
        let Some(running) = &mut self.running else { return };
        while running.started < running.task.amount
            && self.inputs.len() < running.task.at_once
            && conn.peer_streams_left_bidi() > 0
        {
            let (head, zeros) = match running.task.job {
                Job::Upload(size) => (b"U".to_vec(), size as usize),
                Job::Download(size) => ([&b"D"[..], &size.to_be_bytes()].concat(), 0),
                Job::Echo => ([&b"E"[..], &ZEROS[..PAYLOAD]].concat(), 0),
                Job::Count => (b"C".to_vec(), 0),
                Job::Datagram => return,
            };
            let mut output = Output { head, zeros };
            if !output.send(conn, self.next_stream) {
                self.outputs.insert(self.next_stream, output);
            }
            self.inputs.insert(self.next_stream, Input::default());
            self.next_stream += 4;
            running.started += 1;
        }
    }

    fn send_datagrams(&mut self, conn: &mut QuicheConnection) {
        let Some(running) = &mut self.running else { return };
        if matches!(running.task.job, Job::Datagram) {
            while running.started < running.task.amount
                && conn.dgram_send(&ZEROS[..DATAGRAM]).is_ok()
            {
                running.started += 1;
            }
        }
    }

    fn finish(&mut self) {
        if let Some(running) = &self.running
            && running.started == running.task.amount
            && self.inputs.is_empty()
            && let Some(running) = self.running.take()
        {
            let _ = running.task.reply.send((running.total, running.last));
        }
    }
}

impl ApplicationOverQuic for Client {
    fn on_conn_established(
        &mut self,
        _: &mut QuicheConnection,
        _: &HandshakeInfo,
    ) -> QuicResult<()> {
        if let Some(established) = self.established.take() {
            let _ = established.send(());
        }
        Ok(())
    }

    fn should_act(&self) -> bool {
        self.established.is_none()
    }

    async fn wait_for_data(&mut self, conn: &mut QuicheConnection) -> QuicResult<()> {
        if self.running.is_some() {
            return pending().await;
        }
        match self.tasks.recv().await {
            Some(task) => {
                let running = Running { task, started: 0, total: 0, last: vec![] };
                self.running = Some(running);
            }
            None => {
                let _ = conn.close(true, 0, b"");
            }
        }
        Ok(())
    }

    fn process_reads(&mut self, conn: &mut QuicheConnection) -> QuicResult<()> {
        for stream in conn.readable() {
            let Some(input) = self.inputs.get_mut(&stream) else {
                let _ = conn.stream_shutdown(stream, Shutdown::Read, 0);
                continue;
            };
            input.receive(conn, stream, &mut self.buffer);
            if input.fin
                && let Some(input) = self.inputs.remove(&stream)
                && let Some(running) = &mut self.running
            {
                running.total += match running.task.job {
                    Job::Upload(_) => number(&input.head),
                    _ => input.count,
                };
                running.last = input.head;
            }
        }
        self.finish();
        Ok(())
    }

    fn process_writes(&mut self, conn: &mut QuicheConnection) -> QuicResult<()> {
        send_all(conn, &mut self.outputs);
        self.start_streams(conn);
        self.send_datagrams(conn);
        self.finish();
        Ok(())
    }
}

fn versions() -> String {
    format!("{} with tokio-quiche {}", version("quiche"), version("tokio-quiche"))
}

fn settings() -> QuicSettings {
    let mut settings = QuicSettings::default();
    settings.alpn = vec![b"bench".to_vec()];
    // The others send no Retry either, as long as there is no load.
    settings.disable_client_ip_validation = true;
    settings
}

/// A connection, as long as this is kept.
#[derive(Clone)]
struct Handle(mpsc::Sender<Task>);

impl Handle {
    async fn dial(port: u16) -> Result<Handle> {
        let socket = UdpSocket::bind(ANY).await?;
        socket.connect(SocketAddr::new(ANY.ip(), port)).await?;
        let mut socket: Socket<_, _> = socket.try_into()?;
        socket.apply_max_capabilities();
        let params = ConnectionParams::new_client(settings(), None, Hooks::default());
        let (established, is_established) = oneshot::channel();
        let (sender, tasks) = mpsc::channel(1);
        let client = Client {
            established: Some(established),
            tasks,
            running: None,
            next_stream: 0,
            buffer: vec![0; CHUNK],
            inputs: HashMap::new(),
            outputs: HashMap::new(),
        };
        connect_with_config(socket, Some("localhost"), &params, client).await?;
        is_established.await?;
        Ok(Handle(sender))
    }

    async fn run(&self, job: Job, amount: usize, at_once: usize) -> Result<(u64, Vec<u8>)> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(Task { job, amount, at_once, reply }).await;
        sent.map_err(|_| "the connection is gone")?;
        Ok(answer.await?)
    }

    async fn arrived(&self) -> Result<(u64, u64)> {
        let (_, answer) = self.run(Job::Count, 1, 1).await?;
        let (count, last) = answer.split_at_checked(8).ok_or("a short answer")?;
        Ok((number(count), number(last)))
    }

    async fn datagrams(&self, amount: usize) -> Result<Done> {
        let (before, _) = self.arrived().await?;
        let start = unix_nanoseconds();
        self.run(Job::Datagram, amount, 1).await?;
        let (mut was, _) = self.arrived().await?;
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let (count, last) = self.arrived().await?;
            if count == was {
                let nanoseconds = last.saturating_sub(start).max(1);
                return Ok((count - before, Some(nanoseconds as f64 / 1e9)));
            }
            was = count;
        }
    }
}

async fn work(handle: Handle, port: u16, name: &str, amount: usize) -> Result<Done> {
    let size = amount as u64;
    let done = match name {
        "upload" => handle.run(Job::Upload(size), 1, 1).await?.0,
        "download" => handle.run(Job::Download(size), 1, 1).await?.0,
        "streams" => handle.run(Job::Upload(size / STREAMS as u64), STREAMS, STREAMS).await?.0,
        "requests" => handle.run(Job::Echo, amount, IN_FLIGHT).await?.0 / PAYLOAD as u64,
        "sequential" => handle.run(Job::Echo, amount, 1).await?.0 / PAYLOAD as u64,
        "datagrams" => return handle.datagrams(amount).await,
        "handshakes" | "memory" => {
            let holds = name == "memory";
            let dials = futures::stream::iter(0..amount).map(|_| tokio::spawn(Handle::dial(port)));
            let mut dials = dials.buffer_unordered(if holds { 10 } else { HANDSHAKES });
            while let Some(dialed) = dials.next().await {
                let dialed = dialed??;
                if holds {
                    std::mem::forget(dialed);
                }
            }
            size
        }
        _ => return Err(format!("no workload {name}").into()),
    };
    Ok((done, None))
}

async fn server(certfile: &str, keyfile: &str) -> Result<()> {
    let socket = UdpSocket::bind(ANY).await?;
    let port = socket.local_addr()?.port();
    let paths =
        TlsCertificatePaths { cert: certfile, private_key: keyfile, kind: CertificateKind::X509 };
    let params = ConnectionParams::new_server(settings(), paths, Hooks::default());
    let mut listeners = tokio_quiche::listen([socket], params, DefaultMetrics)?;
    tokio::spawn(async move {
        while let Some(accepted) = listeners[0].next().await {
            if let Ok(connection) = accepted {
                connection.start(Server::new());
            }
        }
    });
    peer::serving(port, &versions()).await
}

#[tokio::main]
async fn main() -> Result<()> {
    match Role::parse()? {
        Role::Server { certfile, keyfile } => server(&certfile, &keyfile).await,
        Role::Client { port } => {
            let handle = Handle::dial(port).await?;
            peer::lines(&versions(), |name, amount| {
                let handle = handle.clone();
                async move { work(handle, port, &name, amount).await }
            })
            .await
        }
    }
}
