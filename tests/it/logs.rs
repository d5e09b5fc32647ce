//! Log lines come through whole, once, in order, and harmless.

use crate::checkpoint::one_container;
use crate::compose_story::list;
use crate::harness::{Docker, Sandbox, missing, unique};
use serde_json::Value;

#[test]
fn a_burst_and_a_long_line_come_through_whole() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("burst");
    let (_docker, service) = one_container(
        "burst",
        "seq 1 200000; head -c 40004 /dev/zero | tr '\\0' x; echo; echo done; sleep 600",
    );
    let lines = texts(&sandbox, &["logs", &service]);
    let numbers: Vec<&String> = lines
        .iter()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    assert_eq!(numbers.len(), 200_000);
    assert!(
        numbers
            .iter()
            .enumerate()
            .all(|(index, text)| **text == (index + 1).to_string()),
        "in order"
    );
    assert_eq!(lines.iter().map(String::len).max(), Some(40_004));

    // The same through the other sink.
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    assert_eq!(
        list(&created["services"])[0]["log"]["lines"],
        200_002,
        "{created:#}"
    );
}

#[test]
fn a_window_at_the_end_of_a_long_log_holds_each_of_its_lines() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("window");
    // More than is tried at once, a long line at the border, and more than is tried first.
    let (docker, service) = one_container(
        "window",
        "seq 1 60000; sleep 4; head -c 40004 /dev/zero | tr '\\0' x; echo; seq 60001 62500; sleep 4; \
         seq 62501 62600; echo done; sleep 600",
    );
    let name = service.strip_prefix("docker/").unwrap();
    let all = docker.must(&["logs", "--timestamps", name]);
    let all: Vec<(String, String)> = all
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(at, text)| (at.to_owned(), text.to_owned()))
        .collect();
    let time_of = |text: &str| {
        let line = all.iter().find(|line| line.1 == text);
        line.unwrap_or_else(|| panic!("no line {text}")).0.clone()
    };
    for (first, next, long) in [
        ("60001", "62501", 0),
        ("62501", "done", 0),
        ("59000", "62501", 1),
    ] {
        let (since, until) = (time_of(first), time_of(next));
        let numbers = |texts: Vec<String>| -> Vec<String> {
            let digits = |text: &String| text.bytes().all(|byte| byte.is_ascii_digit());
            texts.into_iter().filter(digits).collect()
        };
        let expected: Vec<String> = all
            .iter()
            .filter(|(at, _)| (since.as_str()..until.as_str()).contains(&at.as_str()))
            .map(|(_, text)| text.clone())
            .collect();
        let found = texts(
            &sandbox,
            &["logs", &service, "--since", &since, "--until", &until],
        );
        let is_long = |text: &&String| text.len() > 40_000;
        assert_eq!(found.iter().filter(is_long).count(), long, "{first}");
        assert_eq!(numbers(found), numbers(expected), "from {first}");
    }
}

#[test]
fn a_line_of_ten_megabytes_is_cut_aloud_and_the_next_is_whole() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("ten");
    let (_docker, service) = one_container(
        "ten",
        "echo before; head -c 10485760 /dev/zero | tr '\\0' y; echo; echo after; echo done; sleep 600",
    );
    let run = sandbox
        .run(&["logs", &service, "--format", "json"])
        .exits(0);
    let lines = run.json_lines("logs");
    let text: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["text"].as_str())
        .collect();
    assert_eq!(
        (text[0], text[text.len() - 2], text[text.len() - 1]),
        ("before", "after", "done")
    );
    let long: Vec<&&str> = text
        .iter()
        .filter(|text| text.starts_with("yyyy"))
        .collect();
    assert_eq!(long.len(), 1, "one line, not its fragments");
    let kept = long[0].bytes().take_while(|byte| *byte == b'y').count();
    assert!(
        (65_536..=1_048_576).contains(&kept),
        "kept {kept} bytes of the long line"
    );
    // What was lost is shown: in the line itself, as an event, or on stderr.
    let is_said = long[0].len() > kept
        || lines.iter().any(|line| line["event"] == "skipped")
        || run.stderr.contains("cut")
        || lines.iter().any(|line| {
            line.get("cut_bytes")
                .is_some_and(|cut| cut.as_u64() > Some(0))
        });
    assert!(is_said, "nothing says that the line was cut");
}

#[test]
fn invalid_utf8_nul_and_escapes_are_harmless() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("hostile");
    let script = r"printf 'bad \377\376 bytes\n'; printf 'nul \000 here\n'; printf 'clear \033[2J\033[H title \033]0;owned\007 end\n'
