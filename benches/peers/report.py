#!/usr/bin/env python3
"""Turns the lines of `peers measure` into a table and a plot.

    ./report.py target/peers.jsonl                            the table, to standard output
    ./report.py target/peers.jsonl --svg ../../docs/peers.svg --page ../../docs/performance.md

`--svg` draws the plot, `--page` replaces what stands between the page's two `peers` marks. Several files count as one run's.
Python 3.9 or later, nothing else.

What counts is each proof's time divided by arkworks' of the same round; of these ratios the medians and quartiles are
shown. Round 0 warms up and does not count.
"""

import argparse
import collections
import datetime
import html
import json
import math
import statistics
import sys

BASE = "arkworks"
MARKS = ("<!-- peers: begin -->", "<!-- peers: end -->")
NAMES = {
    "bellman-bls12_381": "bellman 0.14, bls12_381",
    "bellman-blstrs": "bellman 0.14, blstrs",
    "bellperson": "bellperson 0.27",
    "arkworks": "arkworks 0.6",
    "arkworks-matrices": "arkworks 0.6, matrices given",
    "zkpnet": "zkpnet",
    "zkpnet-tables": "zkpnet, with tables",
    "zkpnet-avx2": "zkpnet by AVX2 and FMA",
    "zkpnet-avx2-tables": "zkpnet by AVX2 and FMA, with tables",
    "zkpnet-portable": "zkpnet without vectors",
    "zkpnet-portable-tables": "zkpnet without vectors, with tables",
}
COLOURS = {
    "bellman-bls12_381": "#b8b8b8",
    "bellman-blstrs": "#8f8f8f",
    "bellperson": "#c9a66b",
    "arkworks": "#5b7fa6",
    "arkworks-matrices": "#9db8d2",
    "zkpnet": "#c0392b",
    "zkpnet-tables": "#e08283",
    "zkpnet-avx2": "#2e8b57",
    "zkpnet-avx2-tables": "#8fc7a5",
    "zkpnet-portable": "#7d3c98",
    "zkpnet-portable-tables": "#bb9ac8",
}

Summary = collections.namedtuple("Summary", "low median high")


