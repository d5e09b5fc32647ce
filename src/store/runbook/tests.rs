use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::domain::runbook::ItemState;
use crate::domain::runbook::run::{ItemAction, Unfit};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn anna() -> SafeText {
    SafeText::from_text("anna")
}

struct Box {
    dir: tempfile::TempDir,
    store: RunbookStore,
}

fn new_box() -> Box {
    let dir = tempfile::Builder::new()
        .prefix("lastgood-test-")
        .tempdir()
        .unwrap();
    let store = RunbookStore::new(&dir.path().join("state"), Some(&dir.path().join("config")));
    Box { dir, store }
}

impl Box {
    fn write_runbook(&self, name: &str, text: &str) -> PathBuf {
        let dir = self.dir.path().join("config/runbooks");
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("{name}.md"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn start(&self, name: &str) -> String {
        self.store
            .start(name, at(0), at(0), &TimeZone::UTC, anna())
            .unwrap()
            .run
    }

    fn act(&self, run: &str, number: usize, action: ItemAction) -> Result<RunState, RunbookError> {
        self.store.append(run, |state| {
            Ok(Some(state.plan(number, action, None, anna(), at(1))?))
        })
    }
}

const TICK: ItemAction = ItemAction::Tick { evidence: None };

#[test]
fn a_users_file_takes_the_place_of_a_shipped_one() {
    let b = new_box();
    let path = b.write_runbook("deploy", "# Ours\n- [ ] one\n");
    b.write_runbook("zz-own", "# Own\n- [ ] one\n");
    let listing = b.store.list().unwrap();
    assert_eq!(listing.runbooks.len(), SHIPPED.len() + 1);
    assert_eq!(listing.runbooks[0].runbook.title.as_str(), "Ours");
    assert_eq!(listing.runbooks[0].path.as_ref(), Some(&path));
    assert_eq!(listing.runbooks.last().unwrap().runbook.name, "zz-own");
}

#[test]
fn a_broken_file_is_a_problem_and_not_the_shipped_one() {
    let b = new_box();
    b.write_runbook("deploy", "# Ours\n- [ ] one {due=soon}\n");
    let listing = b.store.list().unwrap();
    assert_eq!(listing.runbooks.len(), SHIPPED.len() - 1);
    assert!(
        listing.problems[0].to_string().contains("deploy.md:2:12:"),
        "{}",
        listing.problems[0]
    );
    assert!(matches!(
        b.store.load("deploy"),
        Err(RunbookError::Syntax { .. })
    ));
}

#[test]
fn a_file_that_others_may_change_is_not_read() {
    let b = new_box();
    let path = b.write_runbook("mine", "# Ours\n- [ ] one\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = b.store.load("mine").unwrap_err();
    assert!(error.to_string().contains("chmod o-w"), "{error}");
}

#[test]
fn an_unknown_name_offers_the_nearest() {
    let error = new_box().store.load("depoly").unwrap_err().to_string();
    assert!(
        error.contains("did you mean `deploy`?") && error.contains("blue-green"),
        "{error}"
    );
    let error = new_box().store.load("qqqqqqqqqq").unwrap_err().to_string();
    assert!(!error.contains("did you mean"), "{error}");
}

#[test]
fn a_run_survives_the_process_and_the_edit_of_its_file() {
    let b = new_box();
    b.write_runbook("mine", "# Mine\n- [ ] one\n- [ ] two\n");
    let run = b.start("mine");
    assert_eq!(run, "20270115-080000-mine");
    assert_eq!(b.start("mine"), "20270115-080000-mine-2");
    b.act(&run, 2, TICK).unwrap();
    b.write_runbook("mine", "# Other\n- [ ] something else\n");
    let state = b.store.open(&run).unwrap();
    assert_eq!(state.runbook.title.as_str(), "Mine");
    assert_eq!(state.item(2).unwrap().state, ItemState::Done);
    assert_eq!(state.started_by, anna());
}

#[test]
fn the_current_run_is_the_newest_with_something_to_do() {
    let b = new_box();
    assert!(matches!(b.store.current(), Err(RunbookError::NoRun { .. })));
    b.write_runbook("mine", "# Mine\n- [ ] one\n");
    let first = b.start("mine");
    let second = b.start("mine");
    b.act(&second, 1, TICK).unwrap();
    assert_eq!(b.store.current().unwrap().run, first);
    b.act(&first, 1, TICK).unwrap();
    assert_eq!(b.store.current().unwrap().run, second);
    let error = b.store.open("../../etc").unwrap_err();
    assert!(matches!(error, RunbookError::UnknownRun { .. }), "{error}");
}

#[test]
fn compare_and_set_lets_one_of_two_win() {
    let b = new_box();
    let run = b.start("deploy");
    let tick = |by: &str| {
        b.store.append(&run, |state| {
            Ok(Some(state.plan(
                1,
                TICK,
                Some(0),
                SafeText::from_text(by),
                at(1),
            )?))
        })
    };
    tick("anna").unwrap();
    let error = tick("boris").unwrap_err();
    assert!(matches!(error, RunbookError::Unfit(Unfit::Conflict { .. })));
    assert!(error.to_string().contains("done by anna"), "{error}");
    assert_eq!(b.store.open(&run).unwrap().item(1).unwrap().revision, 1);
}

#[test]
fn a_torn_last_line_is_repaired_by_the_next_writer() {
    let b = new_box();
    let run = b.start("deploy");
    b.act(&run, 1, TICK).unwrap();
    let path = b.store.path(&run);
    let whole = std::fs::read(&path).unwrap();
    b.act(&run, 2, TICK).unwrap();
    let longer = std::fs::read(&path).unwrap();
    // Every place where a crash can cut the last line.
    for cut in whole.len() + 1..longer.len() {
        std::fs::write(&path, &longer[..cut]).unwrap();
        let seen = b.store.open(&run).unwrap();
        assert_eq!(
            seen.item(2).unwrap().state,
            ItemState::Open,
            "a reader at {cut}"
        );
        assert_eq!(
            std::fs::read(&path).unwrap().len(),
            cut,
            "a reader changes nothing"
        );
        b.act(&run, 3, TICK).unwrap();
        let state = b.store.open(&run).unwrap();
        assert_eq!(state.item(2).unwrap().state, ItemState::Open, "{cut}");
        assert_eq!(state.item(3).unwrap().state, ItemState::Done, "{cut}");
        let lost: Vec<&str> = state.lost.iter().map(SafeText::as_str).collect();
        let torn = String::from_utf8_lossy(&longer[whole.len()..cut]).into_owned();
        assert_eq!(lost, [torn.as_str()]);
        assert!(std::fs::read(&path).unwrap().ends_with(b"\n"));
    }
}

#[test]
fn damage_in_the_middle_is_named_by_its_line() {
    let b = new_box();
    let run = b.start("deploy");
    b.act(&run, 1, TICK).unwrap();
    b.act(&run, 2, TICK).unwrap();
    let path = b.store.path(&run);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"item\":1", "\"item\":x", 1)).unwrap();
    let error = b.act(&run, 3, TICK).unwrap_err();
    assert!(
        matches!(error, RunbookError::Damaged { line: 2, .. }),
        "{error}"
    );
    std::fs::write(&path, text.replacen("\"revision\":1", "\"revision\":7", 1)).unwrap();
    assert!(matches!(
        b.store.open(&run),
        Err(RunbookError::Damaged { line: 2, .. })
    ));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(
        b.store.open(&run),
        Err(RunbookError::Damaged { line: 1, .. })
    ));
}

