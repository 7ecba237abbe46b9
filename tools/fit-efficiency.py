#!/usr/bin/env python3
"""Fits what programs make of data-sheet rates to data/published.csv: the numbers in src/plan/efficiency.c.

    tools/fit-efficiency.py

A decoded token takes bytes / (bandwidth * share) + operations * op_s; shares by family of device and class of number
format, op_s by family and by whether the model is a mixture of experts. Sum of |log error| is made small, by coordinate
search. Beside each row stands its error when it is left out of the fit.
"""
import csv
import math
import pathlib
import statistics

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"


def read(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


HARDWARE = {row["id"]: row for row in read("hardware.csv")}
SHAPES = {row["id"]: row for row in read("models.csv")}
CLASSES = {"f16": "float", "bf16": "float", "f32": "float", "q2_k": "few", "q3_k": "few", "iq3_xxs": "few",
           "nvfp4": "fp4", "mxfp4": "bits"}


def family(device: dict[str, str]) -> str:
    if device["kind"] == "cpu":
        return "cpu"
    return "apple" if device["vendor"] == "apple" else "gpu"


class Row:
    def __init__(self, row: dict[str, str]):
        device = HARDWARE[row["machine"].split(":")[0]]
        shape = SHAPES[row["shape"]]
        mixture = int(shape["n_experts"] or 0) > 0
        self.text = f'{row["machine"]:19} {row["shape"]:19} {row["format"]:8} {row["engine"][:24]:24}'
        self.value = float(row["value"])
        # seconds were all of the bandwidth used
        self.ideal_s = (float(shape["params_active_b"]) * float(row["bits_per_weight"]) / 8
                        / float(device["mem_bandwidth_gbs"]))
        per_layer = 8 + (1 + (3 if int(shape["n_shared_experts"] or 0) else 0) if mixture else 0)
        self.n_ops = per_layer * int(shape["n_layers"]) + 1
        name = family(device)
        # one set of experts may be as lean as a dense layer; mixtures with attention of another kind never are
        self.share = f'{name} {CLASSES.get(row["format"], "bits")}'
        self.op = f'{name} {"mixture" if mixture else "dense"}'

    def predict(self, p: dict[str, float]) -> float:
        return 1 / (self.ideal_s / p[self.share] + self.n_ops * p[self.op] * 1e-6)

    def error(self, p: dict[str, float]) -> float:
        return self.predict(p) / self.value - 1


def fit(rows: list[Row], start: dict[str, float]) -> dict[str, float]:
    p = dict(start)

    def loss() -> float:
        return sum(abs(math.log(row.predict(p) / row.value)) for row in rows)

    best, step = loss(), 0.25
    while step > 0.002:
        improved = False
        for key in p:
            for factor in (1 + step, 1 / (1 + step)):
                old = p[key]
                new = old * factor
                if " mixture" not in key and " dense" not in key:
                    new = min(new, 0.92)  # nothing reads faster than that
                p[key] = new
                now = loss()
                if now < best - 1e-9:
                    best, improved = now, True
                else:
                    p[key] = old
        if not improved:
            step /= 2
    return p


def main() -> None:
    rows = [Row(row) for row in read("published.csv") if row["metric"] == "decode"]
    start = {key: 0.7 for row in rows for key in [row.share]}
    start.update({key: 5.0 for row in rows for key in [row.op]})
    p = fit(rows, start)
    for key in sorted(p):
        print(f"{key:16} {p[key]:8.3f}")
    errors, left_out = [], []
    for i, row in enumerate(rows):
        others = rows[:i] + rows[i + 1:]
        keys = {key for other in others for key in (other.share, other.op)}
        alone = not {row.share, row.op} <= keys
        out = None if alone else row.error(fit(others, p))
        errors.append(abs(row.error(p)))
        if out is not None:
            left_out.append(abs(out))
        print(f"{row.text} {row.value:7.1f} {row.predict(p):7.1f} {100 * row.error(p):+6.1f}%"
              + ("      -" if out is None else f" {100 * out:+6.1f}%"))
    print(f"median {100 * statistics.median(errors):.1f}%, left out {100 * statistics.median(left_out):.1f}%,"
          f" 90% within {100 * sorted(left_out)[int(0.9 * len(left_out))]:.0f}%")


if __name__ == "__main__":
    main()
