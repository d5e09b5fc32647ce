//! Secrets of every kind, wherever a service may put them: none of them reaches people, a report, the audit log, a journal, a
//! screen, a debug log or the command line of a process. And ordinary lines stay as they are.

use crate::harness::{Receiver, Sandbox, Terminal};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Of each kind.
const EACH: u64 = 5;
const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const HEX: &[u8] = b"0123456789abcdef";

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn text(&mut self, alphabet: &[u8], length: usize) -> String {
        let mut one = || alphabet[self.below(alphabet.len() as u64) as usize] as char;
        (0..length).map(|_| one()).collect()
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What a line looks like; `{}` is where the secret stands, which has `length` characters of an alphabet.
const KINDS: &[(&str, &[u8], usize)] = &[
    (
        "connect postgresql://shop:{}@db:5432/shop failed",
        ALNUM,
        16,
    ),
    ("mysql://root:{}@10.0.0.7/shop: access denied", ALNUM, 14),
    ("redis://:{}@cache:6379/0 refused", ALNUM, 20),
    ("mongodb+srv://app:{}@cluster0.example.net/db", ALNUM, 18),
    ("amqp://guest:{}@rabbit:5672/ unreachable", ALNUM, 12),
    ("GET https://ci:{}@git.example.com/shop.git 403", ALNUM, 24),
    ("SENTRY_DSN=https://{}@o1.ingest.example.io/42", HEX, 32),
    ("reporting to https://{}@errors.example.com/7", HEX, 32),
    ("DB_PASSWORD={} DB_HOST=db", ALNUM, 10),
    ("login failed, password: '{}' for anna", ALNUM, 12),
    ("{\"user\":\"anna\",\"password\":\"{}\",\"n\":1}", ALNUM, 16),
    ("passwd={}; retry", ALNUM, 11),
    ("Server=db;User Id=sa;Pwd={};Encrypt=true", ALNUM, 15),
    ("passphrase = \"{}\"", ALNUM, 22),
    ("PGPASSWORD={} psql -h db", ALNUM, 13),
    ("{\"api_key\": \"{}\"}", ALNUM, 32),
    ("> x-api-key: {}", ALNUM, 40),
    ("using AKIA{} in eu-central-1", UPPER, 16),
    ("aws_secret_access_key = {}", ALNUM, 40),
    ("AWS_SESSION_TOKEN={}", ALNUM, 120),
    ("git push https://github.com ghp_{}", ALNUM, 36),
    ("token github_pat_{} expired", ALNUM, 60),
    ("PRIVATE-TOKEN glpat-{}", ALNUM, 20),
    ("//registry.example.org/:_authToken=npm_{}", ALNUM, 36),
    ("slack answered invalid_auth for xoxb-{}", ALNUM, 40),
    (
        "POST https://hooks.slack.com/services/T0AB12CD3/B0EF45GH6/{} 404",
        ALNUM,
        24,
    ),
    (
        "POST https://discord.com/api/webhooks/112233445566778899/{} 429",
        ALNUM,
        60,
    ),
    (
        "POST https://api.telegram.org/bot110201543:AA{}/sendMessage 400",
        ALNUM,
        33,
    ),
    ("stripe: sk_live_{} is not allowed", ALNUM, 24),
    ("webhook secret whsec_{} does not match", ALNUM, 32),
    ("mail: SG.{}.0123456789abcdefABCDEF rejected", ALNUM, 22),
    ("maps key AIza{} over its quota", ALNUM, 35),
    ("openai: sk-{} incorrect", ALNUM, 48),
    ("vault: permission denied for hvs.{}", ALNUM, 24),
    ("client GOCSPX-{} unauthorised", ALNUM, 28),
    (
        "session eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0{}.c2lnbmF0dXJl ended",
        ALNUM,
        20,
    ),
    ("Authorization: Bearer {}", ALNUM, 40),
    ("authorization: Basic {}==", ALNUM, 20),
    ("Cookie: theme=dark; sid={}; lang=de", ALNUM, 26),
    ("set-cookie: session={}; Path=/; HttpOnly", ALNUM, 32),
    (
        "key: -----BEGIN RSA PRIVATE KEY-----\\nMIIE{}\\n-----END RSA PRIVATE KEY-----",
        ALNUM,
        64,
    ),
    ("callback?code=1&access_token={}&state=x", ALNUM, 30),
    ("{\"refresh_token\":\"{}\",\"expires_in\":3600}", ALNUM, 44),
    ("client_secret={} rejected by the issuer", ALNUM, 28),
    (
        "AccountName=shop;AccountKey={};EndpointSuffix=core.example.net",
        ALNUM,
        64,
    ),
    ("encryption_key: {}", HEX, 64),
    (
        "{\"auths\":{\"r.example.org\":{\"auth\":\"{}\"}}}",
        ALNUM,
        24,
    ),
    (
        "{\"routing_key\":\"{}\",\"event_action\":\"trigger\"}",
        HEX,
        32,
    ),
];

/// Lines with the secret that stands in each.
fn shaped() -> Vec<(String, String)> {
    let mut numbers = Numbers(0x5eed_0001);
    let mut all = Vec::new();
    for (shape, alphabet, length) in KINDS {
        for _ in 0..EACH {
            let secret = numbers.text(alphabet, *length);
            all.push((shape.replacen("{}", &secret, 1), secret));
        }
    }
    let words = "legal winner thank year wave sausage worth useful actor cabin dawn eagle fabric galaxy habit ice jacket kangaroo lab magnet";
    let words: Vec<&str> = words.split(' ').collect();
    for _ in 0..EACH {
        let phrase: Vec<&str> = (0..12).map(|_| numbers.of(&words)).collect();
        let phrase = phrase.join(" ");
        all.push((format!("wallet mnemonic: {phrase}"), phrase));
    }
    all
}

/// Values that only their names make secret, as environment files hold them.
fn known() -> Vec<(String, String)> {
    let mut numbers = Numbers(0x5eed_0002);
    let names = [
        "DB_PASSWORD",
        "API_KEY",
        "SESSION_SECRET",
        "DEPLOY_TOKEN",
        "SALT",
        "CREDENTIALS",
    ];
    (0..60)
        .map(|n| {
            let secret = format!("{}-{}", numbers.text(ALNUM, 7), numbers.text(ALNUM, 5));
            (format!("S{n}_{}", names[n % names.len()]), secret)
        })
        .collect()
}

fn redactor() -> lastgood::analysis::redact::Redactor {
    use lastgood::analysis::redact::{KnownSecrets, RedactionKey, Redactor};
    Redactor::new(&KnownSecrets::default(), RedactionKey([7; 32]))
}

#[test]
fn every_kind_is_known_by_its_shape() {
    let all = shaped();
    assert!(KINDS.len() >= 40 && all.len() >= 200);
    let redactor = redactor();
    let left: Vec<&String> = all
        .iter()
        .filter(|(line, secret)| redactor.redact(line).contains(secret.as_str()))
        .map(|(line, _)| line)
        .collect();
    assert!(
        left.is_empty(),
        "{} of {}: {left:#?}",
        left.len(),
        all.len()
    );
}

/// How programs write: with all the words that secrets stand behind, and none.
const CLEAN: &[&str] = &[
    "{ip} - - [27/Dec/2025:14:50:{ss} +0300] \"GET /api/orders/{n} HTTP/1.1\" 200 {n} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" 0.0{d}",
    "{ip} - anna [27/Dec/2025:14:50:{ss} +0300] \"POST /login?next=%2Faccount&page={d} HTTP/2.0\" 302 0 \"https://shop.example.com/\" \"curl/8.5.0\"",
    "Dec 27 14:50:{ss} prod-1 sshd[{n}]: Failed password for invalid user admin from {ip} port {n} ssh2",
    "Dec 27 14:50:{ss} prod-1 sshd[{n}]: Accepted publickey for deploy from {ip} port {n} ssh2: ED25519 SHA256:{b43}",
    "Dec 27 14:50:{ss} prod-1 sshd[{n}]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={ip}",
    "Dec 27 14:50:{ss} prod-1 sshd[{n}]: Received disconnect from {ip}: 11: Bye Bye [preauth]",
    "Dec 27 14:50:{ss} prod-1 systemd[1]: Started Session {n} of user deploy.",
    "Dec 27 14:50:{ss} prod-1 systemd[1]: apt-daily.service: Deactivated successfully.",
    "Dec 27 14:50:{ss} prod-1 kernel: [{n}.{n}] eth0: link up, 1000 Mbps, full duplex, mac 52:54:00:{hh}:{hh}:{hh}",
    "Dec 27 14:50:{ss} prod-1 CRON[{n}]: (root) CMD (cd / && run-parts --report /etc/cron.hourly)",
    "[Sat Dec 27 14:50:{ss} 2025] [error] [client {ip}] File does not exist: /var/www/html/keys/index.html",
    "[Sat Dec 27 14:50:{ss} 2025] [notice] workerEnv.init() ok /etc/httpd/conf/workers2.properties",
    "2025-12-27 14:50:{ss},{ms} INFO dfs.DataNode$PacketResponder: PacketResponder {d} for block blk_{n}{n} terminating",
    "2025-12-27 14:50:{ss},{ms} INFO dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: blockMap updated: {ip}:50010 is added to blk_{n} size {n}",
    "2025-12-27 14:50:{ss},{ms} INFO [main] org.apache.hadoop.mapreduce.v2.app.MRAppMaster: Created MRAppMaster for application appattempt_{n}_0020_000001",
    "2025-12-27 14:50:{ss},{ms} INFO [main] org.apache.hadoop.mapreduce.v2.app.MRAppMaster: Executing with tokens:",
    "2025-12-27 14:50:{ss},{ms} INFO [main] org.apache.hadoop.mapreduce.v2.app.MRAppMaster: Kind: YARN_AM_RM_TOKEN, Service: , Ident: (appAttemptId {{ application_id {{ id: 20 cluster_timestamp: {n} }} attemptId: {d} }} keyId: {n})",
    "2025-12-27 14:50:{ss},{ms} - INFO  [NIOServerCxn.Factory:0.0.0.0/0.0.0.0:2181:NIOServerCnxn@1001] - Closed socket connection for client /{ip}:{n} which had sessionid 0x14ed93111f2{hh}{hh}",
    "2025-12-27 14:50:{ss},{ms} - WARN  [SendWorker:188978561024:QuorumCnxManager$SendWorker@679] - Interrupted while waiting for message on queue",
    "12-27 14:50:{ss}.{ms}  1702  2395 D WindowManager: printFreezingDisplayLogsopening app wtoken = AppWindowToken{{9f4ef63 token=Token{{a64f992 ActivityRecord{{de9231d u0 com.example/.Main t761}}}}}}, allDrawn= false",
    "12-27 14:50:{ss}.{ms}  1702 {n} I ActivityManager: Start proc {n}:com.example.mail/u0a{d} for service com.example.mail/.SyncService",
    "[12.27 14:50:{ss}] chrome.exe - proxy.example.edu.hk:5070 close, {n} bytes sent, {n} bytes received, lifetime 00:{ss}",
    "2025-12-27T14:50:{ss}.{ms}Z INFO GET /api/orders/{n} completed in 0.{ms}s status=200 request_id={uuid}",
    "2025-12-27T14:50:{ss}.{ms}Z WARN retrying payment order={n} attempt={d} backoff=2s",
    "2025-12-27T14:50:{ss}.{ms}Z ERROR Division by zero in calculate_discount() order={n}",
    "{{\"level\":30,\"time\":17668470{ss}{ms},\"pid\":{n},\"hostname\":\"prod-1\",\"req\":{{\"method\":\"GET\",\"url\":\"/api/cart/{n}\"}},\"responseTime\":{d},\"msg\":\"request completed\"}}",
    "{{\"level\":\"info\",\"ts\":\"2025-12-27T14:50:{ss}.{ms}Z\",\"caller\":\"http/server.go:{d}\",\"msg\":\"user logged in\",\"user_id\":{n},\"method\":\"password\"}}",
    "time=\"2025-12-27T14:50:{ss}+03:00\" level=info msg=\"shim disconnected\" id={hex64} namespace=moby",
    "ts=2025-12-27T14:50:{ss}.{ms}Z level=info component=tsdb msg=\"write block\" mint={n} maxt={n} ulid={ulid} duration={ms}ms",
    "I1227 14:50:{ss}.{ms}000 {n} garbagecollector.go:{d}] syncing garbage collector with updated resources from discovery: secrets, tokenreviews, configmaps",
    "2025-12-27 14:50:{ss}.{ms} UTC [{n}] LOG:  checkpoint complete: wrote {n} buffers (0.{d}%); 0 WAL file(s) added",
    "2025-12-27 14:50:{ss}.{ms} UTC [{n}] ERROR:  duplicate key value violates unique constraint \"orders_pkey\"",
    "2025-12-27 14:50:{ss}.{ms} UTC [{n}] DETAIL:  Key (id)=({n}) already exists.",
    "2025-12-27 14:50:{ss}.{ms} UTC [{n}] FATAL:  password authentication failed for user \"shop\"",
    "{n}:M 27 Dec 2025 14:50:{ss}.{ms} * 100 changes in 300 seconds. Saving...",
    "{n}:C 27 Dec 2025 14:50:{ss}.{ms} # WARNING: no config file specified, using the default config",
    "    at com.example.shop.auth.TokenService.verify(TokenService.java:{d})",
    "Caused by: java.lang.IllegalStateException: token expired at 2025-12-27T14:50:{ss}Z",
    "  File \"/app/shop/auth/password.py\", line {d}, in check_password",
    "ValueError: not enough values to unpack (expected {d}, got 1)",
    "SyntaxError: Unexpected token < in JSON at position {d}",
    "prompt_tokens={n} completion_tokens={n} max_tokens: 4096 model=small cost_usd=0.0{d}",
    "session {n} started, idle timeout 30 min, cookies enabled",
    "cache key orders:{n}:summary missed, filled in {d} ms",
    "seeded {n} rows with random seed {d}",
    "Password reset mail sent to user {n}",
    "bearer channel {d} is up, signal {d} dBm",
    "pulled shop-backend@sha256:{hex64}",
    "commit {hex40} merged by anna, {d} files changed",
    "upload s3://shop-backups/2025/12/27/dump-{n}.sql.gz {n} bytes etag {hex32}",
    "npm warn deprecated inflight@1.0.6: This module is not supported, and leaks memory. See https://www.npmjs.com/package/lru-cache",
    "see https://docs.example.com/guides/api-keys#rotate and write to support@example.com",
    "{uuid} 200 OK text/html; charset=utf-8 {n} bytes {d} ms from upstream 10.0.0.{d}:8000",
    "job {ulid} queue=mail done in {d} ms, {d} left",
];

fn fill(numbers: &mut Numbers, shape: &str) -> String {
    let shape = shape.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut line = String::new();
    let mut rest = shape.as_str();
    while let Some((before, behind)) = rest.split_once('{') {
        line.push_str(before);
        let (name, after) = behind.split_once('}').unwrap();
        line.push_str(&match name {
            "ip" => format!(
                "{}.{}.0.{}",
                numbers.below(223) + 1,
                numbers.below(256),
                numbers.below(256)
            ),
            "n" => numbers.below(1_000_000).to_string(),
            "d" => numbers.below(100).to_string(),
            "ss" => format!("{:02}", numbers.below(60)),
            "ms" => format!("{:03}", numbers.below(1000)),
            "hh" => numbers.text(HEX, 2),
            "hex32" => numbers.text(HEX, 32),
            "hex40" => numbers.text(HEX, 40),
            "hex64" => numbers.text(HEX, 64),
            "b43" => numbers.text(ALNUM, 43),
            "ulid" => format!("01{}", numbers.text(UPPER, 24)),
            "uuid" => [8, 4, 4, 4, 12].map(|n| numbers.text(HEX, n)).join("-"),
            other => panic!("{other}"),
        });
        rest = after;
    }
    line.push_str(rest);
    line.replace('\u{1}', "{").replace('\u{2}', "}")
}

#[test]
fn twenty_thousand_ordinary_lines_stay_as_they_are() {
    let redactor = redactor();
    let mut numbers = Numbers(0x5eed_0003);
    let mut touched = BTreeSet::new();
    let mut count = 0;
    for n in 0..20_000 {
        let shape = CLEAN[n % CLEAN.len()];
        let line = fill(&mut numbers, shape);
        if redactor.redact(&line) != line {
            count += 1;
            touched.insert(format!("{line}\n  {}", redactor.redact(&line)));
        }
    }
    let some: Vec<&String> = touched.iter().take(5).collect();
    assert!(count <= 100, "{count} of 20,000 were touched: {some:#?}");
}

/// Looks into the command line of every process of the machine until it is told to stop.
fn watch_command_lines(
    secrets: Vec<String>,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut seen = BTreeSet::new();
        while !stop.load(Ordering::Relaxed) {
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                let bytes = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&bytes);
                if secrets.iter().any(|secret| line.contains(secret.as_str())) {
                    seen.insert(line.replace('\0', " "));
                }
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        seen.into_iter().collect()
    })
}

