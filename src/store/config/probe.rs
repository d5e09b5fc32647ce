//! How a probe is written: an address, or a table that says what the answer has to be.

use std::fmt;

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
    timeout: Option<SpanText>,
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
                let kind = match text.strip_prefix("tcp://") {
                    Some(address) => tcp(address),
                    None => http(text, None, None, None),
                };
                Ok(RawProbe(Probe {
                    kind: kind.map_err(E::custom)?,
                    timeout: Probe::http("").timeout,
                }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawProbe, A::Error> {
                let table = ProbeTable::deserialize(MapAccessDeserializer::new(map))?;
                let timeout = table.timeout.map_or(Probe::http("").timeout, |t| t.0);
                let kind = match (table.http, table.tcp, table.command) {
                    (Some(url), None, None) => {
                        http(&url, table.status, table.contains, table.json.as_ref())
                    }
                    (None, Some(address), None) => tcp(&address),
                    (None, None, Some(command)) => Ok(ProbeKind::Command { command }),
                    _ => Err("a probe has exactly one of http, tcp and command".to_owned()),
                };
                let kind = kind.map_err(de::Error::custom)?;
                Ok(RawProbe(Probe { kind, timeout }))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn http(
    url: &str,
    status: Option<u16>,
    contains: Option<String>,
    json: Option<&toml::Value>,
) -> Result<ProbeKind, String> {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    if rest.is_none_or(str::is_empty) || url.contains(char::is_whitespace) {
        return Err(format!(
            "not an address: {url:?}; write http://host:port/path, tcp://host:port, or {{ command = \"…\" }}"
        ));
    }
    Ok(ProbeKind::Http {
        url: url.to_owned(),
        status,
        contains,
        json: json.map(fields).transpose()?,
    })
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
