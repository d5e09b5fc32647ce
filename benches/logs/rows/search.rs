//! Row b: the lines of a large log that match, printed. grep, rg and lastgood must print the same number of lines.

use super::{Bench, Fallible, Goal, Line, Unit, pick};
use crate::table::with_commas;
use crate::{lines, process};

/// `(what, expression, whether small letters find capitals)`.
const SEARCHES: &[(&str, &str, bool)] = &[
    ("a rare text", lines::RARE, false),
    (r"`\b(ERROR\|WARN)\b`", r"\b(ERROR|WARN)\b", false),
    (
        r"`completed in [1-9]\.[0-9]+s`",
        r"completed in [1-9]\.[0-9]+s",
        false,
    ),
    ("three words, any case", "timeout|refused|mismatch", true),
];

pub(super) fn measure(bench: &Bench<'_>) -> Fallible<Vec<Line>> {
    let log = bench.big_log()?;
    let (work, peers, name) = (bench.work, bench.peers, log.name());
    let mut rows = Vec::new();
    for (what, expression, any_case) in SEARCHES {
        let flags: &[&str] = if *any_case { &["-i"] } else { &[] };
        let grep = bench.repeat_peer(&peers.grep, 3, |program| {
            let arguments = [flags, &["-E", expression, &name]].concat();
            process::run(&work.command(program, &arguments), true)
        });
        let ripgrep = bench.repeat_peer(&peers.ripgrep, 3, |program| {
            let arguments = [
                flags,
                &["--no-config", "--no-heading", "-N", expression, &name],
            ]
            .concat();
            process::run(&work.command(program, &arguments), true)
        });
        let expected = [&grep, &ripgrep]
            .into_iter()
            .find_map(|runs| Some(runs.as_ref().ok()?.first()?.lines));
        let own = if *any_case {
            format!("(?i){expression}")
        } else {
            (*expression).to_owned()
        };
        let lastgood = bench.repeat(3, || {
            let arguments = ["logs", &name, "--grep", &own, "--raw"];
            let ran = process::run(&work.lastgood(&arguments), true)?;
            match expected {
                Some(lines) if lines != ran.lines => {
                    Err(format!("it prints {} lines and grep {lines}", ran.lines).into())
                }
                _ => Ok(ran),
            }
        });
        rows.push(Line {
            row: 'b',
            is_sound: true,
            work: format!(
                "search {} MB, {what}: CPU ({} lines found)",
                with_commas(&bench.options.megabytes.to_string()),
                with_commas(&expected.unwrap_or_default().to_string())
            ),
            unit: Unit::Seconds,
            lastgood: pick(&lastgood, |ran| ran.cpu_seconds),
            peers: vec![
                (peers.grep.name, pick(&grep, |ran| ran.cpu_seconds)),
                (peers.ripgrep.name, pick(&ripgrep, |ran| ran.cpu_seconds)),
            ],
            goal: Goal::AtMostTimesBest(1.5),
        });
    }
    Ok(rows)
}
