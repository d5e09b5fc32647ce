//! A machine that runs services.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a host: `local` for this machine, else the name in the configuration or the ssh destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(String);

impl HostName {
    /// The machine this process runs on.
    pub fn local() -> Self {
        Self("local".to_owned())
    }

    /// A host by its configured name or `user@host[:port]`.
    ///
    /// # Errors
    /// A name that an ssh client could take for an option or a command is refused: each of user and host must
    /// match `[A-Za-z0-9][A-Za-z0-9._-]*` (or a bracketed IPv6 address), the port must be a number.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let (user, rest) = text
            .split_once('@')
            .map_or((None, text), |(u, r)| (Some(u), r));
        let (host, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((v6, tail)) => {
                let ok = !v6.is_empty() && v6.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
                if !ok {
                    return Err(InvalidHost(text.to_owned()));
                }
                (
                    "v6",
                    tail.strip_prefix(':')
                        .or(if tail.is_empty() { None } else { Some("") }),
                )
            }
            None => rest
                .split_once(':')
                .map_or((rest, None), |(h, p)| (h, Some(p))),
        };
        let plain = |s: &str| {
            s.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
                && s.chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let port_ok = port.is_none_or(|p| p.parse::<u16>().is_ok());
        if plain(host) && user.is_none_or(plain) && port_ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidHost(text.to_owned()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `true` for the machine this process runs on.
    pub fn is_local(&self) -> bool {
        self.0 == "local"
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host name that could be taken for an option or a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid host {0:?}: expected NAME or user@host[:port] of letters, digits, '.', '_' and '-'"
)]
pub struct InvalidHost(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_of_ssh_are_accepted() {
        for ok in [
            "prod-1",
            "deploy@prod-1",
            "deploy@10.0.0.7:2222",
            "root@[fe80::1]:22",
            "a_b.c",
        ] {
            assert!(HostName::parse(ok).is_ok(), "{ok}");
        }
    }

    #[test]
    fn options_and_commands_are_refused() {
        for bad in [
            "-oProxyCommand=sh",
            "a b",
            "",
            "@h",
            "u@-h",
            "h;id",
            "h:port",
            "[;]",
            "$(id)",
        ] {
            assert!(HostName::parse(bad).is_err(), "{bad}");
        }
    }
}
