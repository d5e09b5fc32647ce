//! What an answer over HTTP has to be: its status, a text in its body, fields of a JSON body.

use serde_json::Value;

/// So much of a body is looked at.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// What an answer has to be.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expected<'a> {
    /// `None` for any 2xx.
    pub(super) status: Option<u16>,
    pub(super) contains: Option<&'a str>,
    /// Fields that the body must have.
    pub(super) json: Option<&'a Value>,
}

/// What was read of a body.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: Vec<u8>,
    /// There is more of it than is looked at.
    is_cut: bool,
}

impl Body {
    /// Takes what came next, as far as it is looked at.
    pub(super) fn take(&mut self, chunk: &[u8]) {
        let room = MAX_BODY - self.bytes.len();
        self.is_cut = chunk.len() > room;
        self.bytes
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn has(&self, wanted: &str) -> bool {
        memchr::memmem::find(&self.bytes, wanted.as_bytes()).is_some()
    }

    /// Enough of it to know it again.
    fn start(&self) -> String {
        String::from_utf8_lossy(&self.bytes)
            .chars()
            .take(80)
            .collect()
    }
}

impl Expected<'_> {
    /// # Errors
    /// Which status it was, and which it had to be.
    pub(super) fn judge_status(self, code: u16, shown: &str) -> Result<(), String> {
        let is_expected = match self.status {
            Some(wanted) => wanted == code,
            None => (200..300).contains(&code),
        };
        let wanted = || self.status.map_or("2xx".to_owned(), |s| s.to_string());
        match is_expected {
            true => Ok(()),
            false => Err(format!("{shown}, expected {}", wanted())),
        }
    }

    /// Whether nothing more of the body is needed: no stream has to end for a text at its beginning.
    pub(super) fn has_enough(self, body: &Body) -> bool {
        let is_found = self.contains.is_none_or(|wanted| body.has(wanted));
        body.is_cut || (is_found && self.json.is_none())
    }

    /// What of it was found in the body, in words.
    ///
    /// # Errors
    /// What the body lacks, how it differs, or that it cannot be judged.
    pub(super) fn judge_body(self, body: &Body) -> Result<Vec<String>, String> {
        let mut said = Vec::new();
        if let Some(wanted) = self.contains {
            if !body.has(wanted) {
                let start = body.start();
                return Err(match body.is_cut {
                    true => format!(
                        "the first 64 KiB of the body lack {wanted:?}, and a probe reads no more: {start}"
                    ),
                    false => format!("the body lacks {wanted:?}: {start}"),
                });
            }
            said.push(format!("body contains {wanted:?}"));
        }
        if let Some(wanted) = self.json {
            if body.is_cut {
                return Err(format!(
                    "the body is longer than the 64 KiB that a probe reads, so its fields cannot be judged: {}",
                    body.start()
                ));
            }
            let found: Value = serde_json::from_slice(&body.bytes)
                .map_err(|error| format!("the body is no JSON ({error}): {}", body.start()))?;
            if let Some(how) = differs(&found, wanted, "") {
                return Err(how);
            }
            said.push(format!("body has {wanted}"));
        }
        Ok(said)
    }
}

/// How a body differs from the fields that it must have; others may stand beside them.
fn differs(found: &Value, wanted: &Value, at: &str) -> Option<String> {
    let Value::Object(fields) = wanted else {
        let is_same = match wanted {
            Value::Null => !found.is_null(),
            wanted => found == wanted || plain(found).is_some_and(|f| Some(f) == plain(wanted)),
        };
        return (!is_same).then(|| format!("{at:?} is {found}, expected {wanted}"));
    };
    fields.iter().find_map(|(path, wanted)| {
        let at = match at {
            "" => path.clone(),
            outer => format!("{outer}.{path}"),
        };
        // A name may have a dot in it.
        let field = found.get(path).or_else(|| {
            let mut names = path.split('.');
            names.try_fold(found, |inner, name| match inner {
                Value::Array(all) => all.get(name.parse::<usize>().ok()?),
                inner => inner.get(name),
            })
        });
        match field {
            Some(field) => differs(field, wanted, &at),
            None => Some(format!("the body has no {at:?}")),
        }
    })
}

/// A single value as it is written without quotes: `"200"` is as good as `200`.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Body {
        let mut body = Body::default();
        body.take(text.as_bytes());
        body
    }

    #[test]
    fn an_answer_is_judged_by_the_fields_of_its_body() {
        let judged = |body: &str, wanted: Value| {
            let expected = Expected {
                json: Some(&wanted),
                ..Expected::default()
            };
            expected.judge_body(&whole(body))
        };
        let wanted =
            serde_json::json!({ "status": "up", "checks.db": true, "queue": { "length": "3" } });
        let good = r#"{"status":"up","checks":{"db":true},"queue":{"length":3,"age":9}}"#;
        assert!(judged(good, wanted.clone()).is_ok());
        for (body, says) in [
            (
                good.replace("up", "degraded"),
                r#""status" is "degraded", expected "up""#,
            ),
            (
                good.replace(":3", ":4"),
                r#""queue.length" is 4, expected "3""#,
            ),
            (
                good.replace("\"db\"", "\"cache\""),
                r#"the body has no "checks.db""#,
            ),
            ("<html>".to_owned(), "the body is no JSON"),
            (String::new(), "the body is no JSON"),
        ] {
            let error = judged(&body, wanted.clone()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(judged(good, serde_json::json!({ "checks.db": null })).is_ok());
        // Nothing is no value.
        assert!(judged(r#"{"a":null}"#, serde_json::json!({ "a": null })).is_err());
        assert!(judged(r#"{"a":null}"#, serde_json::json!({ "a": "null" })).is_err());
    }

    #[test]
    fn what_lies_behind_the_limit_is_not_read_and_not_judged() {
        let fits = "x".repeat(MAX_BODY - 4) + "down";
        let wanted = serde_json::json!({ "status": "up" });
        let (text, fields) = (
            Expected {
                contains: Some("down"),
                ..Expected::default()
            },
            Expected {
                json: Some(&wanted),
                ..Expected::default()
            },
        );
        assert!(text.judge_body(&whole(&fits)).is_ok());
        let cut = whole(&format!("x{fits}"));
        assert_eq!(cut.len(), MAX_BODY);
        let error = text.judge_body(&cut).unwrap_err();
        assert!(
            error.starts_with("the first 64 KiB of the body lack"),
            "{error}"
        );
        // Sound as far as it goes: it is not its fault that it was cut.
        let long = format!("{{\"status\":\"up\",\"all\":[{}0]}}", "0,".repeat(MAX_BODY));
        let error = fields.judge_body(&whole(&long)).unwrap_err();
        assert!(error.contains("longer than the 64 KiB"), "{error}");
        assert!(!error.contains("no JSON"), "{error}");
    }

    #[test]
    fn no_more_is_read_than_is_needed() {
        let (none, text) = (
            Expected::default(),
            Expected {
                contains: Some("up"),
                ..Expected::default()
            },
        );
        assert!(none.has_enough(&Body::default()));
        assert!(!text.has_enough(&whole("starting")));
        assert!(text.has_enough(&whole("starting, up, ")));
        let null = Value::Null;
        let fields = Expected {
            json: Some(&null),
            ..text
        };
        assert!(!fields.has_enough(&whole("up")));
        assert!(fields.has_enough(&whole(&"x".repeat(MAX_BODY + 1))));
    }
}
