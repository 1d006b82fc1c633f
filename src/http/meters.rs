//! What is counted of requests. Every request passes here, so that each serving thread keeps its handles: a look-up in the
//! recorder allocates its labels and takes a lock, which a submission of some tens of microseconds would notice.

use crate::telemetry::table;
use metrics::{Counter, Gauge, Histogram};
use std::cell::{LazyCell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

thread_local! {
    /// By pattern of the route: as many as there are routes.
    static ROUTES: RefCell<HashMap<String, Route>> = RefCell::default();
    static IN_FLIGHT: LazyCell<Gauge> = LazyCell::new(|| table::HTTP_IN_FLIGHT.gauge(&[]));
}

/// The handles of a route: few methods, few statuses, so that looking through them is quickest.
#[derive(Default)]
struct Route {
    durations: Vec<(&'static str, Histogram)>,
    requests: Vec<((&'static str, u16), Counter)>,
}

/// Counts an answered request.
pub(super) fn record(method: &'static str, route: &str, status: u16, elapsed: Duration) {
    ROUTES.with_borrow_mut(|routes| {
        if let Some(known) = routes.get_mut(route) {
            known.record(method, route, status, elapsed);
        } else {
            routes.entry(route.to_owned()).or_default().record(method, route, status, elapsed);
        }
    });
}

impl Route {
    fn record(&mut self, method: &'static str, route: &str, status: u16, elapsed: Duration) {
        match self.durations.iter().find(|(of, _)| *of == method) {
            Some((_, duration)) => duration.record(elapsed),
            None => {
                let duration = table::HTTP_DURATION.histogram(&[method, route]);
                duration.record(elapsed);
                self.durations.push((method, duration));
            }
        }
        match self.requests.iter().find(|(of, _)| *of == (method, status)) {
            Some((_, requests)) => requests.increment(1),
            None => {
                let requests = table::HTTP_REQUESTS.counter(&[method, route, &status.to_string()]);
                requests.increment(1);
                self.requests.push(((method, status), requests));
            }
        }
    }
}

/// Counts a request while it is being served, also when its client hangs up and the handler is dropped.
pub(super) struct InFlight;

impl InFlight {
    pub(super) fn enter() -> Self {
        IN_FLIGHT.with(|gauge| gauge.increment(1.0));
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // A thread that ends drops its handlers after its handles.
        let _ = IN_FLIGHT.try_with(|gauge| gauge.decrement(1.0));
    }
}
