//! The shop's front door: passes requests on to the api and writes an access log as nginx does.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Member;
use super::files::Folder;
use super::http::{Request, Response, request, serve};
use super::pid::Identity;
use super::process::{Log, listen};

/// The gateway's release: this one is never deployed in the demo.
pub(super) const RELEASE: &str = "2.0";
/// A restarting api is waited for this long, as proxies do.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

struct Gateway {
    log: Log,
    upstream: SocketAddr,
    timeout: Duration,
}

pub(super) async fn run(folder: &Folder, stop: impl Future<Output = ()>) -> io::Result<()> {
    let conf = fs::read_to_string(folder.gateway_conf())?;
    let (upstream, timeout) = parse(&conf)?;
    let gateway = Arc::new(Gateway {
        log: Log::open(&folder.log(Member::Gateway))?,
        upstream,
        timeout,
    });
    let listener = listen(folder, Member::Gateway).await?;
    Identity::own().write(&folder.pid_file(Member::Gateway), RELEASE)?;
    serve(
        listener,
        move |request| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.pass(&request).await }
        },
        stop,
    )
    .await;
    Ok(())
}

fn parse(conf: &str) -> io::Result<(SocketAddr, Duration)> {
    let value = |name: &str| {
        conf.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim())
            .ok_or_else(|| io::Error::other(format!("gateway.conf: {name} is missing")))
    };
    let upstream = value("upstream")?
        .parse()
        .map_err(|error| io::Error::other(format!("gateway.conf: upstream: {error}")))?;
    let seconds = value("timeout_s")?
        .parse()
        .map_err(|error| io::Error::other(format!("gateway.conf: timeout_s: {error}")))?;
    Ok((upstream, Duration::from_secs(seconds)))
}

impl Gateway {
    async fn pass(&self, incoming: &Request) -> Response {
        let begun = Instant::now();
        let response = loop {
            match request(
                self.upstream,
                &incoming.method,
                &incoming.path,
                self.timeout,
            )
            .await
            {
                Ok(response) => break response,
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionRefused
                        && begun.elapsed() < CONNECT_PATIENCE =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    break Response::json(504, "{\"error\":\"timeout\"}");
                }
                Err(_) => break Response::json(502, "{\"error\":\"bad gateway\"}"),
            }
        };
        self.log.raw(&access_line(
            Timestamp::now(),
            incoming,
            &response,
            begun.elapsed(),
        ));
        response
    }
}

/// nginx's combined format with the request time behind it.
fn access_line(at: Timestamp, request: &Request, response: &Response, took: Duration) -> String {
    format!(
        "127.0.0.1 - - [{}] \"{} {} HTTP/1.1\" {} {} \"-\" \"shop-load/1.0\" rt={:.3}",
        at.to_zoned(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z"),
        request.method,
        request.path,
        response.status,
        response.body.len(),
        took.as_secs_f64()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_log_looks_like_nginx() {
        let request = Request {
            method: "GET".into(),
            path: "/api/orders/7".into(),
            body: Vec::new(),
        };
        let at = "2025-12-27T14:50:01.9Z".parse().unwrap();
        let line = access_line(
            at,
            &request,
            &Response::json(500, "{}"),
            Duration::from_millis(2731),
        );
        assert_eq!(
            line,
            "127.0.0.1 - - [27/Dec/2025:14:50:01 +0000] \"GET /api/orders/7 HTTP/1.1\" 500 2 \"-\" \"shop-load/1.0\" rt=2.731"
        );
    }

    #[test]
    fn a_broken_configuration_says_what_is_wrong() {
        assert!(parse("upstream = 127.0.0.1:80\ntimeout_s = 10\n").is_ok());
        let error = parse("upstream = nowhere\ntimeout_s = 10\n").unwrap_err();
        assert!(
            error.to_string().starts_with("gateway.conf: upstream:"),
            "{error}"
        );
        let error = parse("upstream = 127.0.0.1:80\n").unwrap_err();
        assert_eq!(error.to_string(), "gateway.conf: timeout_s is missing");
    }
}
