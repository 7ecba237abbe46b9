"""Runs the tests of the command line: python3 tests/cli/run.py [BUILD/stile] [NAME...]

Needs no package. The last line is "N passed, N failed, N skipped".
"""

import os
import pathlib
import sys
import unittest

FOLDER = pathlib.Path(__file__).resolve().parent


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
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    # A test fails once, however many of its cases do.
    n_failed = len({getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors})
    n_skipped = len(result.skipped)
    print(f"{result.testsRun - n_failed - n_skipped} passed, {n_failed} failed, {n_skipped} skipped")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
