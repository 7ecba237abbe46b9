#!/usr/bin/env python3
"""Writes the tables of the planner from data/*.csv.

    tools/make-tables.py hardware > src/plan/hardware_data.c
    tools/make-tables.py quality > src/plan/quality_data.c
    tools/make-tables.py published > src/plan/published_data.c

An empty number is 0: not known. tests/test_plan_machines.c compares the tables with the data.
"""
import csv
import json
import pathlib
import re
import sys

TABLES = {
    # name: struct, header, array, text columns, number columns
    "hardware": ("hardware", "hardware_table", ["id", "name", "vendor", "kind", "isa", "source"],
                 ["mem_bandwidth_gbs", "fp16_dense_tflops", "int8_tops", "fp8_tflops", "fp4_tflops", "tdp_w",
                  "host_link_gbs", "cores", "base_ghz", "year"]),
    "quality": ("quality", "quality_table", ["model", "quant", "metric", "source"],
                ["bits_per_weight", "value", "baseline"]),
    "published": ("published", "published_table", ["machine", "shape", "format", "engine", "metric", "source"],
                  ["bits_per_weight", "n_tokens", "value"]),
}


def number(text: str) -> str:
    return text.strip() or "0"


def memory_sizes(row: dict[str, str]) -> str:
    sizes = row["memory_gb"].split("|")
    return ".memory_gb = {" + ", ".join(sizes) + "}"


def is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def main() -> None:
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in TABLES:
        raise SystemExit(__doc__)
    struct, array, texts, numbers = TABLES[name]
    path = pathlib.Path(__file__).resolve().parent.parent / "data" / f"{name}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if name == "quality":  # "<1" and "2-4" say something to people only
        rows = [row for row in rows if is_number(row["value"]) and is_number(row["baseline"])]
    print(f"/* {name}_data.c - written by tools/make-tables.py from data/{name}.csv; do not edit. See {name}.h. */")
    print(f'#include "plan/{name}.h"\n\n/* clang-format off */\nconst struct {struct} {array}[] = {{')
    for row in rows:
        fields = [f".{column} = {json.dumps(row[column])}" for column in texts if row[column]]
        if name == "hardware":
            fields.append(memory_sizes(row))
        fields += [f".{column} = {number(row[column])}" for column in numbers if row[column].strip()]
        print("    {" + ",\n     ".join(wrap(fields)) + "},")
    print(f"}};\nconst size_t n_{array} = sizeof {array} / sizeof *{array};")


def wrap(fields: list[str]) -> list[str]:
    lines = [fields[0]]
    for field in fields[1:]:
        if len(lines[-1]) + len(field) > 108:
            lines.append(field)
        else:
            lines[-1] += ", " + field
    return lines


if __name__ == "__main__":
    main()
