"""make_truth.py MODEL.gguf: what SmolLM2 says to the prompts of prompts.json, in float64.

Run by hand; its result, smollm2_truth.json, is committed. Up to 16 evenly spaced positions of each prompt, the last one
among them; at each the 20 most likely next tokens and their log-probabilities, most likely first.
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from tokenizers import Tokenizer, models, pre_tokenizers

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "reference"))
from model import Model, log_softmax  # noqa: E402

N_POSITIONS = 16
N_TOP = 20
CONTROL = 3


def tokenizer_of(path):
    """SmolLM2's byte-level BPE from the file's own lists."""
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.add_special_tokens([t for t, kind in zip(tokens, types) if kind == CONTROL])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return tokenizer


def main():
    model = Model(sys.argv[1])
    tokenizer = tokenizer_of(sys.argv[1])
    lines = []
    for prompt in json.loads((HERE / "prompts.json").read_text()):
        tokens = tokenizer.encode(prompt["text"]).ids
        n = min(N_POSITIONS, len(tokens))
        positions = [len(tokens) * (i + 1) // n - 1 for i in range(n)]
        logprobs = log_softmax(model.forward(tokens, positions))
        top = np.argsort(-logprobs, axis=1)[:, :N_TOP]
        answer = [
            {"position": p, "ids": ids.tolist(), "logprobs": [round(x, 5) for x in row[ids].tolist()]}
            for p, ids, row in zip(positions, top, logprobs)
        ]
        lines.append(json.dumps({"name": prompt["name"], "tokens": tokens, "top": answer}, separators=(",", ":")))
        print(f"{prompt['name']:14} {len(tokens):4} tokens, next: {tokenizer.id_to_token(int(top[-1, 0]))}")
    (HERE / "smollm2_truth.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
