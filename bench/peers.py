#!/usr/bin/env python3
"""peers.py MODEL.gguf... : stile beside other engines on the same files, taking turns.

    bench/peers.py model.gguf --engine 'llama.cpp=venv/bin/python bench/engine_llama.py'

Each engine is a process that opens the model once; then every repetition asks one after the other, so that what drifts
(clock, heat, neighbours) hits all alike. The ratio is the median of the ratios of the rounds, between its smallest and
largest. Only one engine works at a time. Peers come from PyPI (llama-cpp-python, built from source: see
docs/measuring.md); this script needs nothing but Python.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REST_S = 0.05  # for threads of the engine before that still spin


class Process:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"an engine ended while asked to {request['do']}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "samples": values}


def tests(args):
    for depth in args.depth:
        suffix = f"@d{depth}" if depth else ""
        if args.prompt:
            yield f"pp{args.prompt}{suffix}", depth, "prefill", args.prompt
        if args.generate:
            yield f"tg{args.generate}{suffix}", depth, "decode", args.generate


def throughput(args, path):
    n_ctx = max(args.depth) + max(args.prompt, args.generate) + 64
    engines = {name: Process(command) for name, command in args.engines.items()}
    for engine in engines.values():
        engine.ask(do="open", path=path, n_ctx=n_ctx, threads=args.threads, kv=args.kv)
    depth_now = 0
    for test, depth, what, n in tests(args):
        for engine in engines.values():
            if depth != depth_now:
                engine.ask(do="fill", n=depth - depth_now)
            engine.ask(do=what, n=min(n, 64))  # warm-up
        depth_now = depth
        rates = {name: [] for name in engines}
        for _ in range(args.repetitions):
            for name, engine in engines.items():
                time.sleep(REST_S)
                rates[name].append(n / engine.ask(do=what, n=n)["seconds"])
        yield test, "tokens_per_s", rates
    for engine in engines.values():
        engine.close()


def start(args, path):
    """From nothing to the logits after five tokens, in a process of its own each time."""
    seconds = {name: [] for name in args.engines}
    anonymous = {name: [] for name in args.engines}
    for _ in range(args.repetitions):
        for name, command in args.engines.items():
            engine = Process(command)
            opened = engine.ask(do="open", path=path, n_ctx=512, threads=args.threads, kv=args.kv)["seconds"]
            seconds[name].append(opened + engine.ask(do="prefill", n=5)["seconds"])
            anonymous[name].append(engine.ask(do="memory")["anonymous_bytes"])
            engine.close()
    yield "first-token", "seconds", seconds
    yield "anonymous-memory", "bytes", anonymous


def record(path, test, unit, samples, args):
    first = samples[next(iter(args.engines))]
    faster = (lambda mine, other: mine / other) if unit == "tokens_per_s" else (lambda mine, other: other / mine)
    engines = {name: summary(values) for name, values in samples.items()}
    for name, values in samples.items():
        ratios = [faster(a, b) for a, b in zip(first, values)]
        engines[name]["first_is_better_by"] = summary(ratios)
    return {"model": Path(path).name, "test": test, "unit": unit, "kv": args.kv, "threads": args.threads, "engines": engines}


def show(r):
    for name, e in r["engines"].items():
        ratio = e["first_is_better_by"]
        scale, unit = (1e-6, "MB") if r["unit"] == "bytes" else (1, {"tokens_per_s": "t/s", "seconds": "s"}[r["unit"]])
        print(
            f"{r['model'][:34]:34}  {r['test']:16}  {name:12}  {e['median'] * scale:9.2f} [{e['min'] * scale:.2f} - {e['max'] * scale:.2f}] {unit:4}"
            f"  {ratio['median']:5.2f} [{ratio['min']:.2f} - {ratio['max']:.2f}]",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--engine", action="append", default=[], metavar="NAME=COMMAND", help="beside stile; may be repeated")
    parser.add_argument("--library", default=str(HERE.parent / "build/libstile.so"), help="stile's")
    parser.add_argument("--isa", default="", help="instruction set for stile, where not the best")
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--generate", type=int, default=128)
    parser.add_argument("-d", "--depth", type=lambda s: sorted(int(x) for x in s.split(",")), default=[0], help="list")
    parser.add_argument("-r", "--repetitions", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--kv", choices=["f16", "f32", "q8_0"], default="f16")
    parser.add_argument("--start", action="store_true", help="time to the first token instead, and memory beside the mapped file")
    parser.add_argument("--jsonl", metavar="FILE", help="appends the records, with all samples")
    args = parser.parse_args()
    mine = [sys.executable, str(HERE / "engine_stile.py"), args.library] + ([args.isa] if args.isa else [])
    args.engines = {"stile": mine}
    for text in args.engine:
        name, _, command = text.partition("=")
        args.engines[name] = shlex.split(command)
    for path in args.models:
        for test, unit, samples in (start if args.start else throughput)(args, path):
            r = record(path, test, unit, samples, args)
            show(r)
            if args.jsonl:
                with open(args.jsonl, "a", encoding="utf-8") as f:
                    f.write(json.dumps(r) + "\n")


if __name__ == "__main__":
    main()
