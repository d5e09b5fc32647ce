//! What a checkpoint leaves on disk can be read, checked and relied on without lastgood.

use crate::compose_story::list;
use crate::harness::{Docker, Project, Sandbox, Tmpfs, missing, unique};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn sha256sum_and_zstdcat_agree_with_a_checkpoint() {
    if missing(&["docker", "compose", "busybox", "zstd"]) {
        return;
    }
    let sandbox = Sandbox::new("files");
    let mut project = Project::of_one(&sandbox, "files");
    project.image("for i in $(seq 1 500); do echo \"INFO line $i of the log\"; done; printf 'bad \\377 byte\\n'; echo the end; sleep 600");
    project.up();
    project.wait_for_lines("backend", 502);
    let foreseen = sandbox.run(&["checkpoint", "create", "--dry-run"]).exits(0);
    assert!(
        foreseen.stdout.contains(&project.service("backend")),
        "{foreseen}"
    );
    assert!(
        !sandbox.state().join("checkpoints").exists(),
        "a dry run writes nothing: {foreseen}"
    );
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create"]);
    let folder = PathBuf::from(created["path"].as_str().unwrap());
    assert!(folder.starts_with(sandbox.state()), "{}", folder.display());

    shell(&folder, "sha256sum -c --quiet --strict SHA256SUMS");
    let listed: Vec<String> = shell(&folder, "cut -c 67- SHA256SUMS")
        .lines()
        .map(|name| name.trim_start_matches("./").to_string())
        .collect();
    for file in files_below(&folder) {
        let is_listed = listed.contains(&file);
        assert_eq!(
            is_listed,
            file != "MANIFEST.json" && file != "SHA256SUMS",
            "{file} in SHA256SUMS: {listed:?}"
        );
    }

    let service = service_of(&created, &project.service("backend"));
    let log = &service["log"];
    assert_eq!(log["lines"], 502, "{service:#}");
    let text = shell(
        &folder,
        &format!("zstdcat '{}'", log["file"].as_str().unwrap()),
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 502);
    // "raw lines as the runtime gives them with their timestamps"
    for (number, line) in lines[..500].iter().enumerate() {
        assert!(
            line.starts_with("20")
                && line.ends_with(&format!("INFO line {} of the log", number + 1)),
            "{line}"
        );
    }

    assert!(
        files_below(&folder)
            .iter()
            .any(|file| file.starts_with("configs/") && file.ends_with("/compose.yaml")),
        "the compose file is kept"
    );
    for file in files_below(&folder) {
        assert_eq!(
            mode(&folder.join(&file)),
            0o600,
            "{file} is for its owner alone"
        );
    }
    assert_eq!(mode(&folder), 0o700);
}

#[test]
fn a_changed_byte_is_found() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("changed");
    let (_docker, service) = one_container("changed", "seq 1 100; sleep 600");
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    let id = created["id"].as_str().unwrap();
    let verified = sandbox.json(0, "", &["checkpoint", "verify", id]);
    assert_eq!(
        list(&verified["checkpoints"])[0]["ok"],
        true,
        "{verified:#}"
    );

    let folder = PathBuf::from(created["path"].as_str().unwrap());
    let log = folder.join(
        service_of(&created, &service)["log"]["file"]
            .as_str()
            .unwrap(),
    );
    let whole = fs::read(&log).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&log, &changed).unwrap();
    let verified = sandbox.json(1, "", &["checkpoint", "verify", "--all"]);
    let checkpoint = &list(&verified["checkpoints"])[0];
    assert_eq!(checkpoint["ok"], false, "{verified:#}");
    assert!(!list(&checkpoint["problems"]).is_empty(), "{verified:#}");

    fs::remove_file(&log).unwrap();
    sandbox.run(&["checkpoint", "verify", id]).exits(1);
    fs::write(&log, &whole).unwrap();
    sandbox.run(&["checkpoint", "verify", id]).exits(0);
    // SHA256SUMS itself is held by the manifest.
    let sums = folder.join("SHA256SUMS");
    let text = fs::read_to_string(&sums).unwrap();
    fs::write(
        &sums,
        text.lines()
            .skip(1)
            .fold(String::new(), |kept, line| kept + line + "\n"),
    )
    .unwrap();
    sandbox.run(&["checkpoint", "verify", id]).exits(1);
}

