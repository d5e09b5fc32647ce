//! The README tells the truth: its commands parse, its tables are the code's, and the code's commands stand in it.

use crate::source::root;
use clap::CommandFactory;
use lastgood::cli::{Cli, exit};
use std::fs;
use std::process::Command;

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// Lines of the fenced blocks in `language`, without their comments.
fn block_lines(text: &str, language: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = None;
    for line in text.lines() {
        match (inside, line.strip_prefix("```")) {
            (None, Some(name)) => inside = Some(name.trim() == language),
            (Some(_), Some(_)) => inside = None,
            (Some(true), None) => {
                let command = line.split(" # ").next().unwrap_or(line).trim();
                if !command.is_empty() && !command.starts_with('#') {
                    lines.push(command.to_string());
                }
            }
            _ => {}
        }
    }
    lines
}

#[test]
fn the_two_commands_of_a_newcomer_stand_there_and_exist() {
    use std::os::unix::fs::PermissionsExt;
    let lines = block_lines(&readme(), "sh");
    for command in ["cargo run --release -- demo", "tests/run"] {
        assert!(
            lines.iter().any(|line| line == command),
            "no {command:?} in {lines:?}"
        );
    }
    for script in ["tests/run", ".ci/run"] {
        let mode = fs::metadata(root().join(script))
            .unwrap()
            .permissions()
            .mode();
        assert!(mode & 0o111 != 0, "{script} cannot be run");
    }
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(
        ci.contains("tests/run") && ci.contains("CI=true"),
        "CI runs the same command"
    );
}

#[test]
fn every_command_line_of_the_readme_parses() {
    let lines = block_lines(&readme(), "sh");
    let calls: Vec<&String> = lines.iter().filter(|line| is_call(line)).collect();
    assert!(calls.len() > 5, "{calls:?}");
    for call in calls {
        if let Err(error) = parse_call(call) {
            panic!("README: {call}\n{error}");
        }
    }
}

fn is_call(line: &str) -> bool {
    line.starts_with("lastgood ") || line.starts_with("cargo run --release -- ")
}

fn parse_call(line: &str) -> Result<(), String> {
    let line = line.replace("cargo run --release --", "lastgood");
    let words = shell_words::split(&line).map_err(|error| error.to_string())?;
    let words = words
        .into_iter()
        .take_while(|word| !matches!(word.as_str(), "|" | ">" | "&&" | ";"));
    Cli::command()
        .try_get_matches_from(words)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[test]
fn the_readme_names_every_command_and_no_other() {
    let text = readme();
    let mut command = Cli::command();
    command.build();
    let named = named_commands(&text);
    assert!(named.len() > 10, "{named:?}");
    for (name, inner) in &named {
        let Some(found) = command.find_subcommand(name) else {
            panic!("README names `{name}`, which is no command");
        };
        for inner in inner {
            assert!(
                found.find_subcommand(inner).is_some(),
                "README names `{name} {inner}`, which is no command"
            );
        }
    }
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = sub.get_name();
        let is_named = named.iter().any(|(found, _)| found == name)
            || block_lines(&text, "sh")
                .iter()
                .any(|line| is_call(line) && line.split_whitespace().any(|word| word == name))
            || text.contains(&format!("`lastgood {name}`"));
        assert!(is_named, "README does not name `{name}`");
    }
}

/// Commands in the first column of the table of verbs, with the inner ones: `` `checkpoint create\|list ID` ``.
fn named_commands(text: &str) -> Vec<(String, Vec<String>)> {
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| verb |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let is_name = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let mut found = Vec::new();
    for row in rows {
        let cell = row.replace("\\|", "\u{1}");
        let cell = cell.split('|').nth(1).unwrap_or_default().to_string();
        for code in cell.split('`').skip(1).step_by(2) {
            let mut words = code.split_whitespace();
            let Some(name) = words.next().filter(|name| is_name(name)) else {
                continue;
            };
            let inner = words.next().unwrap_or_default();
            let inner = if inner.contains('\u{1}') { inner } else { "" };
            found.push((
                name.to_string(),
                inner
                    .split('\u{1}')
                    .filter(|word| is_name(word))
                    .map(String::from)
                    .collect(),
            ));
        }
    }
    found
}

