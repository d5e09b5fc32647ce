//! The table of keys as text: for `lastgood keys print` and, as Markdown, for the README.

use std::fmt::Write as _;

use super::{Keymap, chord};
use crate::tui::action::{ACTIONS, Action, Place};

/// Every binding, place by place, aligned for a terminal.
pub fn text(keymap: &Keymap) -> String {
    let mut out = String::new();
    for (place, rows) in tables(keymap) {
        let _ = writeln!(out, "[{}]", place.name());
        for (keys, action) in rows {
            let spec = action.spec();
            let _ = writeln!(out, "  {keys:<22} {:<26} {}", spec.id, spec.help.trim());
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Every binding as one Markdown table.
pub fn markdown(keymap: &Keymap) -> String {
    let mut out = String::from("| where | key | does | action |\n|---|---|---|---|\n");
    for (place, rows) in tables(keymap) {
        for (keys, action) in rows {
            let spec = action.spec();
            let keys: Vec<String> = keys
                .split(", ")
                .map(|key| format!("`{}`", key.replace('|', "\\|")))
                .collect();
            let _ = writeln!(
                out,
                "| {} | {} | {} | `{}` |",
                place.name(),
                keys.join(" "),
                spec.help.trim(),
                spec.id
            );
        }
    }
    out
}

type Rows = Vec<(String, Action)>;

/// The bindings of each place, in the order of the action table, all keys of an action together.
fn tables(keymap: &Keymap) -> Vec<(Place, Rows)> {
    Place::ALL
        .into_iter()
        .map(|place| {
            let rows = ACTIONS
                .iter()
                .filter_map(|spec| {
                    let keys: Vec<String> = keymap
                        .bindings(place)
                        .filter(|(_, action)| *action == spec.action)
                        .map(|(chords, _)| chord::display(chords))
                        .collect();
                    (!keys.is_empty()).then(|| (keys.join(", "), spec.action))
                })
                .collect();
            (place, rows)
        })
        .filter(|(_, rows): &(Place, Rows)| !rows.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_binding_is_printed_once() {
        let keymap = Keymap::built_in();
        let printed = text(&keymap);
        for spec in ACTIONS {
            assert!(printed.contains(spec.id), "{}", spec.id);
        }
        let rows = markdown(&keymap).lines().count() - 2;
        let expected: usize = tables(&keymap).iter().map(|(_, rows)| rows.len()).sum();
        assert_eq!(rows, expected);
    }
}
