//! What the Rust stacks share: the line protocol of benchmarks/worker.py, the protocol of
//! benchmarks/stacks/base.py and the workloads of benchmarks/workloads.py.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

pub const STREAMS: usize = 100;
pub const IN_FLIGHT: usize = 100;
pub const PAYLOAD: usize = 100;
pub const DATAGRAM: usize = 1000;
pub const HANDSHAKES: usize = 4;
pub const CHUNK: usize = 1 << 16;
pub static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// A connection or session; streams are bidirectional, and shutting one down ends the sending side.
pub trait Conn: Clone + Send + Sync + 'static {
    type Sender: AsyncWrite + Unpin + Send;
    type Receiver: AsyncRead + Unpin + Send;

    fn open(&self) -> impl Future<Output = Result<(Self::Sender, Self::Receiver)>> + Send;
    fn accept(&self) -> impl Future<Output = Result<(Self::Sender, Self::Receiver)>> + Send;
    /// Waits for room.
    fn send_datagram(&self, data: Bytes) -> impl Future<Output = Result<()>> + Send;
    fn receive_datagram(&self) -> impl Future<Output = Result<()>> + Send;
    fn close(&self);
}

/// How a client connects.
pub trait Dial: Send + Sync + 'static {
    type Conn: Conn;

    fn dial(&self, port: u16) -> impl Future<Output = Result<Self::Conn>> + Send;
}

/// The arguments of a process.
pub enum Role {
    Server { certfile: String, keyfile: String },
    Client { port: u16 },
}

impl Role {
    pub fn parse() -> Result<Role> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["server", certfile, keyfile] => {
                Ok(Role::Server { certfile: certfile.into(), keyfile: keyfile.into() })
            }
            ["client", port] => Ok(Role::Client { port: port.parse()? }),
            _ => Err("usage: server CERTFILE KEYFILE | client PORT".into()),
        }
    }
}

/// The version of a crate in the lock file.
pub fn version(name: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let entry = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1);
    entry.and_then(|rest| rest.split('"').next()).unwrap_or("unknown")
}

/// Tell that the server listens, and return once the standard input ends.
pub async fn serving(port: u16, version: &str) -> Result<()> {
    println!("{{\"port\": {port}, \"version\": \"{version}\"}}");
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    Ok(())
}

pub fn unix_nanoseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// A server's count of datagrams, and the Unix time of the last in nanoseconds.
#[derive(Default)]
pub struct Counter {
    count: AtomicU64,
    last: AtomicU64,
}

impl Counter {
    pub fn add(&self) {
        self.count.fetch_add(1, Relaxed);
        self.last.store(unix_nanoseconds(), Relaxed);
    }

    pub fn answer(&self) -> Vec<u8> {
        let count = self.count.load(Relaxed).to_be_bytes();
        [count, self.last.load(Relaxed).to_be_bytes()].concat()
    }
}

/// Serve one connection to its end.
pub async fn handle<C: Conn>(conn: C) {
    let counter = Arc::new(Counter::default());
    let (counting, datagrams) = (counter.clone(), conn.clone());
    tokio::spawn(async move {
        while datagrams.receive_datagram().await.is_ok() {
            counting.add();
        }
    });
    while let Ok((sender, receiver)) = conn.accept().await {
        let counter = counter.clone();
        tokio::spawn(async move { answer::<C>(sender, receiver, &counter).await });
    }
}

async fn answer<C: Conn>(
    mut sender: C::Sender,
    mut receiver: C::Receiver,
    counter: &Counter,
) -> Result<()> {
    match receiver.read_u8().await? {
        b'U' => sender.write_all(&discard(&mut receiver).await?.to_be_bytes()).await?,
        b'D' => {
            let size = receiver.read_u64().await?;
            send(&mut sender, size).await?;
        }
        b'C' => sender.write_all(&counter.answer()).await?,
        b'E' => {
            let mut data = Vec::new();
            receiver.read_to_end(&mut data).await?;
            sender.write_all(&data).await?;
        }
        kind => return Err(format!("no kind {kind}").into()),
    }
    sender.shutdown().await?;
    Ok(())
}

async fn discard(receiver: &mut (impl AsyncRead + Unpin)) -> Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut count = 0;
    loop {
        match receiver.read(&mut buffer).await? {
            0 => return Ok(count),
            got => count += got as u64,
        }
    }
}

async fn send(sender: &mut (impl AsyncWrite + Unpin), size: u64) -> Result<()> {
    let mut left = size as usize;
    while left > 0 {
        left -= sender.write(&ZEROS[..left.min(CHUNK)]).await?;
    }
    Ok(())
}

/// What was done, and the seconds where they are not those of the whole call.
pub type Done = (u64, Option<f64>);

/// Read lines of work, and answer each.
pub async fn lines<F, Fut>(version: &str, mut work: F) -> Result<()>
where
    F: FnMut(String, usize) -> Fut,
    Fut: Future<Output = Result<Done>>,
{
    println!("{{\"version\": \"{version}\"}}");
    let (mut input, mut line) = (tokio::io::stdin(), Vec::new());
    while let Ok(byte) = input.read_u8().await {
        if byte != b'\n' {
            line.push(byte);
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut line))?;
        let (name, amount) = text.split_once(' ').ok_or("a line without an amount")?;
        let start = Instant::now();
        match work(name.into(), amount.parse()?).await {
            Ok((done, seconds)) => {
                let seconds = seconds.unwrap_or_else(|| start.elapsed().as_secs_f64());
                println!("{{\"done\": {done}, \"seconds\": {seconds}}}");
            }
            Err(error) => println!("{{\"error\": {:?}}}", error.to_string()),
        }
    }
    Ok(())
}

