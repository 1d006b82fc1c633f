//! The table of metrics as documentation: the generated part of `docs/metrics.md`.

use super::table::SECTIONS;
use std::fmt::Write;

/// All metrics, in Markdown.
#[must_use]
pub fn reference_markdown() -> String {
    let mut text = String::new();
    for (title, metrics) in SECTIONS {
        // Writing to a String cannot fail, here and below.
        let _ = write!(text, "### {title}\n\n");
        text.push_str("| metric | form | labels | on | meaning |\n|---|---|---|---|---|\n");
        for metric in *metrics {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let on: Vec<&str> = metric.on.iter().map(|on| on.as_str()).collect();
            let only = metric.only_with.map(|what| format!(" *Only with {what}.*")).unwrap_or_default();
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {}{only} |",
                metric.name,
                metric.kind.as_str(),
                labels.join(", "),
                on.join(", "),
                metric.help,
            );
        }
        text.push('\n');
    }
    // One line end at the end.
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GENERATED_BELOW: &str = "writes all below this line -->\n\n";

    #[test]
    fn the_page_of_metrics_is_that_of_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        let found = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
        let (prose, _) = found.split_once(GENERATED_BELOW).unwrap();
        let expected = format!("{prose}{GENERATED_BELOW}{}", reference_markdown());
        if std::env::var_os("REGENERATE").is_some() {
            std::fs::write(&path, &expected).unwrap();
        } else {
            assert!(
                found == expected,
                "docs/metrics.md is out of date: REGENERATE=1 cargo test --lib telemetry::"
            );
        }
    }
}
