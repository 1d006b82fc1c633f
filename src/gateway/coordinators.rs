//! The coordinators as the gateway knows them: who leads, and who answers.
//!
//! Nothing is asked without need: `/health` of all is asked when a request wants a leader and none is known, when one
//! failed, or when an answer is late; and however many requests want to know, one round of questions at a time serves them
//! all. After a round, and seldom, one coordinator is asked for the cluster's members: one that joined later may lead.
//! What is known is a guess that the next answer may correct; no promise rests on it.

use super::GatewayError;
use super::members::{self, Coordinator};
use super::upstream::{ExchangeError, Outgoing, Reply, Upstream};
use bytes::Bytes;
use futures_util::future::join_all;
use hyper::header::HeaderMap;
use hyper::http::uri::{Authority, PathAndQuery};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// A coordinator that lives says so at once.
const PROBE_LIMIT: Duration = Duration::from_millis(1_000);
/// While some coordinator is out of use, requests have all of them asked again this often.
const REPROBE_INTERVAL: Duration = Duration::from_secs(1);
/// A coordinator asks the others before it tells of them.
const MEMBERS_LIMIT: Duration = Duration::from_secs(2);
/// The members are asked for no more often than this.
const MEMBERS_INTERVAL: Duration = Duration::from_secs(2);

/// What one coordinator said of itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Said {
    pub(super) status: String,
    #[serde(default)]
    pub(super) coordinator_id: Option<String>,
    #[serde(default)]
    pub(super) raft: Option<SaidOfRaft>,
}

/// What it said of Raft.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SaidOfRaft {
    pub(super) is_leader: bool,
    pub(super) leader_address: Option<String>,
    /// Its name among the members.
    #[serde(default)]
    node_id: Option<String>,
    pub(super) term: u64,
    pub(super) commit_index: u64,
}

/// What it said of Raft, if it knows a leader. One that knows none serves no linearizable read, and may be no member.
fn following(said: &Result<Said, String>) -> Option<&SaidOfRaft> {
    let raft = said.as_ref().ok()?.raft.as_ref()?;
    (raft.is_leader || raft.leader_address.is_some()).then_some(raft)
}

/// What the last round of questions showed.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// When the round began; `None` before the first.
    began: Option<Instant>,
    pub(super) leader: Option<Arc<Coordinator>>,
    /// What each coordinator said, the configured ones first; an error is in words.
    pub(super) said: Vec<(Arc<Coordinator>, Result<Said, String>)>,
}

pub(super) struct Coordinators {
    /// The configured ones first.
    known: watch::Sender<Vec<Arc<Coordinator>>>,
    upstream: Upstream,
    view: watch::Sender<View>,
    asking: Mutex<()>,
    /// Held while the members are asked for; when that last ended.
    learning: Mutex<Option<Instant>>,
    next: AtomicUsize,
    /// Whether a round was started in the background.
    is_reprobing: AtomicBool,
}

impl Coordinators {
    pub(super) fn new(addresses: &[String], upstream: Upstream) -> Result<Self, GatewayError> {
        let configured = |address: &String| {
            let authority = address.parse::<Authority>().map_err(|error| GatewayError::Address {
                address: address.clone(),
                reason: error.to_string(),
            })?;
            Ok(Arc::new(Coordinator::configured(authority)))
        };
        let known = addresses.iter().map(configured).collect::<Result<Vec<_>, GatewayError>>()?;
        Ok(Self {
            known: watch::Sender::new(known),
            upstream,
            view: watch::Sender::new(View { began: None, leader: None, said: Vec::new() }),
            asking: Mutex::new(()),
            learning: Mutex::new(None),
            next: AtomicUsize::new(0),
            is_reprobing: AtomicBool::new(false),
        })
    }

    /// The leader as it was last known.
    pub(super) fn known_leader(&self) -> Option<Arc<Coordinator>> {
        self.view.borrow().leader.clone()
    }

    /// The leader, asked for when none is known.
    pub(super) async fn leader(self: &Arc<Self>) -> Option<Arc<Coordinator>> {
        match self.known_leader() {
            Some(leader) => Some(leader),
            None => self.refreshed(Instant::now()).await.leader,
        }
    }

    /// A view that was not asked for before `since`.
    pub(super) async fn refreshed(self: &Arc<Self>, since: Instant) -> View {
        let is_fresh = |view: &View| view.began.is_some_and(|began| began >= since);
        let _asking = self.asking.lock().await;
        {
            // Somebody else asked while this waited for its turn.
            let view = self.view.borrow();
            if is_fresh(&view) {
                return view.clone();
            }
        }
        let view = self.ask_all().await;
        self.view.send_replace(view.clone());
        self.learn_from(view.clone());
        view
    }

    async fn ask_all(&self) -> View {
        let began = Instant::now();
        let known = self.known.borrow().clone();
        let said = join_all(known.iter().map(|coordinator| self.ask(coordinator))).await;
        for (coordinator, said) in known.iter().zip(&said) {
            coordinator.is_well.store(following(said).is_some(), Ordering::Relaxed);
        }
        let leads = |(place, said): (usize, &Result<Said, String>)| {
            let raft = said.as_ref().ok()?.raft.as_ref()?;
            raft.is_leader.then_some((raft.term, place))
        };
        // One that was deposed and does not know it yet has the lower term.
        let leader = said.iter().enumerate().filter_map(leads).max().map(|(_, place)| place);
        let leader = leader.and_then(|place| known.get(place).cloned());
        View { began: Some(began), leader, said: known.into_iter().zip(said).collect() }
    }

