"""Random faults while weights are streamed, a few of each kind: tests/faults.py, which says what they are."""

import pathlib
import subprocess
import sys
import unittest

from common import STILE, CliTest, model_path

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "faults.py"


class Faults(CliTest):
    def test_every_fault_ends_in_an_error_or_is_overcome(self):
        arguments = ["--count", "10", "--seed", "3", "--tokens", "40", "--limit", "175000000", "--memory-limit", "85000000"]
        done = subprocess.run(
            [sys.executable, SCRIPT, STILE, model_path(), *arguments], capture_output=True, text=True, timeout=300
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"\d+ passed, 0 failed, \d+ skipped\n\Z")


if __name__ == "__main__":
    unittest.main()
