//! The coordinators as the gateway knows them: who leads, and who answers.
//!
//! Nothing is asked without need: `/health` of all is asked when a request wants a leader and none is known, when one
//! failed, or when an answer is late; and however many requests want to know, one round of questions at a time serves them
//! all. What is known is a guess that the next answer may correct; no promise rests on it.

use super::GatewayError;
use super::upstream::{ExchangeError, Outgoing, Reply, Upstream};
use bytes::Bytes;
use futures_util::future::join_all;
use hyper::header::HeaderMap;
use hyper::http::uri::{Authority, PathAndQuery};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// A coordinator that lives says so at once.
const PROBE_LIMIT: Duration = Duration::from_millis(1_000);
/// While some coordinator is out of use, requests have all of them asked again this often.
const REPROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A coordinator's place in the configured list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

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
    pub(super) term: u64,
    pub(super) commit_index: u64,
}

/// What the last round of questions showed.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// When the round began; `None` before the first.
    began: Option<Instant>,
    pub(super) leader: Option<Place>,
    /// In the order of the list; an error is in words.
    pub(super) said: Vec<Result<Said, String>>,
}

struct Member {
    authority: Authority,
    /// Whether reads are put to it first.
    is_well: AtomicBool,
}

pub(super) struct Coordinators {
    members: Vec<Member>,
    upstream: Upstream,
    view: watch::Sender<View>,
    asking: Mutex<()>,
    next: AtomicUsize,
    /// Whether a round was started in the background.
    is_reprobing: AtomicBool,
}

impl Coordinators {
    pub(super) fn new(addresses: &[String], upstream: Upstream) -> Result<Self, GatewayError> {
        let member = |address: &String| {
            let authority = address.parse::<Authority>().map_err(|error| GatewayError::Address {
                address: address.clone(),
                reason: error.to_string(),
            })?;
            Ok(Member { authority, is_well: AtomicBool::new(true) })
        };
        let members = addresses.iter().map(member).collect::<Result<Vec<_>, GatewayError>>()?;
        let said = members.iter().map(|_| Err("not asked yet".to_owned())).collect();
        let view = watch::Sender::new(View { began: None, leader: None, said });
        let (asking, next) = (Mutex::new(()), AtomicUsize::new(0));
        Ok(Self { members, upstream, view, asking, next, is_reprobing: AtomicBool::new(false) })
    }

    /// `host:port` of each, in the order of [`View::said`].
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.authority.as_str())
    }

    pub(super) fn address(&self, Place(place): Place) -> &str {
        self.members.get(place).map_or("", |member| member.authority.as_str())
    }

    /// The leader as it was last known.
    pub(super) fn known_leader(&self) -> Option<Place> {
        self.view.borrow().leader
    }

    /// The leader, asked for when none is known.
    pub(super) async fn leader(&self) -> Option<Place> {
        match self.known_leader() {
            Some(leader) => Some(leader),
            None => self.refreshed(Instant::now()).await.leader,
        }
    }

    /// A view that was not asked for before `since`.
    pub(super) async fn refreshed(&self, since: Instant) -> View {
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
        view
    }

    async fn ask_all(&self) -> View {
        let began = Instant::now();
        let said = join_all(self.members.iter().map(|member| self.ask(member))).await;
        for (member, said) in self.members.iter().zip(&said) {
            // One that knows no leader serves no linearizable read.
            let knows_a_leader = said.as_ref().is_ok_and(|said| {
                said.raft.as_ref().is_some_and(|raft| raft.is_leader || raft.leader_address.is_some())
            });
            member.is_well.store(knows_a_leader, Ordering::Relaxed);
        }
        let leads = |(place, said): (usize, &Result<Said, String>)| {
            let raft = said.as_ref().ok()?.raft.as_ref()?;
            raft.is_leader.then_some((raft.term, place))
        };
        // One that was deposed and does not know it yet has the lower term.
        let leader = said.iter().enumerate().filter_map(leads).max().map(|(_, place)| Place(place));
        View { began: Some(began), leader, said }
    }

    async fn ask(&self, member: &Member) -> Result<Said, String> {
        let outgoing = Outgoing {
            method: Method::GET,
            target: PathAndQuery::from_static("/health"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let reply = self.upstream.exchange(&member.authority, &outgoing, PROBE_LIMIT).await;
        let reply = reply.map_err(|error| error.to_string())?;
        if reply.status != StatusCode::OK {
            return Err(format!("answers its health with status {}", reply.status.as_u16()));
        }
        serde_json::from_slice(&reply.body).map_err(|_| "does not answer as a coordinator".to_owned())
    }

    /// One exchange, and what it teaches.
    pub(super) async fn exchange(
        &self,
        Place(place): Place,
        outgoing: &Outgoing,
        limit: Duration,
    ) -> Result<Reply, ExchangeError> {
        let Some(member) = self.members.get(place) else {
            return Err(ExchangeError::NotSent("there is no such coordinator".to_owned()));
        };
        let result = self.upstream.exchange(&member.authority, outgoing, limit).await;
        match &result {
            Ok(_) => {}
            Err(error) => {
                self.does_badly(Place(place));
                tracing::warn!(coordinator = %member.authority, %error, "a coordinator failed");
            }
        }
        result
    }

    /// Reads go elsewhere until it is known to do well again.
    pub(super) fn does_badly(&self, Place(place): Place) {
        if let Some(member) = self.members.get(place) {
            member.is_well.store(false, Ordering::Relaxed);
        }
    }

    /// It does not lead any more, or cannot be asked.
    pub(super) fn not_the_leader(&self, place: Place) {
        self.view.send_if_modified(|view| {
            let was = view.leader == Some(place);
            if was {
                view.leader = None;
            }
            was
        });
    }

    /// All coordinators in the order in which to try them: those that do well in turn, then the others.
    pub(super) fn in_turn(self: &Arc<Self>) -> Vec<Place> {
        let count = self.members.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = (0..count).map(|step| Place(first.wrapping_add(step) % count.max(1)));
        let is_well = |Place(place): &Place| {
            self.members.get(*place).is_some_and(|member| member.is_well.load(Ordering::Relaxed))
        };
        let (mut well, unwell): (Vec<_>, Vec<_>) = turn.partition(is_well);
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
