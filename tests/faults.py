#!/usr/bin/env python3
"""Random faults while a model is streamed: each must end in an error, or be overcome; nothing may hang or crash.

    tests/faults.py build/stile MODEL [--count 60] [--seed 1] [--only kill,truncate] [--limit BYTES] [--tokens 100]
                    [--place PATTERN=TIER,...]

A private copy of the model is run in a control group of its own (version 1; takes root, else --memory-limit is said and
what needs a group is left out), with a private cache folder. At a random moment comes a fault:

    kill       SIGKILL                       errors     some reads fail, come in parts, are interrupted
    interrupt  SIGINT                        refuse     the kernel refuses io_uring from then on
    terminate  SIGTERM                       truncate   the file loses its end
    lower      the group's limit falls       overwrite  some of the file is written over
    crowd      another process of the group  delete     the file is gone
               takes memory, gives it back

After each, the cache folder holds nothing half-written, and every fifth time the model runs as if nothing had been. A run
that ends well must have the logits of an undisturbed one; one that does not must say why in one line. The last line is
"N passed, N failed, N skipped", as tests/cli/run.py has it; before it a table says how faults ended.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CGROUP = pathlib.Path("/sys/fs/cgroup/memory")
HOG = "import sys, time\na = []\nfor i in range(int(sys.argv[1])): a.append(b'x' * 1000000); time.sleep(0.01)\ntime.sleep(1)"
HANGS_S = 60


class Bench:
    """A model's copy, a cache folder, a control group; and what an undisturbed run gives."""

    def __init__(self, options, folder: pathlib.Path):
        self.stile, self.source, self.seed = options.stile, options.model, options.seed
        self.model, self.cache = folder / "model.gguf", folder / "cache"
        self.layer = folder / "fault_layer.so"
        self.limit = options.limit or self.source.stat().st_size * 2
        self.group = CGROUP / f"stile-faults-{os.getpid()}"
        self.cache.mkdir()
        layer = pathlib.Path(__file__).resolve().parent / "fault_layer.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", layer, "-o", self.layer, "-ldl"], check=True)
        try:
            self.group.mkdir()
        except OSError:
            self.group = None
        self.restore()
        words = "run {} -p x --raw -n {} --ctx {} --temp 0 --json --logits-hash --no-lookup"
        n = options.tokens
        self.arguments = words.format(self.model, n, n + 16).split() + (["--place", options.place] if options.place else [])
        if not self.group:
            self.arguments += ["--memory-limit", str(options.memory_limit or self.source.stat().st_size * 3 // 4)]
        self.duration_s = HANGS_S
        for _ in range(2):
            started = time.monotonic()
            code, out, err = self.finish(self.start())
            self.duration_s = min(self.duration_s, time.monotonic() - started)
            if code != 0:
                sys.exit(f"undisturbed: {err}")
        self.whole = json.loads(out)
        if not self.whole["tiers"]:
            sys.exit("nothing is streamed: say a lower --limit")

    def restore(self):
        if not self.model.exists() or self.model.stat().st_size != self.source.stat().st_size:
            self.copy()

    def copy(self):
        self.model.unlink(missing_ok=True)
        shutil.copyfile(self.source, self.model)

    def set_limit(self, n_bytes: int) -> bool:
        try:
            (self.group / "memory.limit_in_bytes").write_text(str(n_bytes))
            return True
        except OSError:  # the kernel cannot make so much free
            return False

    def enter(self):
        if self.group:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))

    def kernel_kills(self) -> int:
        text = (self.group / "memory.oom_control").read_text() if self.group else "oom_kill 0"
        return int(text.split("oom_kill ")[-1].split()[0])

    def start(self, **env) -> subprocess.Popen:
        if self.group:
            self.set_limit(self.limit)
        return subprocess.Popen(
            [self.stile, *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=self.enter,
            env={**os.environ, "XDG_CACHE_HOME": str(self.cache), **env},
        )

    def finish(self, process):
        """Exit code (None: it hangs), standard output, standard error."""
        try:
            out, err = process.communicate(timeout=HANGS_S)
            return process.returncode, out, err
        except subprocess.TimeoutExpired:
            process.kill()
            return None, *process.communicate()

    def damage(self) -> str:
        """What is half-written in the cache folder; PATH.PID.part is what somebody killed was writing."""
        for path in self.cache.rglob("*"):
            try:
                if path.suffix == ".json":
                    json.loads(path.read_text())
                elif path.suffix == ".jsonl":
                    text = path.read_text()
                    assert text.endswith("\n") or not text, "no end of line"
                    [json.loads(line) for line in text.splitlines()]
                elif path.is_file() and path.suffix != ".part":
                    return f"{path.name}: what is it?"
            except (ValueError, AssertionError) as error:
                return f"{path.name}: {error}"
        return ""

    def end(self):
        if self.group:
            self.group.rmdir()


# ---- faults: each is given the process and a source of chance, and may return what else is to be said ---------------


def kill(bench, process, chance):
    process.kill()


def interrupt(bench, process, chance):
    process.send_signal(signal.SIGINT)


def terminate(bench, process, chance):
    process.terminate()


def truncate(bench, process, chance):
    os.truncate(bench.model, chance.randrange(bench.source.stat().st_size))


def overwrite(bench, process, chance):
    with open(bench.model, "r+b") as file:
        file.seek(chance.randrange(bench.source.stat().st_size - 100000))
        file.write(chance.randbytes(100000))


def delete(bench, process, chance):
    bench.model.unlink()


def lower(bench, process, chance):
    """What cannot be made free is tried again, a little above what is used, as long as the process runs."""
    target = int(bench.limit * chance.uniform(0.5, 0.9))
    while process.poll() is None and not bench.set_limit(target):
        statistics = dict(line.split() for line in (bench.group / "memory.stat").read_text().splitlines())
        bench.set_limit(max(target, int(statistics["total_rss"]) + (8 << 20)))
        time.sleep(0.1)
    return "limit reached" if process.poll() is None else "limit not reached before its end"


def crowd(bench, process, chance):
    megabytes = int(bench.limit * chance.uniform(0.05, 0.5) / 1e6)
    hog = subprocess.Popen([sys.executable, "-c", HOG, str(megabytes)], preexec_fn=bench.enter)
    hog.wait()
    return "with the other" if hog.returncode else ""


def nothing(bench, process, chance):
    """Its environment does it."""


FAULTS = {
    "kill": kill,
    "interrupt": interrupt,
    "terminate": terminate,
    "truncate": truncate,
    "overwrite": overwrite,
    "delete": delete,
    "errors": nothing,
    "refuse": nothing,
    "lower": lower,
    "crowd": crowd,
}
GROUP_FAULTS = ("lower", "crowd")
SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}
HARMLESS = ("refuse", "delete", "lower", "crowd")  # no reason for an error once the model is open


