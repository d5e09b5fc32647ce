//! Why a machine cannot be reached, in words, and the command that helps.
//!
//! The client says it on several lines, the cause among them, and differently in each case. A key that is not known is
//! never fetched over the same unproven way (`ssh-keyscan`): its fingerprint is shown, to be held against the machine's.

use std::path::PathBuf;

/// How a machine is addressed, for lines that one can type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// `[user@]host`, without a port.
    pub(super) host: String,
    /// The port, where it is not the usual one.
    pub(super) port: Option<u16>,
    /// The client's configuration, where it is not the usual one.
    pub(super) config_file: Option<PathBuf>,
    /// Whether what is sent is compressed.
    pub(super) is_compressed: bool,
}

impl Address {
    /// The options and the destination, as words.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(file) = &self.config_file {
            words.extend(["-F".to_owned(), file.display().to_string()]);
        }
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words.push(self.host.clone());
        words
    }

    /// `ssh` with what reaches this machine, as one would type it.
    pub(super) fn line(&self) -> String {
        format!("ssh {}", shell_words::join(self.words()))
    }
}

/// What is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Trouble {
    /// The cause in words.
    pub(super) text: String,
    /// The next command to type.
    pub(super) fix: String,
}

const OWN_KEYS: &str = "for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done";

/// Whether the client refused the machine's key, so that its fingerprint is wanted.
pub(super) fn is_about_the_key(said: &str) -> bool {
    said.contains("Host key verification failed") || said.contains("host key is known for")
}

/// Explains what the client said. `key` is what the machine shows, `ED25519 SHA256:…`, where that was asked for.
pub(super) fn explain(address: &Address, said: &str, key: Option<&str>) -> Trouble {
    let by_hand = address.line();
    let trouble = |text: String, fix: String| Trouble { text, fix };
    let shown = key.map_or_else(String::new, |key| format!(" (it shows {key})"));
    if said.contains("IDENTIFICATION HAS CHANGED") || said.contains("has changed and you have") {
        let place = line_after(said, "Offending ").unwrap_or_default();
        let known = match place.split_once(" in ") {
            Some((_, place)) => format!("; another one is known, in {place}"),
            None => String::new(),
        };
        let name = line_after(said, "ost key for ")
            .and_then(|rest| {
                rest.split_once(" has changed")
                    .map(|(name, _)| name.to_owned())
            })
            .unwrap_or_else(|| bare(&address.host).to_owned());
        return trouble(
            format!(
                "its host key is not the one that is known{shown}{known}: it may be another machine"
            ),
            format!(
                "on the machine's own console: {OWN_KEYS}; only if the fingerprint is among them: ssh-keygen -R {} && {by_hand}",
                shell_words::quote(&name)
            ),
        );
    }
    if is_about_the_key(said) {
        let which = line_after(said, "host key is known for ")
            .and_then(|rest| rest.split_once(" and ").map(|(name, _)| name.to_owned()))
            .unwrap_or_else(|| address.host.clone());
        return trouble(
            format!("the host key of {which} is not known{shown}"),
            format!(
                "compare that with the machine's own, on its console: {OWN_KEYS}; then accept it once by hand: {by_hand}"
            ),
        );
    }
    if let Some(methods) = line_after(said, "Permission denied (") {
        let methods = methods.trim_end_matches(['.', ')']).to_owned();
        return trouble(
            format!("it refused every key that was offered (it takes: {methods})"),
            format!(
                "ssh-add -l lists the agent's keys, {} shows what is offered; the public key has to stand in ~/.ssh/authorized_keys there",
                by_hand.replacen("ssh", "ssh -v", 1)
            ),
        );
    }
    let last = last_line(said);
    if said.contains("Could not resolve hostname") {
        return trouble(
            last,
            "check the name, or give it a HostName in ~/.ssh/config".to_owned(),
        );
    }
    if said.contains("Connection refused") {
        return trouble(
            format!("nothing listens there: {last}"),
            "start sshd on that machine (sudo systemctl start ssh), or name its port: user@host:PORT"
                .to_owned(),
        );
    }
    if said.contains("timed out") || said.contains("No route to host") {
        return trouble(
            format!("no answer: {last}"),
            format!("check that machine and the way to it; by hand: {by_hand} true"),
        );
    }
    trouble(last, format!("try it by hand: {by_hand} true"))
}

/// What stands after `mark` on its line.
fn line_after(said: &str, mark: &str) -> Option<String> {
    let line = said.lines().find(|line| line.contains(mark))?;
    let rest = line.split_once(mark)?.1;
    Some(rest.trim().to_owned())
}

/// The last line that says something; the last but says only that it is over.
fn last_line(said: &str) -> String {
    said.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !line.starts_with("Connection closed by UNKNOWN"))
        .unwrap_or("it said nothing")
        .to_owned()
}

fn bare(host: &str) -> &str {
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

/// The key that the machine shows, from the client's own account of a connection.
pub(super) fn shown_key(said: &str) -> Option<String> {
    // Of several (a jump host before it) the last is the one that was refused.
    let line = said
        .lines()
        .rfind(|line| line.contains("Server host key: "))?;
    Some(line.split_once("Server host key: ")?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address {
            host: "deploy@prod-1".into(),
            port: Some(2222),
            config_file: None,
            is_compressed: true,
        }
    }

    #[test]
    fn an_unknown_key_is_shown_and_never_scanned() {
        let said = "No ED25519 host key is known for [prod-1]:2222 and you have requested strict checking.\r\nHost key verification failed.";
        let told = explain(&address(), said, Some("ssh-ed25519 SHA256:abc"));
        assert!(told.text.contains("[prod-1]:2222 is not known"), "{told:?}");
        assert!(told.text.contains("SHA256:abc"), "{told:?}");
        assert!(told.fix.ends_with("ssh -p 2222 deploy@prod-1"), "{told:?}");
        assert!(!told.fix.contains("keyscan"));
    }

    #[test]
    fn a_changed_key_says_where_the_other_stands() {
        let said = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nOffending ED25519 key in /home/a/.ssh/known_hosts:3\nHost key for [prod-1]:2222 has changed and you have requested strict checking.\nHost key verification failed.";
        let told = explain(&address(), said, None);
        assert!(told.text.contains("known_hosts:3"), "{told:?}");
        assert!(
            told.fix.contains("ssh-keygen -R '[prod-1]:2222'"),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_refused_is_told_apart() {
        let of = |said| explain(&address(), said, None);
        let keys = of("deploy@prod-1: Permission denied (publickey,password).");
        assert!(
            keys.text.contains("it takes: publickey,password"),
            "{keys:?}"
        );
        assert!(keys.fix.contains("authorized_keys"));
        let refused = of("connect to host prod-1 port 2222: Connection refused");
        assert!(refused.text.contains("nothing listens"), "{refused:?}");
        let late = of("connect to host prod-1 port 2222: Connection timed out");
        assert!(late.text.starts_with("no answer"), "{late:?}");
        assert_eq!(of("odd\n").text, "odd");
    }

    #[test]
    fn the_key_of_the_last_machine_on_the_way_is_meant() {
        let said = "debug1: Server host key: ssh-ed25519 SHA256:jump\ndebug1: x\ndebug1: Server host key: ssh-rsa SHA256:it";
        assert_eq!(shown_key(said).unwrap(), "ssh-rsa SHA256:it");
        assert_eq!(shown_key("nothing"), None);
    }
}
