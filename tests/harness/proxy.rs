//! A CONNECT proxy, the only way out of many a site: it counts what goes through it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::Result;

use crate::places::Places;
use crate::ports;

/// Where it listens inside a namespace of its own, where every port is free.
const PORT: u16 = 3128;

/// A running proxy; its thread ends with the process.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    counted: Arc<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    tunnels: AtomicU64,
    bytes: AtomicU64,
}

impl Proxy {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        Self::listen(format!("127.0.0.1:{}", ports::free()?))
    }

    /// Listens inside a place, and opens its tunnels from there.
    ///
    /// # Errors
    /// When the place cannot be entered.
    pub fn start_in(places: &dyn Places, place: &str) -> Result<Self> {
        let address = format!("{}:{PORT}", places.address(place));
        places.inside(place, || Self::listen(address))?
    }

    /// Its threads stay in the network namespace of the thread that calls this.
    fn listen(address: String) -> Result<Self> {
        let listener = TcpListener::bind(&address)?;
        let counted = Arc::new(Counted::default());
        thread::spawn({
            let counted = counted.clone();
            move || {
                for client in listener.incoming().flatten() {
                    let counted = counted.clone();
                    // A tunnel that breaks is the client's affair.
                    thread::spawn(move || drop(tunnel(client, &counted)));
                }
            }
        });
        Ok(Self { address, counted })
    }

    /// As a node's configuration names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tunnels opened so far.
    #[must_use]
    pub fn tunnels(&self) -> u64 {
        self.counted.tunnels.load(Ordering::Relaxed)
    }

    /// Bytes carried so far, both ways.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.counted.bytes.load(Ordering::Relaxed)
    }
}

fn tunnel(client: TcpStream, counted: &Arc<Counted>) -> Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut client = client;
    let target = request.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let Some(Ok(server)) = target.map(TcpStream::connect) else {
        client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")?;
        return Ok(());
    };
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    counted.tunnels.fetch_add(1, Ordering::Relaxed);
    let up = thread::spawn({
        let (server, counted) = (server.try_clone()?, counted.clone());
        move || pump(reader, server, &counted)
    });
    pump(server, client, counted);
    // Ends when both ends have closed.
    let _ = up.join();
    Ok(())
}

fn pump(mut from: impl Read, mut to: TcpStream, counted: &Counted) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = from.read(&mut buffer) {
        counted.bytes.fetch_add(read as u64, Ordering::Relaxed);
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_through_and_are_counted() {
        let echo = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = echo.local_addr().expect("it is bound");
        thread::spawn(move || {
            let (mut stream, _) = echo.accept().expect("one comes");
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).expect("five bytes");
            stream.write_all(&bytes).expect("and back");
        });
        let proxy = Proxy::start().expect("it listens");
        let mut stream = TcpStream::connect(&proxy.address).expect("it listens");
        write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").expect("it reads");
        let mut answer = [0; 39];
        stream.read_exact(&mut answer).expect("it answers");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        stream.write_all(b"hello").expect("through");
        let mut back = [0; 5];
        stream.read_exact(&mut back).expect("and back");
        assert_eq!(&back, b"hello");
        assert_eq!((proxy.tunnels(), proxy.bytes()), (1, 10));
    }
}
