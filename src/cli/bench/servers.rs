//! The servers that the load goes to, and which of them takes writes.

use anyhow::{Context, ensure};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared by all clients: what one finds out about the leader, all go by.
pub(super) struct Servers {
    authorities: Vec<String>,
    current: AtomicUsize,
}

impl Servers {
    /// Reads addresses such as `http://127.0.0.1:8090`.
    pub(super) fn new(urls: &[String]) -> anyhow::Result<Self> {
        let authorities = urls.iter().map(|url| authority(url)).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!authorities.is_empty(), "there is no server to speak to");
        Ok(Self { authorities, current: AtomicUsize::new(0) })
    }

    /// The one that takes writes, as far as is known, and its place.
    pub(super) fn current(&self) -> (usize, &str) {
        let place = self.current.load(Ordering::Relaxed) % self.authorities.len().max(1);
        (place, self.authorities.get(place).map_or("", String::as_str))
    }

    /// The one at `place` does not take them: the next one is tried, unless somebody moved on already.
    pub(super) fn not_this_one(&self, place: usize) {
        let next = (place + 1) % self.authorities.len().max(1);
        let _ = self.current.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn authority(url: &str) -> anyhow::Result<String> {
    let uri: hyper::Uri =
        url.trim_end_matches('/').parse().with_context(|| format!("{url:?} is no address"))?;
    ensure!(
        uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none(),
        "{url:?} is no address of a service: expected something like http://127.0.0.1:8080 (https is not measured)"
    );
    let host = uri.host().unwrap_or_default();
    ensure!(!host.is_empty(), "{url:?} names no host");
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(80)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_who_saw_the_present_server_fail_moves_on() {
        let urls = ["http://a:1/".to_owned(), "http://b".to_owned()];
        let servers = Servers::new(&urls).unwrap();
        assert_eq!(servers.current(), (0, "a:1"));
        servers.not_this_one(0);
        servers.not_this_one(0);
        assert_eq!(servers.current(), (1, "b:80"));
        servers.not_this_one(1);
        assert_eq!(servers.current(), (0, "a:1"));
    }

    #[test]
    fn an_address_is_plain_http_without_a_path() {
        for wrong in ["https://a", "a:1", "http://a/x", "http://a?x", ""] {
            assert!(Servers::new(&[wrong.to_owned()]).is_err(), "{wrong:?}");
        }
    }
}
