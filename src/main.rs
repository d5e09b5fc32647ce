//! The `lastgood` binary: parse the arguments, choose a front end, map the result to an exit code.

use std::process::ExitCode;
use std::sync::Arc;

use lastgood::cli::demo::DemoArgs;
use lastgood::cli::keys::{KeymapText, KeysArgs, KeysCommand};
use lastgood::cli::output::{Ended, Output, Stop, talk, talk_error};
use lastgood::cli::{Cli, Command, Global, TuiArgs, completions, exit::Exit, keys};
use lastgood::cli::{doctor, init};
use lastgood::demo;
use lastgood::ops::{Context, Options};
use lastgood::tui;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == demo::SUBCOMMAND) {
        return demo::run_process(args);
    }
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(exit) => return ExitCode::from(exit.code()),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            talk(format_args!("lastgood: cannot start: {error}"));
            return ExitCode::from(Exit::Failed.code());
        }
    };
    let code = runtime.block_on(run(cli));
    // Tasks that still read from a dead daemon must not hold the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    ExitCode::from(code)
}

async fn run(cli: Cli) -> u8 {
    let mut out = Output::new(&cli.global);
    let command = cli.command.unwrap_or(Command::Tui(TuiArgs::default()));
    let ended = match command {
        Command::Completions(args) => completions::completions(&args, &mut out),
        Command::Man => completions::man(&mut out),
        Command::Help(args) => completions::help(&args, &mut out),
        Command::Keys(args) => keys::run(&args, &keymap(&args), &mut out),
        Command::Doctor => doctor::run(&options(&cli.global, "cli", &[]), &mut out).await,
        Command::Init(args) => init::run(&args, &cli.global, &mut out).await,
        Command::Tui(args) => return console(&cli.global, args).await,
        Command::Demo(args) => return play_demo(&cli.global, &args, &mut out).await,
        command if only_reads(&command) => tokio::select! {
            ended = headless(&cli.global, command, &mut out) => ended,
            // What it opened is closed: a connection to another machine has a process and a folder of its own.
            exit = Exit::by_signal() => return exit.code(),
        },
        command => headless(&cli.global, command, &mut out).await,
    };
    finish(ended, &mut out)
}

/// Whether a command may end anywhere. What changes something, or writes a checkpoint, hears signals by itself.
fn only_reads(command: &Command) -> bool {
    matches!(
        command,
        Command::Services(_)
            | Command::Health(_)
            | Command::Signals(_)
            | Command::Compare(_)
            | Command::Errors(_)
            | Command::Slow(_)
            | Command::Patterns(_)
            | Command::Incident(_)
    )
}

fn finish(ended: Ended, out: &mut Output) -> u8 {
    let ended = ended.and_then(|exit| out.flush().map(|()| exit));
    match ended {
        Ok(exit) => exit.code(),
        Err(Stop::ClosedPipe) => Exit::Done.code(),
        Err(Stop::Ops(error)) => {
            let _ = out.flush();
            talk_error(&error);
            Exit::from(error.kind).code()
        }
        Err(Stop::Io(error)) => {
            talk(format_args!("lastgood: cannot write the output: {error}"));
            Exit::Failed.code()
        }
    }
}

fn options(global: &Global, via: &str, files: &[String]) -> Options {
    Options {
        files: files.to_vec(),
        config: global.config.clone(),
        state_dir: global.state_dir.clone(),
        hosts: global.host.clone(),
        read_only: global.read_only,
        via: via.to_owned(),
    }
}

/// The keymap in force as text: the console knows it, the command line prints it.
fn keymap(args: &KeysArgs) -> KeymapText {
    let file = tui::keymap::user_file();
    let (is_markdown, is_built_in) = match &args.command {
        KeysCommand::Print(print) => (print.markdown, print.built_in),
        KeysCommand::Check => (false, false),
    };
    let print = if is_markdown {
        tui::keymap::print::markdown
    } else {
        tui::keymap::print::text
    };
    let keymap = tui::keymap::Keymap::load(file.as_deref().filter(|_| !is_built_in));
    KeymapText {
        file: file.map_or_else(String::new, |path| path.display().to_string()),
        bindings: keymap.map(|keymap| print(&keymap)),
    }
}

async fn console(global: &Global, args: TuiArgs) -> u8 {
    let opened = Context::open(&options(global, "console", &args.logs)).and_then(|ctx| {
        let open = ctx.files(&args.logs)?;
        Ok(match open.is_empty() {
            true => (ctx, open),
            false => (ctx.only_files(), open),
        })
    });
    let (ctx, open) = match opened {
        Ok((ctx, open)) => (Arc::new(ctx), open),
        Err(error) => {
            talk_error(&error);
            return Exit::from(error.kind).code();
        }
    };
    let options = tui::ConsoleOptions {
        open,
        only: args.only,
        wall: args.wall,
        plain: args.plain,
        banner: None,
    };
    open_console(ctx, options).await
}

