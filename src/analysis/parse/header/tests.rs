use super::*;

fn split(lines: &[&str], line: &str) -> (Option<i64>, Option<Level>, String) {
    let header = Header::learn(lines.iter().map(|l| l.as_bytes()));
    let mut times = TimeReader::utc();
    let head = header.split(line.as_bytes(), &mut times);
    (head.at, head.level, line[head.message..].to_owned())
}

fn own(line: &str) -> (Option<Level>, String) {
    let (at, level, message) = split(&[line, line, line], line);
    assert!(at.is_some(), "no time: {line}");
    (level, message)
}

#[test]
fn headers_of_every_format_are_learned() {
    for (line, level, message) in [
        (
            "[15:35] ERROR: Authentication failed",
            Some(Level::Error),
            "Authentication failed",
        ),
        (
            "2025-12-27 14:50:00,123 INFO [worker-3] app.auth: User x",
            Some(Level::Info),
            "app.auth: User x",
        ),
        (
            "2025-12-27 14:50:00.123  INFO 1 --- [nio-8080-exec-1] c.e.Foo : started",
            Some(Level::Info),
            "started",
        ),
        (
            "2015-07-29 17:41:44,747 - INFO  [Peer[myid=1]/0:0:FastLeader@774] - Notification",
            Some(Level::Info),
            "Notification",
        ),
        (
            "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: check pass",
            None,
            "check pass",
        ),
        (
            "[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok",
            Some(Level::Info),
            "workerEnv.init() ok",
        ),
        (
            "2025/12/27 14:50:00 [error] 29#29: *1 open() failed",
            Some(Level::Error),
            "29#29: *1 open() failed",
        ),
        (
            "I1227 14:50:00.123456 1 server.go:12] started",
            Some(Level::Info),
            "server.go:12] started",
        ),
        (
            "2025-12-27 14:50:00.123 UTC [77] LOG:  checkpoint complete",
            Some(Level::Info),
            "checkpoint complete",
        ),
        (
            "1:M 27 Dec 2025 14:50:00.123 * Ready to accept",
            Some(Level::Info),
            "Ready to accept",
        ),
        (
            "081109 203615 148 INFO dfs.DataNode: block",
            Some(Level::Info),
            "dfs.DataNode: block",
        ),
        (
            "03-17 16:13:38.811  1702  2395 D WindowManager: x",
            Some(Level::Debug),
            "WindowManager: x",
        ),
        (
            "[2025-12-27 14:50:00] production.ERROR: Mail refused",
            Some(Level::Error),
            "Mail refused",
        ),
        (
            "2025-12-27 14:50:00.1234|ERROR|Shop.Cart|Cart is empty",
            Some(Level::Error),
            "Shop.Cart|Cart is empty",
        ),
        (
            "[2025-12-27T14:50:00Z ERROR shop] pool exhausted",
            Some(Level::Error),
            "pool exhausted",
        ),
        (
            "[14:50:00 ERR] Cart is empty",
            Some(Level::Error),
            "Cart is empty",
        ),
        (
            "[2025-12-27 14:50:00,123: ERROR/MainProcess] Task raised",
            Some(Level::Error),
            "Task raised",
        ),
        (
            "[Sat Dec 27 14:50:00.123456 2025] [proxy:error] [pid 12:tid 34] AH01114: failed",
            Some(Level::Error),
            "AH01114: failed",
        ),
        (
            "2025-12-27 14:50:00 [error    ] cart is empty",
            Some(Level::Error),
            "cart is empty",
        ),
        (
            "ERROR[12-27|14:50:00.123] Block rejected",
            Some(Level::Error),
            "Block rejected",
        ),
        (
            "[27-Dec-2025 14:50:00 UTC] PHP Fatal error:  Uncaught TypeError",
            Some(Level::Error),
            "Uncaught TypeError",
        ),
        (
            "27-Dec-2025 14:50:00.123 SEVERE [main] Filter failed",
            Some(Level::Error),
            "Filter failed",
        ),
        (
            "<11>1 2025-12-27T14:50:00.123Z web1 shop 123 ID47 - pool exhausted",
            Some(Level::Error),
            "web1 shop 123 ID47 - pool exhausted",
        ),
        (
            "<11>Dec 27 14:50:00 web1 shop[12]: pool exhausted",
            Some(Level::Error),
            "pool exhausted",
        ),
        (
            "- 1117838570 2005.06.03 R02-M1 2005-06-03-15.42.50.675872 R02-M1 RAS KERNEL INFO parity",
            Some(Level::Info),
            "parity",
        ),
    ] {
        assert_eq!(own(line), (level, message.to_owned()), "{line}");
    }
}