def environment(bench, kind, chance):
    if kind not in ("errors", "refuse"):
        return {}
    env = {"LD_PRELOAD": str(bench.layer), "STILE_FAULT_SEED": str(chance.randrange(1 << 20))}
    if kind == "errors":
        return {**env, "STILE_FAULT_READS": str(chance.choice([50, 200, 1000, 30000, 1000000]))}
    return {**env, "STILE_FAULT_RING": str(chance.randrange(200))}


def outcome(bench, kind, moment_s, code, out, err, n_killed):
    """How it ended, and whether that is allowed."""
    if code is None:
        return "hangs", False
    if code == 0:
        same = json.loads(out)["logits_hash"] == bench.whole["logits_hash"]
        return ("ended well" if same else "other logits"), same
    if code == 130 and kind == "interrupt":
        return "interrupted", True
    if code == -SIGNALS.get(kind, 0):
        return "ended by it", True
    if code == -signal.SIGKILL and n_killed > 0:
        return "ended by the kernel: no memory", True
    if code < 0:
        return f"crashed: {signal.Signals(-code).name}", False
    said = err.startswith("stile: ") and err.count("\n") == 1 and kind not in SIGNALS
    early = moment_s < bench.duration_s / 4
    return f"error: {err.strip()[-60:]}", said and (kind not in HARMLESS or (kind == "delete" and early))


def one(bench, kind, chance, table):
    """A fault; what is wrong with how it went, or ""."""
    moment_s = chance.uniform(0, bench.duration_s)
    n_before = bench.kernel_kills()
    process = bench.start(**environment(bench, kind, chance))
    if FAULTS[kind] is not nothing:
        time.sleep(moment_s)
    late = process.poll() is not None
    more = FAULTS[kind](bench, process, chance)
    code, out, err = bench.finish(process)
    how, allowed = outcome(bench, kind, moment_s, code, out, err, bench.kernel_kills() - n_before)
    brief = how.split(": ")[0] if how.startswith("error") else how
    table[kind, brief + (f", {more}" if more else "") + (", before the fault" if late else "")] += 1
    if not allowed:
        return f"{how} (after {moment_s:.2f} s, exit code {code})\n{err}"
    if kind == "overwrite":
        bench.copy()
    bench.restore()
    return bench.damage()


def check_again(bench):
    code, out, err = bench.finish(bench.start())
    good = code == 0 and json.loads(out)["logits_hash"] == bench.whole["logits_hash"]
    return "" if good else f"the run after it: exit code {code}: {err}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stile", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(FAULTS), help="kinds, with commas")
    parser.add_argument("--limit", type=int, help="of the group, in bytes; twice the file's size")
    parser.add_argument("--memory-limit", type=int, help="without a group; three quarters of the file's size")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--place")
    options = parser.parse_args()
    n_failed = n_skipped = 0
    table = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="stile-faults-", dir=os.environ.get("TMPDIR")) as folder:
        bench = Bench(options, pathlib.Path(folder))
        print(f"undisturbed {bench.duration_s:.2f} s, {bench.whole['tiers']['streamed_bytes'] / 1e6:.0f} MB streamed a pass")
        kinds = options.only.split(",")
        for i in range(options.count):
            kind, chance = kinds[i % len(kinds)], random.Random(f"{options.seed} {i}")
            if kind in GROUP_FAULTS and not bench.group:
                n_skipped += 1
                continue
            wrong = one(bench, kind, chance, table)
            if not wrong and i % 5 == 4:
                wrong = check_again(bench)
            if wrong:
                n_failed += 1
                print(f"FAILED  {kind}, number {i} of seed {options.seed}: {wrong}")
        n_parts = len(list(bench.cache.rglob("*.part")))
        bench.end()
    for (kind, how), n in sorted(table.items(), key=lambda row: (list(FAULTS).index(row[0][0]), -row[1])):
        print(f"{kind:10} {n:4}  {how}")
    print(f"seed {options.seed}; files that those killed were writing: {n_parts}")
    print(f"{options.count - n_failed - n_skipped} passed, {n_failed} failed, {n_skipped} skipped")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
