//! What is asked first over a new link: who is there, and the questions that somebody waits for already.
//!
//! A channel of its own with a login shell for each of them takes longer than all the answers: some of those shells start a
//! dozen programs first. So it is one command, and its shell does by itself what it can.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::lately::Answers;
use super::trouble::Trouble;
use super::{engine, link};
use crate::domain::safe_text::SafeText;
use crate::host::{Command, CommandOutput};

const LIMIT: Duration = Duration::from_secs(10);
/// `$1` is [`TRICKY`], `$2` the mark behind every answer. The clock is read once; how long the rest took there is told by the
/// two readings of `/proc/uptime`.
const HELLO: &str = r#"
up() { u=; { read -r u _ < /proc/uptime; } 2>/dev/null; echo "$u"; }
date +%s.%N; up; id -un; echo "$HOME"; echo "${SHELL:-}""#;
/// Whatever a shell might take for something else.
const TRICKY: &str = "it's \\n \\\\ !x $HOME `id` \"q\" ;&|<>(){}[]*?~#=%^ \t ü";

/// What the other side is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Hello {
    /// The user that we are there.
    pub(super) user: String,
    /// Its home folder.
    pub(super) home: PathBuf,
    /// Its login shell.
    pub(super) shell: String,
    /// Whether that hands on arguments as they are.
    is_exact: bool,
    /// How far its clock is ahead of ours, to half the time that the question was on its way.
    pub(super) ahead: SignedDuration,
    /// What [`engine::FIND`] said.
    pub(super) docker: String,
}

impl Hello {
    /// Why nothing may be changed through this login.
    pub(super) fn unfit(&self) -> Option<Trouble> {
        (!self.is_exact).then(|| Trouble {
            text: format!(
                "the login shell of {} ({}) does not hand on arguments as they are",
                self.user, self.shell
            ),
            fix: format!(
                "sudo chsh -s /bin/sh {} there, or use another user",
                self.user
            ),
        })
    }

    /// Reads what [`HELLO`] and [`engine::FIND`] said, and the last reading of `/proc/uptime`, where it came.
    fn parse(text: &str, end: Option<f64>, asked_at: Timestamp, took: Duration) -> Option<Self> {
        let mut lines = text.splitn(7, '\n');
        let clock: f64 = lines.next()?.trim().parse().ok()?;
        let begin: Option<f64> = lines.next()?.parse().ok();
        let there = begin.zip(end).map_or(0.0, |(begin, end)| end - begin);
        let there = Duration::try_from_secs_f64(there).unwrap_or_default();
        let half = SignedDuration::try_from(took.saturating_sub(there) / 2).ok()?;
        let clock = SignedDuration::try_from_secs_f64(clock).ok()?;
        let here = asked_at.checked_add(half).ok()?.as_duration();
        let [user, home, shell] = [lines.next()?, lines.next()?, lines.next()?];
        Some(Self {
            user: SafeText::from_text(user).to_string(),
            home: PathBuf::from(home),
            shell: SafeText::from_text(shell).to_string(),
            ahead: clock - here,
            docker: lines.next()?.to_owned(),
            is_exact: lines.next()?.strip_suffix('\n') == Some(TRICKY),
        })
    }
}

/// One command with all that is asked.
#[derive(Debug)]
pub(super) struct Greeting {
    /// Unknown to whatever could stand in an answer.
    mark: String,
    questions: Vec<&'static str>,
}

impl Greeting {
    /// With scripts without arguments that change nothing.
    pub(super) fn with(questions: Vec<&'static str>) -> Self {
        Self {
            mark: link::mark(),
            questions,
        }
    }

    pub(super) fn command(&self) -> Command {
        const END: &str = "\necho \"$2 $?\"\n";
        let mut script = format!("{HELLO}{}printf '%s\\n' \"$1\"{END}", engine::FIND);
        for question in &self.questions {
            // A shell of its own, which it may end.
            script.push_str(&format!("(\n{question}\n){END}"));
        }
        script.push_str("up");
        Command::shell(&script, &[TRICKY, &self.mark], LIMIT)
    }

