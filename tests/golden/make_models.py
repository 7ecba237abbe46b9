"""make_models.py OUT_DIR: tiny models with odd shapes, and what they must answer.

Writes OUT_DIR/models/NAME.gguf and NAME.truth for test_run_models.c. A truth is, little-endian:
    u32 n_tokens, u32 n_vocab, f64 kv_error, f64 act_error, i32 tokens[n_tokens], f64 logits[n_tokens][n_vocab]
The logits are those of tests/reference/model.py in float64. The two errors say what lawful rounding does to this model,
as rms(a - b) / rms(b) over all logits: keys and values rounded to F16; activations rounded to int8 (0 where the
weights are floats). The engine may differ by about as much, no more.
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

sys.path.insert(0, str(Path(__file__).parent.parent / "reference"))
from blocks import EXPERT_TYPES, TYPES, quantized  # noqa: E402
from model import Model  # noqa: E402
from vocabulary import add_bpe, add_spm  # noqa: E402

EPS = 1e-5
N_VOCAB = 293  # odd, and above the 256 bytes

# What every spec may say; the rest has these defaults. head_dim None: not stated in the file (d_model / n_heads).
DEFAULTS = dict(
    d_model=34, n_heads=6, n_kv_heads=2, head_dim=10, d_ff=37, n_layers=3, tied=False, n_tokens=60, n_vocab=N_VOCAB,
    base=10000.0, keys={}, bias=False, rope_freqs=False, spm=False, weights=None, n_experts=0, n_used=0, d_ff_expert=None,
    twins=False,
)  # fmt: skip


def yarn(factor, original, **more):
    return {"rope.scaling.type": "yarn", "rope.scaling.factor": factor, "rope.scaling.original_context_length": original} | more


LINEAR = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}

SPECS = {
    "llama_gqa": dict(arch="llama"),
    "llama_plain": dict(arch="llama", d_model=48, n_heads=4, n_kv_heads=None, head_dim=None, n_layers=2, tied=True, d_ff=65),
    "llama_deep": dict(arch="llama", d_model=35, n_heads=3, n_kv_heads=1, head_dim=14, n_layers=7, base=500000.0),
    "llama3_rope": dict(arch="llama", n_heads=3, n_kv_heads=1, head_dim=16, rope_freqs=True, base=5000.0, n_tokens=200),
    "llama_linear": dict(arch="llama", keys=LINEAR, n_tokens=130),
    "llama_yarn": dict(arch="llama", head_dim=16, keys=yarn(4.0, 32), n_tokens=150, tied=True),
    "llama_bias": dict(arch="llama", bias=True, d_ff=31),
    "mistral_spm": dict(arch="llama", spm=True, n_heads=4, n_kv_heads=2, head_dim=12, base=1e6, n_vocab=301),
    "llama_one_layer": dict(arch="llama", n_layers=1, n_heads=1, n_kv_heads=1, head_dim=2, d_model=5, d_ff=3, n_tokens=40),
    "llama_wide": dict(arch="llama", d_model=130, n_heads=9, n_kv_heads=3, head_dim=22, d_ff=201, n_tokens=100),
    "qwen2_gqa": dict(arch="qwen2", bias=True, base=1e6),
    "qwen2_tied": dict(arch="qwen2", bias=True, tied=True, n_heads=3, n_kv_heads=1, head_dim=14, n_layers=2, d_ff=29),
    "qwen2_partial_rope": dict(arch="qwen2", bias=True, head_dim=14, keys={"rope.dimension_count": 8}, n_tokens=90),
    "qwen2_yarn": dict(arch="qwen2", bias=True, head_dim=16, base=1e5, keys=yarn(4.0, 48), n_tokens=200),
    "qwen3_gqa": dict(arch="qwen3", head_dim=16, base=1e6),
    "qwen3_tied": dict(arch="qwen3", d_model=40, n_heads=4, n_kv_heads=4, head_dim=18, tied=True, n_layers=4, d_ff=41),
    "qwen3_partial_rope": dict(arch="qwen3", n_heads=3, n_kv_heads=1, head_dim=20, keys={"rope.dimension_count": 12}),
    "qwen3_yarn": dict(arch="qwen3", head_dim=24, keys=yarn(2.0, 64), n_tokens=170),
    # the pattern of 6 is implied, the sequence more than twice the window
    "gemma3_window": dict(arch="gemma3", n_layers=7, head_dim=16, base=1e6, tied=True, n_tokens=100, keys={"attention.sliding_window": 16}),
    "gemma3_linear": dict(
        arch="gemma3", n_layers=6, head_dim=12, base=1e6, tied=True, n_tokens=200, spm=True, keys={"attention.sliding_window": 33} | LINEAR
    ),
    "gemma3_pattern": dict(
        arch="gemma3", n_layers=4, n_heads=3, n_kv_heads=1, head_dim=14, base=5e5, tied=True, n_tokens=420,
        keys={"attention.sliding_window": 7, "attention.sliding_window_pattern": 2, "rope.freq_base_swa": 3000.0},
    ),
    "gemma3_untied": dict(
        arch="gemma3", n_layers=5, head_dim=10, base=1e6, n_tokens=150,
        keys={"attention.sliding_window": 64, "attention.sliding_window_pattern": 3},
    ),
    "gemma3_capped": dict(arch="gemma3", n_layers=2, tied=True, keys={"attention.sliding_window": 20, "final_logit_softcapping": 5.0}),
}  # fmt: skip

# One shape for all formats: rows of 256 and 512 hold whole blocks of every type.
for kind in TYPES:
    SPECS["format_" + kind.name.lower()] = dict(
        arch="llama", d_model=256, n_heads=4, n_kv_heads=2, head_dim=64, d_ff=512, n_layers=1, n_tokens=40, weights=kind
    )

# Mixtures of experts. Experts' width: stated, or what the architecture means when it is not.
EXPERTS = dict(n_experts=5, n_used=2, n_layers=2)
SPECS |= {
    "moe_mixtral": dict(arch="llama", base=1e6, **EXPERTS),
    "moe_mixtral_all": dict(arch="llama", n_experts=3, n_used=3, n_layers=2, tied=True, d_ff=29),
    "moe_mixtral_one": dict(arch="llama", n_experts=4, n_used=1, n_layers=3, d_ff=21, n_tokens=80),
    "moe_qwen3": dict(arch="qwen3moe", head_dim=16, base=1e6, n_experts=11, n_used=3, d_ff_expert=19, d_ff=0),
    "moe_qwen3_implied": dict(arch="qwen3moe", n_experts=6, n_used=4, d_ff=92, n_layers=2, n_tokens=90),
    # every two experts have the same score: the first of the two goes first
    "moe_twins": dict(arch="qwen3moe", n_experts=10, n_used=3, d_ff_expert=23, n_layers=2, twins=True, n_tokens=80),
    "moe_qwen3_many": dict(arch="qwen3moe", n_experts=67, n_used=8, d_ff_expert=13, n_layers=1, n_tokens=60),
}
for kind in EXPERT_TYPES:
    SPECS["moe_" + kind.name.lower()] = dict(
        arch="qwen3moe", d_model=256, n_heads=4, n_kv_heads=2, head_dim=64, d_ff_expert=256, n_experts=5, n_used=2,
        n_layers=1, n_tokens=100, weights=kind,
    )  # fmt: skip


def llama3_factors(n_rot, base, factor=8.0, low=1.0, high=4.0, context=64):
    """Divisors of Llama 3's rope scaling for a model trained on `context` tokens."""
    wave_length = 2 * np.pi * base ** (2 * np.arange(n_rot // 2) / n_rot)
    s = (context / wave_length - low) / (high - low)
    blend = 1 / ((1 - s) / factor + s)
    return np.where(wave_length < context / high, 1, np.where(wave_length > context / low, factor, blend)).astype(np.float32)


def add_keys(writer, spec):
    arch = spec["arch"]
    keys = {
        "block_count": spec["n_layers"],
        "context_length": 512,
        "embedding_length": spec["d_model"],
        "feed_forward_length": spec["d_ff"],
        "expert_count": spec["n_experts"],
        "expert_used_count": spec["n_used"],
        "attention.head_count": spec["n_heads"],
        "attention.layer_norm_rms_epsilon": EPS,
        "rope.freq_base": spec["base"],
        "vocab_size": spec["n_vocab"],
    }
    if not spec["n_experts"]:
        del keys["expert_count"], keys["expert_used_count"]
    if spec["d_ff_expert"]:
        keys["expert_feed_forward_length"] = spec["d_ff_expert"]
    if spec["n_kv_heads"]:
        keys["attention.head_count_kv"] = spec["n_kv_heads"]
    if spec["head_dim"]:
        keys |= {"attention.key_length": spec["head_dim"], "attention.value_length": spec["head_dim"]}
    if arch == "llama":
        keys["rope.dimension_count"] = spec["head_dim"] or spec["d_model"] // spec["n_heads"]
    add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    for name, value in (keys | spec["keys"]).items():
        add[type(value)](f"{arch}.{name}", value)
    if spec["spm"]:
        add_spm(writer, spec["n_vocab"])
    else:
        add_bpe(writer, spec["n_vocab"], "qwen2" if arch.startswith("qwen") else "llama-bpe")


def add_tensors(writer, spec, rng):
    d, gemma = spec["d_model"], spec["arch"] == "gemma3"
    head = spec["head_dim"] or d // spec["n_heads"]
    width_q, width_kv = head * spec["n_heads"], head * (spec["n_kv_heads"] or spec["n_heads"])

    def vector(name, n, mean):
        writer.add_tensor(name, (mean + 0.2 * rng.standard_normal(n)).astype(np.float32))

    def matrix(name, n_out, n_in, gain=1.0):
        weights = (gain * rng.standard_normal((n_out, n_in)) / np.sqrt(n_in)).astype(np.float32)
        if spec["weights"] is None:
            writer.add_tensor(name + ".weight", weights)
            return
        raw, scale = quantized(rng, weights, spec["weights"])
        writer.add_tensor(name + ".weight", raw, raw_dtype=spec["weights"])
        if scale != 1 and name != "token_embd":
            writer.add_tensor(name + ".scale", np.array([scale], np.float32))

    def experts(name, n_out, n_in, gain=1.0):
        weights = (gain * rng.standard_normal((spec["n_experts"], n_out, n_in)) / np.sqrt(n_in)).astype(np.float32)
        if spec["weights"] is None:
            writer.add_tensor(name + ".weight", weights)
            return
        raw, scales = zip(*(quantized(rng, w, spec["weights"]) for w in weights))
        writer.add_tensor(name + ".weight", np.stack(raw), raw_dtype=spec["weights"])
        if any(scale != 1 for scale in scales):
            writer.add_tensor(name + ".scale", np.array(scales, np.float32))

    def feed_forward(prefix):
        if not spec["n_experts"]:
            for name, n_out, n_in, gain in (("gate", spec["d_ff"], d, 1), ("up", spec["d_ff"], d, 1), ("down", d, spec["d_ff"], 1.5)):
                matrix(prefix + name, n_out, n_in, gain)
            return
        # the router is never quantized; far apart, so that rounding does not change the choice
        router = (3 * rng.standard_normal((spec["n_experts"], d)) / np.sqrt(d)).astype(np.float32)
        if spec["twins"]:
            router[1::2] = router[::2]
        writer.add_tensor(prefix + "gate_inp.weight", router)
        d_ff = spec["d_ff_expert"] or spec["d_ff"] // (spec["n_used"] if spec["arch"] == "qwen3moe" else 1)
        for name, n_out, n_in, gain in (("gate", d_ff, d, 1), ("up", d_ff, d, 1), ("down", d, d_ff, 1.5)):
            experts(prefix + name + "_exps", n_out, n_in, gain)

    matrix("token_embd", spec["n_vocab"], d, gain=2.5)
    if not spec["tied"]:
        matrix("output", spec["n_vocab"], d, gain=2.5)
    vector("output_norm.weight", d, 1)
    if spec["rope_freqs"]:
        writer.add_tensor("rope_freqs.weight", llama3_factors(head, spec["base"]))
    for layer in range(spec["n_layers"]):
        prefix = f"blk.{layer}."
        vector(prefix + "attn_norm.weight", d, 1)
        vector(prefix + "ffn_norm.weight", d, 1)
        for name, n_out, n_in, gain in (
            ("attn_q", width_q, d, 1.5),
            ("attn_k", width_kv, d, 1.5),
            ("attn_v", width_kv, d, 1),
            ("attn_output", d, width_q, 1),
        ):
            matrix(prefix + name, n_out, n_in, gain)
            if spec["bias"] and name in ("attn_q", "attn_k", "attn_v"):
                vector(prefix + name + ".bias", n_out, 0)
        feed_forward(prefix + "ffn_")
        if spec["bias"] and spec["arch"] == "llama":
            vector(prefix + "attn_output.bias", d, 0)
        if gemma or spec["arch"] in ("qwen3", "qwen3moe"):
            vector(prefix + "attn_q_norm.weight", head, 1)
            vector(prefix + "attn_k_norm.weight", head, 1)
        if gemma:
            vector(prefix + "post_attention_norm.weight", d, 1)
            vector(prefix + "post_ffw_norm.weight", d, 1)


def write_model(path, spec, rng):
    writer = GGUFWriter(path, spec["arch"])
    writer.add_name(path.stem)
    add_keys(writer, spec)
    add_tensors(writer, spec, rng)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class RoundedKV(Model):
    def stored(self, x):
        return x.astype(np.float16).astype(np.float64)


def rounded_blocks(blocks):
    """int8 codes times one scale per block (the last axis)."""
    scale = np.abs(blocks).max(axis=-1, keepdims=True) / 127
    return np.rint(blocks / np.where(scale > 0, scale, 1)) * scale


class CoarseKV(Model):
    """About as a Q8_0 cache."""

    def stored(self, x):
        return rounded_blocks(x)


class RoundedActs(Model):
    """Inputs of every matrix product rounded as src/kernel/kernel.h says: to int8, one scale per `group` elements; in
    groups of 32, what is left of the three groups with the largest scales is rounded to int8 again."""

    def linear(self, name, x, expert=...):
        if self.stored_tensors[name + ".weight"].tensor_type == GGMLQuantizationType.F32:
            return super().linear(name, x, expert)
        blocks = x.reshape(len(x), -1, self.group)
        rounded = rounded_blocks(blocks)
        if self.group == 32:
            worst = np.argsort(-np.abs(blocks).max(axis=-1), axis=-1, kind="stable")[:, :3, None]
            left = np.take_along_axis(blocks - rounded, worst, axis=1)
            kept = np.take_along_axis(rounded, worst, axis=1)
            np.put_along_axis(rounded, worst, kept + rounded_blocks(left), axis=1)
        return super().linear(name, rounded.reshape(x.shape), expert)


def relative_error(a, b):
    return np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))


