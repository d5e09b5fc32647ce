use super::*;

const SOURCE: &str = r#"# Deploy the **shop**

Read this first.

- a plain bullet

## Step 1: save

Some words.

- [ ] Take a `checkpoint` {owner=devops due=T-10m}

  Why: logs die.

  | a | b |
  |---|---|
  | 1 | 2 |

  ```sh run
  lastgood checkpoint create
  echo "{{.Image}}"
  ```

  ```sh
  just to read
  ```
- [x] Deploy {gate owner=anna}

  ```sh undo
  lastgood roll-back backend
  ```

## Step 2: check

- [ ] Healthy {due=T+5m}
  - [ ] API
    ```probe
    http http://localhost:8000/health
    # both must answer
    service backend healthy
    ```
  - a hint
- [ ] Healthy
"#;

fn fails(source: &str) -> SyntaxError {
    parse("test", "test.md", source).unwrap_err()
}

#[test]
fn a_runbook_is_read_whole() {
    let runbook = parse("deploy", "deploy.md", SOURCE).unwrap();
    assert_eq!(runbook.title.as_str(), "Deploy the shop");
    assert_eq!(
        runbook
            .intro
            .iter()
            .map(SafeText::as_str)
            .collect::<Vec<_>>(),
        ["Read this first.", "", "- a plain bullet"]
    );
    assert_eq!(runbook.phases.len(), 2);
    assert_eq!(runbook.phases[0].notes[0].as_str(), "Some words.");

    let items: Vec<&Item> = runbook.items().collect();
    assert_eq!(
        items
            .iter()
            .map(|i| (i.number, i.slug.as_str(), i.depth))
            .collect::<Vec<_>>(),
        [
            (1, "take-a-checkpoint", 0),
            (2, "deploy", 0),
            (3, "healthy", 0),
            (4, "api", 1),
            (5, "healthy-2", 0)
        ]
    );
    assert_eq!(items[0].text.as_str(), "Take a checkpoint");
    assert_eq!(items[0].owner.as_ref().unwrap().as_str(), "devops");
    assert_eq!(items[0].due.unwrap().to_string(), "T-10m");
    assert_eq!(items[0].phase.as_str(), "Step 1: save");
    assert_eq!(
        items[0].run_scripts().collect::<Vec<_>>(),
        ["lastgood checkpoint create\necho \"{{.Image}}\"\n"]
    );
    let notes: Vec<&str> = items[0].notes.iter().map(SafeText::as_str).collect();
    assert_eq!(
        notes,
        [
            "Why: logs die.",
            "",
            "| a | b |",
            "|---|---|",
            "| 1 | 2 |",
            "",
            "```sh",
            "just to read",
            "```"
        ]
    );
    assert!(items[1].is_gate && !items[0].is_gate);
    assert_eq!(items[1].undo_scripts().count(), 1);
    assert_eq!(
        items[3]
            .probes()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            "http http://localhost:8000/health",
            "service backend healthy"
        ]
    );
    assert_eq!(items[3].notes[0].as_str(), "- a hint");
    assert_eq!(runbook.automatic_count(), 1);
    assert_eq!(runbook.find("4").unwrap().slug, "api");
    assert_eq!(runbook.find("healthy-2").unwrap().number, 5);
    assert!(runbook.find("0").is_none() && runbook.find("nothing").is_none());
}

#[test]
fn items_may_stand_before_the_first_phase() {
    let runbook = parse("a", "a.md", "# A\n- [ ] one\n").unwrap();
    assert!(runbook.phases[0].title.is_empty());
    assert_eq!(runbook.items().count(), 1);
}

#[test]
fn braces_that_are_no_attributes_stay_in_the_text() {
    let runbook = parse(
        "a",
        "a.md",
        "# A\n- [ ] Restart {{service}}\n- [ ] Format `{a}`\n",
    )
    .unwrap();
    let texts: Vec<&str> = runbook.items().map(|i| i.text.as_str()).collect();
    assert_eq!(texts, ["Restart {{service}}", "Format {a}"]);
}

#[test]
fn hostile_text_is_made_safe() {
    let runbook = parse(
        "a",
        "a.md",
        "# A\u{1b}[2J\n- [ ] wipe \u{1b}]0;x\u{7} {owner=\u{202e}anna}\n",
    )
    .unwrap();
    let shown = format!(
        "{}{}{:?}",
        runbook.title, runbook.phases[0].items[0].text, runbook.phases[0].items[0].owner
    );
    assert!(
        !shown.contains(['\u{1b}', '\u{7}', '\u{202e}']),
        "{shown:?}"
    );
}

#[test]
fn an_error_has_its_line_and_column() {
    let error = fails("# Ä\n\n- [ ] ö one {owner=a due=T+5x}\n");
    assert_eq!((error.line, error.column), (3, 22));
    assert_eq!(
        error.to_string(),
        format!("test.md:3:22: {}", error.message)
    );
    assert!(error.message.contains("T+5m"), "{}", error.message);
}

