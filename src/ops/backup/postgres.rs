//! PostgreSQL: `pg_dump -Fc` read by its own exit code, its rows counted on the way, and restores into a database of
//! their own, which takes the place of the old one by its name.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;

use super::job::Job;
use super::pack::{self, Unpacked};
use super::place::succeeded;
use crate::domain::backup::{Backup, Counts};
use crate::host::Command;
use crate::host::stream::{Chunk, Streams, channel};
use crate::ops::{ErrorKind, OpsError};
use crate::store::backup::StagedPart;

/// The limit of a question.
const QUERY: Duration = Duration::from_secs(120);
/// PostgreSQL cuts longer names.
const MAX_NAME: usize = 63;

/// Every table with its rows, and whether an extension brought it: `e` then.
const COUNT: &str = r"
SELECT format('SELECT %L, count(*), %L FROM %I.%I', format('%I.%I', n.nspname, c.relname),
  CASE WHEN EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  THEN 'e' ELSE '' END, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
ORDER BY 1 \gexec
";
/// A database like the one there is, or a plain one where there is none; `:new` is not there yet.
const CREATE: &str = r#"
SELECT count(*) > 0 AS is_there FROM pg_database WHERE datname = :'old' \gset
\if :is_there
SELECT format('CREATE DATABASE %I TEMPLATE template0 OWNER %I ENCODING %L LC_COLLATE %L LC_CTYPE %L', :'new',
  pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype)
FROM pg_database WHERE datname = :'old' \gexec
\else
CREATE DATABASE :"new" TEMPLATE template0;
\endif
"#;
const DROP: &str = r#"DROP DATABASE IF EXISTS :"new";"#;
/// What earlier tests of the same backup left that were killed.
const DROP_LIKE: &str = r"
SELECT format('DROP DATABASE IF EXISTS %I', datname) FROM pg_database WHERE datname LIKE :'like' \gexec
";
/// Settings and rights belong to a database and not to its dump. Nobody may begin a session meanwhile, and those that are
/// there end, since a database in use keeps its name; renaming waits five seconds for them. Both names change at once or not at all.
const SWAP: &str = r#"
SELECT count(*) > 0 AS is_there FROM pg_database WHERE datname = :'old' \gset
\if :is_there
SELECT format('GRANT %s ON DATABASE %I TO %s', a.privilege_type, :'new', CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = :'old' \gexec
SELECT format('REVOKE %s ON DATABASE %I FROM PUBLIC', p.kind, :'new')
FROM pg_database d, (VALUES ('CONNECT'), ('TEMPORARY')) p(kind)
WHERE d.datname = :'old' AND d.datacl IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM aclexplode(d.datacl) a WHERE a.grantee = 0 AND a.privilege_type = p.kind) \gexec
SELECT format('ALTER %s SET %s TO %s',
  CASE WHEN s.setrole = 0 THEN format('DATABASE %I', :'new') ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(s.setrole), :'new') END,
  quote_ident(split_part(c, '=', 1)),
  CASE WHEN split_part(c, '=', 1) IN ('search_path', 'DateStyle', 'session_preload_libraries', 'local_preload_libraries', 'temp_tablespaces')
  THEN substr(c, strpos(c, '=') + 1) ELSE quote_literal(substr(c, strpos(c, '=') + 1)) END)
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c WHERE d.datname = :'old' \gexec
ALTER DATABASE :"old" ALLOW_CONNECTIONS false;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (:'old', :'new') AND pid <> pg_backend_pid();
BEGIN;
ALTER DATABASE :"old" RENAME TO :"before";
ALTER DATABASE :"new" RENAME TO :"old";
COMMIT;
ALTER DATABASE :"before" ALLOW_CONNECTIONS true;
\else
ALTER DATABASE :"new" RENAME TO :"old";
\endif
"#;
/// Where nothing was renamed, sessions may begin again; where it was, both get their names back.
const SWAP_BACK: &str = r#"
SELECT count(*) > 0 AS was_kept FROM pg_database WHERE datname = :'before' \gset
\if :was_kept
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', datname) FROM pg_database WHERE datname = :'old' \gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (:'old', :'before') AND pid <> pg_backend_pid();
BEGIN;
SELECT format('ALTER DATABASE %I RENAME TO %I', :'old', :'new') FROM pg_database WHERE datname = :'old' \gexec
ALTER DATABASE :"before" RENAME TO :"old";
COMMIT;
\endif
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS true', datname) FROM pg_database WHERE datname IN (:'old', :'new') \gexec
"#;
const IS_THERE: &str = r"SELECT count(*) FROM pg_database WHERE datname = :'new';";
const SIZE: &str = r"SELECT pg_database_size(:'new');";

