//! A file between two upstream files of nginx: the servers of both, with what each gets of the requests.
//!
//! A canary and a rolling switch need no files of their own: the files of the two sides say which servers there are, and
//! the weights say who gets how much. Only `server` lines of `upstream` blocks may differ between the two; whatever else
//! differs would apply to every request from the first step on, which is no step at all.

use std::ops::Range;

use thiserror::Error;

use crate::domain::operation::Share;

/// Why there is nothing between two files.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UpstreamError {
    /// Neither names servers.
    #[error("no `upstream` block with servers in it")]
    NoServers,
    /// Something besides servers differs.
    #[error("they differ in more than the servers of their upstreams: {before:?} and {after:?}")]
    OtherText {
        /// The first word that differs, of the one …
        before: String,
        /// … and of the other.
        after: String,
    },
    /// No server of an upstream takes requests.
    #[error("upstream {0} has no server that takes requests on one of the sides")]
    NothingUp(String),
    /// One server cannot go over one by one.
    #[error("one server on each side: there is nothing between the first and the last")]
    OneServer,
}

/// A `server` line of an upstream that takes a part of the requests; what is kept for when all others fail does not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server<'a> {
    upstream: &'a str,
    address: &'a str,
    /// 0 where it is down.
    weight: u64,
    /// Without its weight and whether it is down.
    rest: Vec<&'a str>,
    at: Range<usize>,
}

/// A file as its servers and all other words.
struct File<'a> {
    text: &'a str,
    servers: Vec<Server<'a>>,
    others: Vec<&'a str>,
}

impl<'a> File<'a> {
    fn read(text: &'a str) -> Self {
        let mut file = Self {
            text,
            servers: Vec::new(),
            others: Vec::new(),
        };
        let mut blocks: Vec<Vec<&str>> = Vec::new();
        let mut words: Vec<(&str, usize)> = Vec::new();
        for (word, at) in (Words { text, at: 0 }) {
            match word {
                "{" => {
                    file.others.extend(words.iter().map(|(word, _)| word));
                    file.others.push(word);
                    blocks.push(words.drain(..).map(|(word, _)| word).collect());
                }
                "}" => {
                    file.others.extend(words.drain(..).map(|(word, _)| word));
                    file.others.push(word);
                    blocks.pop();
                }
                ";" => {
                    let block = blocks.last().map(Vec::as_slice);
                    match server(block, &words, at + 1) {
                        Some(server) => file.servers.push(server),
                        None => {
                            file.others.extend(words.iter().map(|(word, _)| word));
                            file.others.push(word);
                        }
                    }
                    words.clear();
                }
                _ => words.push((word, at)),
            }
        }
        file.others.extend(words.iter().map(|(word, _)| word));
        file
    }

    fn of(&self, upstream: &str) -> Vec<&Server<'a>> {
        let all = self.servers.iter();
        all.filter(|server| server.upstream == upstream).collect()
    }

    fn upstreams(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        for server in &self.servers {
            if !names.contains(&server.upstream) {
                names.push(server.upstream);
            }
        }
        names
    }
}

fn server<'a>(
    block: Option<&[&'a str]>,
    words: &[(&'a str, usize)],
    end: usize,
) -> Option<Server<'a>> {
    let Some(["upstream", name]) = block else {
        return None;
    };
    let [("server", start), (address, _), rest @ ..] = words else {
        return None;
    };
    let rest: Vec<&str> = rest.iter().map(|(word, _)| *word).collect();
    if rest.contains(&"backup") {
        return None;
    }
    let own = rest.iter().find_map(|word| word.strip_prefix("weight="));
    // What nginx would not take is not changed either.
    let own = own.map_or(Some(1), |number| number.parse().ok())?;
    let is_kept = |word: &&str| *word != "down" && !word.starts_with("weight=");
    Some(Server {
        upstream: name,
        address,
        weight: if rest.contains(&"down") { 0 } else { own },
        rest: rest.into_iter().filter(is_kept).collect(),
        at: *start..end,
    })
}

/// The words of a file of nginx with their places: `{`, `}` and `;` are words, comments are none.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = (&'a str, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at)? {
                b'#' => {
                    let rest = &bytes[self.at..];
                    self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                }
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => break,
            }
        }
        let start = self.at;
        if matches!(bytes[start], b'{' | b'}' | b';') {
            self.at += 1;
            return Some((&self.text[start..self.at], start));
        }
        let quote = matches!(bytes[start], b'"' | b'\'').then_some(bytes[start]);
        self.at += usize::from(quote.is_some());
        while let Some(byte) = bytes.get(self.at) {
            match (quote, byte) {
                (_, b'\\') => self.at += 1,
                (Some(quote), byte) if *byte == quote => {
                    self.at += 1;
                    break;
                }
                // `${name}` is a part of its word.
                (None, b'{') if bytes[self.at - 1] == b'$' => {
                    let rest = &bytes[self.at..];
                    self.at += memchr::memchr(b'}', rest).unwrap_or(rest.len() - 1);
                }
                (None, b'{' | b'}' | b';') => break,
                (None, byte) if byte.is_ascii_whitespace() => break,
                _ => {}
            }
            self.at += 1;
        }
        self.at = self.at.min(bytes.len());
        Some((&self.text[start..self.at], start))
    }
}

