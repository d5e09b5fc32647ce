//! What `errors`, `slow`, `patterns` and `compare` read: a path, `-`, `checkpoint:ID[/service]`,
//! `service:NAME[?since=…&until=…]`.

mod file;
mod follow;
mod read;

use std::fmt;
use std::path::PathBuf;

use super::{ErrorKind, OpsError};

pub(crate) use follow::Followed;
pub(crate) use read::{Baseline, ReadOptions, ReadSide, open_checkpoint, read};

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file: plain, `.gz` or `.zst`.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// A checkpoint, or one service of it.
    Checkpoint {
        /// The checkpoint.
        id: String,
        /// The service; `None` for all.
        service: Option<String>,
    },
    /// What a service writes now.
    Service {
        /// Its name.
        name: String,
        /// `since=`, as it was written.
        since: Option<String>,
        /// `until=`, as it was written.
        until: Option<String>,
    },
    /// Every service that the other side's checkpoint holds, as they are now.
    Now,
}

impl Input {
    /// Reads the text form.
    ///
    /// # Errors
    /// An unknown parameter, an empty name.
    pub fn parse(text: &str) -> Result<Self, OpsError> {
        let wrong = |why: &str| {
            OpsError::new(ErrorKind::Usage, format!("not an input: {text:?}: {why}"))
                .fix("a path, -, checkpoint:ID[/service] or service:NAME[?since=30m&until=5m]")
        };
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if let Some(rest) = text.strip_prefix("checkpoint:") {
            let (id, service) = match rest.split_once('/') {
                Some((id, service)) => (id, Some(service)),
                None => (rest, None),
            };
            if id.is_empty() || service == Some("") {
                return Err(wrong("the checkpoint's id or the service is empty"));
            }
            return Ok(Self::Checkpoint {
                id: id.to_owned(),
                service: service.map(str::to_owned),
            });
        }
        let Some(rest) = text.strip_prefix("service:") else {
            return Ok(Self::Path(PathBuf::from(text)));
        };
        let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
        if name.is_empty() {
            return Err(wrong("the service's name is empty"));
        }
        let (mut since, mut until) = (None, None);
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            match pair.split_once('=') {
                Some(("since", value)) if !value.is_empty() => since = Some(value.to_owned()),
                Some(("until", value)) if !value.is_empty() => until = Some(value.to_owned()),
                _ => {
                    return Err(wrong(&format!(
                        "{pair:?} is neither since=TIME nor until=TIME"
                    )));
                }
            }
        }
        Ok(Self::Service {
            name: name.to_owned(),
            since,
            until,
        })
    }

    /// Whether the other side of this is what runs now.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Service { .. } | Self::Now)
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("-"),
            Self::Checkpoint { id, service } => {
                write!(f, "checkpoint:{id}")?;
                service.as_ref().map_or(Ok(()), |s| write!(f, "/{s}"))
            }
            Self::Service { name, since, until } => {
                write!(f, "service:{name}")?;
                let parts = [("since", since), ("until", until)];
                let mut mark = '?';
                for (key, value) in parts {
                    if let Some(value) = value {
                        write!(f, "{mark}{key}={value}")?;
                        mark = '&';
                    }
                }
                Ok(())
            }
            Self::Now => f.write_str("now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_goes_through_text_and_back() {
        for text in [
            "before.log",
            "-",
            "logs/a.log.gz",
            "checkpoint:20251227-145000-pre",
            "checkpoint:20251227-145000-pre/shop/backend",
            "service:backend",
            "service:prod-1:shop/backend?since=30m&until=5m",
            "service:backend?until=15:00",
        ] {
            assert_eq!(Input::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Input::parse("checkpoint:a/shop/backend").unwrap(),
            Input::Checkpoint {
                id: "a".into(),
                service: Some("shop/backend".into())
            }
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "",
            "checkpoint:",
            "checkpoint:a/",
            "service:",
            "service:a?from=1",
            "service:a?since=",
        ] {
            let error = Input::parse(text).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage, "{text}");
            assert!(error.fix.is_some());
        }
    }
}
