//! A swarm of the test's own: private daemons on loopback addresses of their own, gone when dropped.

use super::{Docker, PrivateDocker, wait_for};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// The nodes of one test run have different addresses: swarm's ports are fixed.
static NEXT: AtomicU8 = AtomicU8::new(0);

/// Needs root. The machine's own engine stays out of it: in a swarm every other test would see its services.
pub(crate) struct Swarm {
    /// A client of the manager.
    pub(crate) manager: Docker,
    workers: Vec<Docker>,
    /// The manager's first. Dropped last: their clients take images and containers away.
    nodes: Vec<PrivateDocker>,
}

impl Swarm {
    /// A manager, and so many workers.
    pub(crate) fn start(name: &str, workers: usize) -> Swarm {
        let manager = PrivateDocker::start_node(name);
        let docker = manager.docker();
        let mut swarm = Swarm {
            manager: docker,
            workers: Vec::new(),
            nodes: vec![manager],
        };
        let address = swarm.address();
        let listen = format!("{address}:2377");
        swarm.manager.must(&[
            "swarm",
            "init",
            "--advertise-addr",
            &address,
            "--listen-addr",
            &listen,
        ]);
        let token = swarm.manager.must(&["swarm", "join-token", "-q", "worker"]);
        for number in 0..workers {
            let node = PrivateDocker::start_node(&format!("{name}-w{number}"));
            let own = swarm.address();
            let own_port = format!("{own}:2377");
            node.docker().must(&[
                "swarm",
                "join",
                "--advertise-addr",
                &own,
                "--listen-addr",
                &own_port,
                "--token",
                &token,
                &listen,
            ]);
            swarm.workers.push(node.docker());
            swarm.nodes.push(node);
        }
        swarm
    }

    /// An address of this machine that no other node of any run on it has.
    fn address(&self) -> String {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let run = std::process::id();
        format!(
            "127.{}.{}.{}",
            64 + run / 250 % 64,
            run % 250 + 1,
            number + 1
        )
    }

    /// `unix:///…` of the manager, for `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        self.nodes[0].host()
    }

    /// `unix:///…` of a worker.
    pub(crate) fn worker(&self, number: usize) -> String {
        self.nodes[number + 1].host()
    }

    /// Makes an image on every node, under one name; gives its id on the manager.
    pub(crate) fn image(&mut self, name: &str, script: &str) -> String {
        for worker in &mut self.workers {
            worker.image(name, script);
        }
        self.manager.image(name, script)
    }

    /// A service with the machine's own network; waits until so many tasks run.
    pub(crate) fn create(&self, name: &str, image: &str, replicas: usize, options: &[&str]) {
        let count = replicas.to_string();
        let mut words = vec!["service", "create", "--detach", "--name", name];
        words.extend(["--network", "host", "--replicas", &count]);
        words.extend(["--stop-grace-period", "0s", "--update-monitor", "2s"]);
        // All at once: every start first asks for a registry that is not there.
        words.extend(["--update-parallelism", "0", "--rollback-parallelism", "0"]);
        words.extend(["--rollback-monitor", "2s", "--restart-delay", "1s"]);
        words.extend(options);
        words.push(image);
        self.manager.must(&words);
        wait_for("the tasks", Duration::from_secs(60), || {
            (self.running(name).len() == replicas).then_some(())
        });
    }

    /// `docker service update` until swarm says that it ended, however.
    pub(crate) fn update(&self, name: &str, options: &[&str]) {
        let words = [&["service", "update", "--detach"], options, &[name]].concat();
        self.manager.must(&words);
        wait_for("the end of the update", Duration::from_secs(90), || {
            let state = self.ask(name, "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}");
            (state.ends_with("completed") || state.ends_with("paused")).then_some(())
        });
    }

    /// As many tasks as somebody else wants.
    pub(crate) fn scale(&self, name: &str, count: usize) {
        let wanted = format!("{name}={count}");
        self.manager
            .must(&["service", "scale", "--detach", &wanted]);
        wait_for("the tasks", Duration::from_secs(60), || {
            (self.running(name).len() == count).then_some(())
        });
    }

    /// A template over the service as its manager has it.
    pub(crate) fn ask(&self, name: &str, template: &str) -> String {
        self.manager
            .run(&["service", "inspect", "--format", template, name])
    }

    /// The ids of the tasks that run, with their images and nodes.
    pub(crate) fn running(&self, name: &str) -> Vec<String> {
        let format = "{{.ID}} {{.Image}} {{.CurrentState}}";
        let words = [
            "service",
            "ps",
            "--no-trunc",
            "--filter",
            "desired-state=running",
        ];
        let listed = self
            .manager
            .run(&[&words[..], &["--format", format, name]].concat());
        let lines = listed.lines().filter(|line| line.contains(" Running "));
        lines
            .filter_map(|line| Some(line.rsplit_once(" Running ")?.0.to_owned()))
            .collect()
    }
}
