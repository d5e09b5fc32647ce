//! How fast gigabytes are compared, beside what an engineer would type instead.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fallible;
use crate::measured::{Measured, run};
use crate::stacks::{STACKS, Side, Stack};

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) measured: Measured,
}

/// The logs of a deploy, each of about so many megabytes, and both as one and packed.
struct Logs {
    before: PathBuf,
    after: PathBuf,
    packed: [PathBuf; 2],
}

/// Measures every row; of what takes seconds the median of three.
///
/// # Errors
/// A log cannot be made, or lastgood fails on it. A peer that is not here is left out.
pub(crate) fn measure(program: &Path, folder: &Path, megabytes: u64) -> Fallible<Vec<Row>> {
    let logs = make(folder, megabytes)?;
    let lastgood = |arguments: &[&str], files: &[&Path]| {
        let mut command = Command::new(program);
        command.args(arguments).args(files);
        command
            .env("LASTGOOD_CONFIG", "/dev/null")
            .env("LASTGOOD_STATE_DIR", folder.join("state"));
        command
    };
    let shell = |script: &str| {
        let mut command = Command::new("bash");
        command
            .args(["-o", "pipefail", "-c", script, "bash"])
            .arg(&logs.before)
            .arg(&logs.after);
        command
    };
    let compare = &["compare", "--format", "json"][..];
    let both: [&Path; 2] = [&logs.before, &logs.after];
    let packed: [&Path; 2] = [&logs.packed[0], &logs.packed[1]];
    let mut rows = Vec::new();
    let mut row = |work: String, mut command: Command, exits: &[i32]| -> Fallible<()> {
        let mut runs = (0..3)
            .map(|_| run(&mut command, exits))
            .collect::<Fallible<Vec<_>>>()?;
        runs.sort_by_key(|run| run.wall);
        rows.push(Row {
            work,
            measured: runs.swap_remove(1),
        });
        Ok(())
    };
    // What it says is its exit code: 0 keep, 1 roll back, and so on.
    let any = &[0, 1, 2, 3][..];
    row(
        format!("compare 2 x {megabytes} MB"),
        lastgood(compare, &both),
        any,
    )?;
    row(
        "the same, packed with zstd".into(),
        lastgood(compare, &packed),
        any,
    )?;
    let grep = r#"for f; do grep ERROR "$f" | sed 's/[0-9]//g' | sort | uniq -c > "$f.errors"; done; diff "$1.errors" "$2.errors" || true"#;
    row(
        "beside it: grep ERROR, sort, diff".into(),
        shell(grep),
        &[0],
    )?;
    row(
        format!("errors, {} MB", 2 * megabytes),
        lastgood(&["errors"], &both),
        any,
    )?;
    row(
        format!("slow, {} MB", 2 * megabytes),
        lastgood(&["slow"], &both),
        any,
    )?;
    let mawk = r##"awk '{ gsub(/[0-9]+/, "#"); sub(/^[^|]*[|] */, ""); c[$0]++ } END { for (l in c) print c[l], l }' "$@" | sort -rn | head -50 >/dev/null || true"##;
    row(
        "beside it: awk that counts shapes".into(),
        shell(mawk),
        &[0],
    )?;
    Ok(rows)
}

fn make(folder: &Path, megabytes: u64) -> Fallible<Logs> {
    let stack = STACKS
        .iter()
        .find(|stack| stack.name == "compose")
        .ok_or("no stack of that name")?;
    let make = |name: &str, side: Side| -> Fallible<PathBuf> {
        let path = folder.join(name);
        eprintln!("making {} ({megabytes} MB)", path.display());
        write(stack, side, megabytes, &path)?;
        Ok(path)
    };
    let before = Side {
        seed: 1,
        requests: 20_000,
        from: 1_767_596_400,
        is_broken: false,
    };
    let after = Side {
        seed: 2,
        from: 1_767_636_000,
        is_broken: true,
        ..before
    };
    let (before, after) = std::thread::scope(|scope| {
        let first = scope.spawn(|| make("before.log", before).map_err(|e| e.to_string()));
        let second = make("after.log", after).map_err(|e| e.to_string());
        (
            first.join().unwrap_or_else(|_| Err("a thread died".into())),
            second,
        )
    });
    let (before, after) = (before?, after?);
    let pack = |path: &Path| -> Fallible<PathBuf> {
        let packed = path.with_extension("log.zst");
        let mut to = zstd::Encoder::new(File::create(&packed)?, 3)?;
        std::io::copy(&mut File::open(path)?, &mut to)?;
        to.finish()?.flush()?;
        Ok(packed)
    };
    let packed = [pack(&before)?, pack(&after)?];
    Ok(Logs {
        before,
        after,
        packed,
    })
}

/// One side after the other in time, until there are so many megabytes.
fn write(stack: &Stack, side: Side, megabytes: u64, path: &Path) -> Fallible<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut side = side;
    while fs::metadata(path)?.len() < megabytes * 1_000_000 {
        stack.write(side, &mut file)?;
        side.seed += 2;
        side.from += 900;
    }
    file.flush()?;
    Ok(())
}
