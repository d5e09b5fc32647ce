//! The runbooks that are part of the binary, in the order of a release's life.

/// A name, and its text.
pub(super) struct Shipped {
    pub(super) name: &'static str,
    pub(super) english: &'static str,
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        [$(Shipped {
            name: $name,
            english: include_str!(concat!("../../../assets/runbooks/", $name, ".md")),
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
