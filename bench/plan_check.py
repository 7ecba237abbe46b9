#!/usr/bin/env python3
"""How far `stile plan` is from `stile bench`: plans first, then measures, over shapes, formats, contexts and limits.

    bench/plan_check.py --models DIR --out FILE [--only 0-7] [--list]     measures, appends a line of JSON each
    bench/plan_check.py --report FILE                                     the errors of all that was measured

Cases with a limit run in a control group (version 1) of their own with that much memory, so that what does not fit is
read from the disk and not from the page cache; that takes root. A case that the folder has no model for is skipped.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

STILE = os.environ.get("STILE", str(pathlib.Path(__file__).resolve().parent.parent / "build/stile"))
CGROUP = pathlib.Path("/sys/fs/cgroup/memory")

# model (a file of the folder, a short name, or shape:format), prompt, generated, depth, and what else
CASES = [
    ("1b-q4_k_m.gguf", 512, 64, 0, {}),
    ("1b-q8_0.gguf", 512, 64, 0, {}),
    ("1b-bf16.gguf", 256, 32, 0, {}),
    ("1b-q2_k.gguf", 512, 64, 0, {}),
    ("1b-nvfp4.gguf", 512, 64, 0, {}),
    ("1b-iq4_nl.gguf", 512, 64, 0, {}),
    ("1b-q6_k.gguf", 512, 64, 0, {}),
    ("1b-q5_k_m.gguf", 512, 64, 0, {}),
    ("smollm2", 512, 128, 0, {}),
    ("smollm2", 512, 128, 6000, {}),
    ("smollm2", 512, 128, 6000, {"kv": "q8_0"}),
    ("smollm2", 512, 128, 0, {"threads": 1}),
    ("1b-q4_k_m.gguf", 512, 64, 3500, {}),
    ("1b-q4_k_m.gguf", 512, 32, 8000, {"kv": "q8_0"}),
    ("1b-q8_0.gguf", 512, 64, 3500, {"kv": "f32"}),
    ("1b-q4_k_m.gguf", 512, 64, 0, {"batch": 64}),
    ("1b-q4_k_m.gguf", 256, 32, 0, {"threads": 1}),
    ("1b-mxfp4.gguf", 64, 64, 0, {}),
    ("1b-q8_0.gguf", 512, 16, 0, {"limit": 1_200_000_000}),
    ("1b-q8_0.gguf", 512, 16, 0, {"limit": 800_000_000}),
    ("1b-bf16.gguf", 512, 8, 0, {"limit": 1_500_000_000}),
    ("1b-q4_k_m.gguf", 512, 16, 0, {"limit": 600_000_000}),
    ("1b-q6_k.gguf", 512, 16, 2000, {"limit": 900_000_000}),
    ("qwen3-0.6b:q8_0", 512, 64, 0, {}),
    ("qwen3-0.6b:q4_k_m", 512, 64, 4000, {}),
    ("gemma-3-1b:q4_k_m", 512, 64, 2000, {}),
    ("qwen2.5-1.5b:q5_k_m", 512, 64, 1000, {}),
    ("qwen3-4b:q4_k_m", 256, 32, 0, {}),
    ("llama-3.1-8b:q4_k_m", 256, 16, 0, {}),
    ("30b.gguf", 256, 16, 0, {"limit": 8_000_000_000}),
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


def measure(case, folder):
    name, prompt, generated, depth, more = case
    shape, _, mix = name.partition(":")
    path = folder / name
    if not mix and name.endswith(".gguf") and not path.exists():
        return None
    limit = more.get("limit")
    if limit:
        drop(path)
    n_ctx = depth + max(prompt, generated) + 8  # as bench has it
    common = ["--json", "--kv", more.get("kv", "f16")]
    common += [x for key, flag in (("threads", "-t"), ("batch", "-b")) if key in more for x in (flag, more[key])]
    plan = ["plan", shape if mix else path if path.exists() else name, *common, "--ctx", n_ctx]
    plan += ["-p", prompt, "-n", generated, "-d", depth] + (["--format", mix] if mix else [])
    model = ["--shape", shape, "--format", mix] if mix else [path if path.exists() else name]
    bench = ["bench", *model, *common, "-p", prompt, "-n", generated, "-d", depth, "-r", 3, "--time", 4]
    predicted = run(plan, limit)
    records = run(bench, limit)
    measured = {("decode" if r["test"].startswith("tg") else "prefill"): r for r in records}
    result = {"case": [name, prompt, generated, depth, more], "plan": predicted, "outcomes": []}
    for kind, record in measured.items():
        estimate = predicted[f"{kind}_tokens_per_s"]
        result["outcomes"].append([kind, estimate, record["tokens_per_s"]])
        result.setdefault("memory_bytes_per_s", []).append(record["limit_bytes_per_s"])  # at the time of measuring
    if not mix:  # a model made in memory needs more while it is made
        # where weights are streamed, pages of the file (rows of the embedding) come and go
        used = "peak_memory_bytes" if predicted["fits"] else "own_memory_bytes"
        peak = max(record[used] for record in records)
        total = predicted["memory_bytes"]["resident"]
        result["outcomes"].append(["memory", {"value": total, "low": 0, "high": total, "bound_by": "memory"}, peak])
    return result


def report(path):
    last = {}
    for line in open(path):
        result = json.loads(line)
        last[json.dumps(result["case"])] = result
    errors = {}
    print(f"{'case':58} {'':8} {'predicted':>10} {'measured':>10} {'error':>7}  limited by")
    for result in last.values():
        name, prompt, generated, depth, more = result["case"]
        settings = "".join(f" {key} {value}" for key, value in more.items())
        label = f"{name} pp{prompt} tg{generated} d{depth}{settings}"
        for kind, estimate, measured in result["outcomes"]:
            error = estimate["value"] / measured - 1
            inside = estimate["low"] <= measured <= estimate["high"]
            errors.setdefault(kind, []).append((error, inside))
            unit = 1e6 if kind == "memory" else 1
            print(f"{label:58} {kind:8} {estimate['value'] / unit:10.2f} {measured / unit:10.2f} {100 * error:+6.1f}%"
                  f"  {estimate['bound_by']}{'' if inside else '  outside'}")
    print(f"\n{'':10} {'n':>4} {'median':>8} {'worst':>8} {'bias':>8} {'within':>8}")
    for kind, found in errors.items():
        sizes = [abs(error) for error, _ in found]
        print(f"{kind:10} {len(found):4} {100 * statistics.median(sizes):7.1f}% {100 * max(sizes):7.1f}%"
              f" {100 * statistics.median(error for error, _ in found):+7.1f}% {sum(inside for _, inside in found):5}/{len(found)}"
              + (f"  under: {sum(error < 0 for error, _ in found)}" if kind == "memory" else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--out", default="plan_check.jsonl")
    parser.add_argument("--only", help="cases, such as 3 or 0-7")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report")
    options = parser.parse_args()
    if options.report:
        return report(options.report)
    first, _, last = (options.only or f"0-{len(CASES) - 1}").partition("-")
    for i in range(int(first), int(last or first) + 1):
        if options.list:
            print(i, CASES[i])
            continue
        result = measure(CASES[i], options.models)
        if result:
            with open(options.out, "a") as out:
                out.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
