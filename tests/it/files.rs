//! Log files without any runtime: the golden story in numbers, compressed files, standard input.

use crate::compose_story::list;
use crate::harness::{Run, Sandbox};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

const NEW_ERRORS: [&str; 3] = [
    "NoneType has no attribute 'id'",
    "Division by zero in calculate_discount()",
    "Invalid JSON response from payment service",
];

/// `count` requests over 14 minutes from `hour`:`minute`, of which the `failing` ones carry an error record;
/// durations spread evenly by 40 % around `mean` seconds.
fn log(
    hour: usize,
    minute: usize,
    count: usize,
    failing: usize,
    mean: f64,
    errors: &[&str],
) -> String {
    let mut text = String::new();
    let mut failed = 0;
    for number in 0..count {
        let at = format!(
            "[{hour:02}:{:02}:{:02}]",
            minute + number * 14 / count,
            number % 60
        );
        let is_failing = failing > 0 && number % (count / failing) == 0 && failed < failing;
        if is_failing {
            text += &format!("{at} ERROR: {}\n", errors[failed % errors.len()]);
            failed += 1;
        }
        // 0.6 to 1.4 of the mean, in an order that no window prefers.
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let share = 0.6 + 0.8 * ((number * 7919 % count) as f64 + 0.5) / count as f64;
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        let status = if is_failing { 500 } else { 200 };
        text += &format!(
            "{at} INFO: {method} /api/orders/{} completed in {:.2}s status={status}\n",
            number * 31 % 9999,
            mean * share
        );
    }
    assert_eq!(failed, failing);
    text
}

#[test]
fn the_story_in_numbers() {
    let sandbox = Sandbox::new("numbers");
    sandbox.write(
        "before.log",
        log(14, 40, 1000, 5, 0.8, &["Connection reset by peer"]),
    );
    sandbox.write("after.log", log(15, 10, 200, 50, 3.2, &NEW_ERRORS));
    sandbox.write("fixed.log", log(15, 40, 100, 0, 0.9, &[]));

    let bad = sandbox.json(1, "compare", &["compare", "before.log", "after.log"]);
    let (before, after) = (&bad["before"], &bad["after"]);
    assert_eq!(
        (
            &before["requests"],
            &before["errors"],
            &after["requests"],
            &after["errors"]
        ),
        (
            &Value::from(1000),
            &Value::from(5),
            &Value::from(200),
            &Value::from(50)
        ),
        "{before:#} {after:#}"
    );
    near(&before["error_rate"], 0.005, 1e-9);
    near(&after["error_rate"], 0.25, 1e-9);
    near(&before["latency_ms"]["mean"], 800.0, 10.0);
    near(&after["latency_ms"]["mean"], 3200.0, 40.0);
    let verdict = &bad["verdict"];
    assert_eq!(
        (&verdict["decision"], &verdict["severity"]),
        (&Value::from("roll_back"), &Value::from("P0")),
        "{verdict:#}"
    );
    let new: Vec<&Value> = list(&bad["patterns"])
        .iter()
        .filter(|pattern| pattern["change"] == "new" && pattern["level"] == "error")
        .collect();
    assert_eq!(new.len(), 3, "{new:#?}");

    let fixed = sandbox.json(0, "compare", &["compare", "before.log", "fixed.log"]);
    assert_eq!(
        (
            &fixed["verdict"]["decision"],
            &fixed["verdict"]["confidence"]
        ),
        (&Value::from("keep"), &Value::from("low")),
        "{:#}",
        fixed["verdict"]
    );

    let same = sandbox.json(0, "compare", &["compare", "before.log", "before.log"]);
    assert_eq!(same["verdict"]["decision"], "keep");
    assert!(
        list(&same["patterns"])
            .iter()
            .all(|pattern| pattern["change"] == "same"),
        "{:#}",
        same["patterns"]
    );

    let human = sandbox
        .run(&["compare", "before.log", "after.log", "--side-by-side"])
        .exits(1);
    for word in ["P0", "25", "calculate_discount"] {
        assert!(human.stdout.contains(word), "{word}: {human}");
    }
    assert!(
        !human.stdout.contains('\u{1b}'),
        "no colour in a pipe: {human}"
    );
}

