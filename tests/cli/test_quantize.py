"""stile quantize: what it makes and says, how it is interrupted, killed and continued.

STILE_KILLS=100 python3 tests/cli/run.py build/stile test_quantize kills a hundred times instead of four.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import time
import unittest

from common import MODEL, STILE, CliTest, model_path

FAILED, USAGE = 1, 2
N_KILLS = int(os.environ.get("STILE_KILLS", "4"))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class QuantizeTest(CliTest):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out.gguf"
        self.partial = self.folder / "out.gguf.partial"

    def quantize(self, *more, **how):
        return self.stile("quantize", MODEL, self.out, *more, **how)

    def test_makes_a_file_that_answers(self):
        out, err = self.quantize("--format", "q8_0", "-t", "2")
        self.assertIn("note: 210 tensors are quantized already (Q4_1)", err)
        self.assertRegex(out, r"Q8_0 +211 +134479872 ")
        self.assertRegex(out.splitlines()[-1], r"out\.gguf: 1\d\d MiB, 8\.\d\d bits per weight, from .* in \d")
        self.assertIn("Q8_0", self.stile("info", self.out)[0])
        reply = self.stile("run", self.out, "--raw", "-p", "The capital of France is", "-n", "3", "--temp", "0")[0]
        self.assertIn("Paris", reply)
        self.fails("quantize", MODEL, self.out, "--format", "q8_0", status=FAILED, says="exists already (--force")
        self.fails("quantize", self.out, self.out, "--format", "q4_0", "--force", status=FAILED, says="is the model that is to be read")

    def test_dry_run_json(self):
        arguments = ["--format", "q4_k_m", "--recipe", "blk.3.*=q6_k", "--dry-run", "--json"]
        dry = json.loads(self.stile("quantize", MODEL, *arguments)[0])
        self.assertEqual((dry["format"], dry["dry_run"], len(dry["tensors"])), ("q4_k_m", True, 272))
        by_name = {tensor["name"]: tensor for tensor in dry["tensors"]}
        self.assertEqual(by_name["blk.3.ffn_down.weight"]["to"], "Q6_K")
        self.assertEqual(by_name["blk.3.ffn_up.weight"]["to"], "Q8_0")  # rows of 576
        self.assertEqual(list(self.folder.iterdir()), [])
        # of a model that is not here
        self.assertIn("blk.31.ffn_down.weight", self.stile("quantize", "llama-3.1-8b", "--format", "nvfp4", "--dry-run")[0])

    def test_size(self):
        made = json.loads(self.quantize("--target-size", "80MB", "--dry-run", "--json")[0])
        self.assertTrue(78e6 < made["size_bytes"] <= 80e6, made["size_bytes"])
        made = json.loads(self.quantize("--target-bpw", "5", "--dry-run", "--json")[0])
        self.assertTrue(4.9 < made["bits_per_weight"] <= 5, made["bits_per_weight"])
        self.fails("quantize", MODEL, self.out, "--target-size", "8MB", status=FAILED, says="cannot be made so small")

    def test_command_lines(self):
        self.fails("quantize", MODEL, self.out, status=USAGE, says="--format")
        self.fails("quantize", MODEL, "--format", "q4_0", status=USAGE, says="name of the file")
        self.fails("quantize", MODEL, self.out, "--format", "q4_0", "--target-bpw", "4", status=USAGE, says="exclude each other")
        self.fails("quantize", MODEL, self.out, "--format", "q4_0", "--ctx", "4", status=USAGE, says="--fit")
        self.fails("quantize", MODEL, self.out, "--format", "q4_9", status=FAILED, says="q4_k_m")
        self.fails("quantize", MODEL, self.folder / "no/out", "--format", "q4_0", status=FAILED, says="No such file")
        self.fails("quantize", MODEL, self.folder, "--format", "q4_0", "--force", status=FAILED, says="not a file")
        self.fails("quantize", self.folder / "none.gguf", self.out, "--format", "q4_0", status=FAILED, says="none.gguf")
        self.fails("quantize", MODEL, self.out, "--format", "q4_0", "--imatrix", model_path(), status=FAILED, says=".gguf")
        self.assertEqual(list(self.folder.iterdir()), [])

    def start(self, *more):
        process = subprocess.Popen(
            [STILE, "quantize", MODEL, self.out, "--format", "q4_0", *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        return process

    def test_interrupt(self):
        process = self.start("-t", "1")
        while not self.partial.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=20)[1].decode()
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("--resume goes on", err)
        self.assertFalse(self.out.exists())

    def test_kills(self):
        """Whenever it is killed: no file that opens but is not whole, and in the end the bytes that it should have."""
        begin = time.monotonic()
        self.quantize("--format", "q4_0")
        duration = time.monotonic() - begin
        right = digest(self.out)
        self.out.unlink()
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        n_whole = n_resumed = 0
        for i in range(N_KILLS):
            n_resumed += self.partial.exists()
            process = self.start("--resume", "-t", str(1 + i % 3))
            time.sleep(chance.uniform(0, duration))
            process.kill()
            process.communicate()
            if self.out.exists():
                self.assertEqual(digest(self.out), right, f"seed {seed}, kill {i}")
                self.assertFalse(self.partial.exists())
                self.out.unlink()
                n_whole += 1
            elif self.partial.exists():
                with open(self.partial, "rb") as file:
                    whole = file.read(4) == b"GGUF"
                if whole:  # killed before it got its name
                    self.assertEqual(digest(self.partial), right, f"seed {seed}, kill {i}")
                else:
                    self.stile("info", self.partial, status=FAILED)
        self.quantize("--format", "q4_0", "--resume")
        self.assertEqual(digest(self.out), right, f"seed {seed}")
        self.assertEqual(sorted(self.folder.iterdir()), [self.out])
        if N_KILLS > 10:
            print(f"{N_KILLS} kills: {n_resumed} resumed, {n_whole} came too late")


if __name__ == "__main__":
    unittest.main()
