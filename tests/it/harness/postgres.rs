//! Real databases in containers: the programs of this machine, on an image whose name says what it is.

use super::data::postgres_programs;
use super::{Docker, unique, wait_for};
use std::process::{Child, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A database server in a lone container, with clients that hold connections to it.
pub(crate) struct Database {
    docker: Docker,
    container: String,
    client: &'static [&'static str],
    held: Vec<Child>,
}

impl Database {
    /// PostgreSQL with room for so many connections.
    pub(crate) fn postgres(name: &str, connections: u32) -> Database {
        let folder = postgres_programs().unwrap();
        let script = format!(
            "export PATH={}:$PATH\ninitdb -D /data/pg -U postgres -A trust >/dev/null && exec postgres -D /data/pg -k /var/run/postgresql -c listen_addresses= -c max_connections={connections} -c superuser_reserved_connections=0 -c max_wal_senders=0 -c log_min_duration_statement=0",
            folder.display()
        );
        Database::start(
            name,
            "postgres:15",
            &script,
            &["psql", "-U", "postgres", "-qAt"],
        )
    }

    /// Redis with room for so many clients.
    pub(crate) fn redis(name: &str, clients: u32) -> Database {
        let script = format!(
            "exec redis-server --maxclients {clients} --save '' --dir /data --protected-mode no"
        );
        Database::start(name, "redis:7", &script, &["redis-cli"])
    }

    fn start(name: &str, image: &str, script: &str, client: &'static [&'static str]) -> Database {
        let mut docker = Docker::default();
        // The last part of an image's name is what tells a database.
        let image = format!("{}/{image}", unique(name));
        docker.image(&image, script);
        let container = docker.start(
            name,
            &image,
            &[
                "--user",
                "65534:65534",
                "--tmpfs",
                "/data:mode=1777",
                "--tmpfs",
                "/var/run/postgresql:mode=1777",
                "-v",
                "/usr:/usr:ro",
                "-v",
                "/etc:/etc:ro",
                "-v",
                "/lib:/lib:ro",
                "-v",
                "/lib64:/lib64:ro",
            ],
        );
        let database = Database {
            docker,
            container,
            client,
            held: Vec::new(),
        };
        wait_for("the database", SOON, || {
            let ask = match client[0] {
                "psql" => "psql -U postgres -c 'select 1'",
                _ => "redis-cli ping | grep PONG",
            };
            let arguments = ["exec", &database.container, "sh", "-c", ask];
            (!database.docker.run(&arguments).is_empty()).then_some(())
        });
        database
    }

    /// As the product names it.
    pub(crate) fn service(&self) -> String {
        format!("docker/{}", self.container)
    }

    /// Runs a statement so many times, one after the other.
    pub(crate) fn run(&self, statement: &str, times: usize) {
        let mut arguments = vec!["exec", "-i", &self.container];
        arguments.extend(self.client);
        let mut client = self
            .docker
            .command(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let text = format!("{statement}\n").repeat(times);
        let mut input = client.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, text.as_bytes()).unwrap();
        drop(input);
        assert!(client.wait().unwrap().success(), "{statement}");
    }

    /// Holds exactly so many connections open.
    pub(crate) fn hold(&mut self, connections: usize) {
        while self.held.len() > connections {
            let mut client = self.held.pop().unwrap();
            // It ends at the end of its input.
            drop(client.stdin.take());
            client.wait().unwrap();
        }
        while self.held.len() < connections {
            let mut arguments = vec!["exec", "-i", &self.container];
            arguments.extend(self.client);
            let client = self
                .docker
                .command(&arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            self.held.push(client);
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.hold(0);
    }
}