#[test]
fn a_stream_without_header_keeps_its_words() {
    let lines = [
        "Connection 7 failed",
        "Connection 8 failed",
        "Connection 9 failed",
    ];
    assert_eq!(split(&lines, lines[0]), (None, None, lines[0].to_owned()));
}

#[test]
fn a_level_is_found_without_learning() {
    assert_eq!(
        split(&[], "ERROR:root:disk full"),
        (None, Some(Level::Error), "root:disk full".into())
    );
    assert_eq!(
        split(&[], "WARNING: low"),
        (None, Some(Level::Warn), "low".into())
    );
    assert_eq!(
        split(&[], "all errors are fine"),
        (None, None, "all errors are fine".into())
    );
}

#[test]
fn a_line_that_departs_is_cut_where_it_departs() {
    let line = "2025-12-27 14:50:00,123 INFO [w-1] ok";
    let (at, level, message) = split(&[line; 40], "2025-12-27 14:50:00,123 starting up now");
    assert!(at.is_some());
    assert_eq!((level, message.as_str()), (None, "starting up now"));
}

#[test]
fn what_can_only_be_a_header_needs_no_learning() {
    let header = Header::default();
    for (line, level, message) in [
        (
            "[2025-12-27 14:50:00 +0000] [7] [ERROR] failed",
            Level::Error,
            "failed",
        ),
        (
            "[2025-12-27 14:50:00.123][7][error][http] failed",
            Level::Error,
            "[http] failed",
        ),
        (
            "2025-12-27T14:50:00Z app[web.1]: ERROR -- failed",
            Level::Error,
            "-- failed",
        ),
        // What `key=value` says belongs to the message.
        (
            "2025-12-27T14:50:00Z pid=1 elapsed=0.12 WARN: slow",
            Level::Warn,
            "pid=1 elapsed=0.12 WARN: slow",
        ),
    ] {
        let head = header.split(line.as_bytes(), &mut TimeReader::utc());
        assert_eq!(
            (head.level, &line[head.message..]),
            (Some(level), message),
            "{line}"
        );
    }
    let line = "2025-12-27T14:50:00Z the word ERROR in a sentence";
    let head = header.split(line.as_bytes(), &mut TimeReader::utc());
    assert_eq!(head.level, None);
}

#[test]
fn an_access_log_is_cut_alike_whatever_stands_between() {
    let line = |n: usize| {
        format!("10.0.0.{n} - - [27/Dec/2025:14:50:00 +0000] \"GET /{n} HTTP/1.1\" 200 {n}")
    };
    let error = |n: usize| format!("2025/12/27 14:50:00 [error] 29#29: *{n} upstream is gone");
    let pure: Vec<String> = (0..100).map(line).collect();
    let mixed: Vec<String> = (0..100)
        .map(|n| if n % 9 == 0 { error(n) } else { line(n) })
        .collect();
    for lines in [pure, mixed] {
        let header = Header::learn(lines.iter().map(|l| l.as_bytes()));
        let text = line(7);
        let head = header.split(text.as_bytes(), &mut TimeReader::utc());
        assert!(
            text[head.message..].starts_with("\"GET /7"),
            "{}",
            &text[head.message..]
        );
        assert!(head.at.is_some());
    }
}

#[test]
fn numbers_that_vary_begin_the_message() {
    let line = |n: usize| format!("2025-12-27 14:50:00 INFO {n} keys were dropped").into_bytes();
    let lines: Vec<Vec<u8>> = (0..100).map(line).collect();
    let header = Header::learn(lines.iter().map(Vec::as_slice));
    let head = header.split(&lines[7], &mut TimeReader::utc());
    assert_eq!(&lines[7][head.message..], b"7 keys were dropped");
    let line =
        |n: usize| format!("2025-12-27 14:50:00 INFO {} keys were dropped", n % 4).into_bytes();
    let lines: Vec<Vec<u8>> = (0..100).map(line).collect();
    let header = Header::learn(lines.iter().map(Vec::as_slice));
    let head = header.split(&lines[7], &mut TimeReader::utc());
    assert_eq!(&lines[7][head.message..], b"keys were dropped");
}
