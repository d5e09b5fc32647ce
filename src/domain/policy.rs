//! Who may do what to which service: an allow-list of rules.
//!
//! Without a policy everybody may do what their user can do anyway. With one, whatever no rule allows is refused. A rule
//! can ask for the yes of a second person for plans of some risk.

use serde::Deserialize;

use super::operation::{Plan, Risk};

/// One rule. What it does not say it allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PolicyRule {
    /// The user's name; `*` stands for any text in each of these.
    pub user: Option<String>,
    /// The host's name; `local` is the machine that lastgood runs on.
    pub host: Option<String>,
    /// The service without its host: `shop/*`.
    pub service: Option<String>,
    /// The verbs.
    pub operations: Option<Vec<String>>,
    /// The risks for which a second person says yes too.
    pub two_person: Vec<Risk>,
}

/// What the rules say of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Go on.
    Allowed,
    /// Go on once a second person has said yes; the number of the rule that asks for it, from 1.
    WithSecondPerson(usize),
    /// No rule allows it: why, naming the rule that is nearest.
    Refused(String),
}

/// Holds a plan of a user against the rules. Every service has to be allowed, by whichever rule; one that asks for a
/// second person counts only where no other allows it alone.
pub fn rule(rules: &[PolicyRule], user: &str, plan: &Plan) -> Ruling {
    let verb = plan.operation.verb();
    // As the audit log names whoever came by sudo.
    let user = user.split(" (sudo)").next().unwrap_or(user);
    let mut names: Vec<String> = plan
        .services
        .iter()
        .map(|id| format!("{}/{}", id.group, id.name))
        .collect();
    if names.is_empty() {
        // A command of a runbook is about no service: a rule for all services covers it.
        names.push("*".to_owned());
    }
    let mut second = None;
    for name in &names {
        let allowing = rules.iter().enumerate().filter(|(_, rule)| {
            rule.mismatch(user, plan.host.as_str(), name, verb)
                .is_none()
        });
        let mut asking = None;
        let mut is_allowed = false;
        for (number, rule) in allowing {
            if rule.two_person.contains(&plan.risk) {
                asking.get_or_insert(number + 1);
            } else {
                is_allowed = true;
            }
        }
        match asking {
            _ if is_allowed => {}
            Some(number) => second = Some(number),
            None => return Ruling::Refused(refusal(rules, user, plan.host.as_str(), name, verb)),
        }
    }
    second.map_or(Ruling::Allowed, Ruling::WithSecondPerson)
}

fn refusal(rules: &[PolicyRule], user: &str, host: &str, service: &str, verb: &str) -> String {
    let what = format!("the policy does not allow {user} to {verb} {service} on {host}");
    // The rule that comes nearest is the one to talk about.
    let nearest = rules
        .iter()
        .enumerate()
        .filter_map(|(number, rule)| Some((number + 1, rule.mismatch(user, host, service, verb)?)))
        .max_by_key(|(number, (depth, _))| (*depth, usize::MAX - number));
    match nearest {
        Some((number, (_, why))) => format!("{what}: rule {number} is for {why}"),
        None => format!("{what}: it has no rules"),
    }
}

impl PolicyRule {
    /// Why it does not apply, and how many of its parts did before that.
    fn mismatch(
        &self,
        user: &str,
        host: &str,
        service: &str,
        verb: &str,
    ) -> Option<(usize, String)> {
        let parts = [
            ("the user", &self.user, user),
            ("the host", &self.host, host),
            ("the service", &self.service, service),
        ];
        for (depth, (what, pattern, text)) in parts.into_iter().enumerate() {
            if let Some(pattern) = pattern.as_deref().filter(|p| !matches(p, text)) {
                return Some((depth, format!("{what} {pattern:?}")));
            }
        }
        let operations = self.operations.as_ref()?;
        if operations.iter().any(|allowed| matches(allowed, verb)) {
            return None;
        }
        Some((
            parts.len(),
            format!("the operations {}", operations.join(", ")),
        ))
    }
}

/// Whether a text is what a pattern says, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len())
                .filter(|at| text.is_char_boundary(*at))
                .any(|at| matches(rest, &text[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `restart shop/backend` on this machine, disruptive.
    fn plan() -> Plan {
        crate::domain::operation::tests::plan()
    }

    fn allow(user: &str, service: &str, operations: &[&str]) -> PolicyRule {
        PolicyRule {
            user: Some(user.to_owned()),
            host: Some("*".to_owned()),
            service: Some(service.to_owned()),
            operations: Some(operations.iter().map(|o| (*o).to_owned()).collect()),
            two_person: Vec::new(),
        }
    }

    #[test]
    fn what_no_rule_allows_is_refused_with_the_nearest_one() {
        let rules = [
            allow("boris", "shop/*", &["restart"]),
            allow("anna", "shop/*", &["roll-back", "stop"]),
        ];
        assert_eq!(rule(&rules, "boris", &plan()), Ruling::Allowed);
        assert_eq!(rule(&rules, "boris (sudo)", &plan()), Ruling::Allowed);
        let Ruling::Refused(why) = rule(&rules, "anna", &plan()) else {
            panic!("allowed");
        };
        assert!(
            why.contains("anna to restart shop/backend on local"),
            "{why}"
        );
        assert!(
            why.contains("rule 2 is for the operations roll-back, stop"),
            "{why}"
        );
        let Ruling::Refused(why) = rule(&rules, "carl", &plan()) else {
            panic!("allowed");
        };
        assert!(why.contains("the user \"boris\""), "{why}");
        assert!(matches!(rule(&[], "anna", &plan()), Ruling::Refused(_)));
        assert_eq!(
            rule(&[PolicyRule::default()], "anna", &plan()),
            Ruling::Allowed
        );
    }

    #[test]
    fn every_service_has_to_be_allowed() {
        let mut two = plan();
        let db = crate::domain::service::ServiceId::local("shop", "db");
        two.services.push(db);
        let backend = allow("anna", "shop/backend", &["restart"]);
        assert!(matches!(
            rule(std::slice::from_ref(&backend), "anna", &two),
            Ruling::Refused(_)
        ));
        let rules = [backend, allow("*", "shop/d*", &["re*"])];
        assert_eq!(rule(&rules, "anna", &two), Ruling::Allowed);
    }

    #[test]
    fn a_second_person_is_asked_for_by_risk() {
        let mut careful = allow("*", "*", &["*"]);
        careful.two_person = vec![Risk::DataLosing, Risk::Destructive];
        let mut plan = plan();
        let rules = [careful];
        assert_eq!(rule(&rules, "anna", &plan), Ruling::Allowed);
        plan.risk = Risk::Destructive;
        assert_eq!(rule(&rules, "anna", &plan), Ruling::WithSecondPerson(1));
        let alone = [
            rules[0].clone(),
            allow("anna", "shop/backend", &["restart"]),
        ];
        assert_eq!(rule(&alone, "anna", &plan), Ruling::Allowed);
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("shop/*", "shop/backend", true),
            ("*/backend", "shop/backend", true),
            ("s*p/b*d", "shop/backend", true),
            ("shop/*", "shopx/backend", false),
            ("*", "", true),
            ("é*", "été", true),
            ("shop", "shop/backend", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
