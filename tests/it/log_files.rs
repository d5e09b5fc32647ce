//! Plain log files as sources: named by path or configured, through rotation, packed, from a pipe.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Run, Sandbox};

const LIMIT: Duration = Duration::from_secs(60);

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn numbered(from: u32, to: u32) -> String {
    (from..to).map(|n| format!("line {n}\n")).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Text of the lines, and the kinds of the events.
fn parts(lines: &[Value]) -> (Vec<&str>, Vec<&str>) {
    let texts = lines.iter().filter_map(|line| line["text"].as_str());
    let events = lines.iter().filter_map(|line| line["event"].as_str());
    (texts.collect(), events.collect())
}

fn logs(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["logs", "--format", "json"];
    all.extend(arguments);
    sandbox.run(&all).exits(0).json_lines("logs")
}

fn assert_numbered(texts: &[&str], count: u32) {
    let expected: Vec<String> = (0..count).map(|n| format!("line {n}")).collect();
    assert_eq!(texts, expected);
}

#[test]
fn a_follow_loses_and_doubles_nothing_through_rotation() {
    let sandbox = Sandbox::new("rotation");
    let path = sandbox.write("app.log", numbered(0, 100));
    let mut following = sandbox.follow(&["logs", "--follow", "--format", "json", "./app.log"]);
    let mut until = |n: u32| {
        let last = format!("\"line {n}\"");
        following.until(&last, LIMIT, |line| line.contains(&last));
    };
    until(99);
    // By rename; the program writes on to the old file for a while.
    let old = sandbox.work().join("app.log.1");
    fs::rename(&path, &old).unwrap();
    append(&old, &numbered(100, 200));
    until(199);
    append(&path, &numbered(200, 300));
    until(299);
    // By copytruncate, with lines that nobody has looked at before the truncation.
    append(&path, &numbered(300, 400));
    fs::copy(&path, sandbox.work().join("app.log.2")).unwrap();
    fs::write(&path, "").unwrap();
    append(&path, &numbered(400, 2000));
    until(1999);
    let lines = following.json();
    let (texts, events) = parts(&lines);
    assert_numbered(&texts, 2000);
    assert_eq!(events, ["rotated", "rotated"]);
    assert_eq!(lines[0]["service"], "file/app.log");
}

#[test]
fn a_pattern_takes_up_a_file_that_appears_later() {
    let sandbox = Sandbox::new("pattern");
    sandbox.write("logs/a.log", "a1\n");
    let pattern = sandbox.work().join("logs/*.log");
    sandbox.write(
        "lastgood.toml",
        format!("[services.\"file/all\"]\nlog_files = [{pattern:?}]\n"),
    );
    for name in ["file/all", "logs/*.log"] {
        let mut following = sandbox.follow(&["logs", "-f", "--format", "json", name]);
        following.until("a1", LIMIT, |line| line.contains("a1"));
        sandbox.write("logs/late.log", "late 1\n");
        following.until("late 1", LIMIT, |line| line.contains("late 1"));
        fs::remove_file(sandbox.work().join("logs/late.log")).unwrap();
    }
    let services = sandbox.json(0, "services", &["services"]);
    let found = services["services"].as_array().unwrap();
    let all = found.iter().find(|s| s["name"] == "all").unwrap();
    assert_eq!(
        (&all["runtime"], &all["state"]),
        (&"file".into(), &"running".into())
    );
}

#[test]
fn packed_files_and_standard_input_are_read_to_their_end() {
    let sandbox = Sandbox::new("packed");
    let text = numbered(0, 5000);
    sandbox.write("a.log.gz", gzip(text.as_bytes()));
    sandbox.write("a.log.zst", zstd::encode_all(text.as_bytes(), 1).unwrap());
    for name in ["a.log.gz", "a.log.zst"] {
        assert_numbered(&parts(&logs(&sandbox, &[name])).0, 5000);
        let last = logs(&sandbox, &[name, "--tail", "2"]);
        assert_eq!(parts(&last).0, ["line 4998", "line 4999"]);
    }
    let cut = gzip(text.as_bytes());
    sandbox.write("cut.gz", &cut[..cut.len() / 2]);
    sandbox
        .run(&["logs", "./cut.gz"])
        .exits(4)
        .says(&["cut.gz"]);
    for arguments in [&["logs", "-"][..], &["logs", "--follow", "-"]] {
        let mut command = sandbox.command(arguments);
        command
            .arg("--raw")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || pipe.write_all(numbered(0, 5000).as_bytes()));
        let done = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_eq!(done.stdout, text.as_bytes());
    }
}