#[test]
fn many_writers_lose_and_tear_nothing() {
    const WRITERS: usize = 4;
    const EACH: usize = 25;
    let b = new_box();
    let run = b.start("deploy");
    let won: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (b, run) = (&b, &run);
                scope.spawn(move || {
                    let by = SafeText::from_text(&format!("writer-{writer}"));
                    let mut won = 0;
                    for round in 0..EACH {
                        let text = SafeText::from_text(&format!("{writer}/{round}"));
                        let comment = |state: &RunState| {
                            let action = ItemAction::Comment { text };
                            Ok(Some(state.plan(2, action, None, by.clone(), at(1))?))
                        };
                        b.store.append(run, comment).unwrap();
                        // All of them want to be the one who moves item 1 on from this revision.
                        let expected = Some(round as u64);
                        let action = if round % 2 == 0 {
                            ItemAction::Claim
                        } else {
                            ItemAction::Undo
                        };
                        let claim = |state: &RunState| {
                            Ok(Some(state.plan(1, action, expected, by.clone(), at(1))?))
                        };
                        match b.store.append(run, claim) {
                            Ok(_) => won += 1,
                            Err(RunbookError::Unfit(_)) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                    won
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    let state = b.store.open(&run).unwrap();
    assert_eq!(state.item(2).unwrap().comments.len(), WRITERS * EACH);
    assert_eq!(
        state.item(1).unwrap().revision,
        won as u64,
        "each revision was won once"
    );
    assert!(won >= 1);
}

#[test]
fn files_are_private_whatever_the_umask_and_shared_where_the_state_is() {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let b = new_box();
    let run = b.start("deploy");
    let journal = b.store.path(&run);
    assert_eq!(mode(&journal), 0o600);
    assert_eq!(mode(journal.parent().unwrap()), 0o700);

    let shared = new_box();
    let state = shared.dir.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o2770)).unwrap();
    let journal = shared.store.path(&shared.start("deploy"));
    assert_eq!(mode(&journal), 0o660);
    assert_eq!(mode(journal.parent().unwrap()), 0o2770);
}

#[test]
fn a_damaged_run_is_told_and_a_start_cut_off_by_a_crash_is_none() {
    let b = new_box();
    let run = b.start("deploy");
    std::fs::create_dir(b.dir.path().join("state/runbooks/20300101-000000-deploy")).unwrap();
    assert_eq!(b.store.runs().unwrap().len(), 1);
    std::fs::write(b.store.path(&run), "not json\n").unwrap();
    assert_eq!(b.store.runs().unwrap().len(), 1);
    let error = b.store.current().unwrap_err();
    assert!(
        matches!(error, RunbookError::Damaged { line: 1, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("begins a new run"), "{error}");
}

/// A run into which `writers` threads wrote `each` remarks, every one through a journal of its own as another process has.
fn crowded(writers: usize, each: usize) -> (Box, String) {
    let b = new_box();
    let run = b.start("deploy");
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (b, run) = (&b, &run);
            scope.spawn(move || {
                let by = SafeText::from_text(&format!("writer-{writer}"));
                let mut journal = b.store.follow(run).unwrap();
                for round in 0..each {
                    let text = SafeText::from_text(&round.to_string());
                    let action = ItemAction::Comment { text };
                    let remark = |state: &RunState| {
                        Ok(Some(state.plan(2, action, None, by.clone(), at(1))?))
                    };
                    assert!(journal.append(remark).unwrap());
                }
            });
        }
    });
    (b, run)
}

/// The whole is 8 x 5,000, a quarter of a minute on an idle machine:
/// `LASTGOOD_TEST_EVENTS=5000 cargo test --lib eight_writers`.
#[test]
fn eight_writers_tear_nothing_and_fork_nothing() {
    const WRITERS: usize = 8;
    let each = std::env::var("LASTGOOD_TEST_EVENTS").map_or(250, |text| text.parse().unwrap());
    let (b, run) = crowded(WRITERS, each);
    let journal = b.store.follow(&run).unwrap();
    assert_eq!(journal.head().0, (WRITERS * each + 1) as u64);
    let state = journal.state().unwrap();
    assert!(state.lost.is_empty(), "{:?}", state.lost);
    // Each writer's remarks are all there, in the order in which they were made.
    for writer in 0..WRITERS {
        let name = format!("writer-{writer}");
        let said: Vec<&str> = state
            .item(2)
            .unwrap()
            .comments
            .iter()
            .filter(|comment| comment.by.as_str() == name)
            .map(|comment| comment.text.as_str())
            .collect();
        let wanted: Vec<String> = (0..each).map(|round| round.to_string()).collect();
        assert_eq!(said, wanted, "{name}");
    }
}

#[test]
fn a_thousand_random_edits_are_found_at_their_line() {
    let (b, run) = crowded(2, 30);
    let path = b.store.path(&run);
    let text = std::fs::read(&path).unwrap();
    let lines: Vec<&[u8]> = text.split_inclusive(|&b| b == b'\n').collect();
    // A fixed beginning: a failure can be looked at again.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut any = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for round in 0..1000 {
        let at = any(lines.len());
        let mut edited: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
        // The first line, from 0, that is not what it was.
        let (what, place) = match any(6) {
            0 => {
                let byte = any(lines[at].len() - 1);
                edited[at][byte] ^= 1 << any(7);
                ("a bit turned over", at)
            }
            // Taking the last line away is the one edit that a chain alone does not show.
            1 if at + 1 < lines.len() => {
                edited.remove(at);
                ("a line taken out", at)
            }
            2 => {
                edited.insert(at, lines[at].to_vec());
                ("a line written twice", at + 1)
            }
            3 if at + 1 < lines.len() => {
                edited.swap(at, at + 1);
                ("two lines exchanged", at)
            }
            4 => {
                let from = any(lines[at].len() - 1);
                edited[at].remove(from);
                ("a byte taken out", at)
            }
            _ => {
                edited[at].splice(0..0, *b"{}\n");
                ("a line put in", at)
            }
        };
        std::fs::write(&path, edited.concat()).unwrap();
        match b.store.open(&run) {
            Err(RunbookError::Damaged { line, .. }) => {
                assert_eq!(line, place as u64 + 1, "round {round}: {what} at {at}");
            }
            other => panic!("round {round}: {what} at {at} was not found: {other:?}"),
        }
    }
}

