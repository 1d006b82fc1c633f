//! What this process used: processor time, wall time, the most memory; and which processors it may use.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What one proof used.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of all threads of the process.
    pub cpu_ms: f64,
    /// Time on the wall.
    pub wall_ms: f64,
    /// The most memory that was resident at any moment of it; none where the kernel does not reset its mark.
    pub peak_kib: Option<u64>,
}

/// Runs `work` and says what it used.
///
/// # Errors
/// Those of `work`.
pub fn measured<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Usage)> {
    let marked = reset_peak();
    let (wall, cpu) = (Instant::now(), cpu_time());
    let result = work()?;
    let (wall_ms, cpu_ms) = (millis(wall.elapsed()), millis(cpu_time().saturating_sub(cpu)));
    let peak_kib = if marked { status_kib("VmHWM:") } else { None };
    Ok((result, Usage { cpu_ms, wall_ms, peak_kib }))
}

/// Memory that is resident now.
pub fn resident_kib() -> Option<u64> {
    status_kib("VmRSS:")
}

/// Confines the process to so many of the processors that it may use: a prover whose threads no variable limits is
/// limited too, and what asks for the number of processors finds this one. Called before any thread starts.
///
/// # Errors
/// There are not as many.
pub fn confine(threads: usize) -> anyhow::Result<()> {
    let allowed = sched_getaffinity(None).context("cannot read the processors")?;
    let mut chosen = CpuSet::new();
    // From the last on: interrupts tend to be served by the first.
    let places = (0..CpuSet::MAX_CPU).rev().filter(|place| allowed.is_set(*place)).take(threads);
    places.for_each(|place| chosen.set(place));
    ensure!(chosen.count() as usize == threads, "there are no {threads} processors");
    sched_setaffinity(None, &chosen).context("cannot choose processors")
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // The kernel's clock of a process neither goes back nor below zero.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Lets the mark of the most resident memory begin anew (proc(5), `clear_refs`).
fn reset_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn status_kib(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