#[test]
fn errors_slow_and_patterns_of_a_file() {
    let sandbox = Sandbox::new("file");
    sandbox.write("after.log", log(15, 10, 200, 50, 3.2, &NEW_ERRORS));
    let errors = sandbox
        .run(&["errors", "after.log", "--format", "json"])
        .json("errors");
    assert_eq!(
        (&errors["requests"], &errors["errors"]),
        (&Value::from(200), &Value::from(50)),
        "{errors:#}"
    );
    near(&errors["error_rate"], 0.25, 1e-9);
    let counted: u64 = list(&errors["patterns"])
        .iter()
        .filter(|pattern| pattern["level"] == "error")
        .map(|pattern| pattern["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, 50, "{errors:#}");

    let slow = sandbox
        .run(&[
            "slow",
            "after.log",
            "--threshold",
            "3.0s",
            "--format",
            "json",
        ])
        .json("slow");
    assert_eq!(slow["count"], 200, "{slow:#}");
    near(&slow["threshold_ms"], 3000.0, 1e-9);
    near(&slow["latency_ms"]["mean"], 3200.0, 40.0);
    let over = slow["over_threshold"].as_u64().unwrap();
    assert!(
        (105..=120).contains(&over),
        "{over} of 200 evenly spread from 1.92 to 4.48 s are over 3 s"
    );
    let slowest = list(&slow["slowest"]);
    assert!(
        slowest
            .windows(2)
            .all(|pair| pair[0]["ms"].as_f64() >= pair[1]["ms"].as_f64()),
        "{slowest:#?}"
    );

    let patterns = sandbox
        .run(&["patterns", "after.log", "--format", "json"])
        .exits(0)
        .json("patterns");
    let total: u64 = list(&patterns["patterns"])
        .iter()
        .map(|pattern| pattern["count"].as_u64().unwrap())
        .sum();
    assert_eq!(
        (&patterns["records"], total),
        (&Value::from(250), 250),
        "every record has a pattern"
    );
    let assigned = sandbox.run(&["patterns", "after.log", "--assign"]).exits(0);
    assert_eq!(assigned.stdout.lines().count(), 250);
    for (number, line) in assigned.stdout.lines().enumerate() {
        assert_eq!(
            line.split_once('\t').map(|(first, _)| first),
            Some((number + 1).to_string().as_str()),
            "{line}"
        );
    }
}

#[test]
fn compressed_files_and_standard_input_read_the_same() {
    let sandbox = Sandbox::new("compressed");
    // With a date: a time without one is of the day a file was written, and that of a pipe is today.
    let text = log(15, 10, 200, 50, 3.2, &NEW_ERRORS).replace("[15:", "[2026-03-04 15:");
    sandbox.write("plain.log", &text);
    sandbox.write("log.zst", zstd::encode_all(text.as_bytes(), 1).unwrap());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    sandbox.write("log.gz", gzip.finish().unwrap());

    let plain = sandbox.run(&["errors", "plain.log", "--format", "json"]);
    for name in ["log.zst", "log.gz"] {
        let run = sandbox
            .run(&["errors", name, "--format", "json"])
            .exits(plain.code);
        assert_eq!(
            run.json("errors")["patterns"],
            plain.json("errors")["patterns"],
            "{name}"
        );
    }
    let mut command = sandbox.command(&["errors", "-", "--format", "json"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        read["patterns"],
        plain.json("errors")["patterns"],
        "standard input"
    );

    // A file that is cut off in the middle is an error, not a shorter log.
    let whole = std::fs::read(sandbox.work().join("log.gz")).unwrap();
    sandbox.write("cut.gz", &whole[..whole.len() / 2]);
    let cut = sandbox.run(&["errors", "cut.gz"]);
    assert!(cut.code == 4 || cut.code == 2 || cut.code == 3, "{cut}");
    assert!(cut.stderr.contains("cut.gz"), "{cut}");
}

#[test]
fn a_file_is_read_where_no_state_can_be_kept() {
    let sandbox = Sandbox::new("stateless");
    sandbox.write(
        "a.log",
        "INFO started\nERROR failed password=hunter2hunter2\n",
    );
    let state = sandbox.write("not-a-folder", "");
    let state = state.join("state").display().to_string();
    let run = sandbox
        .run(&["--state-dir", &state, "errors", "a.log"])
        .exits(0);
    assert!(run.stdout.contains("[REDACTED:password:"), "{run}");
    sandbox
        .run(&["--state-dir", &state, "compare", "a.log", "a.log"])
        .exits(3);
}

#[test]
fn a_large_file_is_read_in_bounded_memory() {
    let sandbox = Sandbox::new("large");
    let file = sandbox.work().join("large.log");
    let block = log(14, 40, 1000, 5, 0.8, &["Connection reset by peer"]);
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    for _ in 0..1500 {
        out.write_all(block.as_bytes()).unwrap();
    }
    out.into_inner().unwrap();
    let megabytes = std::fs::metadata(&file).unwrap().len() / 1_000_000;
    assert!(megabytes > 100, "{megabytes} MB");
    let mut command = Command::new("bash");
    sandbox.surround(&mut command);
    let binary = sandbox
        .command(&[])
        .get_program()
        .to_str()
        .unwrap()
        .to_string();
    // The kernel refuses memory beyond the limit: a reader that holds the file would die.
    command.args([
        "-c",
        &format!(
            "ulimit -d 200000; '{binary}' errors '{}' --format json",
            file.display()
        ),
    ]);
    let run = Run::of(command);
    assert_eq!(run.json("errors")["requests"], 1_500_000, "{run}");
}

fn near(value: &Value, wanted: f64, tolerance: f64) {
    let got = value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"));
    assert!(
        (got - wanted).abs() <= tolerance,
        "{got}, wanted {wanted} within {tolerance}"
    );
}
