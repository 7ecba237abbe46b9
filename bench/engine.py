"""engine.py - what every engine that peers.py measures has in common: requests and answers, one JSON object a line.

    {"do": "open", "path": ..., "n_ctx": ..., "threads": ..., "kv": "f16"}
    {"do": "fill", "n": 4096}     evaluates n tokens that stay: the depth of what follows
    {"do": "prefill", "n": 512}   evaluates n tokens at once, then forgets them
    {"do": "decode", "n": 128}    evaluates n tokens one by one, then forgets them
    {"do": "memory"}

Answers hold "seconds" (of the work alone), or "peak_bytes" and "anonymous_bytes". Tokens are pseudo-random.
"""

import json
import os
import sys
import time


def tokens(n, seed, n_vocab=30000):
    state = seed * 2654435761 % 2**32
    out = []
    for _ in range(n):
        state = (1664525 * state + 1013904223) % 2**32
        out.append(100 + (state >> 8) % (n_vocab - 100))
    return out


def status_bytes(field):
    with open("/proc/self/status", encoding="ascii") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


class Engine:
    """Subclasses have open(path, n_ctx, threads, kv), eval(list of tokens), wait() and rewind(n_tokens)."""

    depth = 0
    seed = 1

    def fill(self, n):
        self.eval(tokens(n, 7))
        self.wait()
        self.depth += n

    def timed(self, steps):
        begin = time.perf_counter()
        for step in steps:
            self.eval(step)
        self.wait()
        seconds = time.perf_counter() - begin
        self.rewind(self.depth)
        return seconds

    def answer(self, request):
        what = request.pop("do")
        self.seed += 1
        if what == "open":
            begin = time.perf_counter()
            self.open(**request)
            return {"seconds": time.perf_counter() - begin}
        if what == "fill":
            self.fill(request["n"])
            return {}
        if what == "prefill":
            return {"seconds": self.timed([tokens(request["n"], self.seed)])}
        if what == "decode":
            return {"seconds": self.timed([[t] for t in tokens(request["n"], self.seed)])}
        if what == "memory":
            return {"peak_bytes": status_bytes("VmHWM"), "anonymous_bytes": status_bytes("RssAnon")}
        raise SystemExit(f"cannot {what}")

    def serve(self):
        # Libraries print to stdout as they like; answers go to the pipe that was stdout.
        out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        for line in sys.stdin:
            print(json.dumps(self.answer(json.loads(line))), file=out, flush=True)
