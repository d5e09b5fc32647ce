//! The built-in shop under the binary: real processes with a good and a bad release, seen with the configuration that
//! belongs to it.

use super::{Run, Sandbox, Terminal, binary};
use lastgood::demo::{BAD, Shop};
use serde_json::Value;
use std::net::SocketAddr;

/// A running shop and a sandbox to look at it from. Both are gone when this is dropped.
pub(crate) struct DemoShop {
    pub(crate) sandbox: Sandbox,
    pub(crate) shop: Shop,
    runtime: tokio::runtime::Runtime,
    config: String,
}

impl DemoShop {
    /// Starts it with the good release.
    pub(crate) fn start(sandbox: Sandbox) -> DemoShop {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shop = runtime.block_on(Shop::start(binary(), false)).unwrap();
        let config = shop.folder().config().to_str().unwrap().to_owned();
        DemoShop {
            sandbox,
            shop,
            runtime,
            config,
        }
    }

    /// Brings out the bad release.
    pub(crate) fn deploy_bad(&self) {
        let said = self.runtime.block_on(self.shop.command(&["deploy", BAD]));
        said.unwrap();
    }

    /// The address of one of its services.
    pub(crate) fn address(&self, member: lastgood::demo::Member) -> SocketAddr {
        self.shop.address(member)
    }

    /// Runs the binary on it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let mut all = vec!["--config", &self.config];
        all.extend(arguments);
        self.sandbox.run(&all)
    }

    /// Opens the console on it.
    pub(crate) fn console(&self) -> Terminal {
        let arguments = ["--config", &self.config, "tui"];
        Terminal::start(&self.sandbox, &arguments, (120, 40))
    }

    /// Runs with `--format json`, expects `code`, and gives the document.
    pub(crate) fn json(&self, code: i32, schema: &str, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--format", "json"]);
        self.run(&all).exits(code).json(schema)
    }
}