#[test]
fn the_exit_codes_are_those_of_the_code() {
    assert_eq!(
        exit_rows(&readme()),
        exit_table(),
        "README and cli::exit::TABLE"
    );
}

/// `(codes, meaning)` rows of the README's table.
fn exit_rows(text: &str) -> Vec<(Vec<u8>, String)> {
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| code | meaning |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let codes = cells[1]
            .split(',')
            .map(|code| code.trim().parse().unwrap())
            .collect();
        (codes, cells[2].to_string())
    })
    .collect()
}

/// The code's table as the README writes it: the three signals in one row.
fn exit_table() -> Vec<(Vec<u8>, String)> {
    let mut rows: Vec<(Vec<u8>, String)> = Vec::new();
    for (code, meaning) in exit::TABLE {
        match rows.last_mut() {
            Some((codes, joined)) if *code > 128 && codes[0] > 128 => {
                let name = |text: &str| {
                    text.split(';')
                        .next()
                        .unwrap_or_default()
                        .trim_start_matches("ended by ")
                        .to_string()
                };
                let (names, tail) = joined.split_once(';').unwrap();
                *joined = format!("{names}, {};{tail}", name(meaning));
                codes.push(*code);
            }
            _ => rows.push((vec![*code], (*meaning).to_string())),
        }
    }
    rows
}

#[test]
fn the_key_table_is_the_printed_one() {
    let (command, table) =
        key_table(&readme()).expect("<!-- keys: printed by `…` --> … <!-- /keys -->");
    let words = shell_words::split(&command).unwrap();
    let state = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lastgood"))
        .args(&words[1..])
        .current_dir(state.path())
        .env("LASTGOOD_STATE_DIR", state.path())
        .env("XDG_CONFIG_HOME", state.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.lines().count() > 20, "{printed}");
    assert_eq!(
        table.trim(),
        printed.trim(),
        "put the output of `{command}` between the marks"
    );
}

/// The command in the opening mark, and what stands between the marks.
fn key_table(text: &str) -> Option<(String, String)> {
    let (_, rest) = text.split_once("<!-- keys: printed by `")?;
    let (command, rest) = rest.split_once("` -->")?;
    let (table, _) = rest.split_once("<!-- /keys -->")?;
    Some((command.to_string(), table.to_string()))
}

#[test]
fn a_readme_that_lies_is_found() {
    let text =
        "```sh\n# talk\nlastgood services  # comment\nlastgood no-such\n```\n```toml\nx\n```\n";
    let lines = block_lines(text, "sh");
    assert_eq!(lines, ["lastgood services", "lastgood no-such"]);
    assert!(parse_call(&lines[0]).is_ok() && parse_call(&lines[1]).is_err());
    assert!(parse_call("lastgood services --no-such-flag").is_err());

    let table = "| verb | does |\n|---|---|\n| `checkpoint create\\|list` | x |\n| `errors`, `logs SERVICE…` | y |\n\n| `later` | z |\n";
    let named = named_commands(table);
    assert_eq!(
        named[0],
        (
            "checkpoint".to_string(),
            vec!["create".to_string(), "list".to_string()]
        )
    );
    assert_eq!(
        (named[1].0.as_str(), named[2].0.as_str(), named.len()),
        ("errors", "logs", 3)
    );

    let codes = exit_rows("| code | meaning |\n|---|---|\n| 0 | fine |\n| 129, 130 | ended |\n");
    assert_eq!(
        codes,
        [
            (vec![0], "fine".to_string()),
            (vec![129, 130], "ended".to_string())
        ]
    );
    assert_ne!(codes, exit_table());
    assert_eq!(
        key_table("<!-- keys: printed by `a b` -->\nT\n<!-- /keys -->"),
        Some(("a b".into(), "\nT\n".into()))
    );
}
