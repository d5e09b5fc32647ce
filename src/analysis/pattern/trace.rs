//! The identity of a stack trace: its exception class, its message, and the innermost frame.

use super::mask::mask;
use crate::analysis::kept::Kept;
use crate::analysis::parse::frame::ruby_frame;
use crate::analysis::parse::level::exception_in_trace;

/// What a multi-line record says of a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The exception's class.
    pub class: Option<&'a [u8]>,
    /// What it says, from the colon on.
    pub message: &'a [u8],
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
        if let Some((method, behind)) = ruby_frame(text) {
            found.frame.get_or_insert(method);
            if found.class.is_none()
                && let Some((message, class)) = ruby_exception(behind)
            {
                (found.class, found.message) = (Some(class), message);
            }
            continue;
        }
        is_python |= text.starts_with(b"Traceback (most recent");
        let is_frame =
            text.starts_with(b"at ") || text.starts_with(b"File \"") || text.starts_with(b"from /");
        if is_frame {
            if found.frame.is_none() || is_python {
                found.frame = Some(frame_name(text));
            }
        } else if let Some(class) = exception_in_trace(text)
            && (found.class.is_none() || is_python)
        {
            (found.class, found.message) = (Some(class), &text[class.len()..]);
        } else if found.frame.is_none() {
            found.frame = go_frame(text);
        }
    }
    found
}

/// Message and class of `: undefined method 'price' for nil (NoMethodError)`, behind a frame.
fn ruby_exception(behind: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = behind.strip_suffix(b")")?;
    let open = memchr::memrchr(b'(', text)?;
    let class = &text[open + 1..];
    let is_class = class.first().is_some_and(u8::is_ascii_uppercase)
        && class
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_'));
    is_class.then(|| (text[..open].trim_ascii_end(), class))
}

/// `main.(*Cart).total` of `main.(*Cart).total(0xc000010)`: where a panic came from, the runtime's own calls left out.
fn go_frame(text: &[u8]) -> Option<&[u8]> {
    let name = &text[..memchr::memrchr(b'(', text.strip_suffix(b")")?)?];
    let is_call = memchr::memchr(b'.', name).is_some() && !name.iter().any(u8::is_ascii_whitespace);
    (is_call && !name.starts_with(b"runtime.")).then_some(name)
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
    if let Some(class) = failure.class {
        if !out.is_empty() {
            out.extend_from_slice(b" | ");
        }
        out.extend_from_slice(class);
        let message = failure.message;
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
    fn ruby_names_its_failure_behind_the_frame() {
        let text = "job 7 failed\n/srv/cart.rb:31:in `total': undefined method `price' for nil:NilClass (NoMethodError)\n\tfrom /srv/job.rb:9:in `perform'";
        assert_eq!(
            shape(text),
            "job <*> failed | NoMethodError: <*> method `price' for nil:NilClass in total"
        );
        let text =
            "NoMethodError (undefined method 'price'):\n\napp/models/cart.rb:31:in 'Cart#total'";
        assert!(shape(text).ends_with(" in Cart#total"), "{}", shape(text));
    }

    #[test]
    fn go_panics_where_its_own_code_was() {
        let text = "panic: index out of range [7]\n\ngoroutine 1 [running]:\nruntime.goPanicIndex(0x7)\n\t/go/panic.go:1\nmain.(*Cart).total(0xc000010)\n\t/src/cart.go:52 +0x1d\nmain.main()";
        assert!(
            shape(text).ends_with(" in main.(*Cart).total"),
            "{}",
            shape(text)
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