#[test]
fn a_suspicious_address_is_found_after_the_container_and_its_log_are_gone() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("address");
    let script = "for i in $(seq 1 2000); do echo \"INFO 10.0.0.$((i % 200)) GET /orders/$i 200\"; done; \
        echo 'INFO 192.168.1.100 POST /admin/delete_all_users 200'; \
        echo 'INFO 192.168.1.100 GET /admin/export_database 200'; sleep 600";
    let (docker, service) = one_container("address", script);
    let container = service.trim_start_matches("docker/");
    docker.wait_for_log(container, "export_database");
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    docker.must(&["rm", "-f", container]);
    let id = created["id"].as_str().unwrap();

    let address = "192\\.168\\.1\\.100";
    for place in [
        format!("checkpoint:{id}"),
        format!("checkpoint:{id}/{service}"),
    ] {
        let found = sandbox.run(&["logs", &place, "--grep", address]).exits(0);
        let lines: Vec<&str> = found.stdout.lines().collect();
        assert_eq!(lines.len(), 2, "{found}");
        assert!(lines[0].contains("POST /admin/delete_all_users"), "{found}");
        assert!(lines[1].contains("GET /admin/export_database"), "{found}");
    }
    sandbox
        .run(&["logs", &format!("checkpoint:{id}/nobody")])
        .exits(2)
        .says(&["nobody", "lastgood checkpoint show"]);
    sandbox
        .run(&["logs", "checkpoint:never"])
        .exits(2)
        .says(&["no checkpoint", "lastgood checkpoint list"]);
}

#[test]
fn the_pinned_image_survives_a_prune() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("pin");
    let mut project = Project::of_one(&sandbox, "pin");
    let pinned = project.image("echo first; sleep 600");
    project.up();
    let created = sandbox.json(
        0,
        "checkpoint",
        &["checkpoint", "create", &project.service("backend")],
    );
    let tag = pin_of(&project, &pinned, created["id"].as_str().unwrap());
    assert!(tag.starts_with("lastgood/"), "{tag}");

    let unpinned = project.image("echo second; sleep 600");
    project.image("echo third; sleep 600");
    project.up();
    // Only this test's images, so that a prune here takes nothing of another project on this machine.
    let own = format!("label=lastgood-test={}", project.name);
    project
        .docker
        .must(&["image", "prune", "-f", "--filter", &own]);
    assert!(
        project
            .docker
            .run(&["image", "inspect", "-f", "{{.Id}}", &unpinned])
            .is_empty(),
        "the prune takes what nobody holds"
    );
    assert_eq!(
        project
            .docker
            .must(&["image", "inspect", "-f", "{{.Id}}", &pinned]),
        pinned
    );
    sandbox.run(&["checkpoint", "verify", "--all"]).exits(0);

    // `prune -a` can take the pin: then verify must say so, not the rollback at three in the morning.
    project.docker.must(&["rmi", &tag]);
    sandbox.run(&["checkpoint", "verify", "--all"]).exits(1);
}

#[test]
fn a_read_only_checkpoint_pins_nothing_and_says_so() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("unpinned");
    let mut project = Project::of_one(&sandbox, "unpinned");
    let image = project.image("echo first; sleep 600");
    project.up();
    let run = sandbox.run(&[
        "--read-only",
        "checkpoint",
        "create",
        &project.service("backend"),
        "--format",
        "json",
    ]);
    let created = run.json("checkpoint");
    assert_eq!(
        service_of(&created, &project.service("backend"))["pinned"],
        false,
        "{created:#}"
    );
    assert!(
        format!("{} {}", run.stderr, created["problems"])
            .to_lowercase()
            .contains("pin"),
        "it says so: {run}"
    );
    let tags = project
        .docker
        .must(&["image", "inspect", "-f", "{{json .RepoTags}}", &image]);
    assert!(!tags.contains("lastgood/"), "{tags}");
}

