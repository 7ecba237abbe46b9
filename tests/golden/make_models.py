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
from blocks import TYPES, quantized  # noqa: E402
from model import Model  # noqa: E402
from vocabulary import add_bpe, add_spm  # noqa: E402

EPS = 1e-5
N_VOCAB = 293  # odd, and above the 256 bytes

# What every spec may say; the rest has these defaults. head_dim None: not stated in the file (d_model / n_heads).
DEFAULTS = dict(
    d_model=34, n_heads=6, n_kv_heads=2, head_dim=10, d_ff=37, n_layers=3, tied=False, n_tokens=60, n_vocab=N_VOCAB,
    base=10000.0, keys={}, bias=False, rope_freqs=False, spm=False, weights=None,
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
        "attention.head_count": spec["n_heads"],
        "attention.layer_norm_rms_epsilon": EPS,
        "rope.freq_base": spec["base"],
        "vocab_size": spec["n_vocab"],
    }
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
            ("ffn_gate", spec["d_ff"], d, 1),
            ("ffn_up", spec["d_ff"], d, 1),
            ("ffn_down", d, spec["d_ff"], 1.5),
        ):
            matrix(prefix + name, n_out, n_in, gain)
            if spec["bias"] and name in ("attn_q", "attn_k", "attn_v"):
                vector(prefix + name + ".bias", n_out, 0)
        if spec["bias"] and spec["arch"] == "llama":
            vector(prefix + "attn_output.bias", d, 0)
        if gemma or spec["arch"] == "qwen3":
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


class RoundedActs(Model):
    """Inputs of every matrix product rounded as src/kernel/kernel.h says: to int8, one scale per `group` elements; in
    groups of 32, what is left of the three groups with the largest scales is rounded to int8 again."""

    def linear(self, name, x):
        blocks = x.reshape(len(x), -1, self.group)
        rounded = rounded_blocks(blocks)
        if self.group == 32:
            worst = np.argsort(-np.abs(blocks).max(axis=-1), axis=-1, kind="stable")[:, :3, None]
            left = np.take_along_axis(blocks - rounded, worst, axis=1)
            kept = np.take_along_axis(rounded, worst, axis=1)
            np.put_along_axis(rounded, worst, kept + rounded_blocks(left), axis=1)
        return super().linear(name, rounded.reshape(x.shape))


def relative_error(a, b):
    return np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))


def write_truth(path, model_path, spec, rng):
    tokens = rng.integers(0, spec["n_vocab"], spec["n_tokens"], dtype=np.int32)
    logits = Model(model_path).forward(tokens)
    assert np.isfinite(logits).all() and 1 < np.abs(logits).max() < 50, f"{model_path.stem}: logits out of range"
    kv_error = relative_error(RoundedKV(model_path).forward(tokens), logits)
    act_error = 0.0
    if spec["weights"] not in (None, GGMLQuantizationType.F16, GGMLQuantizationType.BF16):
        rounded = RoundedActs(model_path)
        rounded.group = 256 if GGML_QUANT_SIZES[spec["weights"]][0] == 256 else 32
        act_error = relative_error(rounded.forward(tokens), logits)
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
