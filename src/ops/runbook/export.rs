//! A run as Markdown, with who did what, when, and what was seen: the record that stays.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::runbook::{ItemState, RunState};
use crate::domain::safe_text::SafeText;
use crate::ops::markdown::{code, plain};

/// The whole run. It reads as Markdown and stays a list of boxes; what came from outside cannot add markup.
pub fn to_markdown(state: &RunState, now: Timestamp, zone: &TimeZone) -> Vec<SafeText> {
    let (resolved, count) = state.progress();
    let at = |instant: Timestamp| {
        instant
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S %:z")
            .to_string()
    };
    let mut lines = vec![
        format!("# {}", plain(state.runbook.title.as_str())),
        String::new(),
        format!("- runbook: {}", code(&state.runbook.name)),
        format!("- run: {}", code(&state.run)),
        format!(
            "- started: {} by {}",
            at(state.started_at),
            plain(state.started_by.as_str())
        ),
        format!("- T: {}", at(state.t_at)),
        format!(
            "- exported: {}, {resolved} of {count} items resolved",
            at(now)
        ),
    ];
    for lost in &state.lost {
        lines.push(format!(
            "- torn off the journal by a crash: {}",
            code(lost.as_str())
        ));
    }
    for phase in &state.runbook.phases {
        lines.push(String::new());
        if !phase.title.is_empty() {
            lines.push(format!("## {}", plain(phase.title.as_str())));
            lines.push(String::new());
        }
        for item in &phase.items {
            let Ok(run) = state.item(item.number) else {
                continue;
            };
            let indent = "  ".repeat(item.depth);
            let mark = if run.state == ItemState::Done {
                "[x]"
            } else {
                "[ ]"
            };
            let mut facts = Vec::new();
            facts.extend(item.owner.as_ref().map(|owner| plain(owner.as_str())));
            facts.extend(item.due.map(|due| due.to_string()));
            match (&run.by, run.at) {
                (Some(by), Some(when)) if run.state != ItemState::Open => {
                    let word = run.state.as_str();
                    let word = if run.state == ItemState::Done {
                        word.to_owned()
                    } else {
                        format!("**{word}**")
                    };
                    facts.push(format!("{word} by {} at {}", plain(by.as_str()), at(when)));
                }
                _ => facts.push("**open**".to_owned()),
            }
            lines.push(format!(
                "{indent}- {mark} {} ({})",
                plain(item.text.as_str()),
                facts.join("; ")
            ));
            if let Some(evidence) = &run.evidence {
                lines.push(format!("{indent}  - evidence: {}", code(evidence.as_str())));
            }
            for comment in &run.comments {
                lines.push(format!(
                    "{indent}  - {}, {}: {}",
                    plain(comment.by.as_str()),
                    at(comment.at),
                    plain(comment.text.as_str())
                ));
            }
        }
    }
    lines.iter().map(|line| SafeText::from_text(line)).collect()
}
