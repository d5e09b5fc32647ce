//! Takes secrets out of text that leaves the machine or reaches a report.

/// The values that are known to be secret, harvested from environment files and the like.
#[derive(Debug, Clone, Default)]
pub struct KnownSecrets;
