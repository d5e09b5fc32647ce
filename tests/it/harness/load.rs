//! Real load that a test turns up and down until a signal is where it is wanted.
//!
//! The machine does other things meanwhile, so that nobody knows beforehand how much is needed: it is turned up while the
//! grade is too good and down while it is too bad.

use rustix::fs::OFlags;
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// So long a signal may take to be where it is wanted.
const LIMIT: Duration = Duration::from_secs(150);
/// Busy threads work and rest within it.
const PERIOD: Duration = Duration::from_millis(50);

/// A load between none (0) and all there is (1).
pub(crate) struct Knob<'a> {
    at: f64,
    step: f64,
    turn: Box<dyn FnMut(f64) + 'a>,
}

impl<'a> Knob<'a> {
    /// A knob that is turned by so much at a time. It is at 0 now.
    pub(crate) fn new(step: f64, turn: impl FnMut(f64) + 'a) -> Knob<'a> {
        let turn = Box::new(turn);
        let mut knob = Knob {
            at: 0.0,
            step,
            turn,
        };
        knob.to(0.0);
        knob
    }

    /// Turns it up by so much.
    pub(crate) fn more(&mut self, by: f64) {
        self.to(self.at + by);
    }

    /// Puts it where it is wanted.
    pub(crate) fn to(&mut self, at: f64) {
        self.at = at.clamp(0.0, 1.0);
        (self.turn)(self.at);
    }

    /// Turns it until the grade, which `look` measures, is this.
    pub(crate) fn until(&mut self, what: &str, wanted: &str, mut look: impl FnMut() -> String) {
        let end = Instant::now() + LIMIT;
        loop {
            let grade = look();
            if grade == wanted {
                return;
            }
            assert!(
                Instant::now() < end,
                "{what} is {grade} and not {wanted} at {:.2}",
                self.at
            );
            let by = match (rank(&grade), rank(wanted)) {
                (Some(is), Some(wanted)) if is < wanted => self.step,
                (Some(_), Some(_)) => -self.step,
                // Not known yet.
                _ => 0.0,
            };
            self.to(self.at + by);
        }
    }
}

fn rank(grade: &str) -> Option<usize> {
    ["ok", "warning", "critical"]
        .iter()
        .position(|g| *g == grade)
}

/// Threads that keep processors busy or wait for the disk, and let everybody else go first.
pub(crate) struct Busy {
    /// How many are busy, in thousandths: the last of them for a part of the time.
    wanted: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What a disk gives past all caches lies at its pages.
#[repr(align(4096))]
struct Pages([u8; PAGES]);

const PAGES: usize = 64 << 10;

impl Busy {
    /// So many threads that need a processor, none of them busy yet.
    pub(crate) fn new(threads: usize) -> Busy {
        Busy::with(threads, || std::hint::spin_loop)
    }

    /// So many threads that wait for what they read from the disk of the build's folder, past all caches.
    pub(crate) fn reading(threads: usize) -> Busy {
        let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        file.write_all(&vec![1; 64 * PAGES]).unwrap();
        file.as_file().sync_all().unwrap();
        let direct = OFlags::DIRECT.bits();
        let disk = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(direct.cast_signed())
            .open(file.path());
        let disk = Arc::new(disk.unwrap());
        Busy::with(threads, || {
            let (disk, mut pages, mut at) = (Arc::clone(&disk), Box::new(Pages([0; PAGES])), 0);
            move || {
                at = (at + 1) % 64;
                disk.read_exact_at(&mut pages.0, at * PAGES as u64).unwrap();
            }
        })
    }

    fn with<W: FnMut() + Send + 'static>(threads: usize, work: impl Fn() -> W) -> Busy {
        let (wanted, is_over) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let threads = (0..threads)
            .map(|own| {
                let mut work = work();
                let (wanted, is_over) = (Arc::clone(&wanted), Arc::clone(&is_over));
                std::thread::spawn(move || {
                    // Of this thread alone.
                    let _ = rustix::process::nice(19);
                    while !is_over.load(Relaxed) {
                        let own = wanted.load(Relaxed).saturating_sub(own * 1000).min(1000);
                        let busy = PERIOD.mul_f64(own as f64 / 1000.0);
                        let begun = Instant::now();
                        while begun.elapsed() < busy {
                            work();
                        }
                        std::thread::sleep(PERIOD - busy);
                    }
                })
            })
            .collect();
        Busy {
            wanted,
            is_over,
            threads,
        }
    }

    /// So much of all threads is busy.
    pub(crate) fn set(&self, share: f64) {
        let all = (self.threads.len() * 1000) as f64;
        self.wanted.store((share * all) as usize, Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