/// Every file below a folder as text, what is compressed unpacked. Checkpoints are exact and say so, and so are the logs of a
/// failing release that a rollback saves: nobody but their owner may read them.
fn texts(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "checkpoints" {
                texts(&path, into);
            }
            continue;
        }
        if name.starts_with("failed-") {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let plain = match path.extension().and_then(|e| e.to_str()) {
            Some("zst") => zstd::decode_all(bytes.as_slice()).unwrap(),
            Some("gz") => {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(bytes.as_slice())
                    .read_to_end(&mut plain)
                    .unwrap();
                plain
            }
            _ => bytes,
        };
        let text = String::from_utf8_lossy(&plain).into_owned();
        into.push((path.display().to_string(), text));
    }
}

#[test]
fn no_secret_leaves_by_any_way() {
    let (shaped, known) = (shaped(), known());
    let secrets: Vec<String> = shaped
        .iter()
        .chain(&known)
        .map(|(_, s)| s.clone())
        .collect();
    let (receiver, letters) = (Receiver::http(), Receiver::smtp());
    let sandbox = Sandbox::new("secrets")
        .with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock")
        .with("PD_KEY", "pd-secret-routing-key-0815");
    let env: String = known
        .iter()
        .map(|(name, s)| format!("{name}={s}\n"))
        .collect();
    let env = sandbox.write("bot.env", env);
    let config: String = shaped
        .iter()
        .map(|(line, _)| format!("# {line}\n"))
        .collect();
    let conf = sandbox.write("bot.conf", config);
    sandbox.write("up", "");
    sandbox.write("release", "1.4\n");
    let now = jiff::Timestamp::now();
    let shapes = shaped
        .iter()
        .map(|(line, _)| format!("{now} ERROR {line}\n"));
    let bare = known.iter().enumerate();
    let bare = bare.map(|(n, (_, s))| {
        format!("{now} ERROR job {n} refused {s} GET /orders/{n} completed in 0.1s status=500\n")
    });
    let log = sandbox.write("bot.log", shapes.chain(bare).collect::<String>());
    let says: String = shaped
        .iter()
        .step_by(7)
        .map(|(line, _)| format!("{line}\n"))
        .collect();
    let says = says
        + &known
            .iter()
            .map(|(_, s)| format!("{s}\n"))
            .collect::<String>();
    let says = sandbox.write("says", says);
    let at = sandbox.work().display().to_string();
    let services = format!(
        "[services.\"exec/bot\"]\nstatus = \"test -e {at}/up\"\nstart = \"cat {0} >&2; touch {at}/up\"\nstop = \"cat {0}; rm -f {at}/up\"\nrestart = \"cat {0} >&2; exit 1\"\nroll_back = \"cat {0}; echo $LASTGOOD_RELEASE > {at}/release\"\nrelease_command = \"cat {at}/release\"\nlogs = \"cat {1}\"\nenv_files = [\"{2}\"]\nconfig_files = [\"{3}\"]\nprobe = {{ command = \"cat {0}; test -e {at}/up\" }}\n",
        says.display(),
        log.display(),
        env.display(),
        conf.display()
    );
    sandbox.write(
        "lastgood.toml",
        format!(
            "{services}[sinks.chat]\nkind = \"slack\"\nurl = \"{}\"\n\
             [sinks.oncall]\nkind = \"pagerduty\"\nkey_env = \"PD_KEY\"\nurl = \"{}\"\n\
             [sinks.tg]\nkind = \"telegram\"\ntoken = \"42:abc\"\nchat = 1\nurl = \"{}\"\n\
             [sinks.mail]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {}\nfrom = \"a@example.org\"\nto = \"b@example.org\"\n\
             [sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\n\
             [sinks.local]\nkind = \"command\"\ncommand = 'printf \"%s\\n%s\\n\" \"$LASTGOOD_TEXT\" \"$LASTGOOD_JSON\" >> said'\n\
             [[routes]]\nservices = [\"exec/bot\"]\nsinks = [\"chat\", \"oncall\", \"tg\", \"mail\", \"hook\", \"local\"]\n",
            receiver.url("/slack"),
            receiver.url("/v2/enqueue"),
            receiver.url(""),
            letters.port(),
            receiver.url("/hook"),
        ),
    );
    let stop = Arc::new(AtomicBool::new(false));
    let lines = watch_command_lines(secrets.clone(), stop.clone());

    let mut found: Vec<(String, String)> = Vec::new();
    let bundle = sandbox.path("bundle.tar.gz").display().to_string();
    let calls: &[&[&str]] = &[
        &["checkpoint", "create", "exec/bot", "--label", "good"],
        &["checkpoint", "list"],
        &["watch", "--once", "--interval", "1s"],
        &["services"],
        &["health", "exec/bot"],
        &["signals", "exec/bot"],
        &["logs", "exec/bot"],
        &["errors", "service:exec/bot"],
        &["slow", "service:exec/bot"],
        &["patterns", "service:exec/bot"],
        &["compare"],
        &["compare", "--side-by-side"],
        &["preflight", "exec/bot"],
        &["restart", "exec/bot", "--dry-run"],
        &["restart", "exec/bot", "--yes"],
        &["stop", "exec/bot", "--yes"],
        &["watch", "--once", "--interval", "1s"],
        &["alerts"],
        &["start", "exec/bot", "--yes"],
        &[
            "guard",
            "--watch",
            "2s",
            "--skip-preflight",
            "--roll-back",
            "never",
            "exec/bot",
            "--",
            "sh",
            "-c",
            "cat says > /dev/null; echo 1.5 > release",
        ],
        &["roll-back", "exec/bot", "--dry-run"],
        &["roll-back", "exec/bot", "--yes", "--confirm", "bot"],
        &["checkpoint", "restore", "good", "--dry-run"],
        &["incident", "start", "login fails"],
        &["incident", "report"],
        &["incident", "report", "--format", "html"],
        &["incident", "bundle", &bundle],
        &["audit", "list"],
        &["audit", "export"],
        &["config", "show"],
        &["doctor"],
        &["notify", "test", "--dry-run"],
    ];
    for call in calls {
        for format in ["human", "json"] {
            let once = ["--yes", "create", "guard", "--format", "bundle"];
            if format == "json" && once.iter().any(|word| call.contains(word)) {
                continue;
            }
            let mut all = vec!["-v"];
            all.extend(*call);
            if !call.contains(&"--format") {
                // Before what belongs to the command that is guarded.
                all.splice(0..0, ["--format", format]);
            }
            let run = sandbox.run(&all);
            found.push((call.join(" "), format!("{}\n{}", run.stdout, run.stderr)));
        }
    }
    let console = Terminal::start(&sandbox, &["tui"], (200, 60));
    console.wait_for("bot");
    for keys in ["2z", "z3z", "z4z", "b", "\r", "\u{1b}", "z6z"] {
        console.keys(keys);
        std::thread::sleep(Duration::from_millis(700));
        found.push((format!("console {keys:?}"), console.screen()));
    }
    found.push((
        "console".into(),
        String::from_utf8_lossy(&console.bytes()).into_owned(),
    ));
    console.keys("q");

    stop.store(true, Ordering::Relaxed);
    assert_eq!(lines.join().unwrap(), Vec::<String>::new(), "command lines");
    texts(&sandbox.state(), &mut found);
    // Packed once more inside of its archive.
    let unpacked = sandbox.path("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tar = std::process::Command::new("tar")
        .args(["xzf", &bundle, "-C"])
        .arg(&unpacked)
        .status()
        .unwrap();
    assert!(tar.success());
    texts(&unpacked, &mut found);
    found.push((
        "the command sink".into(),
        fs::read_to_string(sandbox.work().join("said")).unwrap(),
    ));
    let mut sinks = BTreeSet::new();
    for request in receiver.received() {
        let first = request.head.lines().next().unwrap_or_default().to_owned();
        sinks.insert(first.clone());
        found.push((first, format!("{}\n{}", request.head, request.body)));
    }
    for letter in letters.received() {
        found.push(("mail".into(), letter.body.replace("=\r\n", "")));
    }
    assert!(sinks.len() >= 5, "every sink was told: {sinks:?}");
    let all: usize = found
        .iter()
        .map(|(_, text)| text.matches("[REDACTED:").count())
        .sum();
    assert!(all > 200, "the secrets were on their way: {all}");
    let mut told = std::collections::BTreeMap::<&str, BTreeSet<&str>>::new();
    for (what, text) in &found {
        let there = secrets.iter().filter(|s| text.contains(s.as_str()));
        for secret in there {
            told.entry(what).or_default().insert(secret);
        }
    }
    let counts: Vec<(&str, usize, &str)> = told
        .iter()
        .map(|(what, secrets)| (*what, secrets.len(), *secrets.first().unwrap()))
        .collect();
    assert!(counts.is_empty(), "secrets in: {counts:#?}");
}
