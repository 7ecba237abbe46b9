#!/usr/bin/env python3
"""How far `stile plan` is from `stile bench`: plans, then measures at once, over shapes, formats, contexts and limits.

    bench/plan_check.py --models DIR [DIR...] --out FILE [--only 0-7,12] [--part 2/5] [--list]
    bench/plan_check.py --report FILE [FILE...]           the errors of all that was measured

Each case appends a line of JSON, so that many can be measured in pieces; --part 2/5 takes every fifth case, from the
second on, so that the machine's drift meets all kinds alike. Cases with a limit run in a control group (version 1) of
their own with that much memory, or where "option" is said with --memory-limit; what does not fit is read from the disk.
Control groups take root. Models are made by

    stile bench --shape llama-3.2-1b --format q4_k_m --out DIR/1b-q4_k_m.gguf -p 0 -n 1 -r 1

and so on; 8b is llama-3.1-8b in q8_0, 30b is qwen3-30b-a3b in q4_k_m. A case that the folders have no model for is
skipped. Every case is planned and measured in turns, and medians are compared. While others keep the processors busy
nothing can be measured: such a round does not count, and a case that has no other is reported apart.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

STILE = os.environ.get("STILE", str(pathlib.Path(__file__).resolve().parent.parent / "build/stile"))
CGROUP = pathlib.Path("/sys/fs/cgroup/memory")

# model (a file of the folders, a short name, or shape:format), prompt, generated, depth, and what else
CASES = [
    ("1b-q4_k_m.gguf", 256, 48, 0, {}),
    ("1b-q8_0.gguf", 256, 48, 0, {}),
    ("1b-bf16.gguf", 256, 32, 0, {}),
    ("1b-q2_k.gguf", 256, 48, 0, {}),
    ("1b-nvfp4.gguf", 256, 48, 0, {}),
    ("1b-iq4_nl.gguf", 256, 48, 0, {}),
    ("1b-q6_k.gguf", 256, 48, 0, {}),
    ("1b-q5_k_m.gguf", 256, 48, 0, {}),
    ("1b-q3_k_m.gguf", 256, 48, 0, {}),
    ("1b-q4_0.gguf", 256, 48, 0, {}),
    ("smollm2", 512, 96, 0, {}),
    ("smollm2", 512, 96, 6000, {}),
    ("smollm2", 512, 96, 6000, {"kv": "q8_0"}),
    ("smollm2", 512, 96, 0, {"threads": 1}),
    ("1b-q4_k_m.gguf", 256, 48, 2000, {}),
    ("1b-q4_k_m.gguf", 256, 24, 3000, {"kv": "q8_0"}),
    ("1b-q8_0.gguf", 256, 48, 2000, {"kv": "f32"}),
    ("1b-q4_k_m.gguf", 256, 48, 0, {"batch": 64}),
    ("1b-q8_0.gguf", 256, 32, 0, {"batch": 16}),
    ("1b-q4_k_m.gguf", 256, 32, 0, {"threads": 1}),
    ("1b-mxfp4.gguf", 64, 64, 0, {}),
    ("1b-q8_0.gguf", 256, 12, 0, {"limit": 1_200_000_000}),
    ("1b-q8_0.gguf", 256, 12, 0, {"limit": 800_000_000}),
    ("1b-bf16.gguf", 256, 6, 0, {"limit": 1_500_000_000}),
    ("1b-q4_k_m.gguf", 256, 12, 0, {"limit": 600_000_000}),
    ("1b-q6_k.gguf", 256, 12, 2000, {"limit": 900_000_000, "option": True}),
    ("8b-q8_0.gguf", 64, 8, 0, {}),
    ("8b-q8_0.gguf", 64, 4, 0, {"limit": 7_500_000_000}),
    ("8b-q8_0.gguf", 64, 3, 0, {"limit": 4_300_000_000, "option": True}),
    ("qwen3-0.6b:q8_0", 256, 48, 0, {}),
    ("qwen3-0.6b:q4_k_m", 256, 48, 4000, {}),
    ("gemma-3-1b:q4_k_m", 256, 48, 2000, {}),
    ("qwen2.5-1.5b:q5_k_m", 256, 48, 1000, {}),
    ("qwen3-4b:q4_k_m", 256, 32, 0, {}),
    ("30b.gguf", 64, 8, 0, {"limit": 8_000_000_000}),
    ("30b.gguf", 512, 16, 0, {"limit": 8_000_000_000}),
    ("qwen3-30b-a3b:q2_k", 256, 32, 0, {}),
]


def in_group(limit):
    """Enters a control group with so much memory; for preexec_fn."""
    group = CGROUP / f"stile-plan-check-{os.getpid()}"

    def enter():
        group.mkdir(exist_ok=True)
        (group / "memory.limit_in_bytes").write_text(str(limit))
        (group / "cgroup.procs").write_text(str(os.getpid()))

    return group, enter


def run(arguments, limit=None):
    group, enter = in_group(limit) if limit else (None, None)
    done = subprocess.run([STILE, *map(str, arguments)], capture_output=True, text=True, preexec_fn=enter)
    if group:
        group.rmdir()
    if done.returncode != 0:
        sys.exit(f"stile {' '.join(map(str, arguments))}: {done.stderr}")
    return json.loads(done.stdout)


def drop(path):
    """Out of the page cache: pages count for the group that read them first."""
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def find(name, folders):
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def crowded(records):
    return any("others kept" in (record.get("noise") or {}).get("summary", "") for record in records)


def measure(case, folders, n_rounds):
    name, prompt, generated, depth, more = case
    shape, _, mix = name.partition(":")
    path = find(name, folders)
    if not mix and name.endswith(".gguf") and not path:
        return None
    limit = None if more.get("option") else more.get("limit")
    n_ctx = depth + max(prompt, generated) + 8  # as bench has it
    common = ["--json", "--kv", more.get("kv", "f16")]
    common += [x for key, flag in (("threads", "-t"), ("batch", "-b")) if key in more for x in (flag, more[key])]
    common += ["--memory-limit", more["limit"]] if more.get("option") else []
    plan = ["plan", shape if mix else path or name, *common, "--ctx", n_ctx]
    plan += ["-p", prompt, "-n", generated, "-d", depth] + (["--format", mix] if mix else [])
    model = ["--shape", shape, "--format", mix] if mix else [path or name]
    bench = ["bench", *model, *common, "-p", prompt, "-n", generated, "-d", depth, "-r", 3]
    rounds = []
    for _ in range(n_rounds + 2):
        began = time.time()
        if more.get("limit"):  # what is read from the disk, may not lie in memory from the round before
            drop(path)
        predicted = run(plan, limit)
        records = run(bench, limit)
        disturbed = crowded(records)
        print(f"{case}: {time.time() - began:.0f} s{', crowded' if disturbed else ''}", file=sys.stderr)
        rounds.append({"time": began, "seconds": time.time() - began, "crowded": disturbed, "plan": predicted,
                       "memory_bytes_per_s": [record["limit_bytes_per_s"] for record in records],
                       "outcomes": outcomes(predicted, records, with_memory=not mix)})
        if sum(not each["crowded"] for each in rounds) == n_rounds:
            break
    return {"case": list(case), "rounds": rounds}


def outcomes(predicted, records, with_memory):
    found = []
    for record in records:
        kind = "decode" if record["test"].startswith("tg") else "prefill"
        found.append([kind, predicted[f"{kind}_tokens_per_s"], record["tokens_per_s"]])
        if "predicted" in record:  # the same, planned by bench just before
            found.append([f"{kind}, bench", record["predicted"], record["tokens_per_s"]])
    if with_memory:  # a model made in memory needs more while it is made
        # where weights are streamed, pages of the file (rows of the embedding) come and go
        used = "peak_memory_bytes" if predicted["fits"] else "own_memory_bytes"
        peak = max(record[used] for record in records)
        total = predicted["memory_bytes"]["resident"]
        found.append(["memory", {"value": total, "low": 0, "high": total, "bound_by": "memory"}, peak])
    return found


def medians(rounds):
    """[(kind, estimate, measured)] of the rounds together."""
    for same in zip(*(each["outcomes"] for each in rounds)):
        middle = {key: statistics.median(estimate[key] for _, estimate, _ in same) for key in ("value", "low", "high")}
        middle["bound_by"] = same[0][1]["bound_by"]
        yield same[0][0], middle, statistics.median(measured for _, _, measured in same)


def report(paths):
    last = {}
    for path in paths:
        for line in open(path):
            result = json.loads(line)
            last[json.dumps(result["case"])] = result
    errors, n_crowded = {}, 0
    print(f"{'case':48} {'GB/s':>5} {'':15} {'predicted':>9} {'measured':>9} {'error':>7}  limited by")
    for result in last.values():
        name, prompt, generated, depth, more = result["case"]
        settings = "".join(f" {key} {value / 1e9:g}G" if key == "limit" else f" {key} {value}" for key, value in more.items())
        label = f"{name} {prompt}+{generated}@{depth}{settings}"[:48]
        rounds = [each for each in result["rounds"] if not each["crowded"]]
        n_crowded += not rounds
        for kind, estimate, measured in medians(rounds or result["rounds"]):
            error = estimate["value"] / measured - 1
            inside = estimate["low"] <= measured <= estimate["high"]
            if rounds:
                errors.setdefault(kind, []).append((error, inside))
            unit = 1e6 if kind == "memory" else 1
            note = "" if inside or kind == "memory" else f"  outside {estimate['low']:.1f}-{estimate['high']:.1f}"
            read = statistics.median(each["memory_bytes_per_s"][0] or 0 for each in rounds or result["rounds"])
            print(f"{label:48} {read / 1e9:5.1f} {kind:15} {estimate['value'] / unit:9.2f} {measured / unit:9.2f}"
                  f" {100 * error:+6.1f}%  {estimate['bound_by']}{note}{'' if rounds else ', crowded'}")
    print(f"\n{len(last)} cases, {n_crowded} of them crowded and not counted")
    print(f"{'':16} {'n':>4} {'median':>8} {'worst':>8} {'bias':>8} {'within':>8}")
    for kind, found in sorted(errors.items()):
        sizes = [abs(error) for error, _ in found]
        bias = statistics.median(error for error, _ in found)
        print(f"{kind:16} {len(found):4} {100 * statistics.median(sizes):7.1f}% {100 * max(sizes):7.1f}% {100 * bias:+7.1f}%"
              f" {sum(inside for _, inside in found):5}/{len(found)}"
              + (f"  under: {sum(error < 0 for error, _ in found)}" if kind == "memory" else ""))


def chosen(only, part):
    cases = range(len(CASES))
    if only:
        spans = [span.partition("-") for span in only.split(",")]
        cases = [i for first, _, last in spans for i in range(int(first), int(last or first) + 1)]
    if part:
        k, n = map(int, part.split("/"))
        cases = cases[k - 1::n]
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, nargs="+", default=[pathlib.Path(".")])
    parser.add_argument("--out", default="plan_check.jsonl")
    parser.add_argument("--rounds", type=int, default=3, help="of planning and measuring, in turns; their medians count")
    parser.add_argument("--only", help="cases, such as 3 or 0-7,12")
    parser.add_argument("--part", help="K/N: every N-th of these, from the K-th on")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", nargs="+")
    options = parser.parse_args()
    if options.report:
        return report(options.report)
    for i in chosen(options.only, options.part):
        if options.list:
            print(i, CASES[i])
            continue
        result = measure(CASES[i], options.models, options.rounds)
        if result:
            with open(options.out, "a") as out:
                out.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
