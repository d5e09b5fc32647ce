//! The reader against real files that grow, rotate and vanish under it.

use std::fs::{self, OpenOptions};
use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::domain::safe_text::SafeText;

fn service() -> ServiceId {
    ServiceId::local("file", "app")
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Lines and notes as text, in order; notes in brackets.
async fn read(paths: &[PathBuf], request: LogRequest) -> Result<Vec<String>, TailError> {
    let (to, mut events) = mpsc::channel(4);
    let paths = paths.to_vec();
    let task = tokio::spawn(async move { read_files(&service(), &paths, &request, to).await });
    let mut seen = Vec::new();
    while let Some(event) = events.recv().await {
        collect(&event, &mut seen);
    }
    task.await.unwrap()?;
    Ok(seen)
}

fn collect(event: &LogEvent, seen: &mut Vec<String>) {
    match event {
        LogEvent::Opened(_) => {}
        LogEvent::Block(block) => seen.extend(
            block
                .iter()
                .map(|(_, text)| String::from_utf8_lossy(text).into_owned()),
        ),
        LogEvent::Note(note) => seen.push(format!("[{}]", note.kind.as_str())),
    }
}

/// The text that each line of the events has, read again from its place in the file that was opened last, and the
/// files that were opened.
fn read_again(events: &[LogEvent]) -> (Vec<String>, Vec<LogPosition>) {
    let mut again = Vec::new();
    let mut opened: Vec<LogPosition> = Vec::new();
    for event in events {
        match event {
            LogEvent::Opened(position) => opened.push(position.clone()),
            LogEvent::Note(_) => {}
            LogEvent::Block(block) => {
                let position = opened.last().unwrap();
                let file = rotated::open_inode(&position.path, position.inode).unwrap();
                for (line, text) in block.iter() {
                    let mut found = vec![0; text.len()];
                    lines::read_at(&file, &mut found, line.place).unwrap();
                    assert_eq!(found, text, "at {} of {position:?}", line.place);
                    again.push(String::from_utf8_lossy(&found).into_owned());
                }
            }
        }
    }
    (again, opened)
}

struct Following {
    events: mpsc::Receiver<LogEvent>,
    seen: Vec<String>,
    raw: Vec<LogEvent>,
    task: tokio::task::JoinHandle<Result<(), TailError>>,
}

impl Following {
    fn start(path: &Path, request: LogRequest) -> Self {
        let (to, events) = mpsc::channel(4);
        let paths = vec![path.to_owned()];
        let request = LogRequest {
            follow: true,
            ..request
        };
        Self {
            events,
            seen: Vec::new(),
            raw: Vec::new(),
            task: tokio::spawn(async move { read_files(&service(), &paths, &request, to).await }),
        }
    }

    /// Takes events until the last thing seen is `text`.
    async fn until(&mut self, text: &str) {
        while self.seen.last().is_none_or(|last| last != text) {
            let event = tokio::time::timeout(Duration::from_secs(20), self.events.recv())
                .await
                .unwrap_or_else(|_| panic!("no {text:?} after {:?}", self.seen))
                .unwrap();
            collect(&event, &mut self.seen);
            self.raw.push(event);
        }
    }

    async fn end(self) -> Vec<String> {
        drop(self.events);
        tokio::time::timeout(Duration::from_secs(20), self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        self.seen
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("lastgood-test-tail-")
        .tempdir()
        .unwrap()
}

#[tokio::test]
async fn a_closed_read_holds_every_line_and_an_unterminated_last_one() {
    let dir = folder();
    let path = dir.path().join("app.log");
    append(&path, "one\r\ntwo\n\nthree");
    let lines = read(&[path], LogRequest::default()).await.unwrap();
    assert_eq!(lines, ["one", "two", "", "three"]);
}

#[tokio::test]
async fn a_missing_file_is_an_error_and_beside_others_a_gap() {
    let dir = folder();
    let (here, gone) = (dir.path().join("here.log"), dir.path().join("gone.log"));
    let error = read(std::slice::from_ref(&gone), LogRequest::default())
        .await
        .unwrap_err();
    assert!(
        SafeText::from_error(&error)
            .as_str()
            .contains("No such file")
    );
    append(&here, "x\n");
    let seen = read(&[gone, here.clone()], LogRequest::default()).await;
    assert_eq!(seen.unwrap(), ["x", "[gap]"]);
    // Of one that is there and cannot be read nobody knows what stands in it.
    let around = dir.path().join("around.log");
    std::os::unix::fs::symlink(&around, &around).unwrap();
    let seen = read(&[around, here], LogRequest::default()).await;
    assert_eq!(seen.unwrap(), ["x", "[unread]"]);
}

#[tokio::test]
async fn after_a_position_comes_exactly_what_was_written_after_it() {
    let dir = folder();
    let path = dir.path().join("app.log");
    append(&path, "one\ntwo\nhal");
    let from = positions(std::slice::from_ref(&path)).await.unwrap();
    assert_eq!(from[0].offset, 8);
    append(&path, "f\nfour\n");
    let request = LogRequest {
        from,
        ..LogRequest::default()
    };
    assert_eq!(read(&[path], request).await.unwrap(), ["half", "four"]);
}

#[tokio::test]
async fn a_window_and_the_last_lines_of_it() {
    let dir = folder();
    let path = dir.path().join("app.log");
    let at = |second: i64| jiff::Timestamp::from_second(1_700_000_000 + second).unwrap();
    for second in 0..100 {
        append(&path, &format!("{} INFO {second}\n", at(second)));
    }
    let request = LogRequest {
        window: crate::domain::log::Window {
            since: Some(at(10)),
            until: Some(at(20)),
        },
        ..LogRequest::default()
    };
    let seen = read(std::slice::from_ref(&path), request.clone())
        .await
        .unwrap();
    assert_eq!(seen.len(), 10, "{seen:?}");
    assert!(seen[0].ends_with(" 10") && seen[9].ends_with(" 19"));
    let request = LogRequest {
        tail: Some(2),
        ..request
    };
    let seen = read(&[path], request).await.unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[0].ends_with(" 18") && seen[1].ends_with(" 19"));
}

#[tokio::test]
async fn a_position_inside_a_line_does_not_cut_it() {
    let dir = folder();
    let path = dir.path().join("app.log");
    append(&path, "one\ntw");
    let mut from = positions(std::slice::from_ref(&path)).await.unwrap();
    from[0].offset = 6;
    append(&path, "o\nthree\n");
    let request = LogRequest {
        from: from.clone(),
        ..LogRequest::default()
    };
    let seen = read(std::slice::from_ref(&path), request).await.unwrap();
    assert_eq!(seen, ["two", "three"]);
    fs::write(&path, "new\n").unwrap();
    let request = LogRequest {
        from,
        ..LogRequest::default()
    };
    assert_eq!(read(&[path], request).await.unwrap(), ["[gap]", "new"]);
}

#[tokio::test]
async fn a_position_is_found_again_in_the_renamed_file() {
    let dir = folder();
    let path = dir.path().join("app.log");
    append(&path, "one\n");
    let from = positions(std::slice::from_ref(&path)).await.unwrap();
    append(&path, "two\n");
    fs::rename(&path, dir.path().join("app.log.1")).unwrap();
    append(&path, "three\n");
    let request = LogRequest {
        from,
        ..LogRequest::default()
    };
    let seen = read(&[path], request).await.unwrap();
    assert_eq!(seen, ["two", "[rotated]", "three"]);
}

#[tokio::test]
async fn a_position_in_a_file_that_is_gone_is_a_gap() {
    let dir = folder();
    let path = dir.path().join("app.log");
    append(&path, "one\n");
    let mut from = positions(std::slice::from_ref(&path)).await.unwrap();
    from[0].inode += 1;
    let request = LogRequest {
        from,
        ..LogRequest::default()
    };
    assert_eq!(read(&[path], request).await.unwrap(), ["[gap]", "one"]);
}

#[tokio::test]
async fn a_follow_goes_through_rename_and_truncation() {
    let dir = folder();
    let path = dir.path().join("app.log");
    append(&path, "old\none\n");
    let mut following = Following::start(
        &path,
        LogRequest {
            tail: Some(1),
            ..LogRequest::default()
        },
    );
    following.until("one").await;
    append(&path, "two\n");
    following.until("two").await;
    fs::rename(&path, dir.path().join("app.log.1")).unwrap();
    // The program does not know yet and writes to the renamed file.
    append(&dir.path().join("app.log.1"), "three\n");
    following.until("three").await;
    append(&path, "four\n");
    following.until("four").await;
    append(&dir.path().join("app.log.1"), "late\n");
    append(&path, "five\n");
    following.until("five").await;
    let (again, opened) = read_again(&following.raw);
    assert_eq!(again, ["one", "two", "three", "four", "late", "five"]);
    assert_eq!(opened[0].offset, 4);
    assert_eq!(
        opened.len(),
        4,
        "there, the new one, back, and forth: {opened:?}"
    );
    // Truncated and grown past the old offset before anybody looked.
    fs::write(&path, "six is longer than all that was there before\n").unwrap();
    following
        .until("six is longer than all that was there before")
        .await;
    assert!(
        matches!(&following.raw[following.raw.len() - 2], LogEvent::Opened(at) if at.offset == 0),
        "truncated"
    );
    let seen = following.end().await;
    let lines: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(
        lines,
        [
            "one",
            "two",
            "three",
            "[rotated]",
            "four",
            "late",
            "five",
            "[rotated]",
            "six is longer than all that was there before"
        ]
    );
}

#[tokio::test]
async fn a_follow_waits_for_a_file_that_is_not_there_yet() {
    let dir = folder();
    let path = dir.path().join("app.log");
    let mut following = Following::start(
        &path,
        LogRequest {
            tail: Some(0),
            ..LogRequest::default()
        },
    );
    following.until("[reconnecting]").await;
    append(&path, "one\n");
    following.until("one").await;
    assert_eq!(
        following.end().await,
        ["[reconnecting]", "[reconnected]", "one"]
    );
}

#[tokio::test]
async fn a_follow_ends_when_nobody_listens() {
    let dir = folder();
    let path = dir.path().join("app.log");
    append(&path, "one\n");
    let mut following = Following::start(&path, LogRequest::default());
    following.until("one").await;
    assert_eq!(following.end().await, ["one"]);
}

#[tokio::test]
async fn what_was_written_before_a_truncation_is_read_from_the_copy() {
    let dir = folder();
    let path = dir.path().join("app.log");
    append(&path, "one\nha");
    let mut following = Following::start(&path, LogRequest::default());
    following.until("one").await;
    // Between two looks: more lines, the copy, the truncation.
    append(&path, "lf\ntwo\n");
    fs::copy(&path, dir.path().join("app.log.1")).unwrap();
    fs::write(&path, "three is longer than what was there\n").unwrap();
    following.until("three is longer than what was there").await;
    assert_eq!(
        following.end().await,
        [
            "one",
            "half",
            "two",
            "[rotated]",
            "three is longer than what was there"
        ]
    );
}

#[tokio::test]
async fn a_window_reaches_back_into_rotated_files() {
    let dir = folder();
    let path = dir.path().join("app.log");
    let at = |second: i64| jiff::Timestamp::from_second(1_700_000_000 + second).unwrap();
    let text = |from: i64| -> String {
        (from..from + 10)
            .map(|second| format!("{} INFO {second}\n", at(second)))
            .collect()
    };
    let zstd = zstd::encode_all(text(0).as_bytes(), 1).unwrap();
    fs::write(dir.path().join("app.log.2.zst"), zstd).unwrap();
    append(&dir.path().join("app.log.1"), &text(10));
    append(&path, &text(20));
    let since = |second| LogRequest {
        window: crate::domain::log::Window::since(at(second)),
        ..LogRequest::default()
    };
    let paths = std::slice::from_ref(&path);
    for (second, files) in [(25, 0), (15, 1), (5, 2)] {
        let seen = read(paths, since(second)).await.unwrap();
        let rotated = seen.iter().filter(|line| *line == "[rotated]").count();
        assert_eq!(
            (seen.len(), rotated),
            (30 - second as usize + files, files),
            "{seen:?}"
        );
        assert!(seen[0].ends_with(&format!(" {second}")));
        assert!(!seen.contains(&"[gap]".to_owned()));
    }
    let seen = read(paths, since(-5)).await.unwrap();
    assert_eq!((seen.len(), seen[0].as_str()), (33, "[gap]"));
    let mut following = Following::start(&path, since(12));
    append(&path, "END\n");
    following.until("END").await;
    assert_eq!(following.end().await.len(), 20);
}

#[tokio::test]
async fn packed_files_and_patterns_are_read_and_new_files_taken_up() {
    let dir = folder();
    let path = |name: &str| dir.path().join(name);
    append(&path("b.log"), "b1\n");
    append(&path("b.log.1"), "b0\n");
    fs::write(
        path("a.log.zst"),
        zstd::encode_all(&b"a1\na2\n"[..], 1).unwrap(),
    )
    .unwrap();
    let pattern = path("*.log*");
    let entries = std::slice::from_ref(&pattern);
    assert_eq!(
        read(entries, LogRequest::default()).await.unwrap(),
        ["a1", "a2", "b1", "b0"]
    );
    let error = read(&[path("*.none")], LogRequest::default())
        .await
        .unwrap_err();
    assert!(error.source.to_string().contains("no file matches"));
    let from = positions(entries).await.unwrap();
    assert_eq!(
        from.len(),
        1,
        "a packed file has none, and b.log.1 is the past of b.log"
    );
    let mut following = Following::start(&pattern, LogRequest::default());
    following.until("b1").await;
    fs::rename(path("b.log"), path("b.log.1")).unwrap();
    append(&path("b.log"), "b2\n");
    following.until("b2").await;
    append(&path("c.log"), "c1\n");
    following.until("c1").await;
    assert_eq!(
        following.end().await,
        ["a1", "a2", "b1", "[rotated]", "b2", "c1"]
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_looked_into_is_told_once_and_hides_no_other() {
    let dir = folder();
    let path = |name: &str| dir.path().join(name);
    let pattern = path("*/x.log");
    // Nobody can look into a circle, root neither.
    std::os::unix::fs::symlink(path("circle"), path("circle")).unwrap();
    let error = read(std::slice::from_ref(&pattern), LogRequest::default()).await;
    assert_eq!(error.unwrap_err().path, path("circle/x.log"));
    let mut following = Following::start(&pattern, LogRequest::default());
    following.until("[gap]").await;
    for name in ["a", "b"] {
        fs::create_dir(path(name)).unwrap();
        append(&path(name).join("x.log"), &format!("{name}1\n"));
        following.until(&format!("{name}1")).await;
    }
    assert_eq!(following.end().await, ["[gap]", "a1", "b1"]);
    let closed = read(std::slice::from_ref(&pattern), LogRequest::default()).await;
    assert_eq!(closed.unwrap(), ["a1", "b1", "[gap]"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_appending_gives_the_lines_of_the_whole_file(
        pieces in proptest::collection::vec("[a-c\n]{0,60}", 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = folder();
        let path = dir.path().join("app.log");
        append(&path, "");
        let seen = runtime.block_on(async {
            let mut following = Following::start(&path, LogRequest::default());
            for piece in &pieces {
                append(&path, piece);
                tokio::task::yield_now().await;
            }
            append(&path, "\nEND\n");
            following.until("END").await;
            following.end().await
        });
        let text = fs::read_to_string(&path).unwrap();
        prop_assert_eq!(seen, text.lines().map(ToOwned::to_owned).collect::<Vec<_>>());
    }
}
