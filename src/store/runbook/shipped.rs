//! The runbooks that are part of the binary, in the order of a release's life.

use crate::domain::runbook::Language;

/// A name, and its text in each language.
pub(super) struct Shipped {
    pub(super) name: &'static str,
    pub(super) english: &'static str,
    pub(super) russian: &'static str,
}

impl Shipped {
    pub(super) fn text(&self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::Russian => self.russian,
        }
    }

    /// What an error calls it.
    pub(super) fn file(&self, language: Language) -> String {
        match language {
            Language::English => format!("{}.md", self.name),
            Language::Russian => format!("ru/{}.md", self.name),
        }
    }
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        [$(Shipped {
            name: $name,
            english: include_str!(concat!("../../../assets/runbooks/", $name, ".md")),
            russian: include_str!(concat!("../../../assets/runbooks/ru/", $name, ".md")),
        }),*]
    };
}

pub(super) const SHIPPED: [Shipped; 10] = shipped![
    "deploy",
    "release-plan",
    "post-deploy-verification",
    "emergency-rollback-compose",
    "emergency-rollback-pm2",
    "blue-green",
    "incident-response",
    "backup-and-restore",
    "production-readiness",
    "deployment-checklist",
];

/// The shipped one of a name.
pub(super) fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}
