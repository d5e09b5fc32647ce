//! One thing that was looked at before a deploy or on this machine: its grade, its evidence, and what to do about it.

use serde::Serialize;

use super::host::HostName;
use super::safe_text::SafeText;
use super::service::ServiceId;

/// How a check came out. Ordered from good to bad, so that the worst of several is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckGrade {
    /// It was looked at and is as it should be.
    Ok,
    /// There is nothing to look at, which the detail explains. Never used for what could not be read.
    Skipped,
    /// It may bite, or it could not be looked at.
    Warning,
    /// It will bite: a deploy should not begin.
    Critical,
}

impl CheckGrade {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The mark in front of it, which carries the meaning without colour.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Ok => "✔",
            Self::Skipped => "·",
            Self::Warning => "▲",
            Self::Critical => "✖",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, `crash-loop`: what `--fix` takes.
    pub name: &'static str,
    /// How it came out.
    pub grade: CheckGrade,
    /// The service it is about; `None` for the machine.
    pub service: Option<ServiceId>,
    /// The machine that it is about, where that is not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// What was seen.
    pub detail: SafeText,
    /// What to do about it, in words or as a command; `None` where nothing is to be done.
    pub fix: Option<SafeText>,
}

impl Check {
    /// A check with its evidence, without a service and without anything to be done.
    pub fn new(name: &'static str, grade: CheckGrade, detail: impl AsRef<str>) -> Self {
        Self {
            name,
            grade,
            service: None,
            host: None,
            detail: SafeText::from_text(detail.as_ref()),
            fix: None,
        }
    }

    /// Says which service it is about.
    #[must_use]
    pub fn of(mut self, service: &ServiceId) -> Self {
        self.service = Some(service.clone());
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl AsRef<str>) -> Self {
        self.fix = Some(SafeText::from_text(fix.as_ref()));
        self
    }
}

/// The worst grade of several; ok where nothing had to be looked at.
pub fn worst(checks: &[Check]) -> CheckGrade {
    let grades = checks.iter().map(|check| check.grade);
    grades.max().unwrap_or(CheckGrade::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_what_was_skipped_does_not() {
        let check = |grade| Check::new("disk", grade, "");
        assert_eq!(worst(&[]), CheckGrade::Ok);
        let mut all = vec![check(CheckGrade::Ok), check(CheckGrade::Skipped)];
        assert_eq!(worst(&all), CheckGrade::Skipped);
        all.push(check(CheckGrade::Warning));
        assert_eq!(worst(&all), CheckGrade::Warning);
        all.insert(0, check(CheckGrade::Critical));
        assert_eq!(worst(&all), CheckGrade::Critical);
    }

    #[test]
    fn a_check_in_json_has_the_fields_that_scripts_read() {
        let id = ServiceId::local("shop", "backend");
        let check = Check::new("image-tag", CheckGrade::Warning, "shop:latest").of(&id);
        let json = serde_json::to_value(check).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "name": "image-tag", "grade": "warning", "service": "shop/backend",
                "detail": "shop:latest", "fix": null,
            })
        );
    }
}
