//! What a machine uses of itself, out of what `df` and `/proc` say: disks, inodes, CPU, memory, load, pressure.
//!
//! What is not there, or cannot be read, stays `None`: an old kernel has no pressure, a container may see no disk.

/// A file system that may fill up.
#[derive(Debug, Clone, PartialEq)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mount: String,
    /// Bytes in use.
    pub used: u64,
    /// Bytes that may still be used by everybody: what is kept for root does not count.
    pub free: u64,
    /// Inodes in use and free, where it has a fixed number of them.
    pub inodes: Option<(u64, u64)>,
}

/// What a machine says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MachineUse {
    /// Its file systems, the fullest first.
    pub disks: Vec<Filesystem>,
    /// CPU in use, as a fraction of all cores, over the pause between the two samples.
    pub cpu: Option<f64>,
    /// How many cores it has.
    pub cores: Option<u64>,
    /// Processes that run or wait to run, over the last minute.
    pub load: Option<f64>,
    /// Memory in bytes: all, and what programs may still get.
    pub memory: Option<(u64, u64)>,
    /// What was waited for (`memory`, `io`), and the share of the last minute in which nothing could go on.
    pub pressure: Vec<(String, f64)>,
}

impl Filesystem {
    /// The share of its bytes that is used.
    pub fn full(&self) -> f64 {
        share(self.used, self.free)
    }

    /// The share of its inodes that is used.
    pub fn inodes_full(&self) -> Option<f64> {
        self.inodes.map(|(used, free)| share(used, free))
    }
}

fn share(used: u64, free: u64) -> f64 {
    used as f64 / (used + free).max(1) as f64
}

/// Prints what [`read`] reads, in sections that begin with `== `. Changes nothing, and starts four processes: it runs on a
/// machine that may be in trouble. Only local file systems are asked where
/// `df` can tell them apart: one of the network that is away hangs whoever looks at it.
pub const SCRIPT: &str = r#"LC_ALL=C; export LC_ALL
top() { [ -r "$1" ] || return 0; n=0; while [ "$n" -lt "$2" ] && read -r line; do echo "$line"; n=$((n + 1)); done <"$1"; }
echo '== bytes'; df -PTkl 2>/dev/null || df -PTk 2>/dev/null
echo '== inodes'; df -PTil 2>/dev/null || df -PTi 2>/dev/null
echo '== cpu'; top /proc/stat 1; sleep 0.5 2>/dev/null || sleep 1; top /proc/stat 1
echo '== cores'; grep -c '^processor' /proc/cpuinfo
echo '== load'; top /proc/loadavg 1
echo '== memory'; top /proc/meminfo 5
for what in memory io; do echo "== pressure $what"; top "/proc/pressure/$what" 2; done
exit 0"#;

/// Reads what [`SCRIPT`] printed, or a machine said of itself in the same words.
pub fn read(text: &str) -> MachineUse {
    let mut found = MachineUse::default();
    let (mut bytes, mut inodes) = (Vec::new(), Vec::new());
    for section in text.split("== ").skip(1) {
        let (name, body) = section.split_once('\n').unwrap_or((section, ""));
        match name.trim() {
            "bytes" => bytes = rows(body),
            "inodes" => inodes = rows(body),
            "cpu" => found.cpu = read_cpu(body),
            "cores" => found.cores = body.trim().parse().ok().filter(|n| *n > 0),
            "load" => found.load = body.split_whitespace().next().and_then(|w| w.parse().ok()),
            "memory" => found.memory = read_memory(body),
            other => {
                let what = other.strip_prefix("pressure ");
                if let (Some(what), Some(share)) = (what, read_pressure(body)) {
                    found.pressure.push((what.to_owned(), share));
                }
            }
        }
    }
    let mut devices: Vec<(String, u64)> = Vec::new();
    // The shortest mount of a device first: the others are parts of it that were mounted once more.
    bytes.sort_by_key(|row| row.mount.len());
    for row in bytes.iter().filter(|row| row.is_real()) {
        let device = (row.source.clone(), row.used + row.free);
        if row.source.starts_with('/') && devices.contains(&device) {
            continue;
        }
        devices.push(device);
        let inodes = inodes.iter().find(|other| other.mount == row.mount);
        found.disks.push(Filesystem {
            mount: row.mount.clone(),
            used: row.used.saturating_mul(1024),
            free: row.free.saturating_mul(1024),
            inodes: inodes
                .map(|row| (row.used, row.free))
                .filter(|(used, free)| used + free > 0),
        });
    }
    found.disks.sort_by(|a, b| b.full().total_cmp(&a.full()));
    found
}

struct Row {
    source: String,
    kind: String,
    used: u64,
    free: u64,
    mount: String,
}

