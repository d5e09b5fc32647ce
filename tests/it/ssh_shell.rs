//! What stands between a command and its program on another machine: arguments as they are, and shells that change them.

use crate::compose_story::list;
use crate::harness::missing;
use crate::ssh::fleet;
use std::time::Duration;

/// Whatever stands in an argument arrives there as it is.
#[test]
fn arguments_arrive_byte_for_byte() {
    use lastgood::domain::host::HostName;
    use lastgood::host::{Command, Host, ssh::Session};
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    if missing(&["sshd"]) {
        return;
    }
    let (_sandbox, mut fleet) = fleet("ssh-argv");
    let _sshd = fleet.start("prod-1", 17, &[]);
    let session = Session::new(
        HostName::parse("prod-1").unwrap(),
        "prod-1",
        Some(fleet.path("config")),
    );
    let host = Host::Ssh(std::sync::Arc::new(session));
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut argument = || {
        let mut bytes = Vec::new();
        for _ in 0..random(24) {
            match random(3) {
                0 => bytes.push(b"'\"\\!$`;&|<>(){}[]*?~#=%^ \t\n\r"[random(27) as usize]),
                // Any byte but NUL, text or not.
                1 => bytes.push(1 + random(255) as u8),
                _ => {
                    let any = char::from_u32(0x20 + random(0x2fe0) as u32).unwrap_or('x');
                    bytes.extend(any.to_string().into_bytes());
                }
            }
        }
        OsString::from_vec(bytes)
    };
    let vectors: Vec<Vec<OsString>> = (0..2000)
        .map(|n| (0..1 + n % 5).map(|_| argument()).collect())
        .collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for part in vectors.chunks(250) {
            let (host, part) = (host.clone(), part.to_vec());
            tasks.spawn(async move {
                // Twenty at once: a channel takes longer than what it carries.
                for some in part.chunks(20) {
                    let words: Vec<&OsString> = some.iter().flatten().collect();
                    let line = r#"for a; do printf '%s\0' "$a"; done"#;
                    let command = Command::shell_with(line, &words, Duration::from_secs(20));
                    let output = host.query(&command).await.unwrap();
                    let ended = words.iter().map(|word| [word.as_bytes(), b"\0"].concat());
                    let expected = ended.collect::<Vec<_>>().concat();
                    assert_eq!(output.stdout, expected, "{some:?}");
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
}

/// fish reads `\\` between quotes as one: what is shown may be trusted to it, a change not.
#[test]
fn nothing_is_changed_through_a_shell_that_changes_arguments() {
    if missing(&["fish", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-fish");
    let _fish = fleet.start(
        "fish",
        22,
        &[r#"ForceCommand fish -c "$SSH_ORIGINAL_COMMAND""#],
    );
    let mark = sandbox.work().join("mark");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[hosts.fish]\n[services.\"fish:exec/bot\"]\nstatus = \"echo up\"\nrestart = \"touch {}\"\n",
            mark.display()
        ),
    );
    let found = sandbox
        .run(&["services", "--format", "json"])
        .json("services");
    let own = list(&found["services"])
        .iter()
        .find(|s| s["id"] == "fish:exec/bot");
    assert_eq!(
        own.unwrap_or_else(|| panic!("{found:#}"))["state"],
        "running"
    );
    let run = sandbox.run(&["restart", "fish:exec/bot", "--yes"]);
    assert_eq!(run.code, 4, "{run}");
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(
        said.contains("does not hand on arguments as they are"),
        "{run}"
    );
    assert!(!mark.exists());
}