/// How many steps a rolling switch has, the last of which is the whole file.
///
/// # Errors
/// There is nothing between the two.
pub fn rolling_steps(before: &str, after: &str) -> Result<usize, UpstreamError> {
    let (before, after) = (File::read(before), File::read(after));
    let names = changed(&before, &after)?;
    let up = |file: &File, name: &str| file.of(name).iter().filter(|s| s.weight > 0).count();
    let most = names
        .iter()
        .map(|name| up(&before, name).max(up(&after, name)))
        .max();
    match most {
        Some(most) if most > 1 => Ok(most),
        _ => Err(UpstreamError::OneServer),
    }
}

/// The file in which the side of `after` has that share: the text of `after` with the servers of both.
///
/// # Errors
/// There is nothing between the two.
pub fn mix(before: &str, after: &str, share: Share) -> Result<String, UpstreamError> {
    let (before, after) = (File::read(before), File::read(after));
    let mut text = String::new();
    let mut copied = 0;
    for name in changed(&before, &after)? {
        let (old, new) = (before.of(name), after.of(name));
        let lines = match share {
            Share::Percent(percent) => weighed(&old, &new, u64::from(percent)),
            Share::Servers { done, of } => replaced(&old, &new, done, of),
        };
        for (at, server) in new.iter().enumerate() {
            let head = &after.text[copied..server.at.start];
            let indent = head.rsplit('\n').next().unwrap_or_default();
            let between = match head.contains('\n') && indent.trim().is_empty() {
                true => format!("\n{indent}"),
                false => " ".to_owned(),
            };
            // All stand where the first one stood.
            text.push_str(if at == 0 { head } else { head.trim_end() });
            if at == 0 {
                text.push_str(&lines.join(&between));
            }
            copied = server.at.end;
        }
    }
    text.push_str(&after.text[copied..]);
    Ok(text)
}

/// The upstreams whose servers differ.
fn changed<'a>(before: &File<'a>, after: &File<'a>) -> Result<Vec<&'a str>, UpstreamError> {
    if before.others != after.others {
        let differs = |(a, b): &(&&str, &&str)| a != b;
        let pair = before.others.iter().zip(&after.others).find(differs);
        let (before, after) = pair.map_or(("", ""), |(a, b)| (*a, *b));
        return Err(UpstreamError::OtherText {
            before: before.to_owned(),
            after: after.to_owned(),
        });
    }
    let key = |all: Vec<&Server<'a>>| -> Vec<(&'a str, u64, Vec<&'a str>)> {
        all.into_iter()
            .map(|server| (server.address, server.weight, server.rest.clone()))
            .collect()
    };
    let mut names = after.upstreams();
    names.retain(|name| key(before.of(name)) != key(after.of(name)));
    for name in &names {
        let is_up = |file: &File| file.of(name).iter().any(|server| server.weight > 0);
        if !is_up(before) || !is_up(after) {
            return Err(UpstreamError::NothingUp((*name).to_owned()));
        }
    }
    match names.is_empty() {
        true => Err(UpstreamError::NoServers),
        false => Ok(names),
    }
}

/// By weights: a server that both sides have gets its part of either.
fn weighed(old: &[&Server], new: &[&Server], percent: u64) -> Vec<String> {
    let sum = |all: &[&Server]| all.iter().map(|server| server.weight).sum::<u64>();
    let (all_old, all_new) = (sum(old), sum(new));
    let weight = |all: &[&Server], address: &str| {
        let same = all.iter().filter(|server| server.address == address);
        same.map(|server| server.weight).sum::<u64>()
    };
    let mut parts: Vec<(&Server, u64)> = Vec::new();
    for server in new.iter().chain(old).filter(|server| server.weight > 0) {
        if parts
            .iter()
            .any(|(known, _)| known.address == server.address)
        {
            continue;
        }
        let of_new = weight(new, server.address) * percent * all_old;
        let of_old = weight(old, server.address) * (100 - percent) * all_new;
        parts.push((server, of_new + of_old));
    }
    let divisor = parts.iter().fold(0, |a, (_, part)| gcd(a, *part)).max(1);
    parts
        .into_iter()
        .map(|(server, part)| line(server, part / divisor))
        .collect()
}

/// One after the other: the same part of the old ones is gone as of the new ones is there, and never less is there.
fn replaced(old: &[&Server], new: &[&Server], done: usize, of: usize) -> Vec<String> {
    let count = |all: &[&Server]| all.iter().filter(|server| server.weight > 0).count();
    let of = of.max(1);
    let (come, gone) = ((done * count(new)).div_ceil(of), done * count(old) / of);
    let new = new.iter().filter(|server| server.weight > 0).take(come);
    let old = old.iter().filter(|server| server.weight > 0).skip(gone);
    let mut all: Vec<&Server> = Vec::new();
    for server in new.chain(old) {
        if all.iter().all(|known| known.address != server.address) {
            all.push(server);
        }
    }
    all.into_iter()
        .map(|server| line(server, server.weight))
        .collect()
}