def doubtful_positions(model, others, twins):
    """Where a choice of experts is so close that rounding may change it."""
    doubtful = set()
    for layer, (scores, _) in enumerate(model.routes):
        n_used = model.n_experts_used
        if n_used == model.n_experts:
            continue
        ranked = -np.sort(-scores, axis=1)
        rounding = np.max([np.abs(other.routes[layer][0] - scores).max(axis=1) for other in others], axis=0)
        gaps = ranked[:, :-1] - ranked[:, 1:]
        gap = gaps[:, n_used - 1]
        if twins:  # the gap that counts is that to the next two
            gap = np.where(gap < 1e-9, np.minimum(gaps[:, n_used - 2], gaps[:, n_used]), gap)
        doubtful |= set(np.nonzero(gap < 2 * rounding + 1e-3)[0])
    return sorted(doubtful)


def write_truth(path, model_path, spec, rng):
    tokens = rng.integers(0, spec["n_vocab"], spec["n_tokens"], dtype=np.int32)
    model, kv, coarse, acts = Model(model_path), RoundedKV(model_path), CoarseKV(model_path), None
    if spec["weights"] not in (None, GGMLQuantizationType.F16, GGMLQuantizationType.BF16):
        acts = RoundedActs(model_path)
        acts.group = 256 if GGML_QUANT_SIZES[spec["weights"]][0] == 256 else 32
    while True:
        logits, of_kv = model.forward(tokens), kv.forward(tokens)
        of_acts = acts.forward(tokens) if acts else logits
        coarse.forward(tokens)
        doubtful = doubtful_positions(model, [m for m in (kv, coarse, acts) if m], spec["twins"])
        if not doubtful:
            break
        tokens[doubtful] = rng.integers(0, spec["n_vocab"], len(doubtful))
    assert np.isfinite(logits).all() and 1 < np.abs(logits).max() < 50, f"{model_path.stem}: logits out of range"
    kv_error, act_error = relative_error(of_kv, logits), relative_error(of_acts, logits)
    with open(path, "wb") as f:
        f.write(np.array(logits.shape, "<u4").tobytes() + np.array([kv_error, act_error], "<f8").tobytes())
        f.write(tokens.astype("<i4").tobytes() + logits.astype("<f8").tobytes())


def main():
    out = Path(sys.argv[1]) / "models"
    out.mkdir(parents=True, exist_ok=True)
    for seed, (name, spec) in enumerate(SPECS.items()):
        spec = DEFAULTS | spec
        rng = np.random.default_rng(seed)
        write_model(out / f"{name}.gguf", spec, rng)
        write_truth(out / f"{name}.truth", out / f"{name}.gguf", spec, rng)


if __name__ == "__main__":
    main()
