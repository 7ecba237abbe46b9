"""stile bench: every output form, comparing, and command lines that make no sense."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import time
import unittest

from common import MODEL, STILE, CliTest, model_path

FAILED, USAGE = 1, 2
SMALL = ["-p", "16", "-n", "4", "-r", "2"]


class Bench(CliTest):
    def bench(self, *more, **keywords):
        return self.stile("bench", MODEL, *SMALL, *more, **keywords)[0]

    def test_table(self):
        out, err = self.stile("bench", MODEL, *SMALL)
        lines = out.splitlines()
        self.assertRegex(lines[0], r"^model +format +size +threads +batch +test +t/s +GB/s +limit +runs$")
        self.assertRegex(lines[1], r"^Smollm2.* Q4_1 .* MiB .* pp16 +[\d.]+ ± [\d.]+ +[\d.]+ +(-|\d+ %) +2$")
        self.assertRegex(lines[2], r"^Smollm2.* tg4 +[\d.]+ ± [\d.]+ +[\d.]+ +\d+ % +2$")
        self.assertEqual(err, "")

    def test_markdown(self):
        lines = self.bench("--md").splitlines()[:4]
        self.assertEqual({line.count("|") for line in lines}, {11})
        self.assertRegex(lines[1], r"^(\| :?---:? )+\|$")

    def test_json(self):
        records = json.loads(self.bench("--json", "-t", "1,2"))
        self.assertEqual([(r["test"], r["threads"]) for r in records], [("pp16", 1), ("tg4", 1), ("pp16", 2), ("tg4", 2)])
        for record in records:
            samples = sorted(record["tokens_per_s_samples"])
            self.assertEqual(len(samples), 2)
            self.assertAlmostEqual(record["tokens_per_s"], sum(samples) / 2, 3)
            self.assertEqual((record["min"], record["max"]), (samples[0], samples[1]))
            self.assertEqual((record["format"], record["kv"], record["metric"]), ("Q4_1", "f16", "tokens_per_s"))
            self.assertAlmostEqual(record["rate_bytes_per_s"] / (record["bytes_per_token"] * record["tokens_per_s"]), 1, 6)
            self.assertGreater(record["peak_memory_bytes"], 50e6)
            self.assertRegex(record["file_hash"], r"^fnv1a64:[0-9a-f]{16}$")
            self.assertRegex(record["time"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
            for name in ["cpu", "n_processors", "memory_bytes", "kernel", "governor", "isa", "read_bytes_per_s", "cache_bytes", "large_pages"]:
                self.assertIn(name, record["machine"])
            if record["test"] == "tg4":
                limits = record["limit_samples"]
                self.assertEqual((record["limit"], len(limits)), ("memory", 2))
                self.assertAlmostEqual(record["limit_bytes_per_s"] / (sum(limits) / 2), 1, 6)
                self.assertAlmostEqual(record["share_of_limit"] / (record["rate_bytes_per_s"] / record["limit_bytes_per_s"]), 1, 6)
            else:
                self.assertIn(record["limit"], [None, "arithmetic"])
                self.assertEqual(record["share_of_limit"] is None, record["limit"] is None)
        # one token reads the weights once: all but the unused rows of the embedding, which is the output matrix too
        size = model_path().stat().st_size
        self.assertGreater(records[1]["bytes_per_token"], 0.8 * size)
        self.assertLess(records[1]["bytes_per_token"], 1.1 * size)

    def test_jsonl_and_csv(self):
        lines = self.bench("--jsonl").splitlines()
        self.assertEqual([json.loads(line)["test"] for line in lines], ["pp16", "tg4"])
        rows = list(csv.DictReader(io.StringIO(self.bench("--csv"))))
        self.assertEqual([row["test"] for row in rows], ["pp16", "tg4"])
        self.assertEqual(len(rows[0]["samples"].split()), 2)
        self.assertGreater(float(rows[1]["tokens_per_s"]), 0)
        self.assertNotIn(None, rows[0])

    def test_depth(self):
        records = json.loads(self.bench("--json", "-p", "0", "-d", "0,64"))
        self.assertEqual([r["test"] for r in records], ["tg4", "tg4@d64"])
        # 30 layers, 3 heads of 64 for keys and for values, 2 bytes each
        self.assertAlmostEqual(records[1]["bytes_per_token"] - records[0]["bytes_per_token"], 64 * 30 * 2 * 3 * 64 * 2, delta=2)

    def test_start(self):
        records = json.loads(self.bench("--json", "--start", "-p", "0", "-n", "0"))
        self.assertEqual([r["test"] for r in records], ["load", "first-token"])
        self.assertLess(records[0]["seconds"], records[1]["seconds"])
        self.assertIsNone(records[0]["tokens_per_s"])
        records = json.loads(self.bench("--json", "--cold", "-p", "0", "-n", "0"))
        self.assertEqual([r["test"] for r in records], ["load-cold", "first-token-cold"])
        self.assertIn("load", self.bench("--start", "-p", "0"))

    def test_profile(self):
        out = self.bench("--profile", "kinds")
        self.assertRegex(out, r"(?m)^matmul +[\d.]+ +[\d.]+ % +[\d.]+ % +[\d.]+ +[\d.]+ +\d+ %$")
        self.assertIn("tg4: where ", out)
        out = self.bench("--profile=layers", "--md")
        self.assertRegex(out, r"(?m)^\| outside \| ")
        self.assertRegex(out, r"(?m)^\| 29 \| ")
        profile = json.loads(self.bench("--profile=kinds", "--json"))[1]["profile"]
        shares = [kind["share"] for kind in profile["kinds"]]
        self.assertAlmostEqual(sum(shares), 1, 2)
        self.assertEqual(len(profile["layers"]), 31)
        macs = sum(kind["macs"] for kind in profile["kinds"])
        self.assertAlmostEqual(macs / sum(layer["macs"] for layer in profile["layers"]), 1, 6)

    def test_several_models_take_turns(self):
        records = json.loads(self.stile("bench", MODEL, model_path(), *SMALL, "--json")[0])
        self.assertEqual([r["test"] for r in records], ["pp16", "pp16", "tg4", "tg4"])
        self.assertIsNone(records[0]["ratio_to_first"])
        ratios = sorted(b / a for a, b in zip(records[2]["tokens_per_s_samples"], records[3]["tokens_per_s_samples"]))
        self.assertAlmostEqual(records[3]["ratio_to_first"]["median"], sum(ratios) / 2, 5)
        self.assertIn(" times the first model\n", self.stile("bench", MODEL, MODEL, *SMALL)[0])

    def test_compare(self):
        a, b = self.folder / "a.json", self.folder / "b.jsonl"
        records = json.loads(self.bench("--json"))
        a.write_text(json.dumps(records))
        records[0]["tokens_per_s_samples"] = [10 * x for x in records[0]["tokens_per_s_samples"]]
        b.write_text("".join(json.dumps(record) + "\n" for record in records))
        out, _ = self.stile("bench", "--compare", a, b)
        self.assertRegex(out, r"(?m)pp16 .* 10\.000 \[.*\] +B is faster$")
        self.assertRegex(out, r"(?m)tg4 .* 1\.000 \[.*\] +within noise$")
        pairs = json.loads(self.stile("bench", "--compare", "--json", a, b)[0])["pairs"]
        self.assertEqual([(p["test"], p["faster"]) for p in pairs], [("pp16", "b"), ("tg4", "")])
        self.fails("bench", "--compare", a, status=USAGE, says="two files")
        self.fails("bench", "--compare", a, b, "--csv", status=USAGE, says="--compare")
        self.fails("bench", "--compare", a, self.folder / "none", status=FAILED, says="none: cannot open")
        b.write_text('{"test": 1}')
        self.fails("bench", "--compare", a, b, status=FAILED, says="no record of")

    def test_shapes(self):
        shapes = self.stile("bench", "--shapes")[0].split()
        self.assertIn("smollm2-135m", shapes)
        small = ["--shape", "smollm2-135m", *SMALL, "--json"]
        records = json.loads(self.stile("bench", *small, "--format", "q4_0,q8_0")[0])
        self.assertEqual([(r["test"], r["format"]) for r in records], [(t, f) for t in ("pp16", "tg4") for f in ("Q4_0", "Q8_0")])
        self.assertEqual({(r["shape"], r["path"], r["file_hash"]) for r in records}, {("smollm2-135m", None, None)})
        self.assertLess(records[2]["bytes_per_token"], records[3]["bytes_per_token"])
        file = self.folder / "made.gguf"
        records = json.loads(self.stile("bench", *small, "--format", "q4_0", "--out", file)[0])
        self.assertEqual([(r["format"], r["path"], r["shape"]) for r in records], [("Q4_0", str(file), None)] * 2)
        self.assertIn("Q4_0", self.stile("info", file)[0])
        for more, says in [
            (["--shape", "a,"], "a name is missing"), (["--shape", "a", "--format", "q4_0,,q8_0"], "a name is missing"),
            (["--shape", "smollm2-135m", "--start"], "need files"), ([MODEL, "--out", file], "--out is for one"),
            (["--shape", "a,b", "--out", file], "--out is for one"), (["--shape", ",".join("a" * 17)], "more than 16"),
        ]:  # fmt: skip
            with self.subTest(more=more):
                self.fails("bench", *more, status=USAGE, says=says)
        self.fails("bench", "--shape", "no-such-shape", status=FAILED, says="no-such-shape")
        self.fails("bench", "--shape", "smollm2-135m", "--format", "q99", status=FAILED, says="q99")

    def test_interrupt(self):
        process = subprocess.Popen(
            [STILE, "bench", MODEL, "-p", "16", "-n", "8000", "-r", "2", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, err), (130, b""))
        self.assertEqual([record["test"] for record in json.loads(out)], ["pp16"])

    def test_command_lines(self):
        self.fails("bench", status=USAGE, says="bench needs MODEL")
        for option, value in [
            ("-p", ""), ("-p", "1,"), ("-p", ",1"), ("-p", "1,,2"), ("-p", "1;2"), ("-p", "-1"), ("-n", "x"), ("-t", "0"),
            ("-t", "1,1000"), ("-b", "0"), ("-d", "99999999999999999999"), ("-p", ",".join("1" * 17)), ("-r", "0"),
            ("--spread", "2"), ("--time", "nan"), ("--profile", "all"), ("--kv", "q4"),
        ]:  # fmt: skip
            with self.subTest(option=option, value=value):
                self.fails("bench", MODEL, option, value, status=USAGE, says="--")
        self.fails("bench", MODEL, "--json", "--csv", status=USAGE, says="give one")
        self.fails("bench", MODEL, "--profile", "kinds", "--csv", status=USAGE, says="--json has all of it")
        self.fails("bench", MODEL, "-p", "0", "-n", "0", status=USAGE, says="nothing to measure")
        self.fails("bench", "no/such.gguf", *SMALL, status=FAILED, says="no/such.gguf")
        self.fails("bench", MODEL, "no/such.gguf", *SMALL, "--json", status=FAILED, says="no/such.gguf")
        self.fails("bench", MODEL, "--isa", "vax", *SMALL, status=FAILED, says='no kernels called "vax"')

    def test_no_control_characters_of_the_file_s_name(self):
        path = self.folder / "a\033[31m.gguf"
        os.symlink(model_path(), path)
        out, _ = self.stile("bench", path, *SMALL)
        self.assertFalse(re.search("\033", out))


if __name__ == "__main__":
    unittest.main()
