//! How a probe is written: an address, or a table that says what the answer has to be.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::raw::SpanText;
use crate::domain::settings::{Probe, ProbeKind};

/// A probe: an address as text, or a table.
#[derive(Debug)]
pub(super) struct RawProbe(pub(super) Probe);

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProbeTable {
    http: Option<String>,
    tcp: Option<String>,
    command: Option<String>,
    status: Option<u16>,
    contains: Option<String>,
    json: Option<toml::Value>,
    certificate_days: Option<u16>,
    ca: Option<PathBuf>,
    timeout: Option<SpanText>,
    slower_than: Option<SpanText>,
}

impl<'de> Deserialize<'de> for RawProbe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawProbe;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a probe: \"http://…\", \"tcp://host:port\", or a table with http, tcp or command")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawProbe, E> {
                let table = match text.strip_prefix("tcp://") {
                    Some(address) => ProbeTable {
                        tcp: Some(address.to_owned()),
                        ..ProbeTable::default()
                    },
                    None => ProbeTable {
                        http: Some(text.to_owned()),
                        ..ProbeTable::default()
                    },
                };
                table.read().map(RawProbe).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawProbe, A::Error> {
                let table = ProbeTable::deserialize(MapAccessDeserializer::new(map))?;
                table.read().map(RawProbe).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl ProbeTable {
    fn read(self) -> Result<Probe, String> {
        let (timeout, slower_than) = (self.timeout, self.slower_than);
        let kind = match (&self.http, &self.tcp, &self.command) {
            (Some(_), None, None) => self.http()?,
            (None, Some(address), None) => {
                self.is_of_no_body()?;
                tcp(address)?
            }
            (None, None, Some(command)) => {
                self.is_of_no_body()?;
                ProbeKind::Command {
                    command: command.clone(),
                }
            }
            _ => return Err("a probe has exactly one of http, tcp and command".to_owned()),
        };
        let mut probe = Probe::of(kind);
        if let Some(SpanText(timeout)) = timeout {
            probe.timeout = timeout;
        }
        if let Some(SpanText(limit)) = slower_than {
            let none = probe.timeout.min(Probe::TOO_SLOW);
            if limit >= none {
                return Err(format!(
                    "slower_than = {limit:?}: an answer after {none:?} is none at all; write a shorter time, \"800ms\""
                ));
            }
            probe.slower_than = Some(limit);
        }
        Ok(probe)
    }

    /// What would be ignored is told: the probe would pass whatever it says.
    fn is_of_no_body(&self) -> Result<(), String> {
        let given = [
            ("status", self.status.is_some()),
            ("contains", self.contains.is_some()),
            ("json", self.json.is_some()),
            ("certificate_days", self.certificate_days.is_some()),
            ("ca", self.ca.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => Err(format!(
                "{name} is for an http probe, and this one asks no http"
            )),
            None => Ok(()),
        }
    }

    fn http(self) -> Result<ProbeKind, String> {
        let url = self.http.unwrap_or_default();
        let is_secret = url.starts_with("https://");
        let rest = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"));
        if rest.is_none_or(str::is_empty) || url.contains(char::is_whitespace) {
            return Err(format!(
                "not an address: {url:?}; write http://host:port/path, tcp://host:port, or {{ command = \"…\" }}"
            ));
        }
        if !is_secret && (self.certificate_days.is_some() || self.ca.is_some()) {
            return Err(format!(
                "certificate_days and ca are for an https address, and {url} has no certificate"
            ));
        }
        // Whoever watches and whoever deploys are in different folders, and mean the same file.
        if let Some(ca) = self.ca.as_ref().filter(|ca| !ca.is_absolute()) {
            return Err(format!(
                "ca = {ca:?} is not a whole path; write \"/etc/ssl/own-ca.pem\""
            ));
        }
        Ok(ProbeKind::Http {
            url,
            status: self.status,
            contains: self.contains,
            json: self.json.as_ref().map(fields).transpose()?,
            certificate_days: self.certificate_days,
            ca: self.ca,
        })
    }
}

/// The fields that a body must have: a table, `"status=up"`, or `"status"` where any value will do.
fn fields(json: &toml::Value) -> Result<serde_json::Value, String> {
    let wrong = || {
        format!("json = {json}: write the fields that the body must have, {{ status = \"up\" }}")
    };
    match json {
        toml::Value::Table(table) if !table.is_empty() => {
            serde_json::to_value(table).map_err(|_| wrong())
        }
        toml::Value::String(text) => {
            let (path, value) = match text.split_once('=') {
                Some((path, value)) => (path, value.trim_start_matches('=').trim().into()),
                None => (text.as_str(), serde_json::Value::Null),
            };
            match path.trim() {
                "" => Err(wrong()),
                path => Ok(serde_json::json!({ path: value })),
            }
        }
        _ => Err(wrong()),
    }
}

fn tcp(address: &str) -> Result<ProbeKind, String> {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(ProbeKind::Tcp {
                address: address.to_owned(),
            })
        }
        _ => Err(format!("not an address: {address:?}; write host:port")),
    }
}
