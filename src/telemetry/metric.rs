//! One metric: its name, its form, and the handles by which it is counted.

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Unit};

/// A metric as the table declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, unit included, as Prometheus' naming practice has it.
    pub name: &'static str,
    /// The form.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Whose `/metrics` shows it.
    pub on: &'static [On],
    /// What must be so for it to be shown; none for what is always shown, at zero if nothing has happened.
    pub only_with: Option<&'static str>,
}

/// What shows a metric. `zkpnet dev` shows those of the coordinator, and those of the worker that its prover counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// `zkpnet coordinator`.
    Coordinator,
    /// `zkpnet worker`.
    Worker,
    /// `zkpnet gateway`.
    Gateway,
}

impl On {
    /// Every role.
    pub const ALL: &'static [Self] = &[Self::Coordinator, Self::Worker, Self::Gateway];

    /// The role's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Gateway => "gateway",
        }
    }
}

/// A metric's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution over buckets.
    Histogram(Buckets),
}

/// Upper bounds of a histogram's buckets. Compared by address: there are three sets of them.
#[derive(Clone, Copy, Debug)]
pub struct Buckets(pub(super) &'static [f64]);

impl PartialEq for Buckets {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Buckets {}

impl Buckets {
    /// Of what a disk or a quorum takes, in seconds: from a fast disk's fsync to one that hangs.
    pub(super) const DISK: Self =
        Self(&[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]);
    /// Of a request, in seconds: a waiting read may take a minute.
    pub(super) const REQUEST: Self =
        Self(&[0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0]);
    /// Of a proof, or of the life of a task, in seconds: from a small circuit's phase to a queue of an hour.
    pub(super) const PROOF: Self =
        Self(&[0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0]);
}

impl Kind {
    /// Prometheus' word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

impl Metric {
    /// A handle to count by. Keep it: making one costs an allocation and a look-up. It belongs to the recorder that is
    /// installed when it is made; without one it counts nothing.
    pub fn counter(&self, label_values: &[&str]) -> Counter {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        metrics::with_recorder(|recorder| recorder.register_counter(&self.key(label_values), &METADATA))
    }

    /// A handle to set the value by. See [`Self::counter`].
    pub fn gauge(&self, label_values: &[&str]) -> Gauge {
        debug_assert_eq!(self.kind, Kind::Gauge, "{}", self.name);
        metrics::with_recorder(|recorder| recorder.register_gauge(&self.key(label_values), &METADATA))
    }

    /// A handle to record values by. See [`Self::counter`].
    pub fn histogram(&self, label_values: &[&str]) -> Histogram {
        debug_assert!(matches!(self.kind, Kind::Histogram(_)), "{}", self.name);
        metrics::with_recorder(|recorder| recorder.register_histogram(&self.key(label_values), &METADATA))
    }

    fn key(&self, label_values: &[&str]) -> Key {
        debug_assert_eq!(self.labels.len(), label_values.len(), "{}", self.name);
        let labels: Vec<Label> = self
            .labels
            .iter()
            .zip(label_values)
            .map(|(label, value)| Label::new(*label, (*value).to_owned()))
            .collect();
        Key::from_parts(self.name, labels)
    }

    /// Tells the recorder what the metric is.
    pub(super) fn describe(&self) {
        let (name, help) = (self.name.into(), self.help.into());
        metrics::with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(name, self.metrics_unit(), help),
            Kind::Gauge => recorder.describe_gauge(name, self.metrics_unit(), help),
            Kind::Histogram(_) => recorder.describe_histogram(name, self.metrics_unit(), help),
        });
    }

    /// The unit that the name ends with.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        match name.rsplit('_').next() {
            Some("seconds") => "seconds",
            Some("bytes") => "bytes",
            _ => "",
        }
    }

    fn metrics_unit(&self) -> Option<Unit> {
        match self.unit() {
            "seconds" => Some(Unit::Seconds),
            "bytes" => Some(Unit::Bytes),
            _ => None,
        }
    }
}
