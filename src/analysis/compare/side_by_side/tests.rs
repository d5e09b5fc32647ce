use super::*;
use crate::analysis::compare::{Facts, SideService, compare};
use crate::analysis::parse::time::TimeReader;
use crate::analysis::scan::{ScanOptions, Scanner};
use crate::domain::comparison::Comparison;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::settings::RequestRules;
use crate::domain::side_by_side::Of;

fn side(text: &str) -> SideLogs {
    let options = ScanOptions {
        course: true,
        ..ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap()
    };
    let mut scanner = Scanner::new(options);
    scanner.feed(text.as_bytes());
    let service = |scan: crate::analysis::scan::ServiceScan| SideService {
        id: ServiceId::local("shop", scan.name.clone().unwrap_or("api".into())),
        scan,
        observed: None,
    };
    SideLogs {
        input: SafeText::default(),
        services: scanner.finish().services.into_iter().map(service).collect(),
    }
}

fn run(before: &str, after: &str) -> Comparison {
    let show = |bytes: &[u8]| SafeText::from_bytes(bytes);
    compare(&side(before), &side(after), Facts::default(), &show)
}

/// One line a row: what stands on either side, `…` for folded.
fn told(found: &Comparison, rows: &[Row], with_known: bool) -> Vec<String> {
    let item = |item: Option<&Item>| match item {
        None => "-".to_owned(),
        Some(item) => {
            let template = found.patterns[item.pattern].template.as_str();
            let word = template.split(' ').next().unwrap_or("");
            format!("{}:{word}x{}", item.at, item.count)
        }
    };
    rows.iter()
        .filter_map(|row| match row {
            Row::Folded { at, sides } => {
                let told = sides.map(|side| {
                    side.map_or("ended".to_owned(), |fold| {
                        format!("{}/{}", fold.records, fold.patterns)
                    })
                });
                Some(format!("{at}… {} | {}", told.before, told.after))
            }
            Row::Known(_) if !with_known => None,
            row => Some(format!(
                "{} | {}",
                item(row.items().before),
                item(row.items().after)
            )),
        })
        .collect()
}

fn requests(minutes: std::ops::Range<u32>, hour: u32) -> String {
    minutes
        .flat_map(|m| (0..60).map(move |s| (m, s)))
        .map(|(m, s)| format!("2025-12-27T{hour}:{m:02}:{s:02}Z INFO GET /orders/{s} completed in 0.05s status=200\n"))
        .collect()
}

#[test]
fn what_did_not_change_is_folded_and_what_changed_has_its_own_rows() {
    let errors: String = (0..5)
        .map(|s| format!("2025-12-27T15:01:1{s}Z ERROR payment service sent no JSON order={s}\n"))
        .collect();
    let after = requests(0..2, 15) + &errors + &requests(2..4, 15);
    let found = run(&requests(0..4, 14), &after);
    let rows = told(&found, &found.side_by_side.stream, false);
    // Four minutes in pieces of ten seconds.
    assert_eq!(found.side_by_side.axis, Axis::Time);
    assert_eq!(
        rows,
        [
            "0… 80/1 | 80/1",
            "- | 70000:paymentx5",
            "80000… 160/1 | 160/1"
        ]
    );
    let Row::Aligned(pair) = (found.side_by_side.stream.iter())
        .find(|r| matches!(r, Row::Aligned(_)))
        .unwrap()
    else {
        unreachable!("only aligned rows were looked for")
    };
    let item = pair.after.as_ref().unwrap();
    assert_eq!(item.line, 121);
    assert!(item.text.as_ref().unwrap().as_str().contains("order=0"));
}

#[test]
fn each_side_counts_from_its_own_start_and_a_longer_one_goes_on_in_larger_pieces() {
    let error = |minute: u32| {
        let line = |s: u32| format!("2025-12-27T15:{minute}:{s:02}Z ERROR out of paper\n");
        (0..5).map(line).collect::<String>()
    };
    let after = requests(0..40, 15) + &error(40) + &requests(41..50, 15) + &error(50);
    let found = run(&requests(0..2, 10), &after);
    let rows = told(&found, &found.side_by_side.stream, false);
    assert_eq!(
        rows,
        [
            "0… 120/1 | 2460/1",
            "- | 2400000:outx5",
            "2520000… ended | 480/1",
            "- | 3000000:outx5"
        ]
    );
}

#[test]
fn logs_without_times_are_told_by_lines() {
    let noise = "INFO cache refreshed\n".repeat(100);
    let found = run(&noise, &(noise.clone() + &"ERROR out of paper\n".repeat(9)));
    assert_eq!(found.side_by_side.axis, Axis::Lines);
    let rows = told(&found, &found.side_by_side.stream, false);
    assert_eq!(rows, ["0… 100/1 | 100/1", "- | 100:outx5", "- | 105:outx4"]);
}

#[test]
fn the_last_start_before_is_held_against_the_start_after() {
    let start = |hour: u32, port: u32| {
        format!(
            "2025-12-27T{hour}:00:00Z INFO booting version 1.{hour}\n\
             2025-12-27T{hour}:00:01Z INFO connected to database in 40 ms\n\
             2025-12-27T{hour}:00:02Z INFO listening on port {port}\n"
        )
    };
    let before = start(10, 8000) + &requests(1..5, 10) + &start(12, 8000) + &requests(1..3, 12);
    // The log after begins a little before the deploy.
    let after = requests(50..52, 14) + &start(15, 8080) + &requests(1..3, 15);
    let found = run(&before, &after);
    let sequence = &found.side_by_side.sequences[0];
    assert_eq!(sequence.of, Of::StartUp(0));
    let rows = told(&found, &sequence.rows, true);
    assert_eq!(
        rows[..3],
        [
            "0:bootingx1 | 0:bootingx1",
            "1000:connectedx1 | 1000:connectedx1",
            "2000:listeningx1 | 2000:listeningx1"
        ]
    );
    let texts = sequence.rows[2]
        .items()
        .map(|i| i.unwrap().text.clone().unwrap());
    assert!(texts.before.as_str().ends_with("8000") && texts.after.as_str().ends_with("8080"));
    let found = run(&requests(1..3, 12), &after);
    assert_eq!(found.side_by_side.sequences[0].of, Of::Beginning(0));
}

#[test]
fn a_side_without_records_stands_empty() {
    let found = run("", &requests(0..1, 15));
    let rows = told(&found, &found.side_by_side.stream, false);
    assert!(rows.iter().all(|r| r.contains("… 0/0 |")), "{rows:#?}");
    assert!(run("", "").side_by_side.stream.is_empty());
}

#[test]
fn pieces_have_round_lengths() {
    assert_eq!(round(0, Axis::Time), 100);
    assert_eq!(round(61_000, Axis::Time), 120_000);
    assert_eq!(round(100_000_000, Axis::Time), 172_800_000);
    assert_eq!((round(0, Axis::Lines), round(21, Axis::Lines)), (1, 50));
}