fn line(server: &Server, weight: u64) -> String {
    let mut line = format!("server {}", server.address);
    for word in &server.rest {
        line.push(' ');
        line.push_str(word);
    }
    if weight != 1 {
        line.push_str(&format!(" weight={weight}"));
    }
    line.push(';');
    line
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const BLUE: &str = "upstream api { server 127.0.0.1:8001; }\n";
    const GREEN: &str = "upstream api { server 127.0.0.1:8002; }\n";

    #[test]
    fn a_share_is_a_ratio_of_weights() {
        let at = |percent| mix(BLUE, GREEN, Share::Percent(percent)).unwrap();
        assert_eq!(
            at(10),
            "upstream api { server 127.0.0.1:8002; server 127.0.0.1:8001 weight=9; }\n"
        );
        assert_eq!(
            at(50),
            "upstream api { server 127.0.0.1:8002; server 127.0.0.1:8001; }\n"
        );
        assert!(at(75).contains("8002 weight=3; server 127.0.0.1:8001;"));
    }

    #[test]
    fn own_weights_and_the_rest_of_a_file_stay() {
        let file = |servers: &str| {
            format!(
                "# servers; {{ of the shop\nupstream shop {{\n    least_conn;\n{servers}    server 10.0.0.9:80 backup;\n}}\nmap $a \"${{b}};\" {{ default 1; }}\n"
            )
        };
        let blue = file("    server a:80 weight=3 max_fails=2;\n    server b:80;\n");
        let green = file("    server c:80;\n    server d:80 weight=2;\n");
        let mixed = mix(&blue, &green, Share::Percent(25)).unwrap();
        // A quarter for weights 1 and 2, three quarters for 3 and 1.
        assert_eq!(
            mixed,
            file(
                "    server c:80 weight=4;\n    server d:80 weight=8;\n    server a:80 max_fails=2 weight=27;\n    server b:80 weight=9;\n"
            )
        );
    }

    #[test]
    fn sides_may_be_weights_of_the_same_servers() {
        let blue = "upstream api { server a:1 weight=5; server b:1 down; }";
        let green = "upstream api { server a:1 down; server b:1; }";
        assert_eq!(
            mix(blue, green, Share::Percent(10)).unwrap(),
            "upstream api { server b:1; server a:1 weight=9; }"
        );
    }

    #[test]
    fn servers_go_over_one_by_one_and_never_fewer_serve() {
        let blue = "upstream api {\n  server a:1;\n  server b:1;\n  server c:1;\n}\n";
        let green = "upstream api {\n  server d:1;\n  server e:1;\n  server f:1;\n}\n";
        assert_eq!(rolling_steps(blue, green), Ok(3));
        let at = |done| mix(blue, green, Share::Servers { done, of: 3 }).unwrap();
        assert_eq!(
            at(1),
            "upstream api {\n  server d:1;\n  server b:1;\n  server c:1;\n}\n"
        );
        assert_eq!(
            at(2),
            "upstream api {\n  server d:1;\n  server e:1;\n  server c:1;\n}\n"
        );
        let one = "upstream api { server z:1; }\n";
        assert_eq!(rolling_steps(one, green), Ok(3));
        let first = mix(one, green, Share::Servers { done: 1, of: 3 }).unwrap();
        assert_eq!(first, "upstream api {\n  server d:1;\n  server z:1;\n}\n");
        assert_eq!(rolling_steps(BLUE, GREEN), Err(UpstreamError::OneServer));
    }

    #[test]
    fn an_upstream_that_is_the_same_on_both_sides_is_left_alone() {
        let both = "upstream pages { server p:1; server q:1 weight=2; }\n";
        let (blue, green) = (format!("{both}{BLUE}"), format!("{both}{GREEN}"));
        let mixed = mix(&blue, &green, Share::Percent(50)).unwrap();
        assert!(mixed.starts_with(both), "{mixed}");
    }

    #[test]
    fn what_has_nothing_between_is_refused() {
        let of = |a: &str, b: &str| mix(a, b, Share::Percent(10)).unwrap_err();
        assert_eq!(
            of("server { listen 80; }", "server { listen 80; }"),
            UpstreamError::NoServers
        );
        assert_eq!(
            of(BLUE, &GREEN.replace("api", "shop")),
            UpstreamError::OtherText {
                before: "api".into(),
                after: "shop".into()
            }
        );
        assert_eq!(
            of(BLUE, "upstream api { server b:1 down; }"),
            UpstreamError::NothingUp("api".into())
        );
        let more = format!("{GREEN}add_header X 1;\n");
        assert!(matches!(of(BLUE, &more), UpstreamError::OtherText { .. }));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "[a-z0-9 {};#$\"'\\\\\n]{0,80}") {
            let _ = mix(&text, GREEN, Share::Percent(10));
            let _ = mix(BLUE, &text, Share::Percent(10));
            let _ = rolling_steps(&text, &text);
        }
    }
}
