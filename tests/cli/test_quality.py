"""stile quality: the table, the JSON, references, tasks, and what cannot be."""

import json
import os
import signal
import subprocess
import time
import xml.etree.ElementTree

from common import MODEL, ROOT, STILE, CliTest, model_path

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class Quality(CliTest):
    def quality(self, *arguments, **more):
        return json.loads(self.stile("quality", MODEL, "--json", *arguments, **more)[0])

    def text(self, n_bytes=6000):
        path = self.folder / "text"
        path.write_bytes((ROOT / "data/quality.txt").read_bytes()[:n_bytes])
        return path

    def test_perplexity(self):
        text = self.text()
        q = self.quality("-f", text, "--ctx", "256")
        self.assertEqual((q["n_windows"], q["n_scored"], q["complete"]), (5, 5 * 127, True))
        self.assertTrue(5 < q["perplexity"] < 100 and 0 < q["perplexity_error"] < q["perplexity"] / 4)
        self.assertEqual(q["perplexity"], self.quality("-f", text, "--ctx", "256", "-t", "1", "--isa", "avx2")["perplexity"])
        self.assertNotIn("kl_mean", q)
        out = self.stile("quality", MODEL, "-f", text, "--ctx", "256")[0]
        self.assertRegex(out, r"(?m)^perplexity +%.4f ± \d+\.\d{4}$" % q["perplexity"])
        strided = self.quality("-f", text, "--ctx", "256", "--stride", "64", "--chunks", "4")
        self.assertEqual((strided["n_windows"], strided["n_scored"], strided["stride"]), (4, 256, 64))

    def test_a_reference(self):
        text, logits = self.text(), self.folder / "x.logits"
        same = self.quality("-f", text, "--chunks", "2", "--reference", MODEL)
        self.assertEqual((same["kl_mean"], same["kl_max"], same["top1_agreement"]), (0, 0, 1))
        err = self.stile("quality", MODEL, "-f", text, "--chunks", "2", "--save-logits", logits)[1]
        self.assertIn("x.logits, 47.8 MiB", err)
        self.assertLess(abs(logits.stat().st_size / 2**20 - 47.8), 0.1)
        other = self.quality("-f", text, "--chunks", "2", "--kv", "q8_0", "--reference", MODEL)
        self.assertEqual(other["kl_mean"], 0)  # both have it
        other = self.quality("--kv", "q8_0", "--reference", logits)
        self.assertTrue(1e-5 < other["kl_mean"] < 0.05 and other["kl_median"] < other["kl_p99"] < other["kl_max"])
        self.assertTrue(0.9 < other["top1_agreement"] < 1)
        self.assertEqual((other["n_windows"], other["text"]), (2, str(text)))
        out = self.stile("quality", MODEL, "--reference", logits)[0]
        for line in ["reference ", "  ratio ", "divergence, mean ", "  99.9% ", "same top token "]:
            self.assertRegex(out, "(?m)^" + line)
        self.fails("quality", MODEL, "--reference", logits, "-f", text, status=USAGE, says="those of the logits")
        self.fails("quality", MODEL, "-f", text, "--save-logits", "/nowhere/x", status=FAILED, says="/nowhere/x")

    def test_tasks(self):
        path = self.folder / "tasks"
        path.write_text("".join((ROOT / "data/tasks.jsonl").open().readlines()[:8]))
        q = self.quality("--tasks", path)
        self.assertEqual(q["tasks"]["n"], 8)
        self.assertNotIn("perplexity", q)
        right = q["tasks"]["right"]
        self.assertTrue(2 <= right["n"] <= 8 and right["low"] < right["share"] < right["high"] + 1e-9)
        self.assertIn("guessing gets 25.0 %", self.stile("quality", MODEL, "--tasks", path)[0])
        path.write_text('{"question": "x"}')
        self.fails("quality", MODEL, "--tasks", path, status=FAILED, says=f"{path}:1: ")

    def test_a_sweep(self):
        text, picture, env = self.text(3000), self.folder / "x.svg", {"TMPDIR": str(self.folder)}
        given = ["-f", text, "--chunks", "1", "--ctx", "128", "--sweep", f"q8_0,{model_path()},q2_k"]
        out, err = self.stile("quality", MODEL, "--json", *given, "--svg", picture, env=env)
        sweep = json.loads(out)
        self.assertEqual([row["name"] for row in sweep["rows"]], ["q8_0", model_path().name, model_path().name, "q2_k"])
        large, model, file, small = sweep["rows"]
        self.assertTrue(sweep["complete"] and model["is_reference"] and file["file"] == str(model_path()))
        self.assertTrue(0 < large["kl_mean"] < small["kl_mean"] and model["kl_mean"] == 0)
        self.assertLess(abs(file["kl_mean"]), 1e-5)
        for row in sweep["rows"]:
            for name in ["bits_per_weight", "size_bytes", "perplexity", "decode_tokens_per_s", "prefill_tokens_per_s"]:
                self.assertGreater(row[name], 0)
            for name in ["kl_p99", "top1_agreement", "perplexity_error", "kl_mean_error"]:
                self.assertIn(name, row)
        self.assertIn("all are removed", err)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["text", "x.svg"])
        svg = xml.etree.ElementTree.parse(picture).getroot()
        self.assertIn("q2_k", "".join(svg.itertext()))

        process = subprocess.Popen([STILE, "quality", MODEL, *given], env={**os.environ, **env},
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertIn(b"files are made in", process.stderr.readline())
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, INTERRUPTED)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["text", "x.svg"])

        self.fails("quality", MODEL, "--sweep", "q9_9", "-f", text, status=USAGE, says="q9_9")
        self.fails("quality", MODEL, "--sweep", "q8_0,", "-f", text, status=USAGE, says="empty")
        self.fails("quality", MODEL, "--sweep", "no/x.gguf", "-f", text, status=FAILED, says="no/x.gguf")
        self.fails("quality", MODEL, "--svg", picture, "-f", text, status=USAGE, says="--sweep")

    def test_what_comes_along(self):
        for line in (ROOT / "data/tasks.jsonl").open():
            task = json.loads(line)
            self.assertEqual(len(set(task["choices"])), 4)
        process = subprocess.Popen([STILE, "quality", MODEL, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(2.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, INTERRUPTED, err)
        if out:  # some windows were done
            q = json.loads(out)
            self.assertFalse(q["complete"])
            self.assertEqual(q["text"], str(ROOT / "data/quality.txt"))

    def test_what_cannot_be(self):
        text = self.text(1000)
        self.fails("quality", MODEL, "-f", text, status=FAILED, says="fewer than one window")
        self.fails("quality", MODEL, "-f", "/nowhere", status=FAILED, says="/nowhere")
        self.fails("quality", MODEL, "-f", text, "--ctx", "64", "--stride", "64", status=FAILED, says="stride")
        self.fails("quality", MODEL, "-f", text, "--reference", "/nowhere", status=FAILED, says="/nowhere")
        self.fails("quality", "/nowhere", "-f", text, status=FAILED, says="/nowhere")
        self.fails("quality", MODEL, "--tasks", "/dev/null", "--ctx", "64", status=USAGE, says="-f FILE")
        empty = self.folder / "empty"
        empty.write_text("\n")
        self.fails("quality", MODEL, "-f", empty, status=FAILED, says="empty")