/// The names of databases that a restore makes.
pub(super) struct Names {
    /// The one that is backed up.
    pub(super) own: String,
    /// Where a restore is tried.
    pub(super) test: String,
    /// What a restore makes beside it.
    pub(super) staged: String,
    /// What was there.
    pub(super) before: String,
}

impl Names {
    pub(super) fn of(database: &str, name: &str, id: &str) -> Self {
        let with = |middle: &str| {
            let end = format!("_{middle}_{}", plain(id));
            let start: String = database.chars().take(20).collect();
            // Cut at bytes: a name of other letters is longer than it looks.
            let mut start = start;
            while start.len() + end.len() > MAX_NAME {
                start.pop();
            }
            start + &end
        };
        Self {
            own: database.to_owned(),
            test: format!("{}{}", test_prefix(name), plain(id)),
            staged: with("restored"),
            before: with("before"),
        }
    }
}

fn plain(text: &str) -> String {
    let letter = |c: char| match c {
        'a'..='z' | '0'..='9' => c,
        'A'..='Z' => c.to_ascii_lowercase(),
        _ => '_',
    };
    text.chars().map(letter).take(30).collect()
}

fn test_prefix(name: &str) -> String {
    let name: String = plain(name).chars().take(20).collect();
    format!("lastgood_test_{name}_")
}

