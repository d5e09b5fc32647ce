//! An authority of the test's own, and certificates that it signs, young and old ones. openssl makes them, so that what reads
//! them is not tested against itself.

use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a new key is made.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

pub(crate) struct Authority {
    folder: PathBuf,
}

/// What a server shows for `localhost` and 127.0.0.1, and its key.
pub(crate) struct Certificate {
    pub(crate) file: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// It is called as its folder.
    pub(crate) fn make(folder: &Path) -> Authority {
        let name = folder.file_name().unwrap().display();
        std::fs::create_dir_all(folder).unwrap();
        let made = Authority {
            folder: folder.to_owned(),
        };
        for (name, text) in [
            (
                "names",
                "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
            ),
            (
                "openssl.cnf",
                "[ca]\ndefault_ca = own\n[own]\nnew_certs_dir = .\ndatabase = signed\nserial = serial\ndefault_md = sha256\n\
                 unique_subject = no\npolicy = any\n[any]\ncommonName = supplied\n",
            ),
            ("signed", ""),
            ("serial", "01\n"),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        made.openssl(&format!(
            "req -x509 {KEY} -days 400 -keyout ca.key -out ca.pem -subj /CN=lastgood-test-{name}"
        ));
        made
    }

    /// Its own certificate: for `SSL_CERT_FILE`, or for whoever may name it.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// What no server should show: itself.
    pub(crate) fn itself(&self) -> Certificate {
        Certificate {
            file: self.file(),
            key: self.folder.join("ca.key"),
        }
    }

    /// A certificate that began 100 days ago and ends so many hours from now, or ended before.
    pub(crate) fn sign(&self, name: &str, hours: i64) -> Certificate {
        let now = Timestamp::now();
        let at = |hours| {
            let at = now + SignedDuration::from_hours(hours);
            at.strftime("%Y%m%d%H%M%SZ").to_string()
        };
        self.openssl(&format!(
            "req -new {KEY} -keyout {name}.key -out {name}.csr -subj /CN=localhost"
        ));
        self.openssl(&format!(
            "ca -batch -config openssl.cnf -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.pem -notext -extfile names \
             -startdate {} -enddate {}",
            at(-2400),
            at(hours)
        ));
        Certificate {
            file: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        }
    }

    fn openssl(&self, line: &str) {
        let done = Command::new("openssl")
            .args(line.split_whitespace())
            .current_dir(&self.folder)
            .output()
            .unwrap();
        assert!(done.status.success(), "openssl {line}: {done:?}");
    }
}
