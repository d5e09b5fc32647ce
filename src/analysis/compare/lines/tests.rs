use super::*;

fn text(spans: &[Span]) -> String {
    spans.iter().map(|s| s.text.as_str()).collect()
}

#[test]
fn pieces_are_cut_and_filled_to_their_width() {
    let spans = || template("GET /orders/<*> took <*> ms");
    for width in 0..40 {
        for start in [0, 1, 12, 13, 40] {
            assert_eq!(text(&fit(spans(), start, width)).width(), width, "{start}");
        }
    }
    assert_eq!(text(&fit(spans(), 0, 18)), "GET /orders/<*> t…");
    assert_eq!(
        text(&fit(spans(), 4, 40)).trim_end(),
        "/orders/<*> took <*> ms"
    );
    let wide = || {
        vec![
            Span::new("支付服务", Tone::Text),
            Span::new("失败 ok", Tone::Differs),
        ]
    };
    for width in 0..20 {
        for start in 0..6 {
            assert_eq!(
                text(&fit(wide(), start, width)).width(),
                width,
                "{start} {width}"
            );
        }
    }
}

#[test]
fn what_varies_is_told_apart() {
    let spans = template("<*> of <*>");
    let tones: Vec<Tone> = spans.iter().map(|s| s.tone).collect();
    assert_eq!(tones, [Tone::Variable, Tone::Text, Tone::Variable]);
}
