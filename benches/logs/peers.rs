//! The tools an engineer would open instead: found, or installed where that is possible, or said not to be here.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Options;

/// A program to compare with.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// `None` where it cannot be had.
    pub(crate) program: Option<PathBuf>,
}

/// All that a run may compare with.
pub(crate) struct Peers {
    pub(crate) lnav: Peer,
    pub(crate) less: Peer,
    pub(crate) wc: Peer,
    pub(crate) grep: Peer,
    pub(crate) ripgrep: Peer,
    pub(crate) curl: Peer,
    pub(crate) docker: Peer,
    pub(crate) oxker: Peer,
}

impl Peers {
    /// Looks for every peer and installs the missing ones, unless told not to.
    pub(crate) fn find(options: &Options) -> Peers {
        let wanted = [
            ("lnav", "lnav"),
            ("less", "less"),
            ("grep", "grep"),
            ("rg", "ripgrep"),
            ("curl", "curl"),
        ];
        let missing: Vec<&str> = wanted
            .iter()
            .filter(|(program, _)| on_path(program).is_none())
            .map(|(_, package)| *package)
            .collect();
        if !missing.is_empty() && !options.no_install {
            install(&missing);
        }
        let peer = |name, program| Peer {
            name,
            program: on_path(program),
        };
        Peers {
            lnav: peer("lnav", "lnav"),
            less: peer("less", "less"),
            wc: peer("wc -l", "wc"),
            grep: peer("grep", "grep"),
            ripgrep: peer("rg", "rg"),
            curl: peer("logs API", "curl"),
            docker: peer("docker logs -f", "docker"),
            oxker: Peer {
                name: "oxker",
                program: oxker(options),
            },
        }
    }

    /// What each of them says its version is.
    pub(crate) fn versions(&self) -> Vec<String> {
        let asked = [
            &self.lnav,
            &self.less,
            &self.grep,
            &self.ripgrep,
            &self.docker,
            &self.oxker,
        ];
        asked.into_iter().filter_map(version).collect()
    }
}

fn version(peer: &Peer) -> Option<String> {
    let output = Command::new(peer.program.as_ref()?)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().next()?.trim().to_owned())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// With apt-get, as root or through sudo without a password. What fails is a peer that is not here.
fn install(packages: &[&str]) {
    if on_path("apt-get").is_none() {
        return;
    }
    eprintln!("installing {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = if rustix::process::geteuid().is_root() {
            Command::new("apt-get")
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "apt-get"]);
            sudo
        };
        command
            .args(["-qq", "-o", "DPkg::Lock::Timeout=180"])
            .args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command.status().is_ok_and(|status| status.success())
    };
    let mut arguments = vec!["-y", "--no-install-recommends", "install"];
    arguments.extend(packages);
    if !(apt(&["update"]) && apt(&arguments)) {
        eprintln!("apt-get failed: what is missing is shown as not here");
    }
}

/// On the path, or in a folder of its own in the user's cache, where it is built when asked for.
fn oxker(options: &Options) -> Option<PathBuf> {
    if let Some(found) = on_path("oxker") {
        return Some(found);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let root = cache.join("lastgood-bench");
    let program = root.join("bin/oxker");
    if !program.is_file() && options.with_oxker {
        eprintln!("building oxker (minutes)");
        let mut command = Command::new("cargo");
        command
            .args(["install", "--locked", "--quiet", "oxker", "--root"])
            .arg(&root);
        let _ = command.stdin(Stdio::null()).status();
    }
    program.is_file().then_some(program)
}
