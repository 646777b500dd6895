#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs report.py on figures that are right and on figures that are not.

usage: report_test.py BENCHMARK

The benchmark is a program whose real figures, of a quick run, are reported as well.
"""

import copy
import html.parser
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

REPORT = pathlib.Path(__file__).parent / "report.py"
BENCHMARK = None  # main() has it from the command line


def subject(name, role, samples, **more):
    ordered = sorted(samples)
    figures = {
        "name": name,
        "role": role,
        "median": ordered[len(ordered) // 2],
        "best": ordered[0],
        "worst": ordered[-1],
        "low": ordered[0],
        "high": ordered[-1],
        "ratio": 1.5,
        "to_peer": 0.25,
        "samples": samples,
    }
    return figures | more


def comparison(what, subjects, **more):
    figures = {
        "what": what,
        "metric": "each",
        "unit": "ns",
        "better": "less",
        "rounds": 3,
        "subjects": subjects,
    }
    return figures | more


def benchmark(name, comparisons, **more):
    figures = {
        "benchmark": name,
        "title": "a <title> & more",
        "format": 1,
        "date": "2026-01-02T03:04:05Z",
        "uco": "0.1.0",
        "processor": "A Processor",
        "processors": 2,
        "system": "Linux 6.1",
        "compiler": "cc 1",
        "peers": "Peer 1.0",
        "quick": False,
        "rounds": 3,
        "comparisons": comparisons,
        "correct": True,
    }
    return figures | more


GOOD = benchmark(
    "bench_good",
    [
        comparison(
            "work",
            [
                subject("floor: plain C", "floor", [1.0, 1.1, 1.2]),
                subject("uco", "uco", [1.5, 1.6, 1.7]),
                subject("Slow", "peer", [6.0, 6.4, 6.8]),
                subject("Slower", "peer", [600.0, 640.0, 680.0]),
                {"name": "Absent", "role": "peer", "skipped": "it is not <here>"},
            ],
        )
    ],
)


class Page(html.parser.HTMLParser):
    """Every element is closed, the identifiers differ, and nothing comes from elsewhere."""

    EMPTY = {"meta", "path", "rect"}

    def __init__(self):
        super().__init__()
        self.open = []
        self.identifiers = []
        self.charts = 0
        self.texts = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert tag not in ("script", "link", "img", "iframe"), tag
        assert attributes.get("href", "#").startswith("#"), attributes
        if "id" in attributes:
            self.identifiers.append(attributes["id"])
        self.charts += tag == "svg"
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in self.EMPTY, tag

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.texts.append(data)


class Report(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.path = pathlib.Path(self.directory.name)

    def write(self, name, figures):
        path = self.path / f"{name}.json"
        path.write_text(figures if isinstance(figures, str) else json.dumps(figures))
        return path

    def report(self, *paths):
        """The exit status and what was printed; the page and the JSON are read and checked."""
        run = subprocess.run(
            [sys.executable, REPORT, "--into", self.path / "out", *paths],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(run.stderr, "")
        self.json = json.loads((self.path / "out" / "report.json").read_text())
        self.page = Page()
        self.page.feed((self.path / "out" / "report.html").read_text(encoding="utf-8"))
        self.page.close()
        self.assertEqual(self.page.open, [])
        table = (self.path / "out" / "report.md").read_text(encoding="utf-8").splitlines()
        rows = [line for line in table if line.startswith("|")]
        self.assertEqual({line.replace("\\|", "").count("|") for line in rows}, {7})
        self.assertEqual(len(self.page.identifiers), len(set(self.page.identifiers)))
        return run.returncode, run.stdout

    def assert_failed(self, figures, reason):
        """With this reason; a benchmark beside it is reported all the same."""
        status, table = self.report(self.write("bad", figures), self.write("good", GOOD))
        self.assertEqual(status, 1)
        self.assertIn(reason, self.json["failed"][0]["reason"])
        self.assertIn(f"FAILED {self.json['failed'][0]['benchmark']}: ", table)
        self.assertIn("bench_good", [figures["benchmark"] for figures in self.json["benchmarks"]])

    def changed(self, change):
        figures = copy.deepcopy(GOOD) | {"benchmark": "bench_changed"}
        change(figures)
        return figures

    def test_a_good_benchmark_is_a_line_and_a_chart(self):
        status, table = self.report(self.write("good", GOOD))
        self.assertEqual(status, 0)
        self.assertRegex(table, r"work +1\.10 +1\.60 ns +1\.50 +0\.25 +Slow\n")
        self.assertEqual(self.page.charts, 1)
        self.assertEqual(self.json["failed"], [])
        self.assertEqual(self.json["benchmarks"], [GOOD])

    def test_text_is_escaped(self):
        self.report(self.write("good", GOOD))
        text = "".join(self.page.texts)
        self.assertIn("a <title> & more", text)
        self.assertIn("Absent: skipped, it is not <here>.", text)

    def test_a_wide_spread_is_drawn_logarithmically_and_says_so(self):
        self.report(self.write("good", GOOD))
        self.assertIn("logarithmic", "".join(self.page.texts))
        narrow = self.changed(lambda figures: figures["comparisons"][0]["subjects"].pop(3))
        self.report(self.write("narrow", narrow))
        self.assertNotIn("logarithmic", "".join(self.page.texts))

    def test_of_a_rate_the_highest_is_the_best_peer(self):
        rate = self.changed(lambda figures: figures["comparisons"][0].update(better="more"))
        _, table = self.report(self.write("rate", rate))
        self.assertIn("Slower", table)
        self.assertIn("More is better of ns.", table)

    def test_without_a_floor_the_ratio_is_to_the_first(self):
        ways = [subject("uco: one", "uco", [4, 4, 4]), subject("uco: two", "uco", [6, 6, 6])]
        figures = benchmark("bench_ways", [comparison("work", ways)])
        _, table = self.report(self.write("ways", figures))
        self.assertRegex(table, r"uco: one +- +4\.00 ns +- ")
        self.assertRegex(table, r"uco: two +- +6\.00 ns +1\.50 ")

    def test_zeros_and_missing_ratios_are_no_trouble(self):
        nothing = subject("uco", "uco", [0, 0, 0], ratio=None, to_peer=None)
        floor = subject("floor", "floor", [0, 0, 0], ratio=None, to_peer=None)
        figures = benchmark("bench_zero", [comparison("nothing", [floor, nothing])])
        status, table = self.report(self.write("zero", figures))
        self.assertEqual(status, 0)
        self.assertRegex(table, r"nothing +0\.000 +0\.000 ns +- +- +-\n")

    def test_all_skipped_is_no_trouble(self):
        skipped = {"name": "floor", "role": "floor", "skipped": "not here"}
        figures = benchmark("bench_none", [comparison("nothing", [skipped])])
        self.assertEqual(self.report(self.write("none", figures))[0], 0)
        self.assertEqual(self.page.charts, 0)

    def test_a_missing_file_is_a_failure(self):
        status, table = self.report(self.path / "bench_gone.json", self.write("good", GOOD))
        self.assertEqual(status, 1)
        self.assertIn("FAILED bench_gone: it wrote no figures", table)
        self.assertEqual(self.page.charts, 1)

    def test_nothing_but_failures_is_still_a_page(self):
        self.assertEqual(self.report(self.path / "bench_gone.json")[0], 1)
        self.assertIn("bench_gone failed:", "".join(self.page.texts))

    def test_what_is_not_json_is_a_failure(self):
        for text in ("", json.dumps(GOOD)[:-40], "no figures"):
            self.assert_failed(text, "not JSON, so it ended early")

    def test_what_is_no_report_is_a_failure(self):
        self.assert_failed([], "the file is no object")
        self.assert_failed({}, "'benchmark'")
        self.assert_failed(GOOD | {"format": 2}, "format is not 1")
        self.assert_failed(GOOD | {"rounds": 0}, "number of rounds")
        self.assert_failed(GOOD | {"comparisons": [None]}, "a comparison is no object")

    def test_wrong_samples_are_a_failure(self):
        def samples(value):
            def change(figures):
                figures["comparisons"][0]["subjects"][1]["samples"] = value

            return self.changed(change)

        self.assert_failed(samples([1, 2]), "work: uco has 2 samples instead of 3")
        self.assert_failed(samples([1, 2, None]), "a sample that is no number")
        self.assert_failed(samples([1, 2, float("nan")]), "a sample that is no number")
        self.assert_failed(samples("1 2 3"), "'samples'")

    def test_an_unknown_role_is_a_failure(self):
        def change(figures):
            figures["comparisons"][0]["subjects"][0]["role"] = "judge"

        self.assert_failed(self.changed(change), "'judge' is no role")

    def test_wrong_counts_are_a_failure_that_is_shown(self):
        def change(figures):
            figures["correct"] = False
            figures["comparisons"][0]["subjects"][3] = {
                "name": "Slower",
                "role": "peer",
                "wrong": True,
            }

        self.assert_failed(self.changed(change), "the counts are wrong: work: Slower")
        self.assertEqual(self.page.charts, 2)

    def test_one_who_says_that_it_is_wrong_is_believed(self):
        liar = GOOD | {"benchmark": "bench_liar", "correct": False}
        self.assert_failed(liar, "the counts are wrong")

    def test_the_same_benchmark_twice_is_a_failure(self):
        status, _ = self.report(self.write("good", GOOD), self.write("again", GOOD))
        self.assertEqual(status, 1)
        self.assertIn("bench_good is there already", self.json["failed"][0]["reason"])

    def test_real_figures_are_reported(self):
        path = self.path / "real.json"
        subprocess.run(
            [BENCHMARK, "--quick", "--rounds", "3", "--json", path],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        status, _ = self.report(path)
        self.assertEqual(status, 0)
        self.assertEqual(self.json["benchmarks"][0]["rounds"], 3)
        self.assertGreater(self.page.charts, 0)
        self.assertIn("A quick run:", "".join(self.page.texts))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: report_test.py BENCHMARK")
    BENCHMARK = sys.argv.pop()
    unittest.main()