def summary(values):
    """Quartiles and median, between neighbours by straight lines."""
    if len(values) == 1:
        return Summary(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(low, median, high)


class Results:
    """All lines, by circuit, threads and prover, in the order in which they came."""

    def __init__(self, paths):
        self.runs, self.circuits, self.ready = [], {}, {}
        # (circuit, threads) -> prover -> (run, round) -> line: rounds of different runs met different weather.
        self.proofs = collections.defaultdict(lambda: collections.defaultdict(dict))
        for path in paths:
            with open(path, encoding="utf-8") as lines:
                for line in map(json.loads, lines):
                    self.take(line)
        if not self.runs:
            sys.exit("no run in these files")

    def take(self, line):
        kind = line["kind"]
        if kind == "run":
            self.runs.append(line)
        elif kind == "circuit":
            self.circuits[line["circuit"]] = line
        elif kind == "ready":
            self.ready[line["circuit"], line["threads"], line["prover"]] = line
        elif kind == "proof" and line["round"] > 0:
            self.proofs[line["circuit"], line["threads"]][line["prover"]][len(self.runs), line["round"]] = line

    def ratios(self, case, prover, what):
        """The prover's time over arkworks', round by round."""
        base = self.proofs[case].get(BASE, {})
        mine = self.proofs[case][prover]
        return [mine[r][what] / base[r][what] for r in sorted(mine) if r in base]

    def values(self, case, prover, what):
        return [line[what] for line in self.proofs[case][prover].values() if line[what] is not None]


def rows_of(circuit):
    return circuit["constraints"] + circuit["public_inputs"] + 1


def head(results):
    run = results.runs[-1]
    date = datetime.datetime.fromtimestamp(run["unix_seconds"], datetime.timezone.utc)
    loads = sorted(float(run["load"].split()[0]) for run in results.runs)
    load = f"{loads[0]:g}" if len(loads) == 1 else f"{loads[0]:g} to {loads[-1]:g}"
    asm = "with" if all(run["arkworks_asm"] for run in results.runs) else "without"
    rounds = sorted({len(rounds) for case in results.proofs.values() for rounds in case.values()})
    shown = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
    return (
        f"{date.day} {date:%B %Y}, {run['processor']}, {run['processors']} processors, load {load} at the start, "
        f"zkpnet {run['commit']}, arkworks {asm} its assembly, {shown} rounds."
    )


def ratio_text(ratios):
    if not ratios:
        return "–"
    low, median, high = summary(ratios)
    return f"{median:.2f} ({low:.2f}–{high:.2f})"


def table(results):
    lines = [head(results), ""]
    for name, circuit in results.circuits.items():
        cases = sorted(case for case in results.proofs if case[0] == name)
        if not cases:
            continue
        rows = rows_of(circuit)
        domain = f"2^{math.ceil(math.log2(rows))}"
        lines += [f"**{name}** ({rows:,} rows, domain {domain})", ""]
        lines += ["| prover | threads | processor time, ms | over arkworks | wall time, ms | over arkworks | peak, MiB | of it for the proof |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for case in cases:
            for prover in results.proofs[case]:
                if not results.values(case, prover, "cpu_ms"):
                    continue  # The run was ended before it proved.
                cpu = statistics.median(results.values(case, prover, "cpu_ms"))
                wall = statistics.median(results.values(case, prover, "wall_ms"))
                peaks = results.values(case, prover, "peak_kib")
                peak, growth = "–", "–"
                if peaks:
                    peak = f"{max(peaks) / 1024:.0f}"
                    before = results.ready[(*case, prover)]["resident_kib"]
                    # Less than before it: what getting ready had left over was given back meanwhile.
                    growth = f"{(max(peaks) - before) / 1024:.0f}" if before and max(peaks) > before else "–"
                lines.append(
                    f"| {NAMES.get(prover, prover)} | {case[1]} | {cpu:,.0f} | {ratio_text(results.ratios(case, prover, 'cpu_ms'))} "
                    f"| {wall:,.0f} | {ratio_text(results.ratios(case, prover, 'wall_ms'))} | {peak} | {growth} |"
                )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def overview(results):
    """One table of the ratios alone: provers down, circuits across."""
    threads = sorted({case[1] for case in results.proofs})
    lines = []
    # One thread's processor time does not depend on what else runs; with more, how well they are used counts too, and that
    # only the wall knows, which other work on the machine disturbs.
    measures = [(count, "cpu_ms", "processor time") for count in threads]
    measures += [(count, "wall_ms", "wall time") for count in threads if count > 1]
    for count, what, words in measures:
        names = [name for name in results.circuits if (name, count) in results.proofs]
        provers = list(dict.fromkeys(p for name in names for p in results.proofs[name, count]))
        plural = "thread" if count == 1 else "threads"
        lines += [f"{count} {plural}, {words} over arkworks', medians:", ""]
        lines += ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for prover in provers:
            cells = []
            for name in names:
                ratios = results.ratios((name, count), prover, what)
                cells.append(f"{summary(ratios).median:.2f}" if ratios else "–")
            lines.append(f"| {NAMES.get(prover, prover)} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def plot(results):
    """Bars of the medians with quartiles, one panel for each number of threads. Processor time, as other work disturbs it least."""
    bar, gap, label, width, top = 13, 14, 190, 520, 58
    threads = sorted({case[1] for case in results.proofs})
    names = [name for name in results.circuits if any((name, count) in results.proofs for count in threads)]
    provers = list(dict.fromkeys(p for case in results.proofs.values() for p in case))
    drawn = {
        (name, count, prover): summary(ratios)
        for name in names
        for count in threads
        for prover in provers
        if prover in results.proofs.get((name, count), {})
        and (ratios := results.ratios((name, count), prover, "cpu_ms"))
    }
    most = max(s.high for s in drawn.values())
    scale = (width - 60) / most
    group = len(provers) * bar + gap
    height = top + len(names) * group + 60
    total = label + len(threads) * (width + 20)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{total}" height="{height}" fill="white"/>',
    ]

    def text(x, y, words, **style):
        attributes = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
        out.append(f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{html.escape(words)}</text>')

    text(10, 20, "Processor time for one Groth16 proof on BLS12-381, over arkworks 0.6 of the same round: shorter is faster",
         font_size=14, font_weight="bold")
    for place, name in enumerate(names):
        y = top + place * group
        text(label - 10, y + group / 2 - 6, name, text_anchor="end", font_size=12)
        text(label - 10, y + group / 2 + 8, f"{rows_of(results.circuits[name]):,} rows", text_anchor="end", fill="#666")
    for panel, count in enumerate(threads):
        left = label + panel * (width + 20)
        text(left, 44, "1 thread" if count == 1 else f"{count} threads", font_size=12, font_weight="bold")
        bottom = top + len(names) * group - gap + 4
        steps = [step * 0.5 for step in range(int(most / 0.5) + 1)]
        for step in steps:
            x = left + step * scale
            out.append(f'<line x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{bottom}" stroke="{"#888" if step == 1 else "#e4e4e4"}"/>')
            text(x, bottom + 14, f"{step:g}", text_anchor="middle", fill="#666")
        for place, name in enumerate(names):
            for row, prover in enumerate(provers):
                found = drawn.get((name, count, prover))
                if not found:
                    continue
                y = top + place * group + row * bar
                end = left + found.median * scale
                out.append(f'<rect x="{left}" y="{y}" width="{found.median * scale:.1f}" height="{bar - 2}" fill="{COLOURS.get(prover, "#444")}"/>')
                middle = y + (bar - 2) / 2
                out.append(f'<line x1="{left + found.low * scale:.1f}" y1="{middle}" x2="{left + found.high * scale:.1f}" y2="{middle}" stroke="black"/>')
                text(max(end, left + found.high * scale) + 4, y + bar - 4, f"{found.median:.2f}")
    x = label
    for prover in provers:
        name = NAMES.get(prover, prover)
        out.append(f'<rect x="{x}" y="{height - 26}" width="12" height="12" fill="{COLOURS.get(prover, "#444")}"/>')
        text(x + 16, height - 16, name)
        x += 34 + 6.2 * len(name)
    text(10, height - 2, head(results), fill="#666", font_size=9)
    out.append("</svg>")
    return "\n".join(out) + "\n"


def replace_in_page(path, words):
    with open(path, encoding="utf-8") as page:
        old = page.read()
    if not all(old.count(mark) == 1 for mark in MARKS) or old.index(MARKS[0]) > old.index(MARKS[1]):
        sys.exit(f"{path} needs the marks {MARKS[0]} and {MARKS[1]}, each once")
    before, rest = old.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    with open(path, "w", encoding="utf-8") as page:
        page.write(f"{before}{MARKS[0]}\n{words.strip()}\n{MARKS[1]}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="what `peers measure` wrote")
    parser.add_argument("--svg", help="draw the plot into this file")
    parser.add_argument("--page", help="replace the figures in this page")
    args = parser.parse_args()
    results = Results(args.files)
    if args.svg:
        with open(args.svg, "w", encoding="utf-8") as svg:
            svg.write(plot(results))
    if args.page:
        replace_in_page(args.page, f"{head(results)}\n\n{overview(results)}\n<details><summary>Times, spread, memory</summary>\n\n"
                        + table(results).split("\n", 2)[2] + "\n</details>")
    if not args.svg and not args.page:
        print(overview(results))
        print(table(results), end="")


if __name__ == "__main__":
    main()