impl Job<'_> {
    fn names(&self) -> Result<Names, OpsError> {
        Ok(Names::of(self.database()?, &self.name, &self.stamp))
    }

    fn postgres(&self, argv: &[&str], limit: Duration) -> Command {
        let mut command = Command::new(argv.iter().copied(), limit)
            .with_env("PGAPPNAME", "lastgood")
            .with_env("PGCONNECT_TIMEOUT", "10")
            .with_env("PGCLIENTENCODING", "UTF8")
            // Words that are looked for, and times as they are written here.
            .with_env("LC_ALL", "C");
        if let Some((host, port)) = self.address() {
            command = command.with_env("PGHOST", host).with_env("PGPORT", port);
        }
        if let Some(user) = &self.settings.user {
            command = command.with_env("PGUSER", user);
        }
        command.secret = self
            .password
            .clone()
            .map(|password| ("PGPASSWORD".to_owned(), password));
        command
    }

    /// Runs a script. Names come as its variables and are quoted where they are used.
    async fn sql(
        &self,
        database: &str,
        script: &str,
        variables: &[(&str, &str)],
        is_change: bool,
    ) -> Result<String, OpsError> {
        let mut argv = vec![
            "psql",
            "-X",
            "-A",
            "-t",
            "-q",
            "-w",
            "-F",
            "\t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
        ];
        let variables: Vec<String> = variables.iter().map(|(n, v)| format!("{n}={v}")).collect();
        for variable in &variables {
            argv.extend(["-v", variable]);
        }
        let mut command =
            self.postgres(&argv, QUERY.max(if is_change { self.limit } else { QUERY }));
        command.max_output = 16 * 1024 * 1024;
        let streams = Streams::from_bytes(script.as_bytes());
        let ended = match is_change {
            true => self.place.change(self.permit, &command, streams).await?,
            false => self.place.query(&command, streams).await?,
        };
        let ended = succeeded(&format!("psql on {database}"), ErrorKind::Failed, ended)?;
        Ok(ended.stdout_text().into_owned())
    }

    /// How many bytes the database has.
    pub(super) async fn postgres_size(&self) -> Result<u64, OpsError> {
        let names = self.names()?;
        let text = self
            .sql(&names.own, SIZE, &[("new", &names.own)], false)
            .await?;
        text.trim().parse().map_err(|_| {
            OpsError::new(
                ErrorKind::Failed,
                format!("psql said {:?} and no size", text.trim()),
            )
        })
    }

    /// Dumps the database. What `pg_restore` reads of the very same bytes is counted while they are written.
    pub(super) async fn postgres_dump(&self) -> Result<(Vec<StagedPart>, Counts), OpsError> {
        let database = self.database()?;
        let dump = self.postgres(
            &["pg_dump", "-Fc", "--compress=0", "-w", "-d", database],
            self.limit,
        );
        let read_back = self.postgres(&["pg_restore", "--data-only", "-f", "-"], self.limit);
        let (to_tee, dumped) = channel();
        let (to_pack, packed) = channel();
        let (to_restore, restored) = channel();
        let (to_count, text) = channel();
        let file = self.file(None);
        let (dump, part, read, counts, ()) = tokio::join!(
            self.place.query(&dump, Streams::default().to(to_tee)),
            self.pack((&file, database), packed),
            self.place
                .query(&read_back, Streams::from(restored).to(to_count)),
            count_rows(text),
            tee(dumped, to_pack, to_restore),
        );
        // A full disk ends the dump too, and a dump that ends early what reads it.
        let part = part?;
        succeeded("pg_dump", ErrorKind::Failed, dump?)?;
        succeeded(
            "pg_restore cannot read what pg_dump wrote",
            ErrorKind::No,
            read?,
        )?;
        Ok((vec![part], counts))
    }

    /// Restores it into a database of that name, which must not be there, and counts. Whoever calls drops it.
    async fn restore_into(&self, backup: &Backup, target: &str) -> Result<Counts, OpsError> {
        let names = self.names()?;
        let variables = [("old", names.own.as_str()), ("new", target)];
        self.sql("postgres", CREATE, &variables, true).await?;
        let part = self.only_part(backup)?;
        let Unpacked { chunks, ended } =
            pack::unpack(self.ctx, self.settings, backup, part, self.limit)?;
        let argv = ["pg_restore", "--exit-on-error", "-w", "-d", target];
        let command = self.postgres(&argv, self.limit);
        let restored = self
            .place
            .change(self.permit, &command, Streams::from(chunks))
            .await;
        // A damaged file is the cause of what pg_restore says of it.
        pack::ended(ended).await?;
        succeeded("pg_restore", ErrorKind::No, restored?)?;
        let (seen, of_extensions) = self.count(target).await?;
        match difference(&backup.counts, &seen, &of_extensions) {
            None => Ok(seen),
            Some(text) => Err(OpsError::new(ErrorKind::No, text)),
        }
    }

    async fn count(&self, database: &str) -> Result<(Counts, BTreeSet<String>), OpsError> {
        let text = self.sql(database, COUNT, &[], false).await?;
        read_counts(&text).ok_or_else(|| {
            OpsError::new(
                ErrorKind::Failed,
                format!("psql did not count the tables of {database}"),
            )
        })
    }

    /// Restores it into a database that is dropped again, however it ends.
    pub(super) async fn postgres_test(&self, backup: &Backup) -> Result<Counts, OpsError> {
        let names = self.names()?;
        let like = test_prefix(&self.name).replace('_', "\\_") + "%";
        self.sql("postgres", DROP_LIKE, &[("like", &like)], true)
            .await?;
        let tested =
            match tokio::time::timeout(self.limit, self.restore_into(backup, &names.test)).await {
                Ok(tested) => tested,
                Err(_) => Err(self.too_late()),
            };
        let dropped = self
            .sql("postgres", DROP, &[("new", &names.test)], true)
            .await;
        let counts = tested?;
        dropped?;
        Ok(counts)
    }

    /// Restores it beside the database that is there.
    pub(super) async fn postgres_stage(&self, backup: &Backup) -> Result<Counts, OpsError> {
        let names = self.names()?;
        // Whoever goes back would take something else for what was there.
        if self.is_database(&names.before).await? {
            return Err(OpsError::new(
                ErrorKind::Failed,
                format!("the database {} is in the way", names.before),
            ));
        }
        self.postgres_unstage().await?;
        self.restore_into(backup, &self.names()?.staged).await
    }

    pub(super) async fn postgres_unstage(&self) -> Result<(), OpsError> {
        let names = self.names()?;
        self.sql("postgres", DROP, &[("new", &names.staged)], true)
            .await
            .map(drop)
    }

    async fn rename(&self, script: &str) -> Result<(), OpsError> {
        let names = self.names()?;
        let variables = [
            ("old", names.own.as_str()),
            ("new", names.staged.as_str()),
            ("before", names.before.as_str()),
        ];
        self.sql("postgres", script, &variables, true)
            .await
            .map(drop)
    }

    pub(super) async fn postgres_swap(&self) -> Result<String, OpsError> {
        let names = self.names()?;
        // A run that was ended in between goes on here.
        if !self.is_swapped().await? {
            self.rename(SWAP).await?;
        }
        let is_kept = self.is_database(&names.before).await?;
        Ok(match is_kept {
            true => format!("what was there is the database {}", names.before),
            false => "there was no database of that name".to_owned(),
        })
    }

    pub(super) async fn postgres_swap_back(&self) -> Result<(), OpsError> {
        self.rename(SWAP_BACK).await
    }

    async fn is_database(&self, name: &str) -> Result<bool, OpsError> {
        let said = self
            .sql("postgres", IS_THERE, &[("new", name)], false)
            .await?;
        Ok(said.trim() == "1")
    }

    /// Whether the staged database has the name of the other.
    async fn is_swapped(&self) -> Result<bool, OpsError> {
        let names = self.names()?;
        let is_staged = self.is_database(&names.staged).await?;
        Ok(!is_staged && self.is_database(&names.own).await?)
    }

    /// What is in place has the tables of the backup; rows may have come and gone since.
    pub(super) async fn postgres_prove(&self, backup: &Backup) -> Result<Counts, OpsError> {
        let names = self.names()?;
        let (seen, _) = self.count(&names.own).await?;
        let is_swapped = self.is_swapped().await?;
        let missing = backup
            .counts
            .keys()
            .find(|table| !seen.contains_key(*table));
        match missing {
            None if is_swapped => Ok(seen),
            None => Err(OpsError::new(
                ErrorKind::No,
                format!("{} is not what was restored", names.own),
            )),
            Some(table) => Err(OpsError::new(
                ErrorKind::No,
                format!("{} has no table {table}", names.own),
            )),
        }
    }
}