#[test]
fn a_full_disk_fails_the_checkpoint_and_leaves_no_target() {
    if missing(&["docker", "busybox", "root"]) {
        return;
    }
    let sandbox = Sandbox::new("full");
    // Random text does not compress: 3 MB of it cannot fit into the 1 MB below.
    let (_docker, service) = one_container(
        "full",
        "head -c 3000000 /dev/urandom | base64; echo done; sleep 600",
    );
    let _small = Tmpfs::mount(sandbox.state(), "size=1m,mode=700");
    let run = sandbox.run(&["checkpoint", "create", &service]).exits(4);
    let said = run.stderr.to_lowercase();
    assert!(
        said.contains("no space") || said.contains("disk is full") || said.contains("disk full"),
        "{run}"
    );

    let listed = sandbox.run(&["checkpoint", "list", "--format", "json"]);
    let text = listed.stdout.clone();
    if listed.code == 0 {
        let listed: Value = serde_json::from_str(&text).unwrap();
        let complete = listed["checkpoints"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|checkpoint| checkpoint["complete"] == true)
            .count();
        assert_eq!(complete, 0, "{listed:#}");
    }
}

#[test]
fn an_export_holds_what_the_checkpoint_holds() {
    if missing(&["docker", "busybox", "zstd"]) {
        return;
    }
    let sandbox = Sandbox::new("export");
    let (_docker, service) = one_container("export", "seq 1 100; sleep 600");
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    let id = created["id"].as_str().unwrap();
    for (name, flag) in [("cp.tar.gz", "-z"), ("cp.tar.zst", "--zstd")] {
        let file = sandbox.work().join(name);
        // Secrets are in it, and it says so.
        sandbox
            .run(&["checkpoint", "export", id, file.to_str().unwrap()])
            .exits(0)
            .says(&["secret"]);
        let out = sandbox.work().join(format!("{name}.d"));
        fs::create_dir(&out).unwrap();
        shell(
            &out,
            &format!(
                "tar {flag} -xf ../{name} && cd \"$(dirname \"$(find . -name SHA256SUMS)\")\" && sha256sum -c --quiet --strict SHA256SUMS && test -f MANIFEST.json"
            ),
        );
        assert_eq!(mode(&file), 0o600, "{name}");
    }
    sandbox
        .run(&["checkpoint", "export", "no-such-id", "x.tar.gz"])
        .exits(2);
}

/// A lone container; its service is `docker/NAME`.
pub(crate) fn one_container(name: &str, script: &str) -> (Docker, String) {
    let mut docker = Docker::default();
    let image = format!("{}:1", unique(name));
    docker.image(&image, &format!("{script}\n"));
    let container = docker.start(name, &image, &[]);
    crate::harness::wait_for("the first line", std::time::Duration::from_secs(20), || {
        (!docker.logs(&container).is_empty()).then_some(())
    });
    if script.contains("echo done") {
        docker.wait_for_log(&container, "done");
    }
    (docker, format!("docker/{container}"))
}

fn service_of<'a>(checkpoint: &'a Value, id: &str) -> &'a Value {
    list(&checkpoint["services"])
        .iter()
        .find(|service| {
            service["id"]
                .as_str()
                .is_some_and(|found| found.ends_with(id))
        })
        .unwrap_or_else(|| panic!("no {id} in {checkpoint:#}"))
}

fn pin_of(project: &Project, image: &str, checkpoint: &str) -> String {
    let tags = project.docker.must(&[
        "image",
        "inspect",
        "-f",
        "{{range .RepoTags}}{{println .}}{{end}}",
        image,
    ]);
    tags.lines()
        .find(|tag| tag.ends_with(&format!(":{checkpoint}")))
        .unwrap_or_else(|| panic!("no pin :{checkpoint} in {tags}"))
        .to_string()
}

fn shell(folder: &Path, script: &str) -> String {
    let output = Command::new("sh")
        .args(["-ec", script])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn files_below(folder: &Path) -> Vec<String> {
    shell(folder, "find . -type f | sed 's|^\\./||' | sort")
        .lines()
        .map(String::from)
        .collect()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .permissions()
        .mode()
        & 0o7777
}
