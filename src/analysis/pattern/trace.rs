//! The identity of a stack trace: its exception class, its message, and the innermost frame.

use super::mask::mask;
use crate::analysis::kept::Kept;
use crate::analysis::parse::level::exception_in_trace;

/// What a multi-line record says of a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The line with the exception's class and message.
    pub line: Option<&'a [u8]>,
    /// The innermost frame.
    pub frame: Option<&'a [u8]>,
}

/// Looks for exception and frame in the lines below a record's first. Python prints the innermost frame and the
/// exception last, everything else first.
pub fn find<'a>(head: &'a [u8], rest: impl Iterator<Item = &'a [u8]>) -> Failure<'a> {
    let mut found = Failure::default();
    let mut is_python = memchr::memmem::find(head, b"Traceback (most recent").is_some();
    for line in rest {
        let text = line.trim_ascii();
        is_python |= text.starts_with(b"Traceback (most recent");
        let is_frame =
            text.starts_with(b"at ") || text.starts_with(b"File \"") || text.starts_with(b"from /");
        if is_frame {
            if found.frame.is_none() || is_python {
                found.frame = Some(frame_name(text));
            }
        } else if exception_in_trace(text).is_some() && (found.line.is_none() || is_python) {
            found.line = Some(text);
        }
    }
    found
}

/// `get_order` of `File "/app/orders.py", line 88, in get_order`; `com.foo.Bar.baz` of `at com.foo.Bar.baz(Bar.java:12)`.
fn frame_name(text: &[u8]) -> &[u8] {
    if let Some(at) = memchr::memmem::find(text, b", in ") {
        return &text[at + 5..];
    }
    let text = text.strip_prefix(b"at ").unwrap_or(text);
    let end = text
        .iter()
        .position(|b| matches!(b, b'(' | b' '))
        .unwrap_or(text.len());
    &text[..end]
}

/// Appends what a trace adds to its record's shape. Class and frame stay as they are; the message is masked.
pub fn push(failure: &Failure<'_>, out: &mut Vec<u8>) {
    if let Some(line) = failure.line {
        let class = exception_in_trace(line).unwrap_or(b"");
        if !out.is_empty() {
            out.extend_from_slice(b" | ");
        }
        out.extend_from_slice(class);
        let message = &line[class.len()..];
        let mut masked = Vec::new();
        mask(
            &message[..message.len().min(300)],
            &mut masked,
            &mut Kept::off(),
        );
        out.extend_from_slice(&masked);
    }
    if let Some(frame) = failure.frame {
        out.extend_from_slice(b" in ");
        out.extend_from_slice(&frame[..frame.len().min(120)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> String {
        let mut lines = text.lines().map(str::as_bytes);
        let head = lines.next().unwrap();
        let mut out = Vec::new();
        mask(head, &mut out, &mut Kept::off());
        push(&find(head, lines), &mut out);
        super::super::shown(&out)
    }

    #[test]
    fn python_names_its_failure_last() {
        let text = "Unhandled exception in GET /orders/7\nTraceback (most recent call last):\n  File \"/a.py\", line 1, in main\n  File \"/b.py\", line 88, in get_order\napp.errors.NotFound: order 7 does not exist\napp.errors.Final: 'NoneType'";
        assert_eq!(
            shape(text),
            "Unhandled exception in GET <*> | app.errors.Final: 'NoneType' in get_order"
        );
    }

    #[test]
    fn java_names_its_failure_first() {
        let text = "request failed\njava.io.IOException: broken 12\n\tat com.foo.Bar.baz(Bar.java:12)\n\tat com.foo.Main.main(Main.java:3)\nCaused by: x";
        assert_eq!(
            shape(text),
            "request failed | java.io.IOException: broken <*> in com.foo.Bar.baz"
        );
    }
}
