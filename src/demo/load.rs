//! The shop's customers: about 35 requests a second, whether they are answered or not.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Member;
use super::files::Folder;
use super::http::request;
use super::pid::Identity;
use super::random::Random;

const MEDIAN_PAUSE: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(10);
/// More customers at once than this do not fit into the shop.
const MOST: usize = 400;

pub(super) async fn run(folder: &Folder, stop: impl Future<Output = ()>) -> io::Result<()> {
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, folder.port(Member::Gateway)?));
    Identity::own().write(&folder.pid_file(Member::Load), "1.0")?;
    tokio::select! {
        () = stop => {}
        () = shop_on(gateway) => {}
    }
    Ok(())
}

async fn shop_on(gateway: SocketAddr) {
    let mut random = Random::new(Timestamp::now().as_nanosecond() as u64);
    let mut customers = JoinSet::new();
    let mut next = Instant::now();
    loop {
        if customers.len() < MOST {
            let (method, path) = wish(&mut random);
            customers.spawn(async move { request(gateway, method, &path, PATIENCE).await.is_ok() });
        }
        while customers.try_join_next().is_some() {}
        // A busy machine delays a customer, not all that follow.
        next += random.duration_around(MEDIAN_PAUSE);
        tokio::time::sleep_until(next).await;
    }
}

/// What a customer asks for: mostly looking, sometimes buying.
fn wish(random: &mut Random) -> (&'static str, String) {
    let id = random.between(1, 9000);
    match random.between(0, 100) {
        0..20 => ("GET", "/api/products".to_owned()),
        20..38 => ("GET", format!("/api/products/{id}")),
        38..66 => ("GET", format!("/api/orders/{id}")),
        66..78 => ("GET", format!("/api/cart/{id}")),
        78..89 => ("POST", "/api/checkout".to_owned()),
        _ => ("POST", "/api/orders".to_owned()),
    }
}
