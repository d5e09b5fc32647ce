//! What it costs a machine behind ssh to come to the list, and to change there: commands, with the login shell that each of
//! them starts, and connections to its engine.

use crate::harness::{Project, Terminal, missing, wait_for};
use crate::ssh::{WRITES, fleet};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Several times what the second look took, when there was one.
const REST: Duration = Duration::from_secs(3);

/// The last words of each command that was run there, and the sockets that were connected to.
#[derive(Debug, Default)]
struct Asked {
    commands: Vec<String>,
    sockets: Vec<String>,
}

fn asked(commands: &Path, log: &Path) -> Asked {
    let commands = fs::read_to_string(commands).unwrap_or_default();
    let log = fs::read_to_string(log).unwrap();
    let target = |line: &str| Some(line.rsplit_once("target ")?.1.trim().to_owned());
    Asked {
        commands: commands
            .split('\0')
            .filter(|c| !c.is_empty())
            .map(str::to_owned)
            .collect(),
        sockets: log
            .lines()
            .filter(|line| line.contains("server_request_direct_streamlocal"))
            .filter_map(target)
            .collect(),
    }
}

#[test]
fn a_machine_comes_to_the_list_with_one_command_and_a_change_costs_none() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-start");
    let mut project = Project::of_one(&sandbox, "ssh-start");
    project.image(WRITES);
    project.up();
    // What is older than the console is no change.
    std::thread::sleep(Duration::from_secs(4));
    let commands = sandbox.path("commands");
    let tell = format!(
        "ForceCommand printf '%s\\0' \"$SSH_ORIGINAL_COMMAND\" >> {}; eval \"$SSH_ORIGINAL_COMMAND\"",
        commands.display()
    );
    // Neither what our own login shell does first nor our own PM2 is its matter.
    let home = format!("SetEnv HOME={}", sandbox.path(".").display());
    let sshd = fleet.start("prod-1", 70, &["LogLevel DEBUG1", &tell, &home]);
    sandbox.write("lastgood.toml", "[hosts.prod-1]\n");
    let log = sshd.folder().join("log");
    let console = Terminal::start(&sandbox, &["tui", "--only", "services"], (160, 400));
    console.wait_for("prod-1:lastgood-test");
    std::thread::sleep(REST);
    let first = asked(&commands, &log);
    // Who is there, its engine and its PM2; then the environment file of each project that is seen there.
    let of_files = |command: &&String| command.contains("/.env'");
    let others: Vec<&String> = first.commands.iter().filter(|c| !of_files(c)).collect();
    assert_eq!(others.len(), 1, "{first:#?}");
    let engine = |asked: &Asked| {
        let all = asked.sockets.iter();
        all.filter(|socket| socket.ends_with("docker.sock")).count()
    };
    // Which version it speaks; all that runs; what changes. Containers of other tests come and go meanwhile, each of which
    // may be one more.
    assert!((3..=12).contains(&engine(&first)), "{first:#?}");

    let restart = ["restart", "-t", "0", "backend"];
    project.compose(&restart);
    wait_for("the new look", Duration::from_secs(20), || {
        (engine(&asked(&commands, &log)) > engine(&first)).then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    let second = asked(&commands, &log);
    let others: Vec<&String> = second.commands.iter().filter(|c| !of_files(c)).collect();
    assert_eq!(
        others.len(),
        1,
        "the engine's change asked others: {second:#?}"
    );
}