/// Closing the connections to other machines takes no longer: one of them may not answer any more.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(2);

async fn close(ctx: Arc<Context>) {
    let closing = tokio::task::spawn_blocking(move || drop(ctx));
    let _ = tokio::time::timeout(CLOSING, closing).await;
}

async fn open_console(ctx: Arc<Context>, options: tui::ConsoleOptions) -> u8 {
    let kept = Arc::clone(&ctx);
    let left = tui::run(ctx, options).await;
    close(kept).await;
    match left {
        Ok(code) => code,
        Err(error) => {
            talk(format_args!("lastgood: {error}"));
            match error {
                tui::ConsoleError::Terminal(_) => Exit::Failed.code(),
                _ => Exit::Usage.code(),
            }
        }
    }
}

/// Starts the built-in shop, and opens the console on it or plays its story. Whatever ends it, the shop goes too.
async fn play_demo(global: &Global, args: &DemoArgs, out: &mut Output) -> u8 {
    use lastgood::cli::demo;
    let shop = match demo::start(args).await {
        Ok(shop) => shop,
        Err(code) => return code,
    };
    let code = if args.headless {
        let ctx = shop.context("cli", global.read_only);
        tokio::select! {
            ended = demo::play(&shop, &ctx, out) => finish(ended, out),
            code = demo::interrupted() => code,
        }
    } else {
        let alone = tokio::spawn(shop.deploy_after_checkpoint());
        let options = tui::ConsoleOptions {
            banner: Some(demo::banner()),
            ..tui::ConsoleOptions::default()
        };
        let ctx = Arc::new(shop.context("console", global.read_only));
        let code = open_console(ctx, options).await;
        alone.abort();
        code
    };
    demo::stop(shop, args).await.unwrap_or(code)
}

async fn headless(global: &Global, command: Command, out: &mut Output) -> Ended {
    use lastgood::cli;
    let files = match &command {
        Command::Logs(args) => args.services.as_slice(),
        _ => &[],
    };
    let ctx = Arc::new(Context::open(&options(global, "cli", files))?);
    let ended = match command {
        Command::Services(args) => cli::services::run(&args, &ctx, out).await,
        Command::Logs(args) => cli::logs::run(&args, &ctx, out).await,
        Command::Checkpoint(args) => cli::checkpoint::run(&args, global, &ctx, out).await,
        Command::Errors(args) => cli::errors::run(&args, &ctx, out).await,
        Command::Slow(args) => cli::slow::run(&args, &ctx, out).await,
        Command::Patterns(args) => cli::patterns::run(&args, &ctx, out).await,
        Command::Health(args) => cli::health::run(&args, &ctx, out).await,
        Command::Signals(args) => cli::signals::run(&args, &ctx, out).await,
        Command::Compare(args) => cli::compare::run(&args, &ctx, out).await,
        Command::Preflight(args) => cli::preflight::run(&args, global, &ctx, out).await,
        Command::Guard(args) => cli::guard::run(&args, global, &ctx, out).await,
        Command::Restart(args) => cli::restart::restart(&args, global, &ctx, out).await,
        Command::Stop(args) => cli::restart::stop(&args, global, &ctx, out).await,
        Command::Start(args) => cli::restart::start(&args, global, &ctx, out).await,
        Command::RollBack(args) => cli::roll_back::run(&args, global, &ctx, out).await,
        Command::Switch(args) => cli::switch::run(&args, global, &ctx, out).await,
        Command::Backup(args) => cli::backup::run(&args, global, &ctx, out).await,
        Command::Resume(args) => cli::resume::run(&args, global, &ctx, out).await,
        Command::Runbook(args) => cli::runbook::run(&args, global, &ctx, out).await,
        Command::Incident(args) => cli::incident::run(&args, &ctx, out).await,
        Command::Approve(args) => cli::approve::run(&args, global, &ctx, out).await,
        Command::Watch(args) => cli::watch::run(&args, &ctx, out).await,
        Command::Alerts(args) => cli::alerts::run(&args, &ctx, out).await,
        Command::Notify(args) => cli::notify::run(&args, global, &ctx, out).await,
        Command::Audit(args) => cli::audit::run(&args, &ctx, out).await,
        Command::Lease(args) => cli::lease::run(&args, global, &ctx, out).await,
        Command::Config(args) => cli::config::run(&args, &ctx, out).await,
        Command::Demo(_)
        | Command::Tui(_)
        | Command::Doctor
        | Command::Init(_)
        | Command::Keys(_)
        | Command::Completions(_)
        | Command::Man
        | Command::Help(_) => Ok(Exit::Usage),
    };
    close(ctx).await;
    ended
}
