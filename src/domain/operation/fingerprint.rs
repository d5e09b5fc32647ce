//! What a plan was made for: looked at again before each step, so that nothing is done to what is not what it was.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::host::HostName;
use crate::domain::pm2::Pm2App;
use crate::domain::service::ServiceId;

/// Something the plan was made for; if it is no longer so, the plan is stale and nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// What is looked at.
    pub subject: FingerprintSubject,
    /// What was seen.
    pub value: String,
}

/// What a fingerprint looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum FingerprintSubject {
    /// The instances of a service: ids and images, sorted. Of a swarm, which replaces its tasks by itself: how the
    /// service is to be.
    Instances {
        /// The service.
        service: ServiceId,
    },
    /// The code that a service of PM2 runs: where a release link leads, the commit of a checkout, the script.
    Code {
        /// The service.
        service: ServiceId,
        /// How PM2 ran it: where its code is looked for.
        app: Box<Pm2App>,
    },
    /// The revision that a database's schema has.
    Schema {
        /// The machine that is asked.
        host: HostName,
        /// The folder that is asked in.
        folder: Option<PathBuf>,
        /// The command that prints it.
        current: String,
    },
    /// The SHA-256 of a file; `absent` where there is none.
    File {
        /// Its host.
        host: HostName,
        /// The file.
        path: PathBuf,
    },
    /// The id that an image name has; `absent` where there is none.
    Image {
        /// Its host.
        host: HostName,
        /// The name or id.
        reference: String,
    },
}
