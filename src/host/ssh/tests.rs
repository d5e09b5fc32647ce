use super::*;

#[test]
fn the_port_is_taken_off_the_destination() {
    assert_eq!(split_port("prod-1"), ("prod-1", None));
    assert_eq!(
        split_port("deploy@prod-1:2222"),
        ("deploy@prod-1", Some(2222))
    );
    assert_eq!(
        split_port("root@[fe80::1]:22"),
        ("root@[fe80::1]", Some(22))
    );
    assert_eq!(split_port("root@[fe80::1]"), ("root@[fe80::1]", None));
}

#[test]
fn what_stat_prints_is_read() {
    let found = parse_stat("12 640 0 33 4711 1700000000 regular file").unwrap();
    assert_eq!((found.size, found.mode, found.gid), (12, 0o640, 33));
    assert!(!found.is_folder);
    assert!(parse_stat("nonsense").is_none());
}

#[tokio::test]
async fn an_option_does_not_pass_for_a_destination() {
    let session = Session::new(HostName::local(), "-oProxyCommand=touch /tmp/x", None);
    let error = session
        .run(&Command::new(["true"], FILE_TIMEOUT))
        .await
        .unwrap_err();
    assert!(matches!(error, HostError::Lost { .. }), "{error}");
}

/// Takes connections and says nothing, as a machine does that swaps itself to death.
fn silent() -> (String, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for connection in listener.incoming() {
            open.push(connection);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (format!("127.0.0.1:{port}"), taken)
}

#[tokio::test]
async fn a_silent_machine_is_not_asked_again_at_once_unless_a_change_waits_for_it() {
    let (address, taken) = silent();
    let session = Arc::new(Session::new(HostName::local(), address, None));
    let ask = async || {
        let asked = session.run(&Command::new(["true"], FILE_TIMEOUT)).await;
        assert!(matches!(asked, Err(HostError::Lost { .. })), "{asked:?}");
    };
    ask().await;
    let before = taken.load(Ordering::Relaxed);
    assert_eq!(before, 1);
    // One thing after the other, as a look does.
    ask().await;
    ask().await;
    assert_eq!(taken.load(Ordering::Relaxed), before);
    let _patience = session.patience();
    let _ = tokio::time::timeout(Duration::from_secs(1), ask()).await;
    assert!(taken.load(Ordering::Relaxed) > before);
}
