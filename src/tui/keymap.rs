//! Which key means which action where: pure data, resolved without knowing anything of the screen.
//!
//! The keymap files are TOML: a table a place, `"key sequence" = "action id"`. The default is built in; a user's
//! file is layered on top. A mistake in it names file, line and column and the nearest right name, because a
//! binding that silently does nothing is found out at the worst moment.

pub mod chord;
mod parse;
pub mod print;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::action::{Action, Place};
pub use chord::Chord;

const DEFAULT: &str = include_str!("../../keymaps/default.toml");
const VIM: &str = include_str!("../../keymaps/vim.toml");
const EMACS: &str = include_str!("../../keymaps/emacs.toml");

/// What a sequence of chords means in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// This.
    Action(Action),
    /// The beginning of a longer sequence.
    Pending,
    /// Nothing.
    Unbound,
}

/// A sequence and what it means; `None` unbinds a global key in a pane.
type Binding = (Vec<Chord>, Option<Action>);

/// The bindings of every place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keymap {
    places: HashMap<Place, Vec<Binding>>,
}

impl Keymap {
    /// The built-in keymap.
    pub fn built_in() -> Self {
        let mut keymap = Self::default();
        keymap
            .layer(DEFAULT, "keymaps/default.toml")
            .expect("a test parses the built-in keymap");
        keymap
    }

    /// The built-in keymap with the user's file on top, where there is one. A file may begin with
    /// `base = "vim"` or `base = "emacs"`.
    ///
    /// # Errors
    /// The file cannot be read, or something in it is wrong: the text shows the line and the caret.
    pub fn load(file: Option<&Path>) -> Result<Self, String> {
        let mut keymap = Self::built_in();
        let Some(path) = file else {
            return Ok(keymap);
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(keymap),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        keymap.layer(&text, &path.display().to_string())?;
        Ok(keymap)
    }

    /// Puts a keymap file's bindings over those there are.
    ///
    /// # Errors
    /// Every mistake in the file, each with its line and a caret.
    pub fn layer(&mut self, text: &str, name: &str) -> Result<(), String> {
        let file = parse::parse(text, name)?;
        match file.base.as_deref() {
            Some("vim") => self.layer(VIM, "keymaps/vim.toml")?,
            Some("emacs") => self.layer(EMACS, "keymaps/emacs.toml")?,
            _ => {}
        }
        for (place, chords, action) in file.bindings {
            self.bind(place, chords, action);
        }
        let shadowed = self.shadowed();
        if shadowed.is_empty() {
            Ok(())
        } else {
            Err(format!("{name}: {}", shadowed.join("\n")))
        }
    }

    fn bind(&mut self, place: Place, chords: Vec<Chord>, action: Option<Action>) {
        let table = self.places.entry(place).or_default();
        match table.iter_mut().find(|(bound, _)| *bound == chords) {
            Some((_, bound)) => *bound = action,
            None => table.push((chords, action)),
        }
    }

    /// Sequences that can never be typed, because their beginning is bound too.
    fn shadowed(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (place, table) in &self.places {
            for (long, _) in table.iter().filter(|(_, action)| action.is_some()) {
                let short = table.iter().find(|(short, action)| {
                    action.is_some() && short.len() < long.len() && long.starts_with(short)
                });
                if let Some((short, _)) = short {
                    found.push(format!(
                        "[{}] {:?} can never be typed, because {:?} is bound; unbind that with \"none\"",
                        place.name(),
                        chord::display(long),
                        chord::display(short)
                    ));
                }
            }
        }
        found.sort();
        found
    }

    /// What the chords typed so far mean.
    pub fn resolve(&self, typed: &[Chord], place: Place) -> Resolution {
        for place in lookup(place) {
            let Some(table) = self.places.get(&place) else {
                continue;
            };
            if let Some((_, action)) = table.iter().find(|(bound, _)| bound == typed) {
                match action {
                    Some(action) => return Resolution::Action(*action),
                    None if table.iter().any(|(bound, a)| {
                        a.is_some() && bound.len() > typed.len() && bound.starts_with(typed)
                    }) =>
                    {
                        return Resolution::Pending;
                    }
                    None => return Resolution::Unbound,
                }
            }
            if table
                .iter()
                .any(|(bound, action)| action.is_some() && bound.starts_with(typed))
            {
                return Resolution::Pending;
            }
        }
        Resolution::Unbound
    }

    /// The sequences bound to an action in a place, the shortest first.
    pub fn keys(&self, action: Action, place: Place) -> Vec<&[Chord]> {
        let mut keys: Vec<&[Chord]> = lookup(place)
            .filter_map(|p| self.places.get(&p))
            .flatten()
            .filter(|(chords, bound)| {
                *bound == Some(action) && self.resolve(chords, place) == Resolution::Action(action)
            })
            .map(|(chords, _)| chords.as_slice())
            .collect();
        keys.sort_by_key(|chords| chords.iter().map(Chord::weight).sum::<usize>());
        keys.dedup();
        keys
    }

    /// The handiest key of an action in a place, as it is shown.
    pub fn key(&self, action: Action, place: Place) -> Option<String> {
        self.keys(action, place)
            .first()
            .map(|chords| chord::display(chords))
    }

    /// The bindings of one place, without those that come from the global table.
    pub fn bindings(&self, place: Place) -> impl Iterator<Item = (&[Chord], Action)> {
        self.places
            .get(&place)
            .into_iter()
            .flatten()
            .filter_map(|(chords, action)| action.map(|a| (chords.as_slice(), a)))
    }
}

fn lookup(place: Place) -> impl Iterator<Item = Place> {
    let global = (place.has_global() && place != Place::Global).then_some(Place::Global);
    std::iter::once(place).chain(global)
}

/// Where the user's keymap stands: `lastgood/keymap.toml` in the configuration folder.
pub fn user_file() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")))?;
    Some(config.join("lastgood").join("keymap.toml"))
}