#[test]
fn an_error_points_at_what_is_wrong() {
    for (source, wrong, word) in [
        ("no title\n", "no title", "title"),
        ("", "", "title"),
        ("# A\n\ntext\n", "", "at least one item"),
        ("# A\n# B\n- [ ] x\n", "# B", "second title"),
        ("# A\n- [ ] x\n## \n", "##", "heading"),
        ("# A\n- [ ] x {color=red}\n", "color=red", "owner=NAME"),
        ("# A\n- [ ] x {owner=}\n", "owner=", "no value"),
        ("# A\n- [ ] x {due=T+1m due=T+2m}\n", "due=T+2m", "twice"),
        (
            "# A\n- [ ] {owner=a}\n",
            "- [ ] {owner=a}",
            "without a text",
        ),
        (
            "# A\n- [ ] x\n\n```probe\ntcp a:1\n```\n",
            "```probe",
            "indent",
        ),
        (
            "# A\n- [ ] x\n  ```probe\n  tcp a:1\n  service a up\n  ```\n",
            "up",
            "healthy",
        ),
        ("# A\n- [ ] x\n  ```probe\n  ```\n", "```probe", "empty"),
        (
            "# A\n- [ ] x\n  ```sh rnu\n  ls\n  ```\n",
            "```sh rnu",
            "sh run",
        ),
        (
            "# A\n- [ ] x\n  ```bash run\n  ls\n  ```\n",
            "```bash run",
            "sh run",
        ),
        ("# A\n- [ ] x\n  ```sh run\n\n  ```\n", "```sh run", "empty"),
        ("# A\n- [] x\n", "- [] x", "- [ ]"),
        ("# A\n\n- group\n  - [ ] x\n", "- [ ] x", "box"),
        ("# A\n- [ ] y\n- plain\n  - [ ] x\n", "- [ ] x", "box"),
        ("# A\n- [ ] y\n\n> - [ ] x\n", "- [ ] x", "box"),
        (
            "# A\n- [ ] y\n- plain\n  ```probe\n  tcp a:1\n  ```\n",
            "```probe",
            "belongs to an item",
        ),
        ("# A\n- [ ] y\n- [x ] x\n", "- [x ] x", "- [ ]"),
    ] {
        let error = fails(source);
        assert_eq!(
            &source[error.span.clone()],
            wrong,
            "{source:?}: {}",
            error.message
        );
        assert!(
            error.message.contains(word),
            "{source:?}: {}",
            error.message
        );
    }
}

#[test]
fn any_text_is_an_answer_or_an_error_with_a_place() {
    // Cut a real source at every byte: the parser may refuse, but its span has to fit the source.
    for end in (0..=SOURCE.len()).filter(|&end| SOURCE.is_char_boundary(end)) {
        let source = &SOURCE[..end];
        if let Err(error) = parse("a", "a.md", source) {
            assert!(source.get(error.span.clone()).is_some(), "{end}: {error}");
        }
    }
}

#[test]
fn line_ends_of_other_editors_are_no_part_of_a_command() {
    let runbook = parse("a", "a.md", &SOURCE.replace('\n', "\r\n")).unwrap();
    let plain = parse("a", "a.md", SOURCE).unwrap();
    assert_eq!(runbook, plain);
}

#[test]
fn a_deep_nest_is_an_error_and_no_end_of_the_stack() {
    let deep = 50_000;
    for nest in [
        ">".repeat(deep),
        format!("{}x", "- ".repeat(deep)),
        format!("- [ ] x\n\n  {}y", "> ".repeat(deep)),
        format!("- [ ] {}x{}", "*a ".repeat(deep), " a*".repeat(deep)),
    ] {
        let error = fails(&format!("# A\n\n{nest}\n"));
        assert!(
            error.message.contains("too deep"),
            "{}…: {error}",
            &nest[..20]
        );
    }
}

#[test]
fn an_item_for_two_people_is_decided_by_people() {
    let runbook = parse(
        "a",
        "a.md",
        "# A\n- [ ] one {owner=x two-person}\n- [ ] two\n",
    )
    .unwrap();
    let two: Vec<bool> = runbook.items().map(|item| item.is_two_person).collect();
    assert_eq!(two, [true, false]);
    let probed = "# A\n- [ ] one {two-person}\n\n  ```probe\n  tcp localhost:1\n  ```\n";
    let error = parse("a", "a.md", probed).unwrap_err();
    assert_eq!(error.line, 4);
    assert!(error.message.contains("it is they who decide"), "{error}");
}

#[test]
fn an_item_keeps_the_name_it_gives_itself() {
    let source = "# A\n- [ ] Проверить {id=check owner=a}\n- [ ] Check\n- [ ] again {id=check}\n";
    let runbook = parse("a", "a.md", source).unwrap();
    let slugs: Vec<&str> = runbook.items().map(|item| item.slug.as_str()).collect();
    assert_eq!(slugs, ["check", "check-2", "check-3"]);
    let error = fails("# A\n- [ ] a {id=Not-One}\n");
    assert!(error.message.contains("write `not-one`"), "{error}");
    let error = fails("# A\n- [ ] a {id=a id=b}\n");
    assert!(error.message.contains("`id` stands here twice"), "{error}");
}