    /// What was said, and what the questions were answered: without the mark behind it an answer is not whole, and none.
    pub(super) fn read(
        &self,
        output: &CommandOutput,
        asked_at: Timestamp,
    ) -> Option<(Hello, Answers)> {
        let text = output.stdout_text();
        let mut parts = text.split(&self.mark);
        let hello = parts.next()?;
        // How the answer before it ended, and the next one.
        let told = |part: &'_ str| {
            let (code, answer) = part.split_once('\n')?;
            Some((code.trim().parse().ok()?, answer.to_owned()))
        };
        let told: Vec<(i32, String)> = parts.map_while(told).collect();
        let mut answers = Answers::new();
        for (question, pair) in self.questions.iter().zip(told.windows(2)) {
            let answer = CommandOutput {
                code: Some(pair[1].0),
                // Of all that were asked: the last words are those of one that failed, if one did.
                stderr: output.stderr.clone(),
                stdout: pair[0].1.clone().into_bytes(),
                ..CommandOutput::default()
            };
            answers.insert(question, (Instant::now(), answer));
        }
        let end = told.get(self.questions.len());
        let end = end.and_then(|(_, up)| up.trim().parse().ok());
        Some((Hello::parse(hello, end, asked_at, output.took)?, answers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(greeting: &Greeting, text: &str) -> Option<(Hello, Answers)> {
        let output = CommandOutput {
            stdout: text.replace("MARK", &greeting.mark).into_bytes(),
            took: Duration::from_secs(2),
            ..CommandOutput::default()
        };
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        greeting.read(&output, at)
    }

    #[test]
    fn a_shell_that_changes_arguments_is_seen() {
        let greeting = Greeting::with(Vec::new());
        let hello = |tricky: &str| {
            let text = format!(
                "1700000003.5\n7.25\ndeploy\n/home/deploy\n/bin/sh\nabsent\n{tricky}\nMARK 0\n8.25\n"
            );
            said(&greeting, &text).unwrap().0
        };
        let good = hello(TRICKY);
        assert!(good.unfit().is_none());
        // Half of the second that was not spent there.
        assert_eq!(good.ahead, SignedDuration::from_secs(3));
        let bad = hello(&TRICKY.replacen("\\\\", "\\", 1)).unfit().unwrap();
        assert!(bad.text.contains("/bin/sh"), "{bad:?}");
    }

    #[test]
    fn each_question_has_its_whole_answer_or_none() {
        let greeting = Greeting::with(vec!["first", "second"]);
        let hello = format!("1700000003.5\n\nu\n/\n\nabsent\n{TRICKY}\nMARK 0\n");
        let of = |rest: &str| {
            let (_, answers) = said(&greeting, &format!("{hello}{rest}")).unwrap();
            let of = |question| {
                let (_, answer): &(_, CommandOutput) = answers.get(question)?;
                Some((answer.code?, answer.stdout_text().into_owned()))
            };
            (of("first"), of("second"))
        };
        let first = Some((3, "a\nb\n".to_owned()));
        assert_eq!(
            of("a\nb\nMARK 3\nMARK 0\n9.1\n"),
            (first.clone(), Some((0, String::new())))
        );
        assert_eq!(of("a\nb\nMARK 3\nc\n"), (first, None), "cut off");
        assert_eq!(of("a\n"), (None, None));
        assert!(said(&greeting, "sh: date: not found\n").is_none());
    }

    #[test]
    fn the_script_asks_this_machine() {
        let greeting = Greeting::with(vec!["echo one; exit 4", "echo two"]);
        let command = greeting.command();
        let asked_at = Timestamp::now();
        let output = std::process::Command::new(&command.argv[0])
            .args(&command.argv[1..])
            .output()
            .unwrap();
        let output = CommandOutput {
            stdout: output.stdout,
            ..CommandOutput::default()
        };
        let (hello, answers) = greeting.read(&output, asked_at).unwrap();
        assert!(hello.is_exact && !hello.user.is_empty(), "{hello:?}");
        let words = ["at ", "denied ", "absent"];
        assert!(words.iter().any(|word| hello.docker.starts_with(word)));
        assert_eq!(answers["echo one; exit 4"].1.code, Some(4));
        assert_eq!(answers["echo two"].1.stdout, b"two\n");
    }
}
