//! `lastgood preflight`: what would bite in a deploy, and `--fix` as a plan.
//!
//! ```text
//! ✖ crash-loop     pm2/api       it is caught in a crash loop: restarted 41 times
//!     fix: lastgood logs pm2/api --since 5m --level error; …
//! ▲ image-tag      shop/backend  shop-backend-1: shop:latest: nothing says which release that is, …
//! 1 critical, 1 warning, 2 skipped, 23 ok
//! ```

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Ended, Output, Paint, Stop};
use super::{Global, confirm};
use crate::analysis::preflight::CHECKS;
use crate::domain::check::{Check, CheckGrade, worst};
use crate::domain::operation::Operation;
use crate::ops::{Context, preflight};

/// `lastgood preflight`: what would bite in a deploy.
#[derive(Debug, Clone, Args)]
#[command(after_help = checks_help())]
pub struct PreflightArgs {
    /// Services (default: all)
    pub services: Vec<String>,
    /// Make this check ok: a plan like any other, confirmed and recorded
    #[arg(long, value_name = "CHECK")]
    pub fix: Option<String>,
}

fn checks_help() -> String {
    let rows = CHECKS
        .iter()
        .map(|(name, what)| format!("\n  {name:<15} {what}"));
    let rows: String = rows.collect();
    format!(
        "Checks:{rows}\n\nExit 1 where one is critical, 3 where there are warnings or something could not be looked at. \
         There is a plan (--fix) for artifacts and secret-files. `preflight.skip` in the configuration leaves checks out."
    )
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(
    args: &PreflightArgs,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    if let Some(check) = &args.fix {
        let operation = Operation::Fix {
            check: check.clone(),
            services: args.services.clone(),
        };
        return confirm::run(ctx, &operation, global, out).await;
    }
    let checks = preflight::check(ctx, &args.services).await?;
    print(&checks, "preflight", out)?;
    Ok(exit(&checks))
}

/// How a command ends whose answer is a list of checks.
pub(super) fn exit(checks: &[Check]) -> Exit {
    match worst(checks) {
        CheckGrade::Ok | CheckGrade::Skipped => Exit::Done,
        CheckGrade::Warning => Exit::NotSure,
        CheckGrade::Critical => Exit::No,
    }
}

#[derive(Serialize)]
struct Document<'a> {
    checks: &'a [Check],
}

/// Prints checks: all of them as JSON, and for people what is not ok, the worst first, and how many are.
pub(super) fn print(checks: &[Check], schema: &str, out: &mut Output) -> Result<(), Stop> {
    if out.is_json() {
        return out.json(schema, &Document { checks });
    }
    for line in lines(checks, out) {
        out.line(line)?;
    }
    Ok(())
}

/// The checks as people read them.
pub(super) fn lines(checks: &[Check], out: &Output) -> Vec<String> {
    let mut shown: Vec<&Check> = checks
        .iter()
        .filter(|check| check.grade != CheckGrade::Ok || out.verbose > 0)
        .collect();
    // Stable: within a grade in the order in which they were made.
    shown.sort_by_key(|check| std::cmp::Reverse(check.grade));
    let service = |check: &Check| match (&check.service, &check.host) {
        (Some(id), _) => id.to_string(),
        (None, Some(host)) => host.to_string(),
        (None, None) => String::new(),
    };
    let width = shown
        .iter()
        .map(|check| service(check).chars().count())
        .max();
    let width = width.unwrap_or(0);
    let mut lines = Vec::new();
    for check in shown {
        let paint = match check.grade {
            CheckGrade::Ok => Paint::Good,
            CheckGrade::Skipped => Paint::Dim,
            CheckGrade::Warning => Paint::Warning,
            CheckGrade::Critical => Paint::Bad,
        };
        lines.push(format!(
            "{} {:<15} {:<width$}  {}",
            out.paint(paint, check.grade.mark()),
            check.name,
            service(check),
            check.detail
        ));
        if let Some(fix) = check
            .fix
            .as_ref()
            .filter(|_| check.grade >= CheckGrade::Warning)
        {
            lines.push(out.paint(Paint::Dim, &format!("    fix: {fix}")));
        }
    }
    lines.push(summary(checks));
    lines
}

/// `1 critical, 2 warnings, 3 skipped, 20 ok`.
pub(super) fn summary(checks: &[Check]) -> String {
    let count = |grade| checks.iter().filter(|check| check.grade == grade).count();
    let parts = [
        (count(CheckGrade::Critical), "critical"),
        (count(CheckGrade::Warning), "warnings"),
        (count(CheckGrade::Skipped), "skipped"),
        (count(CheckGrade::Ok), "ok"),
    ];
    let parts = parts
        .into_iter()
        .filter(|(n, word)| *n > 0 || *word == "ok");
    let parts = parts.map(|(n, word)| match (n, word) {
        (1, "warnings") => "1 warning".to_owned(),
        (n, word) => format!("{n} {word}"),
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_grade_is_the_exit_code() {
        let check = |grade| Check::new("disk", grade, "/: 10 % in use");
        let code = |grades: &[CheckGrade]| {
            let checks: Vec<Check> = grades.iter().copied().map(check).collect();
            exit(&checks).code()
        };
        use CheckGrade::{Critical, Ok, Skipped, Warning};
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[Ok, Skipped]), 0);
        assert_eq!(code(&[Ok, Warning, Skipped]), 3);
        assert_eq!(code(&[Critical, Warning]), 1);
    }

    #[test]
    fn a_summary_counts_every_grade() {
        let check = |grade| Check::new("disk", grade, "");
        let all = [
            check(CheckGrade::Ok),
            check(CheckGrade::Warning),
            check(CheckGrade::Skipped),
            check(CheckGrade::Ok),
        ];
        assert_eq!(summary(&all), "1 warning, 1 skipped, 2 ok");
        assert_eq!(summary(&[]), "0 ok");
    }
}
