//! The cases of `tests/golden`: two logs and what must come out.
//!
//! `expected.json` names the verdict, the requests and errors of each side, the rules that fired (at least these; none
//! where the list is empty), and for each kind of change exactly the patterns, by a part of their template.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::compare;
use crate::domain::comparison::Comparison;
use crate::domain::outcome::Actor;
use crate::ops::input::Input;
use crate::ops::{Access, Context};
use crate::store::config::Config;
use crate::store::paths::StateDir;

fn context(state: &Path) -> Context {
    let actor = Actor {
        user: "test".into(),
        uid: 0,
        via: "test".into(),
        from: None,
    };
    Context::with(
        Config::default(),
        StateDir::at(state.to_owned()),
        actor,
        Access::Full,
    )
}

fn log(case: &Path, side: &str) -> Input {
    let plain = case.join(format!("{side}.log"));
    let packed = case.join(format!("{side}.log.gz"));
    Input::Path(if plain.exists() { plain } else { packed })
}

async fn run(ctx: &Context, case: &Path) -> Comparison {
    let (progress, _told) = mpsc::channel(4);
    compare(
        ctx,
        &log(case, "before"),
        &log(case, "after"),
        None,
        true,
        progress,
        CancellationToken::new(),
    )
    .await
    .unwrap()
}

/// Every part of `expected` that does not hold, in words.
fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for part in ["verdict", "before", "after"] {
        for (key, value) in expected[part].as_object().into_iter().flatten() {
            if &found[part][key] != value {
                wrong.push(format!(
                    "{part}.{key} is {}, wanted {value}",
                    found[part][key]
                ));
            }
        }
    }
    let texts = |list: &Value, key: &str| -> Vec<String> {
        list.as_array()
            .into_iter()
            .flatten()
            .map(|item| if key.is_empty() { item } else { &item[key] })
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    };
    let rules = texts(&found["verdict"]["findings"], "rule");
    let wanted = texts(&expected["findings"], "");
    if wanted.is_empty() != rules.is_empty() || !wanted.iter().all(|w| rules.contains(w)) {
        wrong.push(format!("findings are {rules:?}, wanted {wanted:?}"));
    }
    let routes = texts(&found["verdict"]["findings"], "route");
    for route in texts(&expected["routes"], "") {
        if !routes.contains(&route) {
            wrong.push(format!("no finding of {route}: {routes:?}"));
        }
    }
    for (change, parts) in expected["changes"].as_object().into_iter().flatten() {
        let templates: Vec<String> = (found["patterns"].as_array().into_iter().flatten())
            .filter(|p| p["change"] == change.as_str())
            .filter_map(|p| p["template"].as_str().map(str::to_owned))
            .collect();
        let parts = texts(parts, "");
        let all = parts
            .iter()
            .all(|part| templates.iter().any(|t| t.contains(part.as_str())));
        if !all || (parts.is_empty() && !templates.is_empty()) {
            wrong.push(format!("{change}: {templates:?}, wanted {parts:?}"));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn every_golden_case_comes_out() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let state = tempfile::tempdir().unwrap();
    let ctx = context(state.path());
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(
        cases.len() >= 34,
        "only {} cases in {}",
        cases.len(),
        folder.display()
    );
    let mut wrong = Vec::new();
    for case in cases {
        let expected: Value =
            serde_json::from_slice(&std::fs::read(case.join("expected.json")).unwrap()).unwrap();
        let found = serde_json::to_value(run(&ctx, &case).await).unwrap();
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        wrong.extend(
            differences(&expected, &found)
                .into_iter()
                .map(|text| format!("{name}: {text}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
