"""What the tests of the command line share."""

import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STILE = os.environ.get("STILE", str(ROOT / "build/stile"))
MODEL = "smollm2"
LONG = "Write a very long story about a stile, a wall and a field."


def model_path() -> pathlib.Path:
    """The default model's file, as tools/fetch-model leaves it."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    folder = pathlib.Path(cache) if cache.startswith("/") else pathlib.Path.home() / ".cache"
    return folder / "stile/models/SmolLM2-135M-Instruct.Q4_1.gguf"


class CliTest(unittest.TestCase):
    """Runs stile and looks at what it says. Each test has a folder of its own, self.folder."""

    maxDiff = None

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="stile-cli-")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def stile(self, *arguments, given=b"", env=None, timeout=120, status=0):
        """Runs `stile arguments...` with `given` on a pipe; the exit code must be `status`. Gives stdout, stderr."""
        done = subprocess.run(
            [STILE, *map(os.fspath, arguments)],
            input=given,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
        )
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        self.assertEqual(done.returncode, status, f"stile {arguments}\nstdout: {out[-2000:]}\nstderr: {err[-2000:]}")
        return out, err

    def fails(self, *arguments, status, says, **more):
        """It must fail with nothing on stdout and one line on stderr that holds `says`."""
        out, err = self.stile(*arguments, status=status, **more)
        self.assertEqual(out, "")
        self.assertRegex(err, r"\Astile: [^\n]+\n\Z")
        self.assertIn(says, err)
        return err
