//! The built-in shop tells the story by itself and leaves nothing behind.

use crate::harness::{Sandbox, Terminal};
use std::fs;
use std::time::Duration;

#[test]
fn the_demo_tells_the_story_without_a_terminal() {
    // No Docker here: the demo needs nothing but the binary.
    let sandbox =
        Sandbox::new("demo").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let run = sandbox.run(&["demo", "--headless"]).exits(0);
    let told = format!("{}{}", run.stdout, run.stderr).to_lowercase();
    for word in ["checkpoint", "roll back", "p0", "verified", "keep"] {
        assert!(told.contains(word), "{word}: {run}");
    }
    assert!(run.took < Duration::from_secs(60), "{run}");
    assert_eq!(
        processes_of(&sandbox),
        Vec::<String>::new(),
        "processes are left behind"
    );
    let left: Vec<_> = fs::read_dir(sandbox.path("tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(left.is_empty(), "files are left behind: {left:?}");
}

#[test]
fn the_demo_opens_the_console_on_a_live_shop() {
    let sandbox =
        Sandbox::new("demotui").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let mut terminal = Terminal::start(&sandbox, &["demo"], (120, 40));
    for word in ["api", "worker", "gateway", "LOCKED"] {
        terminal.wait_for(word);
    }
    assert!(
        processes_of(&sandbox).len() >= 4,
        "the shop is real processes"
    );
    terminal.keys("q");
    let code = terminal.exit_code();
    assert_eq!(code, 0, "{}", terminal.screen());
    terminal.is_left_sane();
    assert_eq!(
        processes_of(&sandbox),
        Vec::<String>::new(),
        "processes are left behind"
    );
}

/// Command lines of the processes that belong to this sandbox: by their environment, their arguments or their folder.
fn processes_of(sandbox: &Sandbox) -> Vec<String> {
    let home = sandbox.path("").display().to_string();
    let home = home.trim_end_matches('/');
    let belongs = |process: &std::path::Path| {
        let holds = |name: &str| {
            let bytes = fs::read(process.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).contains(home)
        };
        let folder = fs::read_link(process.join("cwd")).unwrap_or_default();
        holds("environ") || holds("cmdline") || folder.starts_with(home)
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    let processes = all.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.bytes().all(|byte| byte.is_ascii_digit()) && belongs(path)
    });
    let line = |process: std::path::PathBuf| fs::read(process.join("cmdline")).unwrap_or_default();
    processes
        .map(|process| String::from_utf8_lossy(&line(process)).replace('\0', " "))
        .collect()
}