#[test]
fn who_follows_a_run_reads_what_is_new_and_sees_a_cut() {
    let b = new_box();
    let run = b.start("deploy");
    let mut journal = b.store.follow(&run).unwrap();
    assert!(!journal.catch_up().unwrap());
    b.act(&run, 1, TICK).unwrap();
    let path = b.store.path(&run);
    let one = std::fs::read(&path).unwrap();
    b.act(&run, 2, TICK).unwrap();
    assert!(journal.catch_up().unwrap());
    let state = journal.state().unwrap();
    assert_eq!(state.item(2).unwrap().state, ItemState::Done);
    std::fs::write(&path, one).unwrap();
    let error = journal.catch_up().unwrap_err();
    assert!(error.to_string().contains("were cut off"), "{error}");
}

#[test]
fn a_run_is_started_with_the_values_of_its_variables() {
    let b = new_box();
    b.write_runbook(
        "mine",
        "# Mine {{backend=backend}}\n- [ ] of {{checkpoint}}\n\n  ```probe\n  service {{backend}} healthy\n  ```\n",
    );
    // Looked at, a hole stays; started, it is a mistake with its place.
    assert_eq!(
        b.store.load("mine").unwrap().runbook.title.as_str(),
        "Mine backend"
    );
    let start = |store: &RunbookStore| store.start("mine", at(0), at(0), &TimeZone::UTC, anna());
    let Err(RunbookError::Syntax { error, text }) = start(&b.store) else {
        panic!("it was started with a hole");
    };
    assert_eq!((error.line, &text[error.span]), (2, "{{checkpoint}}"));
    let values = [("backend", "shop/api"), ("checkpoint", "20251227-145000")];
    let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let store = b.store.clone().with_variables(values.into());
    let run = start(&store).unwrap().run;
    // What was filled in stays so, whatever the configuration says later.
    let state = b.store.open(&run).unwrap();
    let item = state.runbook.find("1").unwrap();
    assert_eq!(item.text.as_str(), "of 20251227-145000");
    assert_eq!(
        item.probes().next().unwrap().to_string(),
        "service shop/api healthy"
    );
}

#[test]
fn no_shipped_runbook_has_a_hole() {
    let b = new_box();
    for Shipped { name, english, .. } in SHIPPED {
        let run = b.start(name);
        let state = b.store.open(&run).unwrap();
        assert!(state.items().count() > 0, "{name}");
        assert!(
            english.contains("[runbooks.variables]"),
            "{name} says how to put in other names"
        );
    }
}

#[path = "include_tests.rs"]
mod include;
