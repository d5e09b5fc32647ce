//! Docker for a bench: its command, and images without a registry.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// stdout of `docker …`; `None` where it failed.
pub(crate) fn docker(folder: &Path, words: &[&str]) -> Option<String> {
    let mut command = Command::new("docker");
    let output = command.args(words).current_dir(folder).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// Makes an image of a static busybox that runs a script; gives its id. It is labelled `lastgood-bench=NAME`.
pub(crate) fn image(folder: &Path, name: &str, script: &str) -> String {
    let root = tempfile::tempdir_in(folder).unwrap();
    let at = |path: &str| root.path().join(path);
    fs::create_dir(at("bin")).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = busybox.iter().find(|path| Path::new(path).is_file());
    fs::copy(busybox.expect("busybox-static"), at("bin/busybox")).unwrap();
    for applet in ["sh", "sleep"] {
        symlink("busybox", at("bin").join(applet)).unwrap();
    }
    fs::write(at("run.sh"), script).unwrap();
    let archive = root.path().with_extension("tar");
    let mut packing = Command::new("tar");
    packing.arg("-C").arg(root.path()).arg("-cf").arg(&archive);
    assert!(packing.arg(".").status().unwrap().success());
    let label = format!("LABEL lastgood-bench={name}");
    let run = "CMD [\"/bin/sh\",\"/run.sh\"]";
    let archive = archive.to_string_lossy();
    let words = ["import", "-c", run, "-c", &label, &archive];
    docker(folder, &words).expect("docker import")
}
