//! Actions and keys: every id is well formed and unique, every keymap parses, names only actions that exist, and every
//! action can be reached by a key.

use crate::source::root;
use std::collections::BTreeSet;
use std::fs;

/// The ids in the table of actions, in its order.
fn action_ids() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/tui/action.rs")).unwrap();
    let ids = ids_in_table(&text);
    assert!(
        ids.len() > 20,
        "the table of actions was not found in src/tui/action.rs: {ids:?}"
    );
    ids
}

/// Rows look like `/// help` and `Name = "pane.verb-object", "label", Risk, […];`.
fn ids_in_table(text: &str) -> Vec<String> {
    let Some((_, table)) = text.split_once("\nactions! {") else {
        return Vec::new();
    };
    let (table, _) = table.split_once("\n}").unwrap_or((table, ""));
    let rows = table
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    rows.filter_map(|row| Some(row.split_once(" = \"")?.1.split_once('"')?.0.to_string()))
        .collect()
}

/// `pane.verb-object`; the object is left out where the verb needs none (`app.quit`).
fn is_well_formed(id: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    id.split_once('.')
        .is_some_and(|(pane, verb)| is_word(pane) && verb.split('-').all(is_word))
}

#[test]
fn action_ids_are_well_formed_and_unique() {
    let ids = action_ids();
    let bad: Vec<&String> = ids.iter().filter(|id| !is_well_formed(id)).collect();
    assert!(bad.is_empty(), "not pane.verb-object: {bad:?}");
    assert_eq!(doubled(&ids), Vec::<&String>::new(), "the same id twice");
}

fn doubled(ids: &[String]) -> Vec<&String> {
    let mut seen = BTreeSet::new();
    ids.iter().filter(|id| !seen.insert(*id)).collect()
}

#[test]
fn keymaps_name_only_actions_that_exist() {
    let ids = action_ids();
    let mut files = 0;
    for entry in fs::read_dir(root().join("keymaps")).unwrap() {
        let path = entry.unwrap().path();
        let bindings = bindings(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!bindings.is_empty(), "{} binds nothing", path.display());
        let unknown = unknown(&bindings, &ids);
        assert!(unknown.is_empty(), "{}: {unknown:?}", path.display());
        files += 1;
    }
    assert!(files >= 3, "default, vim and emacs are shipped");
}

#[test]
fn the_default_keymap_binds_every_action() {
    let text = fs::read_to_string(root().join("keymaps/default.toml")).unwrap();
    let bound: BTreeSet<String> = bindings(&text)
        .unwrap()
        .into_iter()
        .map(|(_, action)| action)
        .collect();
    let unbound: Vec<String> = action_ids()
        .into_iter()
        .filter(|id| !bound.contains(id))
        .collect();
    assert!(unbound.is_empty(), "no key leads to {unbound:?}");
}

/// `(place and chord, action id)` of every binding: a file is tables of `"chord" = "action"`.
fn bindings(text: &str) -> Result<Vec<(String, String)>, String> {
    let file: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    let mut found = Vec::new();
    for (place, keys) in &file {
        // A plain value at the top is an option of the file (`base = "vim"`).
        let Some(keys) = keys.as_table() else {
            continue;
        };
        for (chord, action) in keys {
            let action = action
                .as_str()
                .ok_or(format!("[{place}] {chord}: the action is no text"))?;
            found.push((format!("[{place}] {chord}"), action.to_string()));
        }
    }
    Ok(found)
}

fn unknown<'a>(bindings: &'a [(String, String)], ids: &[String]) -> Vec<&'a (String, String)> {
    let is_known = |action: &String| action == "none" || ids.contains(action);
    bindings
        .iter()
        .filter(|(_, action)| !is_known(action))
        .collect()
}

#[test]
fn bad_ids_and_bad_keymaps_are_found() {
    for id in [
        "quit",
        "App.quit",
        "app.",
        "app.quit-",
        "app.go down",
        "logs.find_text",
    ] {
        assert!(!is_well_formed(id), "{id}");
    }
    assert!(is_well_formed("logs.find-text") && is_well_formed("app.quit"));
    let table = "macro\nactions! {\n    /// A = \"no.row\"\n    Quit = \"app.quit\", \"quit\", ReadOnly, [GLOBAL];\n    Again = \"app.quit\", \"x\", ReadOnly, [GLOBAL];\n}\nmore = \"not.this\"";
    let ids = ids_in_table(table);
    assert_eq!(ids, ["app.quit", "app.quit"]);
    assert_eq!(doubled(&ids).len(), 1);
    let map = bindings(
        "base = \"vim\"\n[global]\n\"q\" = \"app.quit\"\n\"w\" = \"app.qiut\"\n\"e\" = \"none\"\n",
    )
    .unwrap();
    assert_eq!(
        unknown(&map, &ids),
        [&("[global] w".to_string(), "app.qiut".to_string())]
    );
    assert!(bindings("[global]\n\"q\" = 1\n").is_err() && bindings("[global\n").is_err());
}
