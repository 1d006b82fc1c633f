//! What the operating system says of this process, under the names that every Prometheus client library uses for it.
//!
//! Read from `/proc`, when somebody asks; where there is none, nothing is said.

use super::page::Page;
use super::table;
use std::fs;

/// Writes the figures of this process. Blocks.
pub fn write_process(page: &mut Page) {
    if let Some(figures) = Figures::read() {
        page.value(&table::PROCESS_CPU, figures.cpu_seconds);
        page.value(&table::PROCESS_RESIDENT_MEMORY, figures.resident_bytes);
        page.value(&table::PROCESS_VIRTUAL_MEMORY, figures.virtual_bytes);
        page.value(&table::PROCESS_THREADS, figures.threads);
        if let Some(start) = figures.start_seconds {
            page.value(&table::PROCESS_START_TIME, start);
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // Less the one that reads the folder.
        page.value(&table::PROCESS_OPEN_FDS, entries.count().saturating_sub(1));
    }
    #[cfg(unix)]
    if let Ok((soft, _)) = rlimit::getrlimit(rlimit::Resource::NOFILE) {
        page.value(&table::PROCESS_MAX_FDS, soft);
    }
}

#[derive(Debug, PartialEq)]
struct Figures {
    cpu_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
    threads: u64,
    /// Since 1970.
    start_seconds: Option<f64>,
}

impl Figures {
    #[cfg(target_os = "linux")]
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text));
        let (ticks, page) = (rustix::param::clock_ticks_per_second(), rustix::param::page_size());
        Self::of_stat(&stat, boot, ticks as f64, page as u64)
    }

    #[cfg(not(target_os = "linux"))]
    const fn read() -> Option<Self> {
        None
    }

    /// From `/proc/self/stat`; see proc(5) for the numbers of its fields.
    fn of_stat(stat: &str, boot_seconds: Option<f64>, ticks: f64, page_bytes: u64) -> Option<Self> {
        // The second field is the program's name in parentheses and may hold anything; the third follows the last one.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let (user, system) = (field(14)?, field(15)?);
        let start = field(22)? as f64 / ticks;
        Some(Self {
            cpu_seconds: (user + system) as f64 / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)?.saturating_mul(page_bytes),
            threads: field(20)?,
            start_seconds: boot_seconds.map(|boot| boot + start),
        })
    }
}

/// When the machine was started, from `/proc/stat`.
fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 1000 4096000 25 18446744073709551615 1";
        let figures = Figures::of_stat(stat, boot_time("cpu 1 2\nbtime 5000\n"), 100.0, 4096).unwrap();
        let expected = Figures {
            cpu_seconds: 3.0,
            virtual_bytes: 4_096_000,
            resident_bytes: 25 * 4096,
            threads: 9,
            start_seconds: Some(5010.0),
        };
        assert_eq!(figures, expected);
        assert_eq!(Figures::of_stat("7 (a) S 1", None, 100.0, 4096), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_takes_memory_and_has_begun_in_the_past() {
        let figures = Figures::read().unwrap();
        assert!(figures.resident_bytes > 0 && figures.threads > 0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let start = figures.start_seconds.unwrap();
        assert!(start > 1e9 && start < now.as_secs_f64() + 2.0, "{start}");
    }
}
