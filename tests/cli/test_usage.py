"""Command lines that make sense and those that do not; help, man page and completion."""

import re
import shutil
import subprocess
import unittest

from common import CliTest

USAGE = 2


class Usage(CliTest):
    def test_version(self):
        out, err = self.stile("--version")
        self.assertRegex(out, r"\Astile \d+\.\d+\.\d+\n\Z")
        self.assertEqual(err, "")

    def test_without_arguments(self):
        out, _ = self.stile(status=USAGE)
        self.assertIn("stile run", out)

    def test_help(self):
        overview, _ = self.stile("help")
        self.assertEqual(self.stile("--help")[0], overview)
        self.assertEqual(self.stile("-h")[0], overview)
        for command in re.findall(r"^  stile (\w+)", overview, re.M):
            out, err = self.stile("help", command)
            self.assertTrue(out.startswith(f"usage: stile {command}"), out)
            self.assertEqual(err, "")
            self.assertEqual(self.stile(command, "--help")[0], out)
            self.assertEqual(self.stile(command, "-h")[0], out)
            self.assertLessEqual(max(map(len, out.splitlines())), 80, out)

    def test_help_lists_every_option_of_run(self):
        out, _ = self.stile("help", "run")
        for option in (
            "-p -f -n -t --ctx --threads --temp --top-k --top-p --min-p --repeat-penalty --seed --system --raw --stop "
            "--json --logits-hash --kv --isa"
        ).split():
            self.assertRegex(out, rf"(?m)^ +(-\w, )?{option}\b")

    def test_help_shows_the_library_s_defaults(self):
        out = " ".join(self.stile("help", "run")[0].split())
        for name, value in {"temp": "0.8", "top-k": "40", "top-p": "0.95", "min-p": "0.05", "repeat-penalty": "1"}.items():
            self.assertRegex(out, rf"--{name} \w [^(]*\(default: {value}\)")

    def test_unknown_command(self):
        self.fails("rum", "x", status=USAGE, says="did you mean 'run'?")
        self.fails("tok", "x", status=USAGE, says="did you mean 'tokenize'?")
        self.fails("convert", "x", status=USAGE, says="see 'stile help'")
        self.fails("help", "nothing", status=USAGE, says="no command 'nothing'")

    def test_unknown_option(self):
        self.fails("run", "x", "--tmep", "1", status=USAGE, says="did you mean --temp?")
        self.fails("run", "x", "--repeat", "1", status=USAGE, says="did you mean --repeat-penalty?")
        self.fails("run", "x", "--temperature=1", status=USAGE, says="did you mean --temp?")
        self.fails("run", "x", "--gpu-layers", "1", status=USAGE, says="see 'stile help run'")
        self.fails("run", "x", "-q", status=USAGE, says="no option -q")
        self.fails("info", "x", "--temp", "1", status=USAGE, says="info has no option --temp")

    def test_values(self):
        for option, value in [
            ("--temp", "-1"), ("--temp", "nan"), ("--temp", "inf"), ("--temp", "hot"), ("--temp", ""), ("--temp", "1x"),
            ("--temp", "1e999"), ("--top-k", "-1"), ("--top-k", "99999999999999999999"), ("--top-k", "1.5"),
            ("--top-p", "1.1"), ("--top-p", "-0.1"), ("--min-p", "2"), ("--repeat-penalty", "0"), ("--seed", "-1"),
            ("--seed", "18446744073709551616"), ("--ctx", "0"), ("--ctx", "-5"), ("--ctx", "4294967297"), ("-n", "-1"),
            ("-t", "0"), ("-t", "100000"), ("--kv", "q4"), ("--kv", ""), ("--kv", "f16|f32|q8_0"), ("--stop", ""),
        ]:  # fmt: skip
            with self.subTest(option=option, value=value):
                self.fails("run", "x", "-p", "hi", option, value, status=USAGE, says="--")

    def test_missing_and_spare(self):
        self.fails("run", status=USAGE, says="run needs MODEL")
        self.fails("info", status=USAGE, says="info needs MODEL")
        self.fails("run", "x", "y", status=USAGE, says="'y' is one argument too many")
        self.fails("run", "x", "--temp", status=USAGE, says="--temp needs a value: X")
        self.fails("run", "x", "--raw=1", status=USAGE, says="--raw takes no value")
        self.fails("run", "x", *["--stop", "a"] * 17, status=USAGE, says="more than 16")

    def test_contradictions(self):
        self.fails("run", "x", "-p", "a", "-f", "b", status=USAGE, says="-p and -f")
        self.fails("run", "x", "--raw", "--system", "a", "-p", "b", status=USAGE, says="--system")
        self.fails("run", "x", "-p", "", status=USAGE, says="the prompt is empty")
        self.fails("run", "x", given=b"\n", status=USAGE, says="the prompt is empty")
        self.fails("tokenize", "x", "text", "-f", "b", status=USAGE, says="two texts")

    def test_control_characters_of_a_command_line_stay_out_of_errors(self):
        err = self.fails("run", "x", "--\033[31mred\n", status=USAGE, says="no option")
        self.assertNotIn("\033", err)


class Generated(CliTest):
    """What is made from the table of options."""

    def test_man_page(self):
        page, _ = self.stile("help", "--man")
        for option in re.findall(r"--([a-z-]+)", self.stile("help", "run")[0]):
            self.assertIn("\\-\\-" + option.replace("-", "\\-"), page)
        if not shutil.which("man"):
            self.skipTest("no man")
        path = self.folder / "stile.1"
        path.write_text(page)
        done = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", path], capture_output=True, text=True, env={"MANWIDTH": "80", "PATH": "/usr/bin:/bin"}
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ["SYNOPSIS", "repeat-penalty", "EXIT STATUS", "/save FILE"]:
            self.assertIn(word, done.stdout)

    def test_completion_syntax(self):
        for shell in ["bash", "zsh", "fish"]:
            script, _ = self.stile("help", "--completion", shell)
            self.assertIn("repeat-penalty", script)
            if shutil.which(shell):
                done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""), shell)

    def test_bash_completion(self):
        script, _ = self.stile("help", "--completion", "bash")

        def complete(*words):
            line = f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; _stile 2>/dev/null"
            done = subprocess.run(
                ["bash", "-c", f'{script}\n{line}; printf "%s\\n" "${{COMPREPLY[@]}}"'], capture_output=True, text=True
            )
            return set(done.stdout.split())

        self.assertEqual(complete("stile", "to"), {"tokenize"})
        self.assertEqual(complete("stile", "run", "m", "--top"), {"--top-k", "--top-p"})
        self.assertEqual(complete("stile", "run", "m", "--kv", ""), {"f16", "f32", "q8_0"})
        self.assertEqual(complete("stile", "help", "in"), {"info"})
        self.assertIn("Makefile", complete("stile", "run", "Make"))


if __name__ == "__main__":
    unittest.main()
