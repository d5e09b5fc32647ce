//! Backups of redis, alone and as a cluster; of a database in a container; of a database behind ssh.

use crate::backup::{
    LONG, RESTORE, RUN, VERIFY, configure, listed, sandbox, shop, with_own_programs, wrap,
};
use crate::compose_story::list;
use crate::harness::{Fleet, Project, Redis, Sandbox, missing, wait_for};
use std::fs;
use std::process::Command;

fn redis_section(port: u16) -> String {
    format!(
        "[backups.main]\nkind = \"redis\"\naddress = \"127.0.0.1:{port}\"\npassword_env = \"DATA_PASSWORD\"\n"
    )
}

#[test]
fn a_redis_server_is_saved_proved_and_restored() {
    if missing(&["redis-server"]) {
        return;
    }
    let redis = Redis::start("backup-redis", &["--appendonly", "yes"]);
    let sandbox = with_own_programs(sandbox("backup-redis"));
    configure(&sandbox, &redis_section(redis.port));
    redis.ask(&["debug", "populate", "0"]);
    for n in 0..200 {
        redis.ask(&["set", &format!("key:{n}"), &format!("value {n}")]);
    }
    redis.ask(&["-n", "3", "rpush", "queue", "a", "b", "c"]);
    sandbox.run(&RUN).exits(0);
    let made = &listed(&sandbox, "main")[0];
    assert_eq!(
        made["counts"][format!("127.0.0.1:{}", redis.port)],
        201,
        "{made:#}"
    );
    sandbox.run(&VERIFY).exits(0);
    assert_eq!(listed(&sandbox, "main")[0]["restore_test"]["ok"], true);
    redis.ask(&["flushall"]);
    redis.ask(&["set", "written", "since"]);
    let outcome = sandbox.json(0, "outcome", &RESTORE);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(redis.ask(&["dbsize"]), "200");
    assert_eq!(redis.ask(&["get", "key:7"]), "value 7");
    assert_eq!(
        redis.ask(&["-n", "3", "lrange", "queue", "0", "-1"]),
        "a\nb\nc"
    );
    assert!(redis.ask(&["info", "replication"]).contains("role:master"));
    assert_eq!(redis.ask(&["exists", "written"]), "0");
    // Nothing is left of the servers in between.
    assert_eq!(fs::read_dir(sandbox.path("tmp")).unwrap().count(), 0);
    // What was there was saved first, and only its name brings it back.
    let all = listed(&sandbox, "main");
    assert_eq!(all.len(), 2, "{all:#?}");
    assert_eq!(all[0]["before_restore"], true, "{all:#?}");
    let id = all[0]["id"].as_str().unwrap();
    sandbox
        .run(&[&RESTORE[..], &["--at", id]].concat())
        .exits(0);
    assert_eq!(redis.ask(&["get", "written"]), "since");
    assert_eq!(redis.ask(&["dbsize"]), "1");

    // A snapshot that redis does not take, whatever its checksum here.
    wrap(&sandbox, "cat", "/bin/cat \"$@\" | head -c 40");
    let run = sandbox.run(&RUN);
    fs::remove_file(sandbox.path("bin/cat")).unwrap();
    assert_eq!(run.code, 0, "{run}");
    redis.ask(&["set", "more", "1"]);
    sandbox.run(&VERIFY).exits(1);
    assert_eq!(listed(&sandbox, "main")[0]["ok"], false);
    // A wrong password, a server that is away.
    configure(
        &sandbox,
        &redis_section(redis.port).replace("DATA_PASSWORD", "HOME"),
    );
    let run = sandbox.run(&RUN).exits(4);
    assert!(run.stdout.contains("AUTH"), "{run}");
    configure(&sandbox, &redis_section(1));
    let run = sandbox.run(&RUN).exits(4);
    assert!(run.stdout.contains("refused"), "{run}");
}

