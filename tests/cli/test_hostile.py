"""Malformed files, one by one: exit code 1 and one line that names the file and what is wrong, within a second."""

import json
import os
import pathlib
import subprocess
import unittest

from common import STILE, CliTest

MAKE_HOSTILE = pathlib.Path(STILE).parent / "tests/make_hostile"
SECONDS = 5 if "asan" in STILE else 1  # of processor time, so that a busy machine does not matter


def spent() -> float:
    times = os.times()
    return times.children_user + times.children_system


class Hostile(CliTest):
    def setUp(self):
        super().setUp()
        if not MAKE_HOSTILE.exists():
            self.skipTest(f"no {MAKE_HOSTILE}")
        subprocess.run([MAKE_HOSTILE, self.folder], check=True, stdout=subprocess.DEVNULL)
        lines = (self.folder / "cases.tsv").read_text().splitlines()
        self.cases = [line.split("\t") for line in lines]

    def test_info_of_a_mixture(self):
        file = self.folder / "tiny-mixture.gguf"
        out, _ = self.stile("info", file)
        self.assertRegex(out, r"(?m)^parameters +25\.18 k, 19\.04 k of them for a token$")
        self.assertRegex(out, r"(?m)^layers +1 of width 32, 2 of 4 experts of width 32$")
        info = json.loads(self.stile("info", file, "--json")[0])
        self.assertEqual((info["n_experts"], info["n_experts_used"], info["d_ff"]), (4, 2, 32))
        self.assertEqual(info["n_parameters"] - info["n_parameters_active"], 2 * 3 * 32 * 32)

    def test_corpus(self):
        n = {}
        for level, name, expected in self.cases:
            file = self.folder / name
            commands = [["info", file], ["run", file, "-p", "hi", "-n", "3"], ["tokenize", file, "hi"]]
            if level == "VALID" and name.startswith("tiny"):
                commands = [["info", file, "--tensors"], ["run", file, "--raw", "-p", "a", "-n", "3", "--ctx", "16"]]
            elif level == "VALID":  # a right container without a model inside
                level, expected = "NO MODEL", ""
            if level == "CHAT":
                self.stile("info", file)
                del commands[2], commands[0]
            for command in commands:
                with self.subTest(case=name, command=command[0]):
                    start = spent()
                    if level == "VALID":
                        self.stile(*command)
                    else:
                        # a template's error is about the template, not the file
                        says = expected if level == "CHAT" else name.split("-0000")[0]
                        self.assertIn(expected, self.fails(*command, status=1, says=says))
                    if level != "VALID":  # a right file's first run also measures the machine
                        self.assertLess(spent() - start, SECONDS)
            n[level] = n.get(level, 0) + 1
        print(f"{sum(n.values())} files: {n}")
        self.assertGreater(n["GGUF"], 20)


if __name__ == "__main__":
    unittest.main()