printf 'color \033[31mred\033[0m\n'; printf 'c1 \302\233 31m\n'; printf 'bidi \342\200\256gnp\n'; printf 'unfinished \033]8;;http://x\n'; printf 'over\rwritten\n'; echo done; sleep 600";
    let (_docker, service) = one_container("hostile", script);

    let json = sandbox
        .run(&["logs", &service, "--format", "json"])
        .exits(0);
    assert!(
        !json.stdout.bytes().any(|byte| byte < 0x20 && byte != b'\n'),
        "control characters are escaped in JSON"
    );
    let lines = json.json_lines("logs");
    let text: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["text"].as_str())
        .collect();
    assert_eq!(text.len(), 9, "{text:?}");
    assert!(
        text[0].starts_with("bad \u{fffd}") && text[0].ends_with(" bytes"),
        "{:?}",
        text[0]
    );

    let human = sandbox
        .run(&["logs", &service, "--color", "never"])
        .exits(0);
    for (number, line) in human.stdout.lines().enumerate() {
        let bad: Vec<char> = line
            .chars()
            .filter(|c| {
                (c.is_control() && *c != '\t')
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            })
            .collect();
        assert!(bad.is_empty(), "line {number} carries {bad:?}: {line:?}");
    }
    assert!(human.stdout.contains("<U+202E>"), "{}", human.stdout);
    for word in ["red", "written", "done", "title", "unfinished"] {
        assert!(
            human.stdout.contains(word),
            "{word} is lost: {}",
            human.stdout
        );
    }
}

#[test]
fn a_container_with_a_terminal_is_read_as_well() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("tty");
    let mut docker = Docker::default();
    let image = format!("{}:1", unique("tty"));
    // A line that begins with a frame header's byte freezes a reader that guesses.
    docker.image(&image, r"echo first; printf '\001\000\000\000\000\000\000\377 tricky\n'; for i in $(seq 1 50); do echo line $i; done; echo done; sleep 600");
    let container = docker.start("tty", &image, &["-t"]);
    docker.wait_for_log(&container, "done");
    let lines = texts(&sandbox, &["logs", &format!("docker/{container}")]);
    assert_eq!(lines.len(), 53, "{lines:?}");
    assert_eq!(
        (lines[0].as_str(), lines[2].as_str(), lines[52].as_str()),
        ("first", "line 1", "done")
    );
}

#[test]
fn logs_are_filtered_and_carry_stream_and_level() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("filter");
    let (_docker, service) = one_container(
        "filter",
        "for i in 1 2 3 4 5 6 7 8 9; do echo \"2025-12-27 14:00:0$i INFO line $i\"; done; echo '2025-12-27 14:00:10 ERROR payment failed' >&2; echo '2025-12-27 14:00:11 INFO after'; sleep 1; echo done; sleep 600",
    );
    let all = sandbox
        .run(&["logs", &service, "--format", "json"])
        .exits(0)
        .json_lines("logs");
    let failed = all
        .iter()
        .find(|line| {
            line["text"]
                .as_str()
                .is_some_and(|text| text.contains("payment failed"))
        })
        .unwrap();
    assert_eq!(
        (failed["stream"].as_str(), failed["level"].as_str()),
        (Some("stderr"), Some("error")),
        "{failed:#}"
    );
    assert!(
        failed["service"].as_str().unwrap().ends_with(&service),
        "{failed:#}"
    );
    let at = failed["at"].as_str().unwrap();
    assert!(
        at.parse::<jiff::Timestamp>().is_ok(),
        "{at} is RFC 3339 with an offset"
    );

    let found = texts(&sandbox, &["logs", &service, "--grep", "payment"]);
    assert_eq!(found.len(), 1, "{found:?}");
    let around = texts(
        &sandbox,
        &["logs", &service, "--grep", "line 4$", "-B", "2", "-A", "1"],
    );
    assert_eq!(around.len(), 4, "{around:?}");
    let errors = texts(&sandbox, &["logs", &service, "--level", "error"]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    sandbox.run(&["logs", &service, "--grep", "("]).exits(2);
}

#[test]
fn a_closed_pipe_is_success() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("pipe");
    let (_docker, service) = one_container("pipe", "seq 1 100000; echo done; sleep 600");
    let mut command = std::process::Command::new("bash");
    sandbox.surround(&mut command);
    let binary = sandbox
        .command(&[])
        .get_program()
        .to_str()
        .unwrap()
        .to_string();
    command.args([
        "-c",
        &format!("'{binary}' logs {service} | head -3; echo \"${{PIPESTATUS[0]}}\""),
    ]);
    let run = crate::harness::Run::of(command).exits(0);
    assert!(run.stdout.trim_end().ends_with("\n0"), "{run}");
    assert!(run.stderr.is_empty(), "{run}");
}

fn texts(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let mut all = arguments.to_vec();
    all.extend(["--format", "json"]);
    let lines: Vec<Value> = sandbox.run(&all).exits(0).json_lines("logs");
    lines
        .iter()
        .filter_map(|line| line["text"].as_str().map(String::from))
        .collect()
}