/// Hands each chunk to both: the second may stop, the first may not.
pub(super) async fn tee(
    mut from: mpsc::Receiver<Chunk>,
    first: mpsc::Sender<Chunk>,
    second: mpsc::Sender<Chunk>,
) {
    let mut second = Some(second);
    while let Some(chunk) = from.recv().await {
        if let Some(to) = &second
            && to.send(chunk.clone()).await.is_err()
        {
            second = None;
        }
        if first.send(chunk).await.is_err() {
            return;
        }
    }
}

/// Counts the rows of each table in what `pg_restore --data-only` prints. A row is a line: breaks in values are escaped.
async fn count_rows(mut text: mpsc::Receiver<Chunk>) -> Counts {
    let mut rows = Rows::default();
    while let Some(chunk) = text.recv().await {
        rows.take(&chunk);
    }
    rows.counts
}

/// The longest line that may begin a table; of longer ones only that they end counts.
const MAX_HEAD: usize = 64 * 1024;

#[derive(Default)]
struct Rows {
    counts: Counts,
    table: Option<(String, u64)>,
    line: Vec<u8>,
}

impl Rows {
    fn take(&mut self, bytes: &[u8]) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            self.keep(&bytes[start..end]);
            self.end_line();
            start = end + 1;
        }
        self.keep(&bytes[start..]);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_HEAD - self.line.len().min(MAX_HEAD);
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) {
        match &mut self.table {
            Some((table, rows)) if self.line == b"\\." => {
                *self.counts.entry(std::mem::take(table)).or_default() += *rows;
                self.table = None;
            }
            Some((_, rows)) => *rows += 1,
            None => self.table = table_of(&self.line).map(|table| (table, 0)),
        }
        self.line.clear();
    }
}

/// The table of `COPY public.users (id, name) FROM stdin;`, quoted as it stands there.
fn table_of(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("COPY ")?;
    rest.strip_suffix(" FROM stdin;")?;
    let mut is_quoted = false;
    let end = rest.find(|c| {
        is_quoted ^= c == '"';
        c == ' ' && !is_quoted
    })?;
    Some(rest[..end].to_owned())
}

