#!/usr/bin/env python3
"""Writes src/model/shapes_data.c from data/models.csv.

    tools/make-shapes.py > src/model/shapes_data.c

tests/test_model_synthetic.c compares the two.
"""
import csv
import json
import pathlib
import re

HEAD = """\
/* shapes_data.c - written by tools/make-shapes.py from data/models.csv; do not edit. See shapes.h. */
#include "model/shapes.h"

/* clang-format off */
const struct shape shapes[] = {
"""
TEXTS = {"id": "id", "name": "name", "arch": "arch", "pattern": "sliding_window_pattern"}
NUMBERS = {"n_layers": "n_layers", "d_model": "d_model", "d_ff": "d_ff", "n_heads": "n_heads",
           "n_kv_heads": "n_kv_heads", "head_dim": "head_dim", "n_vocab": "vocab", "n_experts": "n_experts",
           "n_experts_used": "n_experts_used", "d_ff_expert": "d_ff_expert", "n_shared_experts": "n_shared_experts",
           "n_ctx": "context"}
SOURCES = {"notes": "notes", "source": "source"}


def entry(row: dict[str, str]) -> str:
    fields = [f".{field} = {json.dumps(row[column])}" for field, column in TEXTS.items()]
    for field, column in [("n_params_m", "params_total_b"), ("n_params_active_m", "params_active_b")]:
        fields.append(f".{field} = {round(float(row[column]) * 1000)}")
    fields += [f".{field} = {int(row[column] or 0)}" for field, column in NUMBERS.items()]
    # "512:5of6": a window of 512 in five of six layers
    sliding = re.fullmatch(r"(\d+):(\d+)of(\d+)", row["sliding_window_pattern"])
    if sliding:
        window, n_sliding, period = map(int, sliding.groups())
        if n_sliding != period - 1:
            raise SystemExit(f"{row['id']}: {n_sliding} sliding layers of {period} have no name in struct shape")
        fields.append(f".window = {window}, .window_period = {period}")
    fields.append(f".tied_embeddings = {int(row['tied_embeddings'] or -1)}")
    fields += [f"\n     .{field} = {json.dumps(row[column])}" for field, column in SOURCES.items()]
    lines, line = [], ""
    for field in fields:
        if line and (len(line) + len(field) > 112 or field.startswith("\n")):
            lines.append(line)
            line = ""
        line += (", " if line else "") + field.strip()
    return "    {" + ",\n     ".join(lines + [line]) + "},\n"


def main() -> None:
    path = pathlib.Path(__file__).resolve().parent.parent / "data" / "models.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    print(HEAD + "".join(entry(row) for row in rows) + "};\nconst size_t n_shapes = sizeof shapes / sizeof *shapes;")


if __name__ == "__main__":
    main()
