//! The built-in shop as it really runs: processes of the binary, a deploy, a rollback, and nothing left behind.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lastgood::demo::{BAD, GOOD, Member, Shop};

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lastgood"))
}

/// Processes whose command line names the folder.
fn processes(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let bytes = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
        if line.contains(folder.as_ref()) {
            found.push(line);
        }
    }
    found
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn get(shop: &Shop, member: Member, path: &str) -> String {
    let mut stream = TcpStream::connect(shop.address(member)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_serves_deploys_rolls_back_and_leaves_nothing() {
    let shop = Shop::start(program(), false).await.unwrap();
    let folder = shop.folder().clone();
    assert_eq!(
        processes(folder.root()).len(),
        4,
        "{:?}",
        processes(folder.root())
    );

    assert!(get(&shop, Member::Gateway, "/health").starts_with("HTTP/1.1 200"));
    assert!(get(&shop, Member::Worker, "/health").contains("\"queue\":"));
    for member in Member::SERVICES {
        wait_until("every log grows", || lines(&folder.log(member)) > 20);
    }
    let api_log = || fs::read_to_string(folder.log(Member::Api)).unwrap();
    assert!(api_log().contains(" INFO GET /api/"), "{}", api_log());
    assert!(
        !api_log().contains(" ERROR "),
        "the good release logs no error"
    );

    assert_eq!(shop.command(&["release", "api"]).await.unwrap(), GOOD);
    // The other verbs work on it from another terminal.
    let services = std::process::Command::new(program())
        .arg("--config")
        .arg(folder.config())
        .arg("--state-dir")
        .arg(folder.state())
        .args(["services", "--format", "json"])
        .env("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock")
        .output()
        .unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&services.stdout).unwrap();
    let api = &seen["services"][0];
    assert_eq!(
        (&api["id"], &api["state"]),
        (&"exec/api".into(), &"running".into()),
        "{seen}"
    );

    assert_eq!(
        shop.command(&["deploy", BAD]).await.unwrap(),
        "deployed 1.5"
    );
    assert_eq!(shop.command(&["release", "api"]).await.unwrap(), BAD);
    assert!(
        fs::read_to_string(folder.api_env())
            .unwrap()
            .contains("POOL_SIZE=100")
    );
    for error in [
        "ERROR NoneType has no attribute 'id'",
        "ERROR Division by zero in calculate_discount()",
        "ERROR Invalid JSON response from payment service",
    ] {
        wait_until(error, || api_log().contains(error));
    }
    let access = || fs::read_to_string(folder.log(Member::Gateway)).unwrap();
    wait_until("the gateway passes the errors on", || {
        access().contains("\" 500 ")
    });

    let error = shop.command(&["roll-back", "api"]).await.unwrap_err();
    assert!(error.to_string().contains("LASTGOOD_RELEASE"), "{error}");
    assert_eq!(shop.command(&["release", "api"]).await.unwrap(), BAD);
    let done = std::process::Command::new(folder.script())
        .args(["roll-back", "api"])
        .env("LASTGOOD_RELEASE", GOOD)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(shop.command(&["release", "api"]).await.unwrap(), GOOD);

    shop.command(&["stop", "worker"]).await.unwrap();
    assert!(shop.command(&["status", "worker"]).await.is_err());
    assert!(
        shop.command(&["status", "api"])
            .await
            .unwrap()
            .starts_with("pid ")
    );

    shop.stop().await.unwrap();
    assert!(!folder.root().exists());
    wait_until("no process is left", || processes(folder.root()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_shop_leaves_nothing_either() {
    let shop = Shop::start(program(), false).await.unwrap();
    let root: PathBuf = shop.folder().root().to_owned();
    drop(shop);
    assert!(!root.exists());
    wait_until("no process is left", || processes(&root).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_whose_owner_was_killed_ends_itself() {
    let shop = Shop::start(program(), false).await.unwrap();
    let root: PathBuf = shop.folder().root().to_owned();
    // An owner that is gone: no process has been started before the machine was.
    fs::write(root.join("owner"), "1 1 owner\n").unwrap();
    wait_until("the processes end", || processes(&root).is_empty());
    wait_until("the folder is removed", || !root.exists());
    drop(shop);
}

/// Starts `demo --headless` with temporary files of its own, and waits until its shop runs.
fn start_story() -> (std::process::Child, PathBuf, tempfile::TempDir) {
    let tmp = tempfile::Builder::new()
        .prefix("lastgood-test-demo-")
        .tempdir()
        .unwrap();
    let story = std::process::Command::new(program())
        .args(["demo", "--headless"])
        .env("TMPDIR", tmp.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut root = None;
    wait_until("the shop runs", || {
        root = fs::read_dir(tmp.path())
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| lines(&path.join("logs/api.log")) > 5);
        root.is_some()
    });
    (story, root.unwrap(), tmp)
}

fn signal(child: &std::process::Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
fn a_story_that_is_ended_takes_its_shop_along() {
    let (mut story, root, _tmp) = start_story();
    signal(&story, rustix::process::Signal::TERM);
    assert_eq!(story.wait().unwrap().code(), Some(143));
    assert!(!root.exists());
    wait_until("no process is left", || processes(&root).is_empty());
}

#[test]
fn a_story_that_is_killed_leaves_nothing() {
    let (mut story, root, _tmp) = start_story();
    signal(&story, rustix::process::Signal::KILL);
    story.wait().unwrap();
    wait_until("the processes end", || processes(&root).is_empty());
    assert!(!root.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_folder_stays_and_its_processes_do_not() {
    let shop = Shop::start(program(), true).await.unwrap();
    let root: PathBuf = shop.folder().root().to_owned();
    shop.stop().await.unwrap();
    assert!(root.join("logs/api.log").is_file());
    wait_until("no process is left", || processes(&root).is_empty());
    fs::remove_dir_all(&root).unwrap();
}