/// The lines of [`COUNT`], and which tables are of extensions; `None` where a line is none.
fn read_counts(text: &str) -> Option<(Counts, BTreeSet<String>)> {
    let mut counts = Counts::new();
    let mut extensions = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut fields = line.rsplitn(3, '\t');
        let (mark, rows, table) = (fields.next()?, fields.next()?, fields.next()?);
        counts.insert(table.to_owned(), rows.parse().ok()?);
        if mark == "e" {
            extensions.insert(table.to_owned());
        }
    }
    Some((counts, extensions))
}

/// What a restored database lacks, or has too much. A table of an extension has rows of its own.
fn difference(made: &Counts, seen: &Counts, extensions: &BTreeSet<String>) -> Option<String> {
    let missing = made.iter().find_map(|(table, rows)| match seen.get(table) {
        None => Some(format!("the table {table} did not come back")),
        Some(now) if now == rows || extensions.contains(table) && now > rows => None,
        Some(now) => Some(format!("{table}: {now} rows came back of {rows}")),
    });
    missing.or_else(|| {
        seen.iter()
            .filter(|(table, rows)| **rows > 0 && !extensions.contains(*table))
            .find(|(table, _)| !made.contains_key(*table))
            .map(|(table, rows)| format!("{table}: {rows} rows that the backup has not"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_table_however_the_text_is_cut() {
        let text = "--\nSET x;\nCOPY public.users (id, name) FROM stdin;\n1\tanna\n2\tboris\\nx\n\\.\n\n\
                    COPY public.\"Odd (one)\" (id) FROM stdin;\n\\.\nCOPY public.none  FROM stdin;\n\n\n\\.\n\
                    SELECT pg_catalog.setval('x', 1);\n";
        let expected: Counts = [
            ("public.users".to_owned(), 2),
            ("public.\"Odd (one)\"".into(), 0),
            ("public.none".into(), 2),
        ]
        .into();
        for size in [1, 3, 7, 1000] {
            let mut rows = Rows::default();
            for piece in text.as_bytes().chunks(size) {
                rows.take(piece);
            }
            assert_eq!(rows.counts, expected, "{size}");
        }
        // A table that was cut off is none.
        let mut rows = Rows::default();
        rows.take(b"COPY public.users (id) FROM stdin;\n1\n2\n");
        assert!(rows.counts.is_empty());
    }

    #[test]
    fn a_difference_names_its_table() {
        let counts = |pairs: &[(&str, u64)]| -> Counts {
            pairs.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect()
        };
        let none = BTreeSet::new();
        let made = counts(&[("a", 2), ("b", 0)]);
        assert_eq!(difference(&made, &made, &none), None);
        for (seen, said) in [
            (counts(&[("a", 2)]), "the table b did not come back"),
            (counts(&[("a", 1), ("b", 0)]), "a: 1 rows came back of 2"),
            (
                counts(&[("a", 2), ("b", 0), ("c", 1)]),
                "c: 1 rows that the backup has not",
            ),
        ] {
            assert_eq!(difference(&made, &seen, &none).as_deref(), Some(said));
        }
        let extensions = BTreeSet::from(["c".to_owned()]);
        let seen = counts(&[("a", 2), ("b", 0), ("c", 8500)]);
        assert_eq!(difference(&made, &seen, &extensions), None);
    }

    #[test]
    fn names_of_databases_are_short_enough_and_told_apart() {
        let names = Names::of("shop", "main", "20251227-020000");
        assert_eq!(names.test, "lastgood_test_main_20251227_020000");
        assert_eq!(names.before, "shop_before_20251227_020000");
        let long = Names::of(&"ü".repeat(40), &"m".repeat(80), "20251227-020000-2");
        for name in [&long.test, &long.before, &long.staged] {
            assert!(name.len() <= MAX_NAME, "{name}");
        }
        assert_ne!(long.before, long.staged);
    }

    #[test]
    fn what_psql_counts_is_read() {
        let (counts, extensions) = read_counts("public.a\t3\t\npublic.b\t0\te\n").unwrap();
        assert_eq!(counts["public.a"], 3);
        assert_eq!(extensions, BTreeSet::from(["public.b".to_owned()]));
        assert!(read_counts("ERROR").is_none());
    }
}
