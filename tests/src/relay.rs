//! A relay in front of a server: slows it down, cuts it off, and counts what it sends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Forwards connections from a port of its own on 127.0.0.1; its connections end when it is dropped.
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// Bytes a second from the server, 0 for as fast as it goes.
    rate: AtomicU64,
    /// Bytes that the server has sent.
    sent: AtomicU64,
    /// The connection ends when the server has sent so many.
    cut_at: AtomicU64,
    /// Nothing moves any more, but nothing ends.
    frozen: AtomicBool,
    ended: AtomicBool,
}

impl Relay {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            rate: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
            frozen: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (to_server, to_client) = (shared.clone(), shared.clone());
                thread::spawn(move || to_server.copy(up, server, false));
                thread::spawn(move || to_client.copy(down, client, true));
            }
        });
        Self { address, state }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that the server has sent so far, all connections together.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// At most so many bytes a second from the server.
    pub fn limit(&self, bytes_per_second: u64) {
        self.state.rate.store(bytes_per_second, Ordering::SeqCst);
    }

    /// Ends every connection once the server has sent so many bytes in all.
    pub fn cut_at(&self, bytes: u64) {
        self.state.cut_at.store(bytes, Ordering::SeqCst);
    }

    /// From now on nothing moves, and nothing ends.
    pub fn freeze(&self) {
        self.state.frozen.store(true, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn copy(&self, mut from: TcpStream, mut to: TcpStream, counted: bool) {
        let mut buffer = vec![0; 64 << 10];
        let (begun, mut passed) = (Instant::now(), 0);
        // Wakes up now and then, to see whether the relay has ended.
        from.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        loop {
            let rate = self.rate.load(Ordering::SeqCst);
            let most = if counted && rate > 0 { (rate / 50).clamp(1, 64 << 10) as usize } else { 64 << 10 };
            let cut = self.sent.load(Ordering::SeqCst) >= self.cut_at.load(Ordering::SeqCst);
            if cut || self.ended.load(Ordering::SeqCst) {
                break;
            }
            if self.frozen.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            let read = match from.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            };
            if counted {
                self.sent.fetch_add(read as u64, Ordering::SeqCst);
                passed += read as u64;
                if let Some(due) = (passed * 1_000_000).checked_div(rate) {
                    thread::sleep(Duration::from_micros(due).saturating_sub(begun.elapsed()));
                }
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
