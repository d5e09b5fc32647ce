use super::*;

impl Box {
    /// A part of a runbook, in a folder of its own: it is no runbook by itself.
    fn write_part(&self, path: &str, text: &str) {
        let path = self.dir.path().join("config/runbooks").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let source = self.store.load(name).unwrap();
        let items = source.runbook.items();
        items.map(|item| item.text.to_string()).collect()
    }

    /// The mistake, and what stands above its caret.
    fn mistake(&self, name: &str) -> (String, String) {
        match self.store.load(name) {
            Err(RunbookError::Syntax { error, text }) => {
                let at = text[error.span.clone()].to_owned();
                (error.to_string(), at)
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn what_is_included_stands_in_its_place_and_in_the_record() {
    let b = new_box();
    b.write_runbook(
        "night",
        "# Night {{backend=shop/api}}\n## Before\n- [ ] say it\n\n[Checks](parts/checks.md) {include}\n\n- [ ] go on\n\n[After](parts/after.md) {include}\n",
    );
    // A part links from where it stands; a folder below is not listed.
    b.write_part(
        "parts/checks.md",
        "- [ ] {{backend=backend}} is well\n\n  ```probe\n  service {{backend}} healthy\n  ```\n\n[More](more.md) {include}\n",
    );
    b.write_part("parts/more.md", "- [ ] the disk of {{backend}}");
    b.write_part(
        "parts/after.md",
        "# After it\n\nWhat it is for.\n\n## Close\n- [ ] tell them {owner=lead due=T+5m}\n",
    );
    let listing = b.store.list().unwrap();
    assert!(listing.problems.is_empty(), "{:?}", listing.problems);
    assert_eq!(listing.runbooks.len(), SHIPPED.len() + 1);
    let run = b.start("night");
    // Others read the record, not the files, which may be gone or say something else by now.
    std::fs::remove_dir_all(b.dir.path().join("config/runbooks/parts")).unwrap();
    let state = b.store.open(&run).unwrap();
    let items: Vec<_> = state
        .runbook
        .items()
        .map(|item| (item.number, item.phase.as_str(), item.text.as_str()))
        .collect();
    assert_eq!(
        items,
        [
            (1, "Before", "say it"),
            (2, "Before", "shop/api is well"),
            (3, "Before", "the disk of shop/api"),
            (4, "Before", "go on"),
            (5, "Close", "tell them"),
        ]
    );
    let probe = state.runbook.find("2").unwrap().probes().next().unwrap();
    assert_eq!(probe.to_string(), "service shop/api healthy");
    let notes = &state.runbook.phases[0].notes;
    assert_eq!(notes.last().unwrap().as_str(), "What it is for.");
}

#[test]
fn a_shipped_runbook_is_included_by_its_name_and_extended_by_the_own_one_of_its_name() {
    let b = new_box();
    let shipped = b.texts("deploy");
    b.write_runbook(
        "deploy",
        "# Ours\n- [ ] ask the boss\n\n[Theirs](deploy) {include}\n",
    );
    assert_eq!(b.texts("deploy")[1..], shipped);
    b.write_runbook("twice", "# Twice\n\n[As a link](deploy.md) {include}\n");
    assert_eq!(b.texts("twice").len(), shipped.len() + 1);
}

#[test]
fn a_mistake_in_a_part_stands_at_its_own_line_and_names_who_included_it() {
    let b = new_box();
    let folder = b.dir.path().join("config/runbooks");
    let main = b.write_runbook("main", "# Main\n\n\n[A](parts/a.md) {include}\n- [ ] x\n");
    b.write_part(
        "parts/a.md",
        "# A {{host=a-long-name}}\n\n[B](b.md) {include}\n",
    );
    b.write_part(
        "parts/b.md",
        "# B\n\nof {{host}}\n- [ ] of {{host}} {due=soon}\n",
    );
    let part = |name: &str| folder.join("parts").join(name).display().to_string();
    let (said, caret) = b.mistake("main");
    assert!(
        said.starts_with(&format!("{}:4:23: `soon` is no time", part("b.md"))),
        "{said}"
    );
    let chain = format!("(included by {}:3, by {}:4)", part("a.md"), main.display());
    assert!(said.ends_with(&chain), "{said}");
    assert_eq!(caret, "due=soon");
    // A variable that nobody sets, in a part, once it is started.
    b.write_part("parts/b.md", "# B\n- [ ] of {{nobody}}\n");
    let start = b.store.start("main", at(0), at(0), &TimeZone::UTC, anna());
    let Err(RunbookError::Syntax { error, text }) = start else {
        panic!("{start:?}");
    };
    assert_eq!(error.file, part("b.md"));
    assert_eq!((error.line, &text[error.span]), (2, "{{nobody}}"));
}

#[test]
fn what_cannot_be_included_is_told_at_the_link() {
    let b = new_box();
    let folder = b.dir.path().join("config/runbooks");
    b.write_runbook("main", "# Main\n- [ ] x\n\n[A](parts/a.md) {include}\n");
    for (text, at, message) in [
        ("[B](gone.md) {include}\n", "gone.md", "nothing to include"),
        (
            "[B](nothing) {include}\n",
            "nothing",
            "no runbook `nothing`; there are: deploy,",
        ),
        (
            "[B](https://x.org/a.md) {include}\n",
            "https://x.org/a.md",
            "is not included",
        ),
        (
            "[B](../main.md) {include}\n",
            "../main.md",
            "would include itself",
        ),
        (
            "- [ ] a\n  [B](a.md) {include}\n",
            "[B](a.md) {include}",
            "line of its own",
        ),
        (
            "- [ ] [B](a.md) {include}\n",
            "[B](a.md) {include}",
            "line of its own",
        ),
        (
            "[B](b.md) {included}\n",
            "[B](b.md) {included}",
            "line of its own",
        ),
        (
            "- [ ] a\n\n  ```sh\n  never closed\n",
            "```sh",
            "nothing closes",
        ),
    ] {
        b.write_part("parts/a.md", text);
        let (said, caret) = b.mistake("main");
        assert!(said.contains(message), "{text}: {said}");
        assert!(caret.contains(at), "{text}: {caret}");
        assert!(said.contains("main.md:4)"), "{text}: {said}");
    }
    b.write_part("parts/a.md", "[B](b.md) {include}\n");
    b.write_part("parts/b.md", "\n[A](a.md) {include}\n");
    let (said, _) = b.mistake("main");
    let way = |name: &str, line| format!("{}:{line}", folder.join("parts").join(name).display());
    let circle = format!(
        "would include itself: {} -> {} -> {}",
        way("a.md", 1),
        way("b.md", 2),
        folder.join("parts/a.md").display()
    );
    assert!(said.contains(&circle), "{said}");
    // A part holds commands as a runbook does.
    b.write_part("parts/a.md", "- [ ] a\n");
    let path = folder.join("parts/a.md");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let (said, caret) = b.mistake("main");
    assert!(said.contains("chmod o-w"), "{said}");
    assert_eq!(caret, "parts/a.md");
}

#[test]
fn includes_are_bounded_in_depth_number_and_size() {
    let b = new_box();
    b.write_runbook("main", "# Main\n- [ ] x\n\n[1](parts/1.md) {include}\n");
    for depth in 1..20 {
        let next = format!("[{0}]({0}.md) {{include}}\n", depth + 1);
        b.write_part(&format!("parts/{depth}.md"), &next);
    }
    let (said, _) = b.mistake("main");
    assert!(
        said.contains("8 deep") && said.contains("parts/8.md:1:"),
        "{said}"
    );
    // Twenty that include twenty each, and so on, would be billions.
    for depth in 1..8 {
        let next = format!("[{0}]({0}.md) {{include}}\n\n", depth + 1).repeat(20);
        b.write_part(&format!("parts/{depth}.md"), &next);
    }
    b.write_part("parts/8.md", "text\n");
    let (said, _) = b.mistake("main");
    assert!(said.contains("at most 100 includes"), "{said}");
    b.write_part("parts/1.md", &"[2](2.md) {include}\n\n".repeat(20));
    b.write_part("parts/2.md", &"a line\n".repeat(20_000));
    let (said, _) = b.mistake("main");
    assert!(said.contains("would be over 1048576 bytes"), "{said}");
}
