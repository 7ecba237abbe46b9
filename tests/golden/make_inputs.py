"""make_inputs.py MODEL.gguf: squares of the inputs of SmolLM2's matrices, in float64.

Run by hand; its result, smollm2_inputs.json, is committed. Of every matrix: the sum of squares of its inputs over all
columns, and those of its first columns; over the whole windows of N_CTX tokens that the text has.
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "reference"))
from make_truth import tokenizer_of  # noqa: E402
from model import Model  # noqa: E402

N_CTX = 64
N_COLUMNS = 6
TEXT = """A stile is a way over a fence or a wall that people can climb and cattle cannot. The oldest ones are two stones
that stand out of a dry wall; most are a few boards on posts, one for each step. Where a path crosses many fields, there
is one at every boundary, and whoever walks there knows them by their faults: the board that turns, the post that leans,
the nail that takes a thread of every coat.

    def steps(height_cm, rise_cm=28):
        return max(1, round(height_cm / rise_cm))

In 1884 a surveyor counted 1,312 of them between the river and the hills, and wrote that no two were alike. "I have
measured what I could," he said, "and the rest I have climbed."
"""


class Observed(Model):
    def __init__(self, path):
        super().__init__(path)
        self.sums = {}

    def linear(self, name, x, expert=...):
        self.sums[name] = self.sums.get(name, 0) + np.sum(x * x, axis=0)
        return super().linear(name, x, expert)


def main():
    model = Observed(sys.argv[1])
    tokens = tokenizer_of(sys.argv[1]).encode(TEXT, add_special_tokens=False).ids
    n = len(tokens) // N_CTX
    for i in range(n):
        model.forward(np.array(tokens[i * N_CTX : (i + 1) * N_CTX]))
    tensors = {
        f"{name}.weight": [float(f"{x:.7g}") for x in [s.sum(), *s[:N_COLUMNS]]] for name, s in model.sums.items()
    }
    out = {"text": TEXT, "n_ctx": N_CTX, "n_chunks": n, "tensors": tensors}
    (HERE / "smollm2_inputs.json").write_text(json.dumps(out).replace("], ", "],\n") + "\n")


if __name__ == "__main__":
    main()
