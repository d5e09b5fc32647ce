//! `lastgood doctor`: whether lastgood can work here, and the command that puts right what it misses.

use std::io::{self, IsTerminal};

use super::output::{Ended, Output};
use super::preflight;
use crate::ops::Options;
use crate::ops::doctor::{self, Terminal};

/// Runs it. It opens nothing that has to be whole first: a broken configuration is one of its answers.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(options: &Options, out: &mut Output) -> Ended {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let terminal = Terminal {
        is_terminal: out.is_terminal || io::stderr().is_terminal(),
        term: variable("TERM"),
        locale: ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(variable),
        colorterm: variable("COLORTERM"),
        is_multiplexed: variable("TMUX").or_else(|| variable("STY")).is_some(),
    };
    let checks = doctor::check(options, &terminal).await;
    // A person who asks wants to see what is well, too.
    out.verbose = out.verbose.max(1);
    preflight::print(&checks, "doctor", out)?;
    Ok(preflight::exit(&checks))
}
