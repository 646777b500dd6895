#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts together what benchmarks wrote with --json: one JSON file, one page, a table to stdout.

usage: report.py --into DIRECTORY FILE...

A file that is missing, unfinished or not what a benchmark writes is a benchmark that failed: the
report says so, has all the others, and the exit status is 1.
"""

import argparse
import html
import json
import math
import pathlib
import sys

FORMAT = 1
ROLES = ("floor", "uco", "peer", "other")
# The values of a chart that spread wider than this are drawn to a logarithmic scale.
LINEAR_SPREAD_MAX = 50


class Bad(Exception):
    """Why a file is no report of a benchmark."""


# --- reading ---


def need(condition, reason):
    if not condition:
        raise Bad(reason)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def check_members(thing, what, /, **kinds):
    need(isinstance(thing, dict), f"{what} is no object")
    for name, kind in kinds.items():
        need(isinstance(thing.get(name), kind), f"{what} has no '{name}', or a wrong one")


def check_subject(subject, what, rounds):
    check_members(subject, f"a subject of {what}", name=str, role=str)
    what = f"{what}: {subject['name']}"
    need(subject["role"] in ROLES, f"{what}: '{subject['role']}' is no role")
    if "skipped" in subject or "wrong" in subject:
        return
    check_members(subject, what, samples=list)
    samples = subject["samples"]
    need(len(samples) == rounds, f"{what} has {len(samples)} samples instead of {rounds}")
    need(all(map(is_number, samples)), f"{what} has a sample that is no number")
    for name in ("median", "best", "worst", "low", "high"):
        need(is_number(subject.get(name)), f"{what}: its '{name}' is no number")
    for name in ("ratio", "to_peer"):
        ratio = subject.get(name)
        need(ratio is None or is_number(ratio), f"{what}: its '{name}' is no number")


def check_comparison(comparison):
    check_members(
        comparison, "a comparison", what=str, metric=str, unit=str, better=str, subjects=list
    )
    what = comparison["what"]
    need(comparison["better"] in ("more", "less"), f"{what}: better is 'more' or 'less'")
    need(is_count(comparison.get("rounds")), f"{what} has no number of rounds")
    need(comparison["subjects"], f"{what} has no subjects")
    for subject in comparison["subjects"]:
        check_subject(subject, what, comparison["rounds"])


def load(path):
    """What one benchmark wrote; raises Bad."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Bad("it wrote no figures") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Bad(f"its figures cannot be read: {error}") from None
    try:
        figures = json.loads(text)
    except ValueError as error:
        raise Bad(f"its figures are not JSON, so it ended early: {error}") from None
    check_members(
        figures,
        "the file",
        benchmark=str,
        title=str,
        date=str,
        uco=str,
        processor=str,
        system=str,
        compiler=str,
        peers=str,
        quick=bool,
        comparisons=list,
        correct=bool,
    )
    need(figures.get("format") == FORMAT, f"its format is not {FORMAT}")
    need(is_count(figures.get("rounds")), "it has no number of rounds")
    need(is_count(figures.get("processors")), "it has no number of processors")
    for comparison in figures["comparisons"]:
        check_comparison(comparison)
    return figures


def wrong_counts(figures):
    """The subjects whose counts were wrong, as text."""
    return [
        f"{comparison['what']}: {subject['name']}"
        for comparison in figures["comparisons"]
        for subject in comparison["subjects"]
        if "wrong" in subject
    ]


def merge(paths):
    """The whole report: the benchmarks that can be shown, and the reasons of those that failed."""
    benchmarks, failed = [], []
    for path in paths:
        try:
            figures = load(path)
            names = [others["benchmark"] for others in benchmarks]
            need(figures["benchmark"] not in names, f"{figures['benchmark']} is there already")
        except Bad as reason:
            failed.append({"benchmark": path.stem, "reason": str(reason)})
            continue
        benchmarks.append(figures)
        # One comparison has an entry for each metric, and the same wrong counts in all.
        wrong = list(dict.fromkeys(wrong_counts(figures)))
        if wrong or not figures["correct"]:
            reason = "the counts are wrong: " + (", ".join(wrong) or "it does not say of what")
            failed.append({"benchmark": figures["benchmark"], "reason": reason})
    return {"format": FORMAT, "benchmarks": benchmarks, "failed": failed}


