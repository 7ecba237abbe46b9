"""make install into a folder, and a program built against what was installed."""

import os
import subprocess
import unittest

from common import MODEL, ROOT, CliTest


class Install(CliTest):
    def make(self, *arguments):
        # not as a part of the make that may have started the tests
        env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(["make", "CC=gcc", *arguments], cwd=ROOT, capture_output=True, text=True, env=env)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def files(self):
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir()}

    def run_program(self, *arguments, env):
        done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, env={**os.environ, **env})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_install_and_build_the_example(self):
        self.make("install", f"PREFIX={self.folder}")
        env = {"PKG_CONFIG_PATH": str(self.folder / "lib/pkgconfig"), "LD_LIBRARY_PATH": str(self.folder / "lib")}
        self.assertIn("stile", self.run_program(self.folder / "bin/stile", "--version", env=env))
        self.assertTrue((self.folder / "share/man/man1/stile.1").read_text().startswith(".TH STILE 1"))
        self.assertIn("_stile", (self.folder / "share/bash-completion/completions/stile").read_text())

        example = ROOT / "examples/generate.c"
        self.assertLess(len(example.read_text().splitlines()), 60)
        flags = self.run_program("pkg-config", "--cflags", "--libs", "stile", env=env).split()
        shared, static = self.folder / "shared", self.folder / "static"
        warnings = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
        self.run_program("gcc", *warnings, example, *flags, "-o", shared, env=env)
        archive = [str(self.folder / "lib/libstile.a") if flag == "-lstile" else flag
                   for flag in self.run_program("pkg-config", "--static", "--cflags", "--libs", "stile", env=env).split()]
        self.run_program("gcc", *warnings, example, *archive, "-o", static, env=env)
        reply = self.run_program(shared, MODEL, "Name three colours.", env=env)
        self.assertRegex(reply, r"(?s)\A\w.*\n\d+ tokens of prompt, \d+ of reply\n\Z")
        self.assertEqual(self.run_program(static, MODEL, "Name three colours.", env=env), reply)
        self.assertIn("libstile.so.0", self.run_program("ldd", shared, env=env))

        self.make("uninstall", f"PREFIX={self.folder}")
        self.assertEqual(self.files(), {"shared", "static"})

    def test_destdir(self):
        self.make("install", f"DESTDIR={self.folder}", "PREFIX=/usr")
        self.assertIn("usr/bin/stile", self.files())
        self.assertIn("prefix=/usr\n", (self.folder / "usr/lib/pkgconfig/stile.pc").read_text())

    def test_only_the_public_functions_are_exported(self):
        symbols = self.run_program("nm", "-D", "--defined-only", ROOT / "build/libstile.so", env={})
        names = {line.split()[-1] for line in symbols.splitlines()}
        self.assertIn("stile_model_open", names)
        self.assertEqual({name for name in names if not name.startswith("stile_")}, set())


if __name__ == "__main__":
    unittest.main()
