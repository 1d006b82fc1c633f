//! Which coordinators there are: those that are configured, for ever, and those that the cluster's page names besides.
//!
//! A page is believed as much as any answer of a coordinator, and no more is taken from it than names and addresses, in
//! bounded number and of bounded length. A page that is none, or names nobody, changes nothing.

use hyper::http::uri::Authority;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Members of a cluster at most.
const MEMBERS_MAX: usize = 64;
/// Bytes of a member's name.
const NAME_BYTES_MAX: usize = 255;
/// A host name of 253 characters, a colon, a port.
const ADDRESS_BYTES_MAX: usize = 260;

/// A coordinator, from when it is configured or learned until it is forgotten.
#[derive(Debug)]
pub(super) struct Coordinator {
    pub(super) authority: Authority,
    /// The member's name on the page by which it was learned; `None` when it is configured.
    learned_as: Option<String>,
    /// Whether reads are put to it first.
    pub(super) is_well: AtomicBool,
}

impl Coordinator {
    pub(super) fn configured(authority: Authority) -> Self {
        Self { authority, learned_as: None, is_well: AtomicBool::new(true) }
    }

    /// Nothing is put to it before it has said that it does well.
    fn learned(authority: Authority, name: &str) -> Self {
        Self { authority, learned_as: Some(name.to_owned()), is_well: AtomicBool::new(false) }
    }

    /// `host:port`.
    pub(super) fn address(&self) -> &str {
        self.authority.as_str()
    }

    /// Reads go elsewhere until it is known to do well again.
    pub(super) fn does_badly(&self) {
        self.is_well.store(false, Ordering::Relaxed);
    }

    pub(super) const fn is_configured(&self) -> bool {
        self.learned_as.is_none()
    }
}

#[derive(Deserialize)]
struct Page {
    members: Vec<Member>,
}

/// A member as the page of the cluster has it.
#[derive(Debug, Deserialize)]
pub(super) struct Member {
    name: String,
    http_address: Option<String>,
}

impl Member {
    fn authority(&self) -> Option<Authority> {
        let address = self.http_address.as_deref().filter(|address| is_usable(address))?;
        address.parse().ok()
    }
}

/// The members that the page names; `None` when it is no page of a cluster.
pub(super) fn on_page(body: &[u8]) -> Option<Vec<Member>> {
    let Page { members } = serde_json::from_slice(body).ok()?;
    let is_one = (1..=MEMBERS_MAX).contains(&members.len())
        && members.iter().all(|member| member.name.len() <= NAME_BYTES_MAX);
    is_one.then_some(members)
}

fn is_usable(address: &str) -> bool {
    address.len() <= ADDRESS_BYTES_MAX
        && address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port != 0)
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
        })
}

/// The coordinators that there are after a page was read. `answering` are the names by which configured ones answered:
/// such a member is known already, perhaps at another address than the one that it tells the others.
pub(super) fn after_page(
    known: &[Arc<Coordinator>],
    page: &[Member],
    answering: &[&str],
) -> Vec<Arc<Coordinator>> {
    let mut next: Vec<_> = known.iter().filter(|known| known.is_configured()).cloned().collect();
    for member in page.iter().filter(|member| !answering.contains(&member.name.as_str())) {
        let authority = member.authority();
        // A member that has not told its address lately keeps the one by which it is known.
        let is_it = |known: &&Arc<Coordinator>| {
            known.learned_as.as_ref() == Some(&member.name)
                && authority.as_ref().is_none_or(|authority| *authority == known.authority)
        };
        let same = known.iter().find(is_it).cloned();
        let learned = || authority.clone().map(|it| Arc::new(Coordinator::learned(it, &member.name)));
        let Some(coordinator) = same.or_else(learned) else { continue };
        if next.iter().all(|other| other.authority != coordinator.authority) {
            next.push(coordinator);
        }
    }
    next
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn configured() -> Vec<Arc<Coordinator>> {
        vec![Arc::new(Coordinator::configured(Authority::from_static("a:1")))]
    }

    fn page(members: &[(&str, Value)]) -> Vec<Member> {
        let members: Vec<Value> =
            members.iter().map(|(name, address)| json!({"name": name, "http_address": address})).collect();
        on_page(json!({ "members": members }).to_string().as_bytes()).unwrap()
    }

    fn addresses(coordinators: &[Arc<Coordinator>]) -> Vec<&str> {
        coordinators.iter().map(|coordinator| coordinator.address()).collect()
    }

    #[test]
    fn configured_ones_stay_and_learned_ones_stay_while_the_page_names_them() {
        let first = page(&[("b", json!("b:1")), ("c", json!("c:1"))]);
        let known = after_page(&configured(), &first, &[]);
        assert_eq!(addresses(&known), ["a:1", "b:1", "c:1"]);
        let next = after_page(&known, &page(&[("c", Value::Null)]), &[]);
        assert_eq!(addresses(&next), ["a:1", "c:1"]);
        assert!(Arc::ptr_eq(&next[1], &known[2]), "it became another one");
        let moved = after_page(&next, &page(&[("c", json!("c:2"))]), &[]);
        assert_eq!(addresses(&moved), ["a:1", "c:2"]);
    }

    #[test]
    fn nobody_is_known_twice() {
        let twice = page(&[("a", json!("A:1")), ("b", json!("b:1")), ("c", json!("b:1"))]);
        assert_eq!(addresses(&after_page(&configured(), &twice, &[])), ["a:1", "b:1"]);
        let elsewhere = page(&[("a", json!("advertised:1"))]);
        assert_eq!(addresses(&after_page(&configured(), &elsewhere, &["a"])), ["a:1"]);
        assert_eq!(addresses(&after_page(&configured(), &elsewhere, &[])), ["a:1", "advertised:1"]);
    }

    #[test]
    fn only_host_and_port_is_an_address() {
        let long = format!("{}:1", "h".repeat(300));
        for wrong in
            ["", "b", ":1", "b:", "b:0", "b:+1", "b:65536", "b:1/x", "u@b:1", "b\":1", "b b:1", "[:1", &long]
        {
            let next = after_page(&configured(), &page(&[("b", json!(wrong))]), &[]);
            assert_eq!(addresses(&next), ["a:1"], "{wrong:?}");
        }
        let next =
            after_page(&configured(), &page(&[("b", json!("[::1]:80")), ("c", json!("c-1.d:80"))]), &[]);
        assert_eq!(addresses(&next), ["a:1", "[::1]:80", "c-1.d:80"]);
    }

    #[test]
    fn a_page_of_no_cluster_is_none() {
        let members = |count| vec![json!({"name": "b", "http_address": "b:1"}); count];
        let wrong = [
            json!({}),
            json!({"members": []}),
            json!({"members": "b:1"}),
            json!({"members": [{"http_address": "b:1"}]}),
            json!({"members": [{"name": "b", "http_address": 7}]}),
            json!({"members": [{"name": "b".repeat(256)}]}),
            json!({"members": members(MEMBERS_MAX + 1)}),
        ];
        for wrong in wrong {
            assert!(on_page(wrong.to_string().as_bytes()).is_none(), "{wrong}");
        }
        assert!(on_page(b"\xff{").is_none());
        let most = json!({"members": members(MEMBERS_MAX)}).to_string();
        assert_eq!(on_page(most.as_bytes()).map(|members| members.len()), Some(MEMBERS_MAX));
    }
}
