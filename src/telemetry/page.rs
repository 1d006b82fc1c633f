//! The text that `/metrics` answers: what the recorder has, and what is so at the moment of asking.

use super::metric::Metric;
use std::fmt::{Display, Write};

/// The content type of Prometheus' text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What knows figures that are asked for and not counted. It may read files: it is asked on a thread that may block.
pub trait Source: Send + Sync {
    /// Writes them.
    fn write(&self, page: &mut Page);
}

/// The text, as far as it is written.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// A page that begins with what the recorder has.
    #[must_use]
    pub fn after(recorded: String) -> Self {
        let mut text = recorded;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Self(text)
    }

    /// One value without labels.
    pub fn value(&mut self, metric: &Metric, value: impl Display) {
        debug_assert!(metric.labels.is_empty(), "{}", metric.name);
        self.header(metric);
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "{} {value}", metric.name);
    }

    /// One value for each value of the metric's one label. Without any, the metric is not shown.
    pub fn by_label<L: AsRef<str>, V: Display>(
        &mut self,
        metric: &Metric,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        debug_assert_eq!(metric.labels.len(), 1, "{}", metric.name);
        let label = metric.labels.first().copied().unwrap_or_default();
        let mut is_first = true;
        for (of, value) in values {
            if std::mem::take(&mut is_first) {
                self.header(metric);
            }
            let _ = writeln!(self.0, "{}{{{label}=\"{}\"}} {value}", metric.name, escaped(of.as_ref()));
        }
    }

    fn header(&mut self, metric: &Metric) {
        let Metric { name, kind, help, .. } = metric;
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
    }

    /// The whole text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn a_value_stands_below_its_help_and_its_type() {
        let mut page = Page::after("recorded 1".to_owned());
        page.value(&table::RAFT_TERM, 3);
        let text = page.into_text();
        let lines: Vec<&str> = text.lines().collect();
        let help = format!("# HELP zkpnet_raft_term {}", table::RAFT_TERM.help);
        assert_eq!(lines, ["recorded 1", &help, "# TYPE zkpnet_raft_term gauge", "zkpnet_raft_term 3"]);
    }

    #[test]
    fn a_labels_value_cannot_break_out_of_its_quotes() {
        let mut page = Page::default();
        page.by_label(&table::RAFT_PEER_UP, [("a\"b\\c\nd", 1)]);
        assert!(page.into_text().ends_with("zkpnet_raft_peer_up{peer=\"a\\\"b\\\\c\\nd\"} 1\n"));
    }

    #[test]
    fn a_metric_without_values_is_not_shown() {
        let mut page = Page::default();
        page.by_label::<&str, u64>(&table::RAFT_PEER_UP, []);
        assert_eq!(page.into_text(), "");
    }
}
