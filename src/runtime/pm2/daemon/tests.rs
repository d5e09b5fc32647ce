use super::*;

#[test]
fn a_daemon_names_its_home_in_its_title() {
    let home = |title: &[u8]| home_in_title(title);
    assert_eq!(
        home(b"PM2 v7.0.4: God Daemon (/root/.pm2)\0\0\0   \0"),
        Some(PathBuf::from("/root/.pm2"))
    );
    assert_eq!(
        home(b"PM2 v5.3.0: God Daemon (/srv/a (b)/.pm2)"),
        Some(PathBuf::from("/srv/a (b)/.pm2"))
    );
    assert_eq!(home(b"grep\0PM2 v7: God Daemon (/x)"), None);
    assert_eq!(home(b"PM2 v7.0.4: God Daemon (/srv/cut"), None);
    assert_eq!(home(b"node\0/srv/app.js\0"), None);
}

#[test]
fn a_daemon_in_a_container_is_none_of_this_machine() {
    assert!(is_in_a_container("Name:\tnode\nNSpid:\t4711\t17\n"));
    assert!(!is_in_a_container("Name:\tnode\nNSpid:\t4711\n"));
    assert!(!is_in_a_container("Name:\tnode\n"));
}

#[test]
fn one_home_is_found_once_and_a_missing_one_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&home, &link).unwrap();
    let found = gather(
        Some(link),
        Some(dir.path().join("none")),
        vec![Running {
            pid: 7,
            uid: 0,
            home,
        }],
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].pid, found[0].is_named), (Some(7), true));
}

async fn told(home: &Path, is_named: bool) -> Option<String> {
    let daemon = Daemon {
        home: home.to_owned(),
        user: "anna".to_owned(),
        pid: None,
        is_named,
        there: None,
    };
    let error = daemon.list().await.unwrap_err();
    let told = daemon.explain(error, &HostName::local()).await?;
    Some(format!("{}; {}", told.error, told.fix))
}

#[tokio::test]
async fn a_home_without_a_daemon_is_unreachable_and_says_what_was_saved() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("dump.pm2"),
        r#"[{"name":"api"},{"name":"web"}]"#,
    )
    .unwrap();
    let text = told(dir.path(), false).await.unwrap();
    assert!(
        text.starts_with("PM2 daemon not running for user anna (dump.pm2 lists 2 apps); PM2_HOME="),
        "{text}"
    );
    assert!(text.ends_with(" pm2 resurrect"), "{text}");
}

#[tokio::test]
async fn a_home_in_which_nothing_ever_ran_is_no_outage_unless_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("logs")).unwrap();
    assert_eq!(told(dir.path(), false).await, None);
    assert!(
        told(dir.path(), true)
            .await
            .unwrap()
            .contains("nothing was saved")
    );
    fs::write(dir.path().join("logs/api-out.log"), "").unwrap();
    assert!(told(dir.path(), false).await.is_some());
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_a_daemon_that_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("rpc.sock")).unwrap());
    assert!(
        told(dir.path(), false)
            .await
            .unwrap()
            .contains("not running")
    );
}
