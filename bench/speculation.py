"""What speculation brings: python3 bench/speculation.py [options] MODEL

Runs `stile run` on the prompts in bench/prompts: texts and code that are edited, documents that are quoted, and fresh
prose, where there is nothing to guess from. Each plainly (--no-lookup) and with every source of guesses there is, taking
turns, so that what disturbs the machine disturbs all of them; with all weights in memory, and with the limits of memory
that are given. The hash of all logits must be the same. The medians of tokens per second, how many times plain that is
(the median of the ratios of each round), tokens for each pass over the weights, and how many of the guesses that were
evaluated were right. --json FILE keeps that and every sample.
"""

import argparse
import json
import pathlib
import shlex
import statistics
import subprocess
import sys

PROMPTS = {path.stem: path for path in sorted((pathlib.Path(__file__).parent / "prompts").glob("*.txt"))}


def run(options, kind: str, way: list, limit: str, temperature: float) -> dict:
    command = [options.stile, "run", options.model, "-f", str(PROMPTS[kind]), "-n", str(options.tokens), "--json"]
    command += ["--temp", str(temperature), "--seed", "1", "--logits-hash", *way, *shlex.split(options.more)]
    if limit != "none":
        command += ["--memory-limit", limit]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(options, kind: str, ways: dict, limit: str, temperature: float) -> list:
    results = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            results[name].append(run(options, kind, way, limit, temperature))
    if len({result["logits_hash"] for all in results.values() for result in all}) != 1:
        sys.exit(f"{kind}: the ways differ in their logits")
    plain = [result["reply_tokens_per_s"] for result in results["plain"]]
    rows = []
    for name, all in results.items():
        rates = [result["reply_tokens_per_s"] for result in all]
        last = all[-1]
        row = {
            "prompt": kind,
            "memory_limit": limit,
            "temperature": temperature,
            "way": name,
            "reply_tokens": last["reply_tokens"],
            "tokens_per_s": statistics.median(rates),
            "tokens_per_s_samples": rates,
            "times_plain": statistics.median(rate / base for rate, base in zip(rates, plain)),
            "tokens_per_pass": last["tokens_per_pass"],
            "draft_ms": last["draft_ms"],
            "reply_ms": last["reply_ms"],
        }
        row |= {source: last[source] for source in ("lookup", "draft")}
        rows.append(row)
        show(row)
    return rows


def show(row: dict) -> None:
    guesses = [
        f"{source} {row[source]['accepted_tokens']} of {row[source]['drafted_tokens']}"
        for source in ("lookup", "draft")
        if row[source]["drafted_tokens"]
    ]
    if row["draft_ms"] > 0:
        guesses.append(f"drafting {row['draft_ms']:.0f} of {row['reply_ms']:.0f} ms")
    print(
        f"{row['prompt']:16} {row['memory_limit']:>5} {row['temperature']:4} {row['way']:7} {row['reply_tokens']:5} tokens "
        f"{row['tokens_per_s']:8.2f}/s (best {max(row['tokens_per_s_samples']):8.2f}) {row['times_plain']:6.2f}x "
        f"{row['tokens_per_pass']:6.2f} a pass  {', '.join(guesses)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--stile", default="build/stile")
    parser.add_argument("--draft", help="a smaller model of the same family")
    parser.add_argument("--kinds", default=",".join(PROMPTS), help="of " + ",".join(PROMPTS))
    parser.add_argument("--limits", default="none", help='limits of memory: "none,200M"')
    parser.add_argument("--ways", help="of plain,lookup,draft,both; default: all there are")
    parser.add_argument("--temps", default="0")
    parser.add_argument("-n", "--tokens", type=int, default=256)
    parser.add_argument("-r", "--rounds", type=int, default=3)
    parser.add_argument("--more", default="", help='further options of stile run: "--ctx 2048"')
    parser.add_argument("--json", help="a file to write the results to")
    options = parser.parse_args()
    ways = {"plain": ["--no-lookup"], "lookup": []}
    if options.draft:
        ways |= {"draft": ["--no-lookup", "--draft", options.draft], "both": ["--draft", options.draft]}
    if options.ways:
        ways = {name: ways[name] for name in ["plain", *(way for way in options.ways.split(",") if way != "plain")]}
    rows = []
    for limit in options.limits.split(","):
        for kind in options.kinds.split(","):
            for temperature in options.temps.split(","):
                rows += measure(options, kind, ways, limit, float(temperature))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"model": options.model, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
