//! What the configuration file says of data backups.
//!
//! What would put a secret among the arguments of a program, or a path that means something else where a command runs,
//! is refused here, where the error names its line.

use std::fmt;
use std::path::{Component, PathBuf};

use serde::Deserialize;

use super::raw::{ServiceKey, SpanText};
use crate::domain::backup::{BackupKind, BackupSettings, Keep};
use crate::domain::sink::SecretSource;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawBackup {
    kind: Option<BackupKind>,
    service: Option<ServiceKey>,
    database: Option<Database>,
    address: Option<Address>,
    user: Option<String>,
    password: Option<String>,
    password_env: Option<String>,
    password_file: Option<PathBuf>,
    password_command: Option<String>,
    files: Vec<WholePath>,
    keep: Option<RawKeep>,
    rpo: Option<SpanText>,
    encrypt: Option<String>,
    decrypt: Option<String>,
    copy: Option<CopyCommand>,
    copy_check: Option<String>,
}

/// What it does not say is not kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawKeep {
    last: u32,
    daily: u32,
    weekly: u32,
    monthly: u32,
}

impl From<RawBackup> for BackupSettings {
    fn from(raw: RawBackup) -> Self {
        let password = [
            raw.password.map(SecretSource::Inline),
            raw.password_env.map(SecretSource::Env),
            raw.password_file.map(SecretSource::File),
            raw.password_command.map(SecretSource::Command),
        ];
        Self {
            kind: raw.kind,
            service: raw.service.map(|service| service.to_string()),
            database: raw.database.map(|database| database.0),
            address: raw.address.map(|address| address.0),
            user: raw.user,
            password: password.into_iter().flatten().next(),
            files: raw.files.into_iter().map(|path| path.0).collect(),
            keep: raw.keep.map_or(Keep::default(), |keep| Keep {
                last: keep.last,
                daily: keep.daily,
                weekly: keep.weekly,
                monthly: keep.monthly,
            }),
            rpo: raw.rpo.map(|span| span.0),
            encrypt: raw.encrypt.filter(|command| !command.is_empty()),
            decrypt: raw.decrypt.filter(|command| !command.is_empty()),
            copy: raw.copy.map(|copy| copy.0).filter(|copy| !copy.is_empty()),
            copy_check: raw.copy_check.filter(|command| !command.is_empty()),
        }
    }
}

macro_rules! checked {
    ($(#[$doc:meta])* $name:ident($inner:ty), |$text:ident| $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub(super) struct $name($inner);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from($text: String) -> Result<Self, String> {
                $check
            }
        }
    };
}

checked! {
    /// The name of a backup: it is the name of a folder, too.
    BackupName(String), |text| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain) {
            true => Ok(Self(text)),
            false => Err(format!(
                "not the name of a backup: {text:?}; letters, digits, dots, dashes and underscores only"
            )),
        }
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

checked! {
    /// The name of a database. A connection string would put its password among the arguments of a program, for
    /// everyone to read; so the error does not say it again either.
    Database(String), |text| {
        match text.is_empty() || text.contains(['=', ':', '/', '\0', '\n']) {
            true => Err(
                "not the name of a database; write database = \"shop\", with address, user and password_env beside it"
                    .to_owned(),
            ),
            false => Ok(Self(text)),
        }
    }
}

checked! {
    /// `host:port`, or `folder:port` of a socket.
    Address(String), |text| {
        let is_one = text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.starts_with('-') && port.parse::<u16>().is_ok()
        });
        match is_one {
            true => Ok(Self(text)),
            false => Err(format!(
                "not an address: {text:?}; write \"host:port\" or \"/run/postgresql:5432\""
            )),
        }
    }
}

checked! {
    /// A path that means the same wherever a command runs.
    WholePath(PathBuf), |text| {
        let path = PathBuf::from(&text);
        let is_plain = !path.components().any(|part| part == Component::ParentDir);
        match path.is_absolute() && is_plain && path.parent().is_some() {
            true => Ok(Self(path)),
            false => Err(format!("not a whole path: {text:?}; write \"/srv/shop/uploads\"")),
        }
    }
}

checked! {
    /// A command that copies `{file}`.
    CopyCommand(String), |text| {
        match text.is_empty() || text.contains("{file}") {
            true => Ok(Self(text)),
            false => Err(format!("{text:?} does not say {{file}}: it would copy nothing")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BackupSettings, String> {
        let raw: Result<RawBackup, _> = toml::from_str(text);
        raw.map(BackupSettings::from)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_has_the_defaults_of_the_field() {
        let settings = read("kind = \"redis\"\nencrypt = \"\"").unwrap();
        assert_eq!(settings.keep, Keep::default());
        assert_eq!(settings.encrypt, None);
        let settings = read("keep = { last = 3 }").unwrap();
        assert_eq!((settings.keep.last, settings.keep.daily), (3, 0));
    }

    #[test]
    fn what_could_hurt_is_refused_and_a_password_is_not_repeated() {
        let error = read("database = \"postgres://u:hunter2@h/shop\"").unwrap_err();
        let cause = error.lines().last().unwrap_or_default();
        assert!(cause.contains("not the name of a database"), "{error}");
        for (text, said) in [
            ("files = [\"uploads\"]", "not a whole path"),
            ("files = [\"/srv/../etc\"]", "not a whole path"),
            ("files = [\"/\"]", "not a whole path"),
            ("address = \"localhost\"", "not an address"),
            ("copy = \"true\"", "does not say {file}"),
            ("kind = \"mysql\"", "mysql"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(BackupName::try_from("../etc".to_owned()).is_err());
        assert!(BackupName::try_from("main.2".to_owned()).is_ok());
    }
}