    async fn ask(&self, coordinator: &Coordinator) -> Result<Said, String> {
        let reply = self.page(coordinator, "/health", PROBE_LIMIT).await?;
        serde_json::from_slice(&reply).map_err(|_| "does not answer as a coordinator".to_owned())
    }

    /// What a coordinator says of itself or of the others; an error is in words.
    async fn page(&self, of: &Coordinator, path: &'static str, limit: Duration) -> Result<Bytes, String> {
        let outgoing = Outgoing {
            method: Method::GET,
            target: PathAndQuery::from_static(path),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let reply = self.upstream.exchange(&of.authority, &outgoing, limit).await;
        let reply = reply.map_err(|error| error.to_string())?;
        if reply.status != StatusCode::OK {
            return Err(format!("answers {path} with status {}", reply.status.as_u16()));
        }
        Ok(reply.body)
    }

    /// Has the members asked for if that was not done lately, apart from the request that is at hand: whoever waits for a
    /// leader shall not wait for this.
    fn learn_from(self: &Arc<Self>, view: View) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(mut ended) = this.learning.try_lock() else { return };
            if ended.is_none_or(|ended| ended.elapsed() >= MEMBERS_INTERVAL) {
                this.learn(&view).await;
                *ended = Some(Instant::now());
            }
        });
    }

    /// The one that knows of the most commits knows the newest members; the next one is asked when it does not tell.
    async fn learn(&self, view: &View) {
        let mut sources: Vec<_> =
            view.said.iter().filter_map(|(of, said)| Some((of, following(said)?))).collect();
        sources.sort_by_key(|(_, raft)| Reverse(raft.commit_index));
        let configured = sources.iter().filter(|(of, _)| of.is_configured());
        let answering: Vec<&str> = configured.filter_map(|(_, raft)| raft.node_id.as_deref()).collect();
        for (source, _) in &sources {
            let page = self.page(source, "/api/v1/cluster", MEMBERS_LIMIT).await;
            let Some(page) = page.ok().and_then(|page| members::on_page(&page)) else { continue };
            let known = self.known.borrow().clone();
            let next = members::after_page(&known, &page, &answering);
            tell_of_changes(&known, &next);
            self.known.send_replace(next);
            return;
        }
    }

    /// One exchange, and what it teaches.
    pub(super) async fn exchange(
        &self,
        coordinator: &Coordinator,
        outgoing: &Outgoing,
        limit: Duration,
    ) -> Result<Reply, ExchangeError> {
        let result = self.upstream.exchange(&coordinator.authority, outgoing, limit).await;
        if let Err(error) = &result {
            coordinator.does_badly();
            tracing::warn!(coordinator = %coordinator.authority, %error, "a coordinator failed");
        }
        result
    }

    /// It does not lead any more, or cannot be asked.
    pub(super) fn not_the_leader(&self, coordinator: &Arc<Coordinator>) {
        self.view.send_if_modified(|view| {
            let was = view.leader.as_ref().is_some_and(|leader| Arc::ptr_eq(leader, coordinator));
            if was {
                view.leader = None;
            }
            was
        });
    }

    /// All coordinators in the order in which to try them: those that do well in turn, then the others.
    pub(super) fn in_turn(self: &Arc<Self>) -> Vec<Arc<Coordinator>> {
        let mut turn = self.known.borrow().clone();
        let first = self.next.fetch_add(1, Ordering::Relaxed) % turn.len().max(1);
        turn.rotate_left(first);
        let is_well = |coordinator: &Arc<Coordinator>| coordinator.is_well.load(Ordering::Relaxed);
        let (mut well, unwell): (Vec<_>, Vec<_>) = turn.into_iter().partition(is_well);
        if !unwell.is_empty() {
            self.look_again();
        }
        well.extend(unwell);
        well
    }

    /// Has all coordinators asked, apart from the request that is at hand.
    fn look_again(self: &Arc<Self>) {
        let is_recent = self.view.borrow().began.is_some_and(|began| began.elapsed() < REPROBE_INTERVAL);
        if is_recent || self.is_reprobing.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            this.refreshed(Instant::now()).await;
            this.is_reprobing.store(false, Ordering::Release);
        });
    }
}

fn tell_of_changes(before: &[Arc<Coordinator>], after: &[Arc<Coordinator>]) {
    let is_in = |list: &[Arc<Coordinator>], one| list.iter().any(|other| Arc::ptr_eq(other, one));
    for learned in after.iter().filter(|one| !is_in(before, one)) {
        tracing::info!(coordinator = learned.address(), "learned of a coordinator");
    }
    for gone in before.iter().filter(|one| !is_in(after, one)) {
        tracing::info!(coordinator = gone.address(), "a coordinator is no member any more");
    }
}
