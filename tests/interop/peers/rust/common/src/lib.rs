//! What the Rust peers of tests/interop/runner share: its contract, which peers.py there has.

use std::env;
use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

pub const ALPN: &[u8] = b"hq-interop";
pub const UNSUPPORTED: u8 = 127;

pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// The exit status; `false` stands for a case that there is not.
pub fn status(ended: Result<bool>) -> ExitCode {
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(UNSUPPORTED),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The version of a crate in the lock file.
pub fn version(name: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let entry = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1);
    entry.and_then(|rest| rest.split('"').next()).unwrap_or("unknown")
}

/// Where a server listens.
pub fn listen_address() -> Result<SocketAddr> {
    Ok(SocketAddr::new(variable("HOST").parse()?, variable("PORT").parse()?))
}

/// The file that a request names, if it is one of HTTP/0.9.
pub fn requested(line: &[u8]) -> Option<PathBuf> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_whitespace();
    if words.next()? != "GET" {
        return None;
    }
    served(words.next()?)
}

/// The file of a path.
pub fn served(path: &str) -> Option<PathBuf> {
    let name = path.strip_prefix('/')?;
    let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
    plain.then(|| Path::new(&variable("WWW")).join(name))
}

/// What a client fetches.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub target: PathBuf,
}

/// The server and the requests of REQUESTS.
pub fn requests() -> Result<(SocketAddr, Vec<Request>)> {
    let mut server = None;
    let mut found = Vec::new();
    for url in variable("REQUESTS").split_whitespace() {
        let rest = url.strip_prefix("https://").ok_or("not https")?;
        let (authority, path) = rest.split_once('/').ok_or("no path")?;
        server = Some(authority.to_socket_addrs()?.next().ok_or("no address")?);
        found.push(Request {
            path: format!("/{path}"),
            target: Path::new(&variable("DOWNLOADS")).join(path.rsplit('/').next().unwrap_or("")),
        });
    }
    Ok((server.ok_or("no requests")?, found))
}