#[test]
fn since_reaches_back_into_rotated_files_and_says_what_is_missing() {
    let sandbox = Sandbox::new("since");
    let hour = |hour: u32| format!("2025-12-27T{hour:02}:00:00Z INFO hour {hour}\n");
    sandbox.write("app.log.2.gz", gzip((hour(1) + &hour(2)).as_bytes()));
    sandbox.write("app.log.1", hour(3) + &hour(4));
    sandbox.write("app.log", hour(5) + &hour(6));
    let read = |since: &str| {
        let lines = logs(&sandbox, &["./app.log", "--since", since]);
        let (texts, events) = parts(&lines);
        let hours = texts.iter().map(|text| text.rsplit(' ').next().unwrap());
        let hours: Vec<String> = hours.map(str::to_owned).collect();
        (hours.join(" "), events.join(" "))
    };
    assert_eq!(read("2025-12-27T05:30:00Z"), ("6".into(), String::new()));
    assert_eq!(
        read("2025-12-27T03:30:00Z"),
        ("4 5 6".into(), "rotated".into())
    );
    assert_eq!(
        read("2025-12-27T02:00:00Z"),
        ("2 3 4 5 6".into(), "rotated rotated".into())
    );
    assert_eq!(
        read("2025-12-26T00:00:00Z"),
        ("1 2 3 4 5 6".into(), "gap rotated rotated".into())
    );
    // Without a time it is exactly the file that was named.
    assert_eq!(parts(&logs(&sandbox, &["./app.log"])).0.len(), 2);
}

#[test]
fn odd_bytes_and_long_lines_come_through() {
    let sandbox = Sandbox::new("odd");
    let mut bytes = b"one\r\n\xff\xfe two\r\n".to_vec();
    bytes.resize(bytes.len() + 10 * 1024 * 1024, b'y');
    bytes.extend(b"\nlast");
    sandbox.write("odd.log", &bytes);
    for extra in [&[][..], &["--grep", "."]] {
        let mut arguments = vec!["odd.log"];
        arguments.extend(extra);
        let lines = logs(&sandbox, &arguments);
        let texts = parts(&lines).0;
        assert_eq!(
            (texts[0], texts[1], texts[3]),
            ("one", "\u{fffd}\u{fffd} two", "last")
        );
        assert_eq!(texts[2].len(), 1024 * 1024);
        assert_eq!(lines[2]["cut_bytes"], 9 * 1024 * 1024);
    }
}

#[test]
fn what_is_found_in_place_is_what_is_found_line_by_line() {
    let sandbox = Sandbox::new("grep");
    let mut text = String::new();
    for n in 0..20_000 {
        let second = n % 60;
        text += &match n % 100 {
            7 => format!(
                "2025-12-27T14:00:{second:02}Z ERROR failed {n}\n  at com.Foo.bar(Foo.java:{n})\n"
            ),
            _ => format!("2025-12-27T14:00:{second:02}Z INFO request {n} done\n"),
        };
    }
    sandbox.write("app.log", &text);
    let found = logs(
        &sandbox,
        &["./app.log", "--grep", r"Foo\.java|request \d+5 "],
    );
    // With lines around a match every line is looked at.
    let around = logs(
        &sandbox,
        &["./app.log", "--grep", r"Foo\.java|request \d+5 ", "-A", "1"],
    );
    let around: Vec<Value> = around
        .into_iter()
        .filter(|line| {
            let text = line["text"].as_str().unwrap();
            text.contains("Foo.java") || text.contains("5 done")
        })
        .collect();
    assert_eq!(found.len(), 2199);
    assert_eq!(found, around);
    let trace = found
        .iter()
        .find(|line| line["text"].as_str().unwrap().contains("Foo.java"));
    assert_eq!(trace.unwrap()["level"], "error", "that of its record");
}

