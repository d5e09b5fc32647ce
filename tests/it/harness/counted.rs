//! A way to an engine that keeps what it is asked: how many questions a look costs is what an engine far away feels.

use super::unique;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A socket that leads to another. Its threads end with the connections.
pub(crate) struct Counted {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Counted {
    /// `host` is that of an engine: `unix:///…`.
    pub(crate) fn to(host: &str) -> Counted {
        let engine = PathBuf::from(host.strip_prefix("unix://").unwrap());
        let folder = tempfile::Builder::new()
            .prefix(&format!("{}-", unique("counted")))
            .tempdir()
            .unwrap();
        let counted = Counted {
            folder,
            asked: Arc::default(),
        };
        let listener = UnixListener::bind(counted.socket()).unwrap();
        let asked = Arc::clone(&counted.asked);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = UnixStream::connect(&engine) else {
                    continue;
                };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let asked = Arc::clone(&asked);
                std::thread::spawn(move || carry(from, to, |piece| keep(&asked, piece)));
                std::thread::spawn(move || carry(server, client, |_| {}));
            }
        });
        counted
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// For `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What was asked since this was last called: the paths, without the version of the API.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn carry(mut from: UnixStream, mut to: UnixStream, see: impl Fn(&[u8])) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut piece) {
        see(&piece[..length]);
        if length == 0 || to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn keep(asked: &Mutex<Vec<String>>, piece: &[u8]) {
    let text = String::from_utf8_lossy(piece);
    let lines = text.lines().filter(|line| line.ends_with(" HTTP/1.1"));
    let paths = lines.filter_map(|line| line.split(' ').nth(1));
    let plain = paths.map(|path| match path.split_once("/v1.") {
        Some(("", rest)) => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        _ => path,
    });
    asked.lock().unwrap().extend(plain.map(str::to_owned));
}