#[cfg(test)]
mod tests {
    use crate::tui::action::ACTIONS;
    use crate::tui::layout::Pane;

    use super::*;

    fn typed(text: &str) -> Vec<Chord> {
        chord::parse_sequence(text).unwrap()
    }

    #[test]
    fn the_built_in_keymaps_parse_and_bind_every_action() {
        let keymap = Keymap::built_in();
        for spec in ACTIONS {
            let bound = Place::ALL
                .iter()
                .any(|place| keymap.bindings(*place).any(|(_, a)| a == spec.action));
            assert!(bound, "{} has no key", spec.id);
        }
        for base in ["vim", "emacs"] {
            let mut keymap = Keymap::built_in();
            keymap.layer(&format!("base = \"{base}\""), "user").unwrap();
        }
    }

    #[test]
    fn a_pane_goes_before_global_and_falls_back_to_it() {
        let keymap = Keymap::built_in();
        let services = Place::Pane(Pane::Services);
        assert_eq!(
            keymap.resolve(&typed("enter"), services),
            Resolution::Action(Action::OpenLogs)
        );
        assert_eq!(
            keymap.resolve(&typed("q"), services),
            Resolution::Action(Action::Quit)
        );
        assert_eq!(
            keymap.resolve(&typed("q"), Place::Menu),
            Resolution::Action(Action::Close)
        );
        assert_eq!(
            keymap.resolve(&typed("1"), Place::Menu),
            Resolution::Unbound
        );
    }

    #[test]
    fn a_sequence_waits_for_its_end() {
        let keymap = Keymap::built_in();
        assert_eq!(
            keymap.resolve(&typed("g"), Place::Global),
            Resolution::Pending
        );
        assert_eq!(
            keymap.resolve(&typed("g g"), Place::Global),
            Resolution::Action(Action::GoTop)
        );
        assert_eq!(
            keymap.resolve(&typed("G"), Place::Global),
            Resolution::Action(Action::GoBottom)
        );
        assert_eq!(
            keymap.resolve(&typed("g x"), Place::Global),
            Resolution::Unbound
        );
    }

    #[test]
    fn the_users_file_is_layered_on_top() {
        let mut keymap = Keymap::built_in();
        let file = "base = \"vim\"\n[logs]\n\"x\" = \"logs.find-next\"\n\"n\" = \"none\"\n";
        keymap.layer(file, "keymap.toml").unwrap();
        let logs = Place::Pane(Pane::Logs);
        assert_eq!(
            keymap.resolve(&typed("x"), logs),
            Resolution::Action(Action::FindNext)
        );
        assert_eq!(keymap.resolve(&typed("n"), logs), Resolution::Unbound);
        assert_eq!(keymap.resolve(&typed("]"), logs), Resolution::Pending);
        assert_eq!(
            keymap.resolve(&typed("y y"), logs),
            Resolution::Action(Action::CopyLine)
        );
    }

    #[test]
    fn a_sequence_behind_a_bound_key_is_refused() {
        let error = Keymap::built_in()
            .layer("[global]\n\"q q\" = \"app.quit\"\n", "keymap.toml")
            .unwrap_err();
        assert!(error.contains("can never be typed"), "{error}");
    }

    #[test]
    fn multiplexer_prefixes_and_flow_control_are_never_the_only_key() {
        let keymap = Keymap::built_in();
        for key in ["ctrl-b", "ctrl-a", "ctrl-s", "ctrl-q"] {
            for place in Place::ALL {
                if let Resolution::Action(action) = keymap.resolve(&typed(key), place) {
                    assert!(keymap.keys(action, place).len() > 1, "{key} {action:?}");
                }
            }
        }
    }

    #[test]
    fn esc_is_never_the_only_way_out() {
        let keymap = Keymap::built_in();
        for place in Place::ALL
            .into_iter()
            .filter(|p| *p != Place::Global && !p.has_global())
        {
            assert!(keymap.keys(Action::Close, place).len() > 1, "{place:?}");
        }
    }

    #[test]
    fn a_missing_file_is_no_mistake_and_an_unreadable_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keymap.toml");
        assert_eq!(Keymap::load(Some(&path)).unwrap(), Keymap::built_in());
        assert!(Keymap::load(Some(folder.path())).is_err());
    }
}
