"""stile plan --audit: what run and bench keep of predictions and what came of them."""

import json

from common import CliTest, model_path

USAGE = 2


def line(kind, predicted, measured, **more):
    record = {"unix_time_s": 1, "kind": kind, "model": "m", "format": "Q8_0", "predicted": predicted, "measured": measured}
    return json.dumps({**record, "low": predicted / 1.1, "high": predicted * 1.1, **more}) + "\n"


class Audit(CliTest):
    def setUp(self):
        super().setUp()
        self.cache = self.folder / "stile"
        self.cache.mkdir()
        self.records = self.cache / "plans.jsonl"
        self.env = {"XDG_CACHE_HOME": str(self.folder)}

    def audit(self):
        report = json.loads(self.stile("plan", "--audit", "--json", env=self.env)[0])
        return {entry["kind"]: entry for entry in report["here"]}, report["published"]

    def test_errors_of_made_up_records(self):
        lines = [line("decode", p, 100) for p in (101, 90, 105, 150)] + [line("memory", 99, 100), line("memory", 120, 100)]
        lines += ["{}\n", "garbage\n", '{"kind": "decode", "predicted": -1, "measured": 1}\n', "x" * 10000 + "\n"]
        self.records.write_text("".join(lines) + '{"kind": "decode", "pred')
        here, published = self.audit()
        decode = here["decode"]
        self.assertEqual((decode["n"], decode["n_within"]), (4, 2))
        self.assertAlmostEqual(decode["median"], 0.075)
        self.assertAlmostEqual(decode["worst"], 0.5)
        self.assertAlmostEqual(decode["bias"], 0.03)
        self.assertEqual((here["memory"]["n"], here["memory"]["n_under"]), (2, 1))
        self.assertEqual(here["prefill"]["n"], 0)
        self.assertGreaterEqual(sum(entry["n"] for entry in published), 12)
        out = self.stile("plan", "--audit", env=self.env)[0]
        self.assertIn("6 predictions on this machine", out)
        self.assertIn("worst decode: m Q8_0", out)

    def test_nothing_to_audit(self):
        self.assertEqual(self.audit()[0]["decode"]["n"], 0)
        self.fails("plan", status=USAGE, says="MODEL")

    def bench(self, *more):
        arguments = ["bench", model_path(), "-p", "8", "-n", "4", "-r", "1", "-t", "1", "--json", *more]
        return self.stile(*arguments, env=self.env)

    def test_bench_keeps_and_shows(self):
        self.stile("probe", "--time", "0.2", "--disk", self.folder, env=self.env)
        out, err = self.bench("--show-plan")
        for words in ["Fits", "decode", "prefill"]:
            self.assertIn(words, err)
        records = json.loads(out)
        kept = [r for r in records if "predicted" in r]  # none of a test that others disturbed
        for record in kept:
            self.assertGreater(record["predicted"]["value"], 0)
            self.assertGreaterEqual(record["predicted_memory_bytes"], record["peak_memory_bytes"])
        here = self.audit()[0]
        self.assertEqual(here["decode"]["n"] + here["prefill"]["n"], len(kept))
        self.assertEqual(here["memory"]["n_under"], 0)
        err = self.stile("run", "--show-plan", "-n", "2", "-p", "Hello", model_path(), env=self.env)[1]
        self.assertIn("first token after 512", err)


if __name__ == "__main__":
    import unittest

    unittest.main()