/// Connect, and do what the lines say.
pub async fn client<D: Dial>(dial: D, port: u16, version: &str) -> Result<()> {
    let conn = dial.dial(port).await?;
    let dial = Arc::new(dial);
    let mut held = Vec::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    lines(version, move |name, amount| {
        held.extend(receiver.try_iter());
        let (dial, conn, sender) = (dial.clone(), conn.clone(), sender.clone());
        async move { work(dial, conn, port, &name, amount, sender).await }
    })
    .await
}

async fn work<D: Dial>(
    dial: Arc<D>,
    conn: D::Conn,
    port: u16,
    name: &str,
    amount: usize,
    held: std::sync::mpsc::Sender<D::Conn>,
) -> Result<Done> {
    let done = amount as u64;
    match name {
        "upload" => Ok((upload(&conn, done).await?, None)),
        "download" => Ok((download(&conn, done).await?, None)),
        "streams" => {
            let total = Arc::new(AtomicU64::new(0));
            let (counted, size) = (total.clone(), done / STREAMS as u64);
            each(STREAMS, STREAMS, move || {
                let (conn, total) = (conn.clone(), counted.clone());
                async move {
                    total.fetch_add(upload(&conn, size).await?, Relaxed);
                    Ok(())
                }
            })
            .await?;
            Ok((total.load(Relaxed), None))
        }
        "requests" | "sequential" => {
            let at_once = if name == "requests" { IN_FLIGHT } else { 1 };
            each(amount, at_once, move || {
                let conn = conn.clone();
                async move { echo(&conn).await }
            })
            .await?;
            Ok((done, None))
        }
        "datagrams" => datagrams(&conn, amount).await,
        "handshakes" | "memory" => {
            let holds = name == "memory";
            each(amount, if holds { 10 } else { HANDSHAKES }, move || {
                let (dial, held) = (dial.clone(), held.clone());
                async move {
                    let other = dial.dial(port).await?;
                    if holds {
                        held.send(other)?;
                    } else {
                        other.close();
                    }
                    Ok(())
                }
            })
            .await?;
            Ok((done, None))
        }
        _ => Err(format!("no workload {name}").into()),
    }
}

/// Call *function* so many times, with at most so many calls at once.
async fn each<F, Fut>(amount: usize, at_once: usize, function: F) -> Result<()>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let (left, function) = (Arc::new(AtomicUsize::new(0)), Arc::new(function));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..at_once.min(amount) {
        let (left, function) = (left.clone(), function.clone());
        tasks.spawn(async move {
            while left.fetch_add(1, Relaxed) < amount {
                function().await?;
            }
            Result::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn upload<C: Conn>(conn: &C, size: u64) -> Result<u64> {
    let (mut sender, mut receiver) = conn.open().await?;
    sender.write_all(b"U").await?;
    send(&mut sender, size).await?;
    sender.shutdown().await?;
    Ok(receiver.read_u64().await?)
}

async fn download<C: Conn>(conn: &C, size: u64) -> Result<u64> {
    let (mut sender, mut receiver) = conn.open().await?;
    sender.write_all(&[&b"D"[..], &size.to_be_bytes()].concat()).await?;
    sender.shutdown().await?;
    discard(&mut receiver).await
}

async fn exchange<C: Conn>(conn: &C, data: &[u8]) -> Result<Vec<u8>> {
    let (mut sender, mut receiver) = conn.open().await?;
    sender.write_all(data).await?;
    sender.shutdown().await?;
    let mut back = Vec::new();
    receiver.read_to_end(&mut back).await?;
    Ok(back)
}

async fn echo<C: Conn>(conn: &C) -> Result<()> {
    let mut data = [0; PAYLOAD + 1];
    data[0] = b'E';
    match exchange(conn, &data).await?.len() {
        PAYLOAD => Ok(()),
        other => Err(format!("an echo of {other} bytes").into()),
    }
}

async fn arrived<C: Conn>(conn: &C) -> Result<(u64, u64)> {
    let answer = exchange(conn, b"C").await?;
    let (count, last) = answer.split_at_checked(8).ok_or("a short answer")?;
    Ok((u64::from_be_bytes(count.try_into()?), u64::from_be_bytes(last.try_into()?)))
}

async fn datagrams<C: Conn>(conn: &C, amount: usize) -> Result<Done> {
    let (before, _) = arrived(conn).await?;
    let start = unix_nanoseconds();
    for _ in 0..amount {
        conn.send_datagram(Bytes::from_static(&ZEROS[..DATAGRAM])).await?;
    }
    let (mut was, _) = arrived(conn).await?;
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (count, last) = arrived(conn).await?;
        if count == was {
            let nanoseconds = last.saturating_sub(start).max(1);
            return Ok((count - before, Some(nanoseconds as f64 / 1e9)));
        }
        was = count;
    }
}
