//! Routes: a request's path without what identifies one thing, so that requests of one kind are counted together.

use crate::analysis::kept::Kept;

/// Path segments that are asked for by machines, not by users: they would hide what users see.
const HEALTH: &[&str] = &[
    "health",
    "healthz",
    "healthcheck",
    "health-check",
    "ready",
    "readyz",
    "readiness",
    "live",
    "livez",
    "liveness",
    "ping",
    "metrics",
    "up",
    "_health",
    "actuator",
];

/// Writes the normalised route of a path into `out`: the query and fragment are cut, ids become `<*>`, a scheme
/// and host are dropped. At most 200 bytes are kept. What stands in it unchanged is noted in `kept`.
pub fn normalise(path: &[u8], out: &mut Vec<u8>, kept: &mut Kept) {
    out.clear();
    let path = strip_host(path);
    let end = path
        .iter()
        .position(|b| matches!(b, b'?' | b'#' | b';'))
        .unwrap_or(path.len());
    if end > 200 {
        // Where it is cut depends on all of it.
        kept.whole(path);
    }
    let path = &path[..end.min(200)];
    for (index, segment) in path.split(|b| *b == b'/').enumerate() {
        if index > 0 {
            out.push(b'/');
        }
        write_segment(segment, out, kept);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    if out.len() > 1 && out.last() == Some(&b'/') {
        out.pop();
    }
}

fn strip_host(path: &[u8]) -> &[u8] {
    let Some(scheme) = memchr::memmem::find(path, b"://").filter(|at| *at < 8) else {
        return path;
    };
    let rest = &path[scheme + 3..];
    memchr::memchr(b'/', rest).map_or(b"/", |at| &rest[at..])
}

/// `app.9f3c1a2e.js` keeps its name and ending; a number, a UUID, a long hex or base64 text is an id.
fn write_segment(segment: &[u8], out: &mut Vec<u8>, kept: &mut Kept) {
    for (index, part) in segment.split(|b| *b == b'.').enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        if is_id(part) {
            out.extend_from_slice(b"<*>");
        } else {
            out.extend_from_slice(part);
            kept.whole(part);
        }
    }
}

/// Whether a path segment names one thing: `v1`, `api2` and words do not.
fn is_id(part: &[u8]) -> bool {
    let digits = part.iter().filter(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return part.starts_with(b"<") || part.starts_with(b"%");
    }
    if digits == part.len() {
        return true;
    }
    let hex = part.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    (hex && part.len() >= 6) || part.len() >= 20 || (digits >= 3 && digits * 2 >= part.len())
}

/// Whether a route is a health check, or one that the user wants ignored (a route or the start of one that ends
/// at a slash).
pub fn is_ignored(route: &[u8], ignored: &[String]) -> bool {
    let mut segments = route.split(|b| *b == b'/').filter(|s| !s.is_empty());
    let named = |segment: &[u8]| {
        HEALTH
            .iter()
            .any(|h| segment.eq_ignore_ascii_case(h.as_bytes()))
    };
    let first = segments.next();
    if first.is_some_and(named) || segments.next_back().is_some_and(named) {
        return true;
    }
    ignored.iter().any(|ignore| {
        let ignore = ignore.trim_end_matches('/').as_bytes();
        route == ignore || (route.starts_with(ignore) && route.get(ignore.len()) == Some(&b'/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> String {
        let mut out = Vec::new();
        normalise(path.as_bytes(), &mut out, &mut Kept::off());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ids_and_queries_go() {
        assert_eq!(route("/api/v1/orders/4711"), "/api/v1/orders/<*>");
        assert_eq!(route("/api/v1/search?q=x&page=2"), "/api/v1/search");
        assert_eq!(route("/static/js/app.9f3c1a2e.js"), "/static/js/app.<*>.js");
        assert_eq!(
            route("/u/550e8400-e29b-41d4-a716-446655440000/x"),
            "/u/<*>/x"
        );
        assert_eq!(route("http://backend:8000/api/users/7/"), "/api/users/<*>");
        assert_eq!(route("https://example.org"), "/");
        assert_eq!(route("/"), "/");
        assert_eq!(route("/checkout"), "/checkout");
    }

    #[test]
    fn health_checks_are_no_requests_of_users() {
        for path in [
            "/health",
            "/api/healthz",
            "/Ping",
            "/metrics",
            "/actuator/health",
        ] {
            assert!(is_ignored(path.as_bytes(), &[]), "{path}");
        }
        for path in ["/healthy-food", "/api/orders", "/"] {
            assert!(!is_ignored(path.as_bytes(), &[]), "{path}");
        }
        let own = ["/internal".to_owned()];
        assert!(is_ignored(b"/internal/x", &own) && !is_ignored(b"/internals", &own));
    }
}
