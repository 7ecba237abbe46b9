"""stile plan: what it says of models that fit, and of those that do not. No speed is ever expected."""

import json
import os
import subprocess
import tempfile

from common import STILE, CliTest, model_path

FAILED, USAGE = 1, 2


class Plan(CliTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="stile-cli-")
        cls.addClassCleanup(folder.cleanup)
        cls.env = {**os.environ, "XDG_CACHE_HOME": folder.name}
        subprocess.run([STILE, "probe", "--time", "0.2"], env=cls.env, check=True, capture_output=True)

    def plan(self, *arguments):
        return json.loads(self.stile("plan", "--json", *arguments, env=self.env)[0])

    def is_estimate(self, estimate):
        self.assertTrue(0 < estimate["low"] <= estimate["value"] <= estimate["high"], estimate)
        self.assertIn(estimate["bound_by"], ["memory", "arithmetic", "overhead", "disk"])

    def test_a_file(self):
        plan = self.plan(model_path(), "--ctx", "1024")
        self.assertTrue(plan["possible"] and plan["fits"])
        self.assertEqual((plan["n_ctx"], plan["n_prompt"], plan["n_depth"]), (1024, 512, 0))
        for name in ["decode_tokens_per_s", "prefill_tokens_per_s"]:
            self.is_estimate(plan[name])
        self.is_estimate(plan["ttft_ms"]["warm"])
        cold = plan["ttft_ms"]["cold"]
        if cold["value"] > 0:  # the disk was measured
            self.assertGreaterEqual(cold["value"], plan["ttft_ms"]["warm"]["value"])
        memory = plan["memory_bytes"]
        self.assertEqual(memory["total"], sum(memory[k] for k in ["weights", "kv", "activations", "overhead"]))
        self.assertEqual(memory["resident"], memory["total"])
        self.assertEqual([tier["name"] for tier in plan["tiers"]], ["memory", "disk"])
        info = json.loads(self.stile("info", "--json", "--ctx", "1024", model_path())[0])
        self.assertEqual(memory["kv"], info["memory"]["kv_bytes"])
        deeper = self.plan(model_path(), "--ctx", "8192", "--depth", "7000")
        self.assertLess(deeper["decode_tokens_per_s"]["value"], plan["decode_tokens_per_s"]["value"])
        self.assertGreater(deeper["memory_bytes"]["kv"], memory["kv"])
        out = self.stile("plan", model_path(), env=self.env)[0]
        for words in ["Fits", "KV cache", "decode", "prefill", "first token after 512", "limited by"]:
            self.assertIn(words, out)
        self.assertNotRegex(out, r"(?m) $")
        small = self.plan(model_path(), "--ctx", "1")
        self.assertEqual((small["n_prompt"], small["n_generated"]), (1, 1))

    def test_a_shape_that_does_not_fit(self):
        plan = self.plan("llama-3.1-70b", "--memory-limit", "8G")
        self.assertTrue(plan["possible"] and not plan["fits"])
        memory, disk = plan["tiers"]
        self.assertEqual(memory["capacity_bytes"], 8_000_000_000)
        weights = memory["weights_bytes"] + disk["weights_bytes"]  # in whole pages
        self.assertTrue(0 <= weights / plan["memory_bytes"]["weights"] - 1 < 0.01, plan)
        # the limit is for the session; the process has some megabytes of its own
        self.assertLessEqual(plan["memory_bytes"]["resident"], 8_020_000_000)
        if disk["read_bytes_per_s"] > 0:
            self.assertEqual(plan["decode_tokens_per_s"]["bound_by"], "disk")
            self.assertIn("memory:", " ".join(change["change"] for change in plan["changes"]))
        plan = self.plan("llama-3.1-70b", "--memory-limit", "100M")
        self.assertFalse(plan["possible"])
        self.assertEqual(plan["decode_tokens_per_s"]["value"], 0)
        self.assertIn("Does not fit", self.stile("plan", "llama-3.1-70b", "--memory-limit", "8G", env=self.env)[0])

    def test_formats(self):
        plans = self.plan("llama-3.2-1b", "--format", "q8_0,q4_k_m")
        self.assertEqual([plan["format"] for plan in plans], ["q8_0", "q4_k_m"])
        self.assertGreater(plans[0]["memory_bytes"]["weights"], 1.5 * plans[1]["memory_bytes"]["weights"])
        # a file in another format is what a shape in that format is
        file, shape = self.plan(model_path(), "--format", "q8_0"), self.plan("smollm2-135m", "--format", "q8_0")
        self.assertEqual(file["memory_bytes"]["weights"], shape["memory_bytes"]["weights"])

    def test_errors(self):
        self.fails("plan", "no-such-model", status=FAILED, says="no-such-model", env=self.env)
        self.fails("plan", model_path(), "--format", "q9", status=FAILED, says="q9", env=self.env)
        self.fails("plan", model_path(), "--format", "q8_0,,", status=USAGE, says="--format", env=self.env)
        for size in ["0", "x", "-1G", "7X", "1e40", "nan"]:
            self.fails("plan", "x", f"--memory-limit={size}", status=USAGE, says="not a size", env=self.env)
        self.fails("plan", status=USAGE, says="MODEL", env=self.env)
        self.fails("plan", model_path(), "-p", "5000", status=USAGE, says="give --ctx 5000", env=self.env)
        self.fails("plan", model_path(), "-d", "4096", status=USAGE, says="give --ctx 4097", env=self.env)
        self.fails("plan", model_path(), "-d", "4000", "-n", "97", status=USAGE, says="give --ctx 4097", env=self.env)
        missing = str(self.folder / "none")
        _, err = self.stile("plan", model_path(), "--svg", missing + "/x.svg", env=self.env, status=FAILED)
        self.assertIn("No such file or directory", err)
        _, err = self.stile("plan", model_path(), "--svg", self.folder, env=self.env, status=FAILED)
        self.assertIn("can be replaced", err)
        for option in [["--ctx", "5"], ["--machine", "this"], ["--format", "q8_0"], ["--svg", "x"], ["--min-tps", "3"]]:
            self.fails("plan", "--audit", *option, status=USAGE, says=f"takes no {option[0]}", env=self.env)
        self.fails("plan", "--audit", model_path(), status=USAGE, says="takes no MODEL", env=self.env)
        self.assertFalse(os.path.exists(missing))
        out = self.stile("plan", model_path(), "--memory-limit", "50M", env=self.env)[0]
        self.assertIn("of 47.7 MiB", out)

    def test_the_screen_is_80_wide(self):
        for arguments in [[], ["--memory-limit", "8G"], ["--machine", "rtx4090"]]:
            out = self.stile("plan", "llama-3.1-70b", *arguments, env=self.env)[0]
            body = out.split("\n\n", 1)[1].splitlines()
            self.assertLessEqual(max(map(len, body)), 80, out)
            self.assertIn("quality", out)
        self.assertRegex(out, r"(?m)^--format q2_k .*%$")

    def test_an_unknown_machine_is_measured(self):
        env = {"XDG_CACHE_HOME": str(self.folder / "new")}
        out, err = self.stile("plan", "llama-3.2-1b", "--json", env=env)
        self.assertIn("measuring this machine", err)
        self.is_estimate(json.loads(out)["decode_tokens_per_s"])
        self.assertEqual(self.stile("plan", "llama-3.2-1b", "--json", env=env)[1], "")


if __name__ == "__main__":
    import unittest

    unittest.main()
