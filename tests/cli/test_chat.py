"""The chat, driven through a pseudo terminal as a person would."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
import unittest

from common import LONG, MODEL, STILE, CliTest, model_path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]")


class Terminal:
    """stile in a terminal. What it shows is in `seen`, without escape sequences."""

    def __init__(self, *arguments, env=None, columns=100):
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(self.master, (40, columns))
        self.before = termios.tcgetattr(slave)
        environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})}
        self.process = subprocess.Popen(
            [STILE, *map(os.fspath, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.slave = slave  # stays open so that its settings can be looked at afterwards
        self.seen = ""
        self.raw = b""

    def read(self, timeout):
        ready, _, _ = select.select([self.master], [], [], timeout)
        if not ready:
            return False
        self.raw += os.read(self.master, 65536)
        self.seen = ESCAPES.sub("", self.raw.decode("utf-8", "replace"))
        return True

    def wait_for(self, pattern, timeout=60):
        """Reads until what is shown after the last match has the pattern."""
        end = time.monotonic() + timeout
        while not (match := re.search(pattern, self.seen)):
            if time.monotonic() > end or (not self.read(0.5) and self.process.poll() is not None):
                raise AssertionError(f"no {pattern!r} in {self.seen!r}")
        self.raw = self.seen[match.end() :].encode()
        self.seen = self.seen[match.end() :]
        return match

    def type(self, text):
        os.write(self.master, text.encode())

    def edit(self, text):
        """Types when the line editor has taken over, which is a moment after it shows its prompt."""
        end = time.monotonic() + 20
        while termios.tcgetattr(self.slave)[3] & termios.ICANON and time.monotonic() < end:
            time.sleep(0.002)
        self.type(text)

    def say(self, text):
        self.edit(text + "\r")

    def end(self, timeout=20):
        end = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.1)
        while self.read(0):
            pass
        return self.process.poll()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class Chat(CliTest):
    def chat(self, *arguments, **more):
        env = {"XDG_CACHE_HOME": str(self.folder), "HOME": str(self.folder), "NO_COLOR": "1", **more.pop("env", {})}
        terminal = Terminal("run", model_path(), *arguments, env=env, **more)
        self.addCleanup(terminal.close)
        terminal.wait_for("/help lists the commands.*\n> ")
        return terminal

    def test_a_conversation(self):
        terminal = self.chat("-n", "16", "--temp", "0")
        terminal.say("My name is Zora.")
        terminal.wait_for(r"Zora\.\r\n(.+\n)+> ")
        terminal.say("/stats")
        used = int(terminal.wait_for(r"load .* \| reply \d+ tokens.*\ncontext: (\d+) of \d+ tokens used\r\n> ")[1])
        self.assertGreater(used, 20)
        terminal.say("And what is yours?")
        terminal.wait_for(r"yours\?\r\n(.+\n)+> ")
        terminal.say("/stats")
        stats = terminal.wait_for(r"prompt (\d+) tokens.*\ncontext: (\d+) of")
        self.assertLess(int(stats[1]), 30, "the first turn was evaluated again")
        self.assertGreater(int(stats[2]), used)
        terminal.wait_for("> ")
        path = self.folder / "talk.json"
        terminal.say(f"/save {path}")
        terminal.wait_for(r"4 messages in .*talk\.json\r\n> |5 messages in .*talk\.json\r\n> ")
        messages = json.loads(path.read_text())
        self.assertEqual([m["role"] for m in messages if m["role"] != "system"], ["user", "assistant"] * 2)
        self.assertEqual(messages[-2]["content"], "And what is yours?")
        self.assertEqual(sorted(p.name for p in self.folder.glob("talk*")), ["talk.json"])
        terminal.say("/clear")
        terminal.wait_for("a new conversation.*\n> ")
        terminal.say("/stats")
        terminal.wait_for("context: 0 of")
        terminal.edit("\x04")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_interrupt_stops_the_reply_only(self):
        terminal = self.chat()
        terminal.say(LONG)
        terminal.wait_for(r"field\.\r\n.*\w+.*\w+")
        terminal.type("\x03")
        terminal.wait_for(r"\(stopped\)\r\n> ")
        terminal.say("/stats")
        terminal.wait_for(r"context: [1-9]\d* of.*\n> ")
        terminal.say("Good.")
        terminal.wait_for(r"Good\.\r\n.*\w")
        terminal.type("\x03")
        terminal.wait_for(r"> ")
        terminal.edit("\x03")
        terminal.wait_for("leaves.*\n> ")
        terminal.edit("\x03")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_interrupt_at_the_prompt_drops_the_line(self):
        terminal = self.chat("-n", "4")
        terminal.edit("never mind")
        terminal.wait_for("never mind")
        terminal.type("\x03")
        terminal.wait_for("leaves.*\n> ")
        terminal.say("/stats")
        terminal.wait_for("context: 0 of.*\n> ")
        terminal.type("\x03")
        terminal.wait_for("leaves.*\n> ")
        terminal.edit("\x04")
        self.assertEqual(terminal.end(), 0)

    def test_line_editing_and_history(self):
        terminal = self.chat("-n", "2")
        terminal.edit("/staxs\x1b[D\x7ft\r")  # left, backspace, t: /stats
        terminal.wait_for("context: 0 of.*\n> ")
        terminal.say("/nonsense")
        terminal.wait_for("no command /nonsense.*\n> ")
        terminal.edit("\x1b[A\x1b[A\r")
        terminal.wait_for("context: 0 of.*\n> ")
        terminal.edit("\x04")
        self.assertEqual(terminal.end(), 0)
        history = self.folder / "stile/history"
        self.assertEqual(history.stat().st_mode & 0o777, 0o600)
        terminal = self.chat("-n", "2")
        terminal.edit("\x1b[A\r")
        terminal.wait_for("context: 0 of.*\n> ")
        terminal.edit("\x04")
        self.assertEqual(terminal.end(), 0)

    def test_help_and_wrong_commands(self):
        terminal = self.chat()
        terminal.say("/help")
        for word in ["/help", "/clear", "/stats", "/save FILE", "Ctrl-C", "Ctrl-D"]:
            terminal.wait_for(re.escape(word))
        terminal.say("/save")
        terminal.wait_for("/save needs the name of a file.*\n> ")
        terminal.say("/save /no/such/folder/x")
        terminal.wait_for("cannot write: No such file.*\n> ")
        terminal.say("")
        terminal.wait_for("> ")
        terminal.edit("\x04")
        self.assertEqual(terminal.end(), 0)

    def test_several_lines_and_other_languages(self):
        terminal = self.chat("-n", "2")
        terminal.say("Was heißt\\")
        terminal.wait_for(r"\n\. ")
        terminal.say("日本語 auf Deutsch?")
        terminal.wait_for(r"Deutsch\?\r\n(.+\n)+> ")
        path = self.folder / "talk.json"
        terminal.say(f"/save {path}")
        terminal.wait_for("messages in")
        contents = [m["content"] for m in json.loads(path.read_text())]
        self.assertIn("Was heißt\n日本語 auf Deutsch?", contents)

    def test_a_full_context_is_survived(self):
        terminal = self.chat("--ctx", "96")
        terminal.say(LONG)
        terminal.wait_for("the reply was cut: the context of 96 tokens is full.*\n> ")
        terminal.say("Go on.")
        terminal.wait_for("do not fit.*\n> ")
        terminal.say("/clear")
        terminal.wait_for("a new conversation.*\n> ")
        terminal.edit("\x04")
        self.assertEqual(terminal.end(), 0)

    def test_system_message(self):
        terminal = self.chat("-n", "2", "--system", "You are a stile.")
        terminal.say("Who are you?")
        terminal.wait_for(r"you\?\r\n(.+\n)+> ")
        path = self.folder / "talk.json"
        terminal.say(f"/save {path}")
        terminal.wait_for("3 messages in")
        self.assertEqual(json.loads(path.read_text())[0], {"role": "system", "content": "You are a stile."})

    def test_terminated_at_the_prompt(self):
        terminal = self.chat()
        terminal.process.send_signal(signal.SIGTERM)
        self.assertEqual(terminal.end(), -signal.SIGTERM)
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_colours(self):
        terminal = Terminal("info", "/no/such", env={"NO_COLOR": ""})
        self.addCleanup(terminal.close)
        terminal.end()
        self.assertIn(b"\x1b[31mstile:", terminal.raw)
        terminal = Terminal("info", "/no/such", env={"NO_COLOR": "1"})
        self.addCleanup(terminal.close)
        terminal.end()
        self.assertNotIn(b"\x1b", terminal.raw)

    def test_no_chat_without_a_prompt_for_json(self):
        terminal = Terminal("run", MODEL, "--json")
        self.addCleanup(terminal.close)
        terminal.wait_for("stile: run: no prompt")
        self.assertEqual(terminal.end(), 2)


if __name__ == "__main__":
    unittest.main()