impl Row {
    /// Whether it holds what people or services write, and can fill up.
    fn is_real(&self) -> bool {
        let is_below =
            |folder: &str| self.mount == folder || self.mount.starts_with(&format!("{folder}/"));
        if self.used + self.free == 0
            || ["/proc", "/sys", "/dev", "/snap"]
                .iter()
                .any(|f| is_below(f))
        {
            return false;
        }
        match self.kind.as_str() {
            // The root of a container; every other is the file system of one, on a disk that is listed by itself.
            "overlay" | "aufs" => self.mount == "/",
            "tmpfs" | "ramfs" | "devtmpfs" => !is_below("/run") && !is_below("/var/run"),
            "squashfs" | "iso9660" | "udf" | "cramfs" | "erofs" | "efivarfs" => false,
            // What a program serves may hang, and is no disk of this machine.
            kind => !kind.starts_with("fuse.") && !kind.starts_with("nfs") && kind != "cifs",
        }
    }
}

/// `Filesystem Type 1024-blocks Used Available Capacity Mounted on`.
fn rows(text: &str) -> Vec<Row> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (source, kind, _) = (words.next()?, words.next()?, words.next()?);
            let (used, free) = (words.next()?, words.next()?);
            let (_, mount) = (words.next()?, words.next()?);
            // A mount's path may hold blanks.
            let at = line.rfind(&format!(" {mount}"))? + 1;
            Some(Row {
                source: source.to_owned(),
                kind: kind.to_owned(),
                used: used.parse().ok()?,
                free: free.parse().ok()?,
                mount: line[at..].trim_end().to_owned(),
            })
        })
        .collect()
}

/// Two lines `cpu  user nice system idle iowait irq softirq steal …`.
fn read_cpu(text: &str) -> Option<f64> {
    let mut samples = text.lines().map(|line| -> Option<(u64, u64)> {
        let numbers: Vec<u64> = line
            .strip_prefix("cpu ")?
            .split_whitespace()
            .take(8)
            .map(|word| word.parse().unwrap_or(0))
            .collect();
        let idle = numbers.get(3)? + numbers.get(4).unwrap_or(&0);
        Some((numbers.iter().sum(), idle))
    });
    let (before, after) = (samples.next()??, samples.next()??);
    let total = after.0.checked_sub(before.0).filter(|total| *total > 0)?;
    let idle = after.1.saturating_sub(before.1);
    Some(1.0 - (idle as f64 / total as f64).min(1.0))
}

fn read_memory(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

/// `full avg10=0.00 avg60=1.25 avg300=0.03 total=…`, in per cent.
fn read_pressure(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("full "))?;
    let word = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("avg60="))?;
    word.parse::<f64>().ok().map(|percent| percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
== bytes
Filesystem     Type     1024-blocks     Used Available Capacity Mounted on
/dev/sda1      ext4       100000000 80000000  20000000      80% /
/dev/sda1      ext4       100000000 80000000  20000000      80% /var/lib/docker/volumes
/dev/sdb1      xfs           100000    96000      4000      96% /srv/my data
tmpfs          tmpfs          65536        0     65536       0% /dev/shm
tmpfs          tmpfs          65536        0     65536       0% /run/user/0
tmpfs          tmpfs           1024     1024         0     100% /tmp/full
overlay        overlay    100000000 80000000  20000000      80% /var/lib/docker/overlay2/x/merged
/dev/loop0     squashfs         100      100         0     100% /snap/core
nas:/x         nfs4             100      100         0     100% /nas
== inodes
Filesystem     Type  Inodes IUsed IFree IUse% Mounted on
/dev/sda1      ext4    1000   900   100   90% /
/dev/sdb1      xfs        0     0     0     - /srv/my data
== cpu
cpu  100 0 100 700 100 0 0 0 0 0
cpu  125 0 125 725 125 0 0 0 0 0
== cores
2
== load
1.50 1.20 0.90 2/345 6789
== memory
MemTotal:        8000000 kB
MemFree:          500000 kB
MemAvailable:    2000000 kB
== pressure memory
some avg10=0.00 avg60=2.00 avg300=0.00 total=1
full avg10=0.00 avg60=1.00 avg300=0.00 total=1
== pressure io
";

    #[test]
    fn what_can_fill_up_is_listed_once_the_fullest_first() {
        let found = read(SAID);
        let disks: Vec<(&str, f64)> = found
            .disks
            .iter()
            .map(|disk| (disk.mount.as_str(), disk.full()))
            .collect();
        assert_eq!(
            disks,
            [("/tmp/full", 1.0), ("/srv/my data", 0.96), ("/", 0.8)]
        );
        assert_eq!(found.disks[2].inodes_full(), Some(0.9));
        assert_eq!(found.disks[1].inodes_full(), None);
    }

    #[test]
    fn the_rest_is_read_where_it_is_there() {
        let found = read(SAID);
        assert_eq!(found.cpu, Some(0.5));
        assert_eq!((found.cores, found.load), (Some(2), Some(1.5)));
        assert_eq!(found.memory, Some((8_192_000_000, 2_048_000_000)));
        assert_eq!(found.pressure, [("memory".to_owned(), 0.01)]);
        assert_eq!(read(""), MachineUse::default());
        assert_eq!(
            read("== cpu\ncpu  1 2 3 4\n== memory\n\n== load\n"),
            MachineUse::default()
        );
    }
}
