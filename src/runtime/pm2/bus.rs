//! A daemon's event bus, `pub.sock`: it sends every event of every application to whoever connects.
//!
//! PM2 keeps in its own memory what a subscriber does not take, and it is the process that writes the
//! applications' logs. So what comes is always taken at once, and dropped by us where nobody wants it.

use jiff::Timestamp;
use serde::Deserialize;

use super::amp::Argument;
use super::daemon::{AskError, Daemon};
use super::socket::{Messages, SocketError};
use crate::domain::log::Stream;

/// A connection to a bus.
#[derive(Debug)]
pub(super) struct Bus {
    messages: Messages,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BusEvent {
    /// A process of the application of this name was started, ended, restarted or deleted.
    Changed(String),
    /// An application wrote something.
    Written(Written),
    /// Anything else.
    Other,
}

/// What an application wrote: not necessarily whole lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// The application.
    pub(super) name: String,
    /// The process's number in PM2.
    pub(super) pm_id: u32,
    /// Where it wrote to.
    pub(super) stream: Stream,
    /// When PM2 took it.
    pub(super) at: Option<Timestamp>,
    /// The text, with the time in front of each line where PM2 was told to add it.
    pub(super) data: String,
}

// A process event holds the whole environment too: only the name is read of it.
#[derive(Deserialize)]
struct Packet {
    process: Subject,
    at: Option<i64>,
    data: Option<String>,
}

#[derive(Deserialize)]
struct ChangePacket {
    process: Subject,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    pm_id: Option<serde_json::Value>,
}

impl Bus {
    /// Connects to a daemon's bus: events from now on.
    ///
    /// # Errors
    /// [`AskError::NotRunning`] where nothing listens.
    pub(super) async fn connect(daemon: &Daemon) -> Result<Self, AskError> {
        Ok(Self {
            messages: Messages::new(daemon.connect("pub.sock").await?),
        })
    }

    /// The next event. With `wants_output` false, output is [`BusEvent::Other`] and not taken apart. Nothing is lost
    /// when this is dropped while it waits.
    ///
    /// # Errors
    /// The daemon is gone.
    pub(super) async fn next(&mut self, wants_output: bool) -> Result<BusEvent, SocketError> {
        let message = self.messages.next().await?;
        Ok(read(&message, wants_output))
    }
}

fn read(message: &[Argument], wants_output: bool) -> BusEvent {
    let [Argument::Text(channel), Argument::Json(json), ..] = message else {
        return BusEvent::Other;
    };
    let stream = match channel.as_str() {
        "process:event" => {
            return serde_json::from_slice::<ChangePacket>(json)
                .map_or(BusEvent::Other, |p| BusEvent::Changed(p.process.name));
        }
        "log:out" if wants_output => Stream::Stdout,
        "log:err" if wants_output => Stream::Stderr,
        _ => return BusEvent::Other,
    };
    let Ok(packet) = serde_json::from_slice::<Packet>(json) else {
        return BusEvent::Other;
    };
    let (Some(pm_id), Some(data)) = (packet.process.pm_id.and_then(number), packet.data) else {
        return BusEvent::Other;
    };
    BusEvent::Written(Written {
        name: packet.process.name,
        pm_id,
        stream,
        at: packet
            .at
            .and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        data,
    })
}

/// During a reload the outgoing process is `_old_0`.
fn number(pm_id: serde_json::Value) -> Option<u32> {
    match pm_id {
        serde_json::Value::Number(id) => u32::try_from(id.as_u64()?).ok(),
        serde_json::Value::String(id) => id.strip_prefix("_old_").unwrap_or(&id).parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(channel: &str, json: &str) -> BusEvent {
        let message = [
            Argument::Text(channel.to_owned()),
            Argument::Json(json.as_bytes().to_vec()),
        ];
        read(&message, true)
    }

    #[test]
    fn output_has_its_time_and_its_stream() {
        let packet = r#"{"process":{"pm_id":3,"name":"api","rev":null},"at":1795556181776,"data":"one\ntw"}"#;
        let BusEvent::Written(written) = event("log:err", packet) else {
            panic!("not read");
        };
        assert_eq!((written.pm_id, written.stream), (3, Stream::Stderr));
        assert_eq!(written.at.unwrap().as_millisecond(), 1_795_556_181_776);
        assert_eq!(written.data, "one\ntw");
        let old = packet.replace(":3,", ":\"_old_3\",");
        assert!(matches!(event("log:out", &old), BusEvent::Written(w) if w.pm_id == 3));
    }

    #[test]
    fn of_a_process_event_only_the_name_is_read() {
        let packet = r#"{"event":"exit","process":{"name":"api","pm_id":0,"env":{"DATABASE_URL":"postgres://u:secret@h/d"}}}"#;
        assert_eq!(
            event("process:event", packet),
            BusEvent::Changed("api".to_owned())
        );
    }

    #[test]
    fn what_is_not_known_is_skipped() {
        assert_eq!(event("log:PM2", "{}"), BusEvent::Other);
        assert_eq!(event("log:out", "[]"), BusEvent::Other);
        assert_eq!(read(&[Argument::Binary(vec![1])], true), BusEvent::Other);
    }
}
