//! What the configuration file says of two sides behind a proxy, and how requests go over from one to the other.

use std::path::PathBuf;

use serde::Deserialize;

use super::probe::RawProbe;
use super::raw::{ServiceKey, SpanText};
use crate::domain::settings::{CanarySettings, SideSettings, SwitchSettings};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSwitch {
    blue: Option<RawColour>,
    green: Option<RawColour>,
    active: Option<PathBuf>,
    test: Option<String>,
    reload: Option<String>,
    verify: Option<RawProbe>,
    canary: Option<RawCanary>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawColour {
    file: Option<PathBuf>,
    probe: Option<RawProbe>,
    verify: Option<RawProbe>,
    service: Option<ServiceKey>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawCanary {
    shares: Option<Vec<Percent>>,
    hold: Option<SpanText>,
}

/// A part of a hundred that is neither nothing nor all of it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "u8")]
struct Percent(u8);

impl TryFrom<u8> for Percent {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            1..=99 => Ok(Self(number)),
            _ => Err(format!("{number} is no share: 1 to 99 percent")),
        }
    }
}

impl From<RawSwitch> for SwitchSettings {
    fn from(raw: RawSwitch) -> Self {
        let side = |raw: Option<RawColour>| {
            let raw = raw.unwrap_or_default();
            SideSettings {
                file: raw.file,
                probe: raw.probe.map(|probe| probe.0),
                verify: raw.verify.map(|probe| probe.0),
                service: raw.service.map(|key| key.0),
            }
        };
        let canary = raw.canary.unwrap_or_default();
        let own = CanarySettings::default();
        Self {
            blue: side(raw.blue),
            green: side(raw.green),
            active: raw.active,
            test: raw.test,
            reload: raw.reload,
            verify: raw.verify.map(|probe| probe.0),
            canary: CanarySettings {
                shares: canary.shares.map_or(own.shares, |all| {
                    all.into_iter().map(|percent| percent.0).collect()
                }),
                hold: canary.hold.map_or(own.hold, |span| span.0),
            },
        }
    }
}
