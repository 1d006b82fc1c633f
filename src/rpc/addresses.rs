//! The coordinators that a worker knows of: those that it was given, and those that it was told of.

/// Addresses learned from coordinators at most; a cluster has a handful.
const LEARNED_MAX: usize = 32;
/// A host name of 253 characters, a colon, a port.
const ADDRESS_BYTES_MAX: usize = 260;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Addresses {
    given: Vec<String>,
    learned: Vec<String>,
}

impl Addresses {
    pub(super) fn new(given: Vec<String>) -> Self {
        Self { given, learned: Vec::new() }
    }

    /// All, the given ones first, each once.
    pub(super) fn all(&self) -> Vec<String> {
        let learned = self.learned.iter().filter(|address| !self.given.contains(address));
        self.given.iter().chain(learned).cloned().collect()
    }

    /// Replaces what was learned before; an empty list teaches nothing.
    pub(super) fn learn(&mut self, addresses: Vec<String>) {
        let usable = addresses.into_iter().filter(|address| is_usable(address)).take(LEARNED_MAX);
        let usable: Vec<String> = usable.collect();
        if !usable.is_empty() {
            self.learned = usable;
        }
    }

    /// Whom to try after `failed`: whom it named, else the next in turn.
    pub(super) fn after(&self, failed: &str, named: Option<String>) -> Option<String> {
        if let Some(named) = named.filter(|named| named != failed && is_usable(named)) {
            return Some(named);
        }
        let all = self.all();
        let place = all.iter().position(|address| address == failed);
        let next = place.map_or(0, |place| (place + 1) % all.len().max(1));
        all.get(next).cloned()
    }
}

fn is_usable(address: &str) -> bool {
    address.len() <= ADDRESS_BYTES_MAX
        && address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && port.parse::<u16>().is_ok_and(|port| port != 0)
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn every_known_coordinator_is_tried_in_turn() {
        let mut addresses = Addresses::new(texts(&["a:1"]));
        addresses.learn(texts(&["b:1", "a:1", "c:1"]));
        let mut tried = vec!["a:1".to_owned()];
        for _ in 0..3 {
            let last = tried.last().cloned().unwrap_or_default();
            tried.extend(addresses.after(&last, None));
        }
        assert_eq!(tried, ["a:1", "b:1", "c:1", "a:1"]);
    }

    #[test]
    fn whom_a_coordinator_names_is_tried_next_unless_that_is_itself_or_nonsense() {
        let addresses = Addresses::new(texts(&["a:1", "b:1"]));
        let after = |named: &str| addresses.after("a:1", Some(named.to_owned()));
        assert_eq!(after("leader:9090").as_deref(), Some("leader:9090"));
        for nonsense in ["a:1", "", "leader", "leader:0", ":9", "evil/path:80", "a b:1"] {
            assert_eq!(after(nonsense).as_deref(), Some("b:1"), "{nonsense:?}");
        }
        assert_eq!(
            addresses.after("leader:9090", None).as_deref(),
            Some("a:1"),
            "somebody who was only named"
        );
    }

    #[test]
    fn what_was_learned_is_bounded_and_not_forgotten_for_nothing() {
        let mut addresses = Addresses::new(texts(&["a:1"]));
        addresses.learn((1..1000).map(|port| format!("b:{port}")).collect());
        assert_eq!(addresses.all().len(), 1 + LEARNED_MAX);
        addresses.learn(Vec::new());
        assert_eq!(addresses.all().len(), 1 + LEARNED_MAX);
    }
}
