use jiff::tz::TimeZone;

use super::*;
use crate::domain::service::ServiceId;
use crate::domain::timeline::TimelineKind;
use crate::ops::{Access, report};
use crate::store::config::Config;

fn line(text: &str, at: Option<Timestamp>) -> Mark {
    Mark {
        service: Some(ServiceId::local("shop", "backend")),
        line_at: at,
        line: SafeText::from_text(text),
        note: SafeText::default(),
        is_marked: true,
    }
}

#[tokio::test]
async fn marked_lines_stand_in_the_timeline_and_in_every_report() {
    let dir = tempfile::Builder::new()
        .prefix("lastgood-test-")
        .tempdir()
        .unwrap();
    let ctx = Context::of_anna(dir.path(), Config::default(), Access::Full);
    let nobody = mark(&ctx, None, line("too early", None)).await.unwrap_err();
    assert!(nobody.message.contains("no incident is open"), "{nobody}");
    let what = StartIncident {
        title: "checkout fails".to_owned(),
        ..StartIncident::default()
    };
    let opened = start(&ctx, &what).await.unwrap();
    // From before anybody noticed, with a secret, and with markup.
    let before = opened.started_at - jiff::SignedDuration::from_mins(7);
    let first = Mark {
        note: SafeText::from_text("first of them"),
        ..line(
            "ERROR <b>no</b> pool, password=hunter2-hunter2",
            Some(before),
        )
    };
    mark(&ctx, None, first).await.unwrap();
    mark(&ctx, None, line("no clock here", None)).await.unwrap();
    // Taken back, and marked once more after it was taken back.
    let slip = line("a slip of the finger", Some(before));
    let twice = line("marked again", Some(before));
    for (mark_of, is_marked) in [
        (&slip, true),
        (&twice, true),
        (&slip, false),
        (&twice, false),
        (&twice, true),
    ] {
        let change = Mark {
            is_marked,
            ..mark_of.clone()
        };
        mark(&ctx, None, change).await.unwrap();
    }
    let told = |events: &[TimelineEvent]| -> Vec<(Timestamp, String)> {
        let marks = events.iter().filter(|e| e.kind == TimelineKind::Mark);
        marks.map(|e| (e.at, e.text.to_string())).collect()
    };
    let brief = brief(&ctx).unwrap().unwrap();
    let seen = told(&brief.events);
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[0].0, before);
    assert!(
        seen[0]
            .1
            .starts_with("anna marks (first of them): ERROR <b>no</b> pool, password="),
        "{seen:?}"
    );
    assert!(!seen[0].1.contains("hunter2-hunter2"), "{seen:?}");
    assert_eq!(seen[1], (before, "anna marks: marked again".to_owned()));
    assert!(seen[2].0 >= opened.started_at);
    let inventory = Inventory::default();
    let made = gather::report(&ctx, &opened, None, &inventory)
        .await
        .unwrap();
    assert_eq!(told(&made.timeline), seen);
    let markdown = report::to_markdown(&made, &TimeZone::UTC)
        .iter()
        .map(SafeText::as_str)
        .collect::<Vec<_>>()
        .join("\n");
    let html = report::to_html(&made, &TimeZone::UTC);
    let json = serde_json::to_string(&made).unwrap();
    for (format, text) in [("md", &markdown), ("html", &html), ("json", &json)] {
        assert!(text.contains("first of them"), "{format}: {text}");
        assert!(text.contains("marked again"), "{format}: {text}");
        for gone in ["a slip of the finger", "hunter2-hunter2"] {
            assert!(!text.contains(gone), "{format} holds {gone}: {text}");
        }
    }
    assert!(!html.contains("<b>no</b>"), "{html}");
    // Nothing is lost that was once written: the journal holds the slip too.
    let journal = store(&ctx).read(&opened.id).unwrap();
    assert!(journal.events.iter().any(|event| {
        matches!(&event.kind, IncidentEventKind::Marked(mark) if mark.line.as_str() == "a slip of the finger")
    }));
}