#[test]
fn every_master_of_a_cluster_is_saved() {
    if missing(&["redis-server"]) {
        return;
    }
    let options = ["--cluster-enabled", "yes", "--save", ""];
    let nodes: Vec<Redis> = (0..3)
        .map(|n| Redis::start(&format!("backup-cluster-{n}"), &options))
        .collect();
    let mut words = vec!["--cluster".to_owned(), "create".to_owned()];
    words.extend(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
    words.push("--cluster-yes".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = nodes[0].ask(&words);
    wait_for(&format!("the cluster: {said}"), LONG, || {
        let is_up = |node: &Redis| node.ask(&["cluster", "info"]).contains("cluster_state:ok");
        nodes.iter().all(is_up).then_some(())
    });
    for n in 0..60 {
        let set = nodes[0].ask(&["-c", "set", &format!("key:{n}"), "v"]);
        assert_eq!(set, "OK", "key:{n}");
    }
    let sandbox = sandbox("backup-cluster");
    configure(&sandbox, &redis_section(nodes[0].port));
    sandbox.run(&RUN).exits(0);
    let made = &listed(&sandbox, "main")[0];
    assert_eq!(list(&made["files"]).len(), 3, "{made:#}");
    let keys: u64 = made["counts"]
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(keys, 60, "{made:#}");
    let run = sandbox.run(&VERIFY).exits(0);
    assert!(run.stdout.contains("60 keys came back"), "{run}");
    sandbox.run(&RESTORE).exits(5).says(&["cluster"]);
    // A master that is down takes its keys along: that is no backup.
    drop(nodes.into_iter().next_back());
    sandbox.run(&RUN).exits(4);
    assert_eq!(listed(&sandbox, "main").len(), 1);
}

const DB: &str = "services:
  db:
    image: {project}:latest
    network_mode: none
    stop_grace_period: 0s
    user: \"65534:65534\"
    environment: { POSTGRES_USER: shopkeeper }
    volumes: [\"/usr:/usr:ro\", \"/etc:/etc:ro\"]
    tmpfs: [\"/data:uid=65534,mode=700\", \"/run/postgresql:uid=65534\", \"/tmp\"]
    entrypoint: [\"/bin/sh\", \"-c\"]
    command: [\"d=$$(ls -d /usr/lib/postgresql/*/bin | tail -1); $$d/initdb -N -U shopkeeper -A trust -D /data/pg && exec $$d/postgres -c listen_addresses= -c fsync=off -k /run/postgresql -D /data/pg\"]
";

#[test]
fn a_database_in_a_container_is_backed_up_and_restored_there() {
    if missing(&["docker", "compose", "postgres"]) {
        return;
    }
    let sandbox = Sandbox::new("backup-db");
    let mut project = Project::new(&sandbox, "backup-db", DB);
    project.bare_image();
    project.up();
    let container = project.container("db");
    let sql = |database: &str, sql: &str| {
        let words = [
            "exec",
            &container,
            "psql",
            "-X",
            "-A",
            "-t",
            "-q",
            "-h",
            "/run/postgresql",
            "-U",
            "shopkeeper",
            "-d",
            database,
            "-c",
            sql,
        ];
        project.docker.run(&words)
    };
    wait_for("PostgreSQL in the container", LONG, || {
        (sql("postgres", "SELECT 1") == "1").then_some(())
    });
    sql("postgres", "CREATE DATABASE shop");
    sql(
        "shop",
        "CREATE TABLE users (id int, blob bytea); INSERT INTO users SELECT g, decode(repeat('00ff0a01', 500), 'hex') FROM generate_series(1, 2000) g",
    );
    configure(
        &sandbox,
        &format!(
            "[backups.main]\nkind = \"postgres\"\nservice = \"{}\"\ndatabase = \"shop\"\n",
            project.service("db")
        ),
    );
    let outcome = sandbox.json(0, "outcome", &RUN);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let made = &listed(&sandbox, "main")[0];
    assert_eq!(made["counts"]["public.users"], 2000, "{made:#}");
    assert_eq!(made["service"], project.service("db").as_str(), "{made:#}");
    sandbox.run(&VERIFY).exits(0);
    sql("shop", "DELETE FROM users");
    sandbox.run(&RESTORE).exits(0);
    assert_eq!(sql("shop", "SELECT count(*) FROM users"), "2000");
    assert_eq!(project.container("db"), container, "nobody touched it");
    // Not running, its data cannot be asked for.
    project.compose(&["stop", "-t", "0", "db"]);
    sandbox.run(&RUN).exits(4).says(&["does not run"]);
    assert_eq!(listed(&sandbox, "main").len(), 1);
}

#[test]
fn data_of_another_machine_comes_here() {
    if missing(&["postgres", "sshd"]) {
        return;
    }
    let (postgres, sandbox) = shop("backup-ssh", "");
    let (sandbox, mut fleet) = Fleet::new(sandbox);
    let _sshd = fleet.start("prod-1", 61, &[]);
    let seen = sandbox.path("seen");
    let run = [&["--host", "prod-1"], &RUN[..]].concat();
    let spy = Command::new("sh")
        .args([
            "-c",
            "while [ -e \"$0\" ]; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -a -o 'hunte[r]-2' ; sleep 0.01; done > \"$1\"",
        ])
        .arg(sandbox.write("spying", ""))
        .arg(&seen)
        .spawn();
    sandbox.run(&run).exits(0);
    sandbox
        .run(&[&["--host", "prod-1"], &VERIFY[..]].concat())
        .exits(0);
    postgres.sql("shop", "DELETE FROM \"Odd (one)\"");
    sandbox
        .run(&[&["--host", "prod-1"], &RESTORE[..]].concat())
        .exits(0);
    fs::remove_file(sandbox.work().join("spying")).unwrap();
    spy.unwrap().wait().unwrap();
    assert_eq!(postgres.rows("\"Odd (one)\""), 2);
    assert_eq!(
        fs::read_to_string(&seen).unwrap(),
        "",
        "no argument there holds the password"
    );
    let listed = sandbox.json(0, "", &["audit", "list"]);
    assert_eq!(list(&listed["records"])[0]["host"], "prod-1", "{listed:#}");
}
