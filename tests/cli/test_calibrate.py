"""stile calibrate."""

import json
import signal
import subprocess
import time
import unittest

from common import MODEL, STILE, CliTest

TEXT = "A stile is a way over a fence that people can climb and cattle cannot.\n" * 20


class Calibrate(CliTest):
    def calibrate(self, *more, **keywords):
        return self.stile("calibrate", MODEL, "-o", self.folder / "out.gguf", "--ctx", "64", *more, **keywords)

    def test_a_text(self):
        (self.folder / "notes.txt").write_text(TEXT)
        out, err = self.calibrate("-f", self.folder / "notes.txt", "-t", "1")
        self.assertRegex(out, r"out\.gguf: 211 matrices, from \d windows of 64 tokens, [\d.]+ KiB, [\d.]+ s\n\Z")
        self.assertEqual(err, "")
        first = (self.folder / "out.gguf").read_bytes()
        self.assertIn(b"notes.txt", first)
        found = json.loads(self.calibrate("-f", "-", "--chunks", "2", "--json", given=TEXT.encode())[0])
        self.assertEqual((found["n_chunks"], found["n_tokens"], found["n_tensors"]), (2, 128, 211))
        self.assertEqual(found["size_bytes"], (self.folder / "out.gguf").stat().st_size)

    def test_the_text_that_comes_with_stile(self):
        found = json.loads(self.calibrate("--chunks", "1", "--json")[0])
        self.assertTrue(found["text"].endswith("/calibration.txt"))

    def test_errors(self):
        says = "less than one window of 64"
        self.fails("calibrate", MODEL, "-f", "-", "--ctx", "64", given=b"short", status=1, says=says)
        self.fails("calibrate", MODEL, "-f", "/none", status=1, says="/none: cannot open")
        self.fails("calibrate", self.folder, status=1, says=str(self.folder))
        self.fails("calibrate", status=2, says="calibrate needs MODEL")

    def test_interrupted(self):
        running = subprocess.Popen([STILE, "calibrate", MODEL, "-o", self.folder / "out.gguf"], stderr=subprocess.PIPE)
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        self.assertEqual(running.communicate(timeout=60)[1], b"")
        self.assertEqual(running.returncode, 130)
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
