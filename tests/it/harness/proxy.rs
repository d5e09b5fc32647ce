//! A way to a server that can be slow, freeze and break, since the kernel of a test machine need not have netem.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// What is carried at a time, so that a rate is kept evenly.
const PIECE: usize = 2048;
/// What is on its way in one direction: the buffers of a slow line are not endless.
const ON_THE_WAY: usize = 16;
/// Nor are those of its ends: the kernel's would hold minutes of it.
const BUFFER: usize = 32 * 1024;
const STEP: Duration = Duration::from_millis(10);

const OPEN: u8 = 0;
const FROZEN: u8 = 1;
const CUT: u8 = 2;

/// A loopback port that leads to a server. Its threads end with the connections.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<AtomicU8>,
    /// Milliseconds each way.
    delay: Arc<AtomicU64>,
    /// Bytes a second each way; 0 for as many as come.
    rate: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) fn to(address: &str, port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
            delay: Arc::default(),
            rate: Arc::default(),
        };
        let (own, address) = (proxy.clone(), address.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.state.load(Ordering::Relaxed) == CUT {
                    continue;
                }
                if let Ok(server) = TcpStream::connect((address.as_str(), port)) {
                    own.carry(&stream, &server);
                    own.carry(&server, &stream);
                }
            }
        });
        proxy
    }

    /// `delay` each way and at most `rate` bytes a second.
    pub(crate) fn slow(&self, delay: Duration, rate: u64) {
        let ms = u64::try_from(delay.as_millis()).unwrap();
        self.delay.store(ms, Ordering::Relaxed);
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Nothing comes through, and nobody is told.
    pub(crate) fn freeze(&self) {
        self.state.store(FROZEN, Ordering::Relaxed);
    }

    /// Every connection ends, and none is taken.
    pub(crate) fn cut(&self) {
        self.state.store(CUT, Ordering::Relaxed);
    }

    /// What was frozen goes on, new connections are taken.
    pub(crate) fn restore(&self) {
        self.state.store(OPEN, Ordering::Relaxed);
    }

    fn carry(&self, from: &TcpStream, to: &TcpStream) {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        for end in [&from, &to] {
            let _ = rustix::net::sockopt::set_socket_recv_buffer_size(end, BUFFER);
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(end, BUFFER);
        }
        let _ = from.set_nodelay(true);
        let _ = to.set_nodelay(true);
        from.set_read_timeout(Some(STEP)).unwrap();
        let (put, take) = mpsc::sync_channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
        let own = self.clone();
        std::thread::spawn(move || {
            let mut piece = [0; PIECE];
            loop {
                match own.state.load(Ordering::Relaxed) {
                    CUT => break,
                    FROZEN => {
                        std::thread::sleep(STEP);
                        continue;
                    }
                    _ => {}
                }
                match from.read(&mut piece) {
                    Ok(0) => break,
                    Ok(n) => {
                        let due = Duration::from_millis(own.delay.load(Ordering::Relaxed));
                        if put
                            .send((Instant::now() + due, piece[..n].to_vec()))
                            .is_err()
                        {
                            break;
                        }
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                        ) => {}
                    Err(_) => break,
                }
            }
            let _ = from.shutdown(Shutdown::Read);
        });
        let own = self.clone();
        std::thread::spawn(move || {
            while let Ok((due, piece)) = take.recv() {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                while own.state.load(Ordering::Relaxed) == FROZEN {
                    std::thread::sleep(STEP);
                }
                if own.state.load(Ordering::Relaxed) == CUT || to.write_all(&piece).is_err() {
                    break;
                }
                let rate = own.rate.load(Ordering::Relaxed);
                if let Some(ms) = (piece.len() as u64 * 1000).checked_div(rate) {
                    std::thread::sleep(Duration::from_millis(ms));
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
