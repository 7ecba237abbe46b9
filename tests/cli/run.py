"""Runs the tests of the command line: python3 tests/cli/run.py [BUILD/stile] [NAME...]

Needs no package. The last line is "N passed, N failed, N skipped".
"""

import os
import pathlib
import shutil
import sys
import tempfile
import unittest

FOLDER = pathlib.Path(__file__).resolve().parent


def own_cache(folder: pathlib.Path):
    """A cache folder for the tests, with the models and the machine of the real one: what tests measure, beside others
    and under sanitizers, says nothing of this machine's predictions."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    real = (pathlib.Path(given) if given.startswith("/") else pathlib.Path.home() / ".cache") / "stile"
    (folder / "stile").mkdir()
    (folder / "stile/models").symlink_to(real / "models")
    if (real / "machine.json").exists():
        shutil.copy(real / "machine.json", folder / "stile")
    os.environ["XDG_CACHE_HOME"] = str(folder)


def main() -> int:
    os.chdir(FOLDER.parent.parent)
    sys.path.insert(0, str(FOLDER))
    if len(sys.argv) > 1:
        os.environ["STILE"] = str(pathlib.Path(sys.argv[1]).resolve())
    loader = unittest.TestLoader()
    if len(sys.argv) > 2:
        suite = loader.loadTestsFromNames(sys.argv[2:])
    else:
        suite = loader.discover(str(FOLDER))
    with tempfile.TemporaryDirectory(prefix="stile-cache-") as folder:
        own_cache(pathlib.Path(folder))
        result = unittest.TextTestRunner(verbosity=2).run(suite)
    # A test fails once, however many of its cases do.
    n_failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
    n_skipped = len(result.skipped)
    print(f"{result.testsRun - n_failed - n_skipped} passed, {n_failed} failed, {n_skipped} skipped")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