#[test]
fn what_is_not_there_is_said_and_names_of_services_go_first() {
    let sandbox = Sandbox::new("names");
    sandbox
        .run(&["logs", "./gone.log"])
        .exits(2)
        .says(&["no such file: ./gone.log"]);
    sandbox
        .run(&["logs", "./gone/*.log"])
        .exits(2)
        .says(&["no file matches"]);
    sandbox.run(&["logs", "./"]).exits(2).says(&["folder"]);
    sandbox
        .run(&["tui", "gone.log"])
        .exits(2)
        .says(&["no such file: gone.log"]);

    sandbox.write("a/app.log", "in a\n");
    sandbox.write("b/app.log", "in b\n");
    sandbox.write("web", "a file\n");
    let web = sandbox.write("nginx.log", "the service\n");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"file/web\"]\nlog_files = [{web:?}]\n[services.\"file/gone\"]\nlog_files = [\"gone.log\"]\n"
        ),
    );
    let both = logs(&sandbox, &["./a/app.log", "./b/app.log"]);
    let names: Vec<&str> = both
        .iter()
        .filter_map(|line| line["service"].as_str())
        .collect();
    assert_eq!(names, ["file/a/app.log", "file/b/app.log"]);
    assert_eq!(parts(&logs(&sandbox, &["web"])).0, ["the service"]);
    let web = logs(&sandbox, &["./web"]);
    assert_eq!(parts(&web).0, ["a file"]);
    sandbox.run(&["logs", "gone"]).exits(4).says(&["gone.log"]);
    let said: Run = sandbox
        .run(&["logs", "wep"])
        .exits(2)
        .says(&["no service", "wep"]);
    assert!(said.stdout.is_empty(), "{said}");
}

#[test]
fn a_checkpoint_of_files_remembers_where_they_ended() {
    let sandbox = Sandbox::new("positions");
    let path = sandbox.write("app.log", "2025-12-27T14:00:00Z INFO before\n");
    sandbox.write(
        "lastgood.toml",
        format!("[services.\"file/app\"]\nlog_files = [{path:?}]\n"),
    );
    let made = sandbox.json(0, "checkpoint", &["checkpoint", "create", "file/app"]);
    assert_eq!(made["services"][0]["log"]["lines"], 1, "{made:#}");
    append(&path, "2025-12-27T14:00:01Z ERROR after\n");
    fs::rename(&path, sandbox.work().join("app.log.1")).unwrap();
    append(&path, "2025-12-27T14:00:02Z INFO after rotation\n");
    let run = sandbox.run(&["compare", "--format", "json"]);
    let compared = run.json("compare");
    assert_eq!(compared["after"]["records"], 2, "{compared:#}");
    assert_eq!(compared["after"]["levels"]["error"], 1, "{compared:#}");
}

#[test]
fn two_follows_are_merged_by_time() {
    let sandbox = Sandbox::new("merge");
    let line = |second: u32| format!("2025-12-27T14:00:{second:02}Z INFO second {second}\n");
    let history = |from: u32| (from..20).step_by(2).map(line).collect::<String>();
    let (a, b) = (
        sandbox.write("a.log", history(0)),
        sandbox.write("b.log", history(1)),
    );
    let mut following = sandbox.follow(&["logs", "-f", "--format", "json", "./a.log", "./b.log"]);
    following.until("the end of the history", LIMIT, |line| {
        line.contains("second 19")
    });
    append(&a, &line(30));
    following.until("a later line", LIMIT, |line| line.contains("second 30"));
    append(&b, &line(25));
    following.until("a late line", LIMIT, |line| line.contains("second 25"));
    let lines = following.json();
    let seconds: Vec<String> = parts(&lines)
        .0
        .iter()
        .map(|text| text.rsplit(' ').next().unwrap().to_owned())
        .collect();
    let expected: Vec<String> = (0..20)
        .chain([30, 25])
        .map(|n: u32| n.to_string())
        .collect();
    assert_eq!(seconds, expected);
    assert_eq!(following.end_with(rustix::process::Signal::INT), 130);
}
