//! How many of its connections a database has left: asked where it runs, with the tools that lie beside it.
//!
//! A server that turns the question away because no connection is left has said it all: that is 100 %, and no failure to
//! measure.

use std::time::Duration;

use crate::analysis::own_signal::{InUse, is_turned_away, read_in_use, read_redis};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service};
use crate::domain::settings::{Connections, ServiceSettings};
use crate::domain::signal::{Signal, SignalName};
use crate::host::{Command, CommandOutput, Host};
use crate::runtime::docker;

const LIMIT: Duration = Duration::from_secs(8);

/// Beside the server, as the user that its image made: no password is asked for on its own socket. Who asks
/// does not count.
const POSTGRES: &str = r#"export PGCONNECT_TIMEOUT=5
exec psql -w -X -q -A -t -U "${POSTGRES_USER:-postgres}" -d postgres -c "select (select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()) || ' ' || current_setting('max_connections')""#;

/// Servers before 7 do not say their maximum in INFO.
const REDIS: &str = r#"export REDISCLI_AUTH="${REDISCLI_AUTH:-$REDIS_PASSWORD}"
[ -n "$REDISCLI_AUTH" ] || unset REDISCLI_AUTH
cli=redis-cli; command -v redis-cli >/dev/null || cli=valkey-cli
port=$(tr '\0' '\n' </proc/1/cmdline 2>/dev/null | sed -n 's/.*:\([0-9][0-9]*\)$/\1/p' | tail -n 1)
$cli -p "${REDIS_PORT:-${port:-6379}}" INFO clients && $cli -p "${REDIS_PORT:-${port:-6379}}" CONFIG GET maxclients"#;

/// The connections of a service that is a database; `None` where nothing says that it is one.
pub(super) async fn measure(
    host: &Host,
    service: &Service,
    settings: &ServiceSettings,
) -> Option<Signal> {
    let kind = settings.connections.clone().or_else(|| {
        let image = service.release.image.as_ref()?;
        Connections::of_image(image.as_str())
    })?;
    let (script, read): (&str, Reader) = match &kind {
        Connections::None => return None,
        Connections::Command(line) => (line, read_in_use),
        Connections::Postgres => (POSTGRES, read_in_use),
        Connections::Redis => (REDIS, read_redis),
    };
    let is_container = matches!(
        service.runtime,
        Runtime::Compose | Runtime::Docker | Runtime::Swarm
    );
    let asked = match (&kind, is_container) {
        (Connections::Command(_), _) | (_, false) => host
            .query(&Command::shell(script, &[], LIMIT))
            .await
            .map_err(|error| SafeText::from_error(&error)),
        _ => docker::ask_inside(host, service, script, LIMIT)
            .await
            .map_err(|error| SafeText::from_error(&error)),
    };
    let found = asked.and_then(|output| read_answer(&output, read));
    let limits = &settings.limits;
    Some(match found {
        Ok(found) => super::signal(
            SignalName::Connections,
            None,
            Some(found.share()),
            limits,
            Some(0),
            &match found.max {
                1.0 => "of those there may be".to_owned(),
                max => format!("{} of {max} in use", found.used),
            },
        ),
        Err(why) => super::unknown(SignalName::Connections, why),
    })
}

type Reader = fn(&str) -> Result<InUse, String>;

fn read_answer(output: &CommandOutput, read: Reader) -> Result<InUse, SafeText> {
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        output.stdout_text()
    );
    if is_turned_away(&said) {
        return Ok(InUse {
            used: 1.0,
            max: 1.0,
        });
    }
    if !output.is_success() {
        return Err(output.describe());
    }
    read(&output.stdout_text()).map_err(|why| SafeText::from_text(&why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32, stdout: &str, stderr: &str) -> Result<f64, SafeText> {
        let output = CommandOutput {
            code: Some(code),
            stdout: stdout.into(),
            stderr: stderr.into(),
            ..CommandOutput::default()
        };
        read_answer(&output, read_in_use).map(InUse::share)
    }

    #[test]
    fn who_is_turned_away_has_measured() {
        assert_eq!(answer(0, "95 100\n", ""), Ok(0.95));
        let full = "psql: error: FATAL:  sorry, too many clients already\n";
        assert_eq!(answer(2, "", full), Ok(1.0));
        let why = answer(127, "", "sh: psql: not found\n").unwrap_err();
        assert!(why.as_str().contains("psql: not found"), "{why}");
        assert!(answer(0, "", "").is_err());
    }
}