# --- what is said of a comparison ---


def measured(comparison):
    return [subject for subject in comparison["subjects"] if "samples" in subject]


def best_peer(comparison):
    """As the benchmark chose it: by the median. None without peers."""
    peers = [subject for subject in measured(comparison) if subject["role"] == "peer"]
    pick = max if comparison["better"] == "more" else min
    return pick(peers, key=lambda peer: peer["median"], default=None)


def standings(figures):
    """A line of the summary for each of uco's ways in each comparison and metric."""
    metrics = {}
    for comparison in figures["comparisons"]:
        metrics.setdefault(comparison["what"], []).append(comparison["metric"])
    for index, comparison in enumerate(figures["comparisons"]):
        subjects = measured(comparison)
        ways = [subject for subject in subjects if subject["role"] == "uco"]
        first = comparison["subjects"][0]
        name = comparison["what"]
        if len(metrics[name]) > 1:
            name += f", {comparison['metric']}"
        for way in ways:
            yield {
                "name": name,
                "way": way["name"] if len(ways) > 1 else None,
                "index": index,
                "comparison": comparison,
                # There may be none: then the ratio is to another first subject.
                "floor": first if first in subjects and first["role"] == "floor" else None,
                "ratio": None if first is way else way["ratio"],
                "uco": way,
                "peer": best_peer(comparison),
            }


def number(value):
    """Three digits that mean something, as far as they go."""
    magnitude = abs(value)
    digits = 3 if magnitude < 1 else 2 if magnitude < 10 else 1 if magnitude < 1000 else 0
    return f"{value:,.{digits}f}"


def text_cut(text, length=43):
    return text if len(text) <= length else text[: length - 1] + "…"


def ratio_text(ratio):
    return "-" if ratio is None else f"{ratio:,.{2 if abs(ratio) < 100 else 0}f}"


# --- the table ---


def table_line(standing):
    unit, way = standing["comparison"]["unit"], standing["way"]
    floor, uco, peer = standing["floor"], standing["uco"], standing["peer"]

    return (
        f"  {text_cut('  ' + way if way else standing['name'], 41):<41}"
        f" {number(floor['median']) if floor else '-':>9} {number(uco['median']):>9} {unit:<4}"
        f" {ratio_text(standing['ratio']):>6} {ratio_text(uco['to_peer']):>6}"
        f"  {peer['name'] if peer else '-'}"
    )


def table_print(report):
    heading = f"{'floor':>9} {'uco':>9} {'':4} {'ratio':>6} {'peer':>6}  the best peer"
    more_is_better = set()

    for figures in report["benchmarks"]:
        lines = list(standings(figures))
        if not lines:
            continue
        print(f"\n{figures['benchmark']:<43} {heading}")
        group = None
        for standing in lines:
            if standing["way"] and standing["name"] != group:
                print(f"  {standing['name']}")
            group = standing["name"]
            print(table_line(standing))
            if standing["comparison"]["better"] == "more":
                more_is_better.add(standing["comparison"]["unit"])
    print("\nMedians, and the ratios of uco to the floor and to the best peer.", end="")
    if more_is_better:
        print(f" More is better of {' and '.join(sorted(more_is_better))}.", end="")
    print()
    for failure in report["failed"]:
        print(f"FAILED {failure['benchmark']}: {failure['reason']}")


# --- Markdown ---


def cell(text):
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def markdown_line(standing):
    unit, way = standing["comparison"]["unit"], standing["way"]
    floor, uco, peer = standing["floor"], standing["uco"], standing["peer"]
    name = f"{standing['name']}: {way.removeprefix('uco: ')}" if way else standing["name"]
    cells = (
        cell(name),
        f"{number(floor['median'])}" if floor else "-",
        f"{number(uco['median'])} {cell(unit)}",
        ratio_text(standing["ratio"]),
        f"{cell(peer['name'])} {number(peer['median'])}" if peer else "-",
        ratio_text(uco["to_peer"]),
    )
    return f"| {' | '.join(cells)} |"


