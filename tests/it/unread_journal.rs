//! A run that was left and whose journal cannot be read: told wherever one would be told that can be, and nothing is done
//! that needs to know what it was about.

use crate::compose_story::list;
use crate::harness::missing;
use crate::prune::bot;
use crate::resume::{done_of, open_journal, run_until};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn a_run_whose_journal_cannot_be_read_is_told_and_nothing_that_it_may_need_goes() {
    if missing(&["strace"]) {
        return;
    }
    let sandbox = bot("unread-journal");
    sandbox.run(&["checkpoint", "create", "exec/bot"]).exits(0);
    sandbox.run(&["checkpoint", "create", "exec/bot"]).exits(0);
    let stop = ["stop", "exec/bot", "--yes"];
    run_until(&sandbox, &stop, "KILL", done_of(0)).exits(137);
    let journal = open_journal(&sandbox);
    let folder = journal.parent().unwrap();
    let run = folder.file_name().unwrap().to_str().unwrap();
    let whole = fs::read_to_string(&journal).unwrap();
    let newer = format!("{whole}{{\"at\":\"2025-12-27T14:50:00Z\",\"entry\":\"PAUSED\"}}\n");
    let damages: [(&str, &dyn Fn()); 3] = [
        ("line 1", &|| fs::write(&journal, &whole[9..]).unwrap()),
        ("PAUSED", &|| fs::write(&journal, &newer).unwrap()),
        ("symbolic links", &|| {
            fs::remove_file(&journal).unwrap();
            symlink(&journal, &journal).unwrap();
        }),
    ];
    for (why, damage) in damages {
        damage();
        for words in [
            &["resume"][..],
            &["resume", run],
            &["resume", run, "--undo"],
        ] {
            let told = sandbox.run(words).exits(4);
            told.says(&[run, "stop exec/bot, begun by ", why, "audit list"]);
        }
        let status = sandbox.json(4, "lease", &["lease", "status"]);
        let left = &status["unread"][0];
        assert_eq!(left["run"], run, "{status:#}");
        assert_eq!(left["services"][0], "exec/bot", "{status:#}");
        assert!(left["problem"].as_str().unwrap().contains(why), "{left:#}");
        let text = sandbox.run(&["lease", "status"]).exits(4).stdout;
        assert!(text.contains(run) && text.contains(why), "{text}");
        let plan = sandbox.json(0, "plan", &["stop", "exec/bot", "--dry-run"]);
        let note = plan["notes"][0].as_str().unwrap_or_default();
        assert!(note.contains(run) && note.contains(why), "{plan:#}");
        let prune = ["checkpoint", "prune", "--keep-last", "0", "--dry-run"];
        let plan = sandbox.json(0, "plan", &prune);
        assert_eq!(list(&plan["steps"]).len(), 0, "{plan:#}");
        let notes = plan["notes"].to_string();
        assert!(notes.contains("nothing is removed"), "{plan:#}");
        assert!(notes.contains(run) && notes.contains(why), "{plan:#}");
    }
    // It is in nobody's way, and nothing says of it how it ended.
    sandbox.run(&stop).exits(0);
    assert_eq!(sandbox.outcomes(), ["verified"]);
    sandbox.run(&["resume"]).exits(4).says(&[run]);
    // It can be read again: a torn line at its end is no damage.
    fs::remove_file(&journal).unwrap();
    fs::write(&journal, format!("{whole}{{\"at\":\"2025")).unwrap();
    let status = sandbox.json(0, "lease", &["lease", "status"]);
    assert_eq!(status["unfinished"][0]["run"], run, "{status:#}");
    assert_eq!(list(&status["unread"]).len(), 0, "{status:#}");
    sandbox.run(&["resume", "--yes"]).exits(0);
    sandbox
        .run(&["resume"])
        .exits(1)
        .says(&["every run has ended"]);
    // One whose end stands in the audit log has ended, whatever became of its journal.
    fs::write(&journal, &newer).unwrap();
    sandbox
        .run(&["resume"])
        .exits(1)
        .says(&["every run has ended"]);
    sandbox.run(&["audit", "verify"]).exits(0);
}
