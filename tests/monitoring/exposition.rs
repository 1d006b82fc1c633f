//! Prometheus' text format, read strictly.

use std::collections::{BTreeMap, BTreeSet};
use zkpnet::telemetry::{Kind, table};

/// What a page says of one metric.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) help: String,
    pub(crate) kind: String,
    /// The names of the labels that samples have, `le` aside.
    pub(crate) labels: BTreeSet<String>,
    pub(crate) samples: usize,
}

/// The metric that a sample belongs to: a histogram's samples have names of their own.
pub(crate) fn family(sample: &str) -> &str {
    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| sample.strip_suffix(suffix));
    let is_one = |name: &&str| {
        table::all().any(|metric| metric.name == *name && matches!(metric.kind, Kind::Histogram(_)))
    };
    of_histogram.filter(is_one).unwrap_or(sample)
}

/// The metrics of a page by name.
pub(crate) fn parse(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.help.is_empty(), "{name} is described twice");
            help.clone_into(&mut family.help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.kind.is_empty() && family.samples == 0, "{name} has two types");
            kind.clone_into(&mut family.kind);
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            assert!(value.parse::<f64>().is_ok(), "no number: {line}");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let family = families.entry(family(name).to_owned()).or_default();
            family.samples += 1;
            family.labels.extend(label_names(labels.strip_suffix('}').unwrap()));
        }
    }
    families
}

fn label_names(labels: &str) -> Vec<String> {
    let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
    let names = pairs.map(|pair| pair.split_once("=\"").unwrap_or_else(|| panic!("{labels}")).0.to_owned());
    names.filter(|name| name != "le").collect()
}