def markdown(report):
    """The table for a document."""
    benchmarks = report["benchmarks"]
    lines = []
    if benchmarks:
        figures = benchmarks[0]
        lines += [
            f"{figures['processors']} × {figures['processor']}, {figures['system']}, {figures['compiler']};"
            f" uco {figures['uco']}, {figures['date'][:10]}; {figures['peers'] or 'no peers'}.",
            "",
        ]
    lines += ["| | floor | uco | to floor | best peer | to it |", "|---|---:|---:|---:|---|---:|"]
    for figures in benchmarks:
        rows = [markdown_line(standing) for standing in standings(figures)]
        if rows:
            lines += [f"| **{cell(figures['title'])}** | | | | | |", *rows]
    return "\n".join(lines) + "\n"


# --- charts ---

WIDTH = 940
LABELS = 292  # the bars begin here
BARS = 390  # and are as wide as that
MEDIANS, RATIOS, TO_PEERS = 776, 856, 932  # where these columns end
LINE = 25  # a subject's height
HEAD = 22
TAIL = 24  # of the axis


def escape(text):
    return html.escape(str(text))


def unit_text(unit):
    return "µs" if unit == "us" else unit


def tick_text(value):
    return f"{value:,.12g}" if value >= 0.001 or value == 0 else f"{value:g}"


