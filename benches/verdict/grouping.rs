//! How well lines are grouped into patterns, on labelled logs that are not part of this repository.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Fallible;

/// Grouping accuracy (the share of lines whose group is, as a set of lines, exactly a true one) and the F1 over groups.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Score {
    pub(crate) lines: f64,
    pub(crate) groups: f64,
}

/// The scores of one set, of its messages and of its whole lines.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) content: Score,
    pub(crate) raw: Score,
}

/// Scores every set: a folder with `content.log`, `raw.log` and, a line each, the number of its true template, a tab and
/// the template in `templates.tsv`.
///
/// # Errors
/// The folder holds no set, or one of them cannot be read or grouped.
pub(crate) fn measure(program: &Path, root: &Path) -> Fallible<Vec<Set>> {
    let mut folders: Vec<_> = fs::read_dir(root)
        .map_err(|error| format!("{}: {error}", root.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("templates.tsv").is_file())
        .collect();
    folders.sort();
    if folders.is_empty() {
        return Err(format!("{}: no folder with a templates.tsv", root.display()).into());
    }
    let score = |folder: &Path, log: &str| -> Fallible<Score> {
        let truth = fs::read_to_string(folder.join("templates.tsv"))?;
        let truth: Vec<&str> = truth.lines().filter_map(|l| l.split('\t').next()).collect();
        let found = assigned(program, &folder.join(log), truth.len())?;
        Ok(compare(&truth, &found))
    };
    folders
        .iter()
        .map(|folder| {
            Ok(Set {
                name: folder
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                content: score(folder, "content.log")?,
                raw: score(folder, "raw.log")?,
            })
        })
        .collect()
}

/// The pattern of each line; a line that goes on with a record belongs to that of the record.
fn assigned(program: &Path, log: &Path, lines: usize) -> Fallible<Vec<String>> {
    let output = Command::new(program)
        .args(["patterns", "--assign"])
        .arg(log)
        .output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("patterns of {}: {}: {words}", log.display(), output.status).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut by_line: HashMap<usize, &str> = HashMap::new();
    for row in text.lines() {
        let mut fields = row.split('\t');
        if let (Some(line), Some(pattern)) = (fields.next(), fields.next()) {
            by_line.insert(line.parse()?, pattern);
        }
    }
    let mut last = "";
    Ok((1..=lines)
        .map(|line| {
            last = by_line.get(&line).copied().unwrap_or(last);
            last.to_owned()
        })
        .collect())
}

fn compare(truth: &[&str], found: &[String]) -> Score {
    let truth = sets(truth.iter().copied());
    let found = sets(found.iter().map(String::as_str));
    let exact: HashSet<&Vec<usize>> = truth.values().collect();
    let right: Vec<_> = found
        .values()
        .filter(|lines| exact.contains(lines))
        .collect();
    let lines: usize = right.iter().map(|lines| lines.len()).sum();
    let all: usize = truth.values().map(Vec::len).sum();
    Score {
        lines: lines as f64 / all as f64,
        // The harmonic mean of precision and recall.
        groups: 2.0 * right.len() as f64 / (found.len() + truth.len()) as f64,
    }
}

/// The lines of each group.
fn sets<'a>(groups: impl Iterator<Item = &'a str>) -> HashMap<&'a str, Vec<usize>> {
    let mut sets: HashMap<&str, Vec<usize>> = HashMap::new();
    for (line, group) in groups.enumerate() {
        sets.entry(group).or_default().push(line);
    }
    sets
}