class Scale:
    """From values to places. Logarithmic where they spread too far for bars to be compared."""

    def __init__(self, subjects):
        medians = [subject["median"] for subject in subjects]
        low, high = min(medians), max(medians)
        self.logarithmic = low > 0 and high / low > LINEAR_SPREAD_MAX
        # A quartile may be far out: it is cut rather than that all bars get short.
        high = max(high, min(max(subject["high"] for subject in subjects), 1.25 * high))
        if self.logarithmic:
            self.low, self.high = 10 ** math.floor(math.log10(low / 1.5)), high
        else:
            self.low, self.high = 0, high if high > 0 else 1

    def place(self, value):
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = value / self.high
        return LABELS + part * BARS

    def ticks(self):
        if self.logarithmic:
            first, last = round(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        step = 10 ** math.floor(math.log10(self.high))
        for part in (0.1, 0.2, 0.5, 1, 2):
            if self.high / (step * part) <= 6:
                step *= part
                break
        return [step * i for i in range(math.floor(self.high / step) + 1)]


def text_svg(x, y, kind, text):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def axis_svg(scale, bottom):
    parts = []
    for tick in scale.ticks():
        x = scale.place(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {HEAD - 4}V{bottom}"/>')
        parts.append(text_svg(x, bottom + 15, "tick", tick_text(tick)))
    return parts


def whisker_svg(scale, subject, y):
    low, high = scale.place(subject["low"]), scale.place(subject["high"])
    ends = f"M{low:.1f} {y - 3.5:.1f}v7M{high:.1f} {y - 3.5:.1f}v7" if high - low >= 3 else ""
    return f'<path class="whisker" d="M{low:.1f} {y:.1f}H{high:.1f}{ends}"/>'


def subject_svg(scale, comparison, subject, y, with_peers):
    unit = unit_text(comparison["unit"])
    middle, right = y + LINE / 2, scale.place(subject["median"])
    hint = (
        f"{subject['name']}: median {number(subject['median'])} {unit}, quartiles"
        f" {number(subject['low'])} and {number(subject['high'])}, best {number(subject['best'])},"
        f" worst {number(subject['worst'])}"
    )
    kind = subject["role"]
    parts = [
        f'<g class="{kind}"><title>{escape(hint)}</title>',
        f'<rect class="row" x="0" y="{y}" width="{WIDTH}" height="{LINE}"/>',
        text_svg(LABELS - 12, middle + 4, "name", text_cut(subject["name"])),
        f'<rect class="bar" x="{LABELS}" y="{y + 5}" height="{LINE - 10}"'
        f' width="{max(right - LABELS, 1):.1f}" rx="2"/>',
        whisker_svg(scale, subject, middle),
        text_svg(MEDIANS, middle + 4, "value", f"{number(subject['median'])} {unit}"),
        text_svg(RATIOS, middle + 4, "ratio", ratio_text(subject["ratio"])),
    ]
    if with_peers:
        parts.append(text_svg(TO_PEERS, middle + 4, "ratio", ratio_text(subject["to_peer"])))
    return parts + ["</g>"]


def chart_svg(comparison):
    subjects = measured(comparison)
    scale = Scale(subjects)
    bottom = HEAD + LINE * len(subjects)
    with_peers = best_peer(comparison) is not None
    first = comparison["subjects"][0]
    label = f"{comparison['what']}: {comparison['metric']}, {unit_text(comparison['unit'])}"
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {bottom + TAIL}" role="img" aria-label="{escape(label)}">',
        text_svg(MEDIANS, 11, "head", "median"),
        text_svg(RATIOS, 11, "head", "to floor" if first["role"] == "floor" else "to first"),
    ]
    if with_peers:
        parts.append(text_svg(TO_PEERS, 11, "head", "to peer"))
    parts += axis_svg(scale, bottom)
    for i, subject in enumerate(subjects):
        parts += subject_svg(scale, comparison, subject, HEAD + LINE * i, with_peers)
    return "".join(parts) + "</svg>", scale.logarithmic


# --- the page ---

STYLE = (pathlib.Path(__file__).parent / "report.css").read_text(encoding="utf-8")

READING = """
<p>Every chart compares one piece of work. Its <b class="floor-text">floor</b> is the least that
plain C can do it with, written for this comparison and good for nothing else;
<b class="uco-text">uco</b> does it with all of its features on; its
<b class="peer-text">peers</b> are other runtimes, each a program of its own. They took turns, round
after round, on the same processor. A bar is the median of the rounds, the thin line over it
reaches from the lower to the upper quartile. A ratio is the median of the rounds' ratios: to the
floor (or to the chart's first line), and to the peer with the best median. Every subject counted
its work, and the counts were checked.</p>
"""


def notes_html(comparison, logarithmic):
    notes = []
    if logarithmic:
        notes.append("The scale is logarithmic.")
    for subject in comparison["subjects"]:
        if "skipped" in subject:
            notes.append(f"{escape(subject['name'])}: skipped, {escape(subject['skipped'])}.")
        if "wrong" in subject:
            notes.append(
                f'<b class="wrong">{escape(subject["name"])}: its counts did not add up.</b>'
            )
    return f'<p class="notes">{" ".join(notes)}</p>' if notes else ""


def comparison_html(figures, index, comparison):
    unit = unit_text(comparison["unit"])
    chart, logarithmic = "", False
    if measured(comparison):
        chart, logarithmic = chart_svg(comparison)
    rounds = ""
    if comparison["rounds"] != figures["rounds"]:
        rounds = f", {comparison['rounds']} round{'s' if comparison['rounds'] > 1 else ''}"
    return (
        f'<figure id="{escape(figures["benchmark"])}-{index}">'
        f"<figcaption>{escape(comparison['what'])}"
        f" <span>{escape(comparison['metric'])}, {escape(unit)};"
        f" {comparison['better']} is better{rounds}</span></figcaption>"
        f'<div class="scroll">{chart}</div>{notes_html(comparison, logarithmic)}</figure>'
    )


def benchmark_html(figures):
    charts = "".join(
        comparison_html(figures, index, comparison)
        for index, comparison in enumerate(figures["comparisons"])
    )
    return (
        f'<section id="{escape(figures["benchmark"])}"><h2>{escape(figures["benchmark"])}'
        f" <span>{escape(figures['title'])}</span></h2>{charts}</section>"
    )


def ratio_html(ratio, comparison):
    """In green where uco is ahead."""
    if ratio is None:
        return "<td>-</td>"
    ahead = ratio > 1 if comparison["better"] == "more" else ratio < 1
    return f'<td class="{"ahead" if ahead else "behind"}">{ratio_text(ratio)}</td>'


def standing_html(figures, standing):
    comparison, floor, uco = standing["comparison"], standing["floor"], standing["uco"]
    unit = unit_text(comparison["unit"])
    peer, name = standing["peer"], standing["name"]
    if standing["way"]:
        name += f": {standing['way']}"
    return (
        f'<tr><th scope="row"><a href="#{escape(figures["benchmark"])}-{standing["index"]}">'
        f"{escape(name)}</a></th>"
        f"<td>{number(floor['median']) if floor else '-'}</td>"
        f"<td>{number(uco['median'])}</td>"
        f'<td class="unit">{escape(unit)}{" ↑" if comparison["better"] == "more" else ""}</td>'
        f"<td>{ratio_text(standing['ratio'])}</td>"
        f"{ratio_html(uco['to_peer'], comparison)}"
        f'<td class="peer-name">{escape(peer["name"]) if peer else "-"}</td></tr>'
    )


def summary_html(report):
    bodies = ""
    for figures in report["benchmarks"]:
        rows = "".join(standing_html(figures, standing) for standing in standings(figures))
        if rows:
            name = escape(figures["benchmark"])
            bodies += (
                f'<tbody><tr class="group"><th colspan="7"><a href="#{name}">{name}</a>'
                f" <span>{escape(figures['title'])}</span></th></tr>{rows}</tbody>"
            )
    if not bodies:
        return ""
    return (
        '<div class="scroll"><table><thead><tr><th></th><th>floor</th><th>uco</th><th></th>'
        '<th>to floor</th><th>to peer</th><th class="peer-name">best peer</th></tr></thead>'
        f"{bodies}</table></div>"
        '<p class="notes">Medians. Without a floor the ratio is to the first line of the chart. '
        'Of a unit with an arrow more is better, of all others less. '
        'A ratio to the best peer is <span class="ahead">green</span> where uco is ahead.</p>'
    )


def machine_html(figures):
    facts = {
        "uco": figures["uco"],
        "when": figures["date"].replace("T", " ").replace("Z", " UTC"),
        "machine": f"{figures['processors']} × {figures['processor']}",
        "system": figures["system"],
        "compiler": figures["compiler"],
        "peers": figures["peers"] or "none were there when this was built",
        "rounds": figures["rounds"],
    }
    items = "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items())
    return f"<dl>{items}</dl>"


def page(report):
    benchmarks = report["benchmarks"]
    warnings = "".join(
        f'<p class="failed"><b>{escape(failure["benchmark"])} failed:</b>'
        f" {escape(failure['reason'])}</p>"
        for failure in report["failed"]
    )
    if any(figures["quick"] for figures in benchmarks):
        warnings += (
            '<p class="quick"><b>A quick run:</b> a hundredth of the work in few rounds. The'
            " orders of magnitude are right, the figures are not worth quoting.</p>"
        )
    machine = machine_html(benchmarks[0]) if benchmarks else ""
    sections = "".join(map(benchmark_html, benchmarks))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>uco: benchmarks</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>uco, beside its floor and its peers</h1>\n{machine}\n{warnings}\n{READING}\n"
        f"{summary_html(report)}\n{sections}\n</main>\n</body>\n</html>\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", required=True, type=pathlib.Path, metavar="DIRECTORY")
    parser.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE")
    arguments = parser.parse_args()

    report = merge(arguments.files)
    try:
        arguments.into.mkdir(parents=True, exist_ok=True)
        (arguments.into / "report.json").write_text(
            json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        (arguments.into / "report.html").write_text(page(report), encoding="utf-8")
        (arguments.into / "report.md").write_text(markdown(report), encoding="utf-8")
    except OSError as error:
        sys.exit(f"report.py: {error}")
    table_print(report)
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
