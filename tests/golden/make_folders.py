"""make_folders.py OUT_DIR: Hugging Face folders of the tiny models of make_models.py (whose OUT_DIR/models it reads).

Writes OUT_DIR/folders/NAME/ and, beside it, NAME.gguf: the same weights as a GGUF file, in the same dtype. What stile
makes of both must be the same, bit for bit (test_run_folders.c).

make_folders.py MODEL.gguf FOLDER [DTYPE [SHARDS]]: one folder of any GGUF file of these families, and FOLDER.gguf.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T, GGUFReader, GGUFWriter
from gguf.quants import dequantize

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
TYPES = {"F32": T.F32, "F16": T.F16, "BF16": T.BF16}

CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES
QWEN2 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}

# folder: (model, dtype, shards, what else; see Converter)
FOLDERS = {
    "llama_f32": ("llama_gqa", "F32", 1, {}),
    "llama_bf16": ("llama_gqa", "BF16", 3, {}),
    "llama_f16": ("llama_wide", "F16", 2, {"merges": "pairs"}),
    "llama_tied": ("llama_plain", "F32", 1, {"extra_head": True}),
    "llama_bias": ("llama_bias", "BF16", 1, {}),
    "llama3_rope": ("llama3_rope", "BF16", 1, {"rope": LLAMA3_ROPE}),
    "llama_linear": ("llama_linear", "F32", 1, {"new_rope": True}),
    "llama_yarn": ("llama_yarn", "F32", 1, {}),
    "llama_odd": ("llama_gqa", "BF16", 1, {"header_bytes": 1}),  # data at odd places
    "mistral_spm": ("mistral_spm", "F16", 1, {"model_type": "mistral"}),
    "mixtral": ("moe_mixtral", "BF16", 3, {"model_type": "mixtral"}),
    "qwen2": ("qwen2_gqa", "BF16", 1, {}),
    "qwen2_tied": ("qwen2_tied", "F32", 1, {}),
    "qwen3": ("qwen3_gqa", "BF16", 2, {}),
    "qwen3_moe": ("moe_qwen3", "BF16", 4, {}),
    "gemma3": ("gemma3_linear", "BF16", 1, {"new_rope": True}),
    "gemma3_types": ("gemma3_pattern", "F32", 1, {"layer_types": True}),
    "gemma3_sees": ("gemma3_window", "BF16", 2, {"sees": True}),
}  # fmt: skip

MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3moe": "qwen3_moe", "gemma3": "gemma3_text"}
CLASSES = {
    "llama": "Llama", "mistral": "Mistral", "mixtral": "Mixtral", "qwen2": "Qwen2", "qwen3": "Qwen3", "qwen3_moe": "Qwen3Moe",
    "gemma3_text": "Gemma3",
}  # fmt: skip

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.{}.gate_proj",
    "ffn_up_exps": "mlp.experts.{}.up_proj",
    "ffn_down_exps": "mlp.experts.{}.down_proj",
}
OTHER_NAMES = {
    "gemma3_text": {
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
    "mixtral": {
        "ffn_gate_inp": "block_sparse_moe.gate",
        "ffn_gate_exps": "block_sparse_moe.experts.{}.w1",
        "ffn_up_exps": "block_sparse_moe.experts.{}.w3",
        "ffn_down_exps": "block_sparse_moe.experts.{}.w2",
    },
}


def raw(x, dtype):
    """The bytes of x rounded to the dtype (BF16: to nearest, ties to even), and what they mean."""
    if dtype != "BF16":
        y = x.astype({"F32": "<f4", "F16": "<f2"}[dtype])
        return y, y.astype(np.float32)
    bits = x.astype("<f4").view("<u4")
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return bits.astype("<u2"), (bits << 16).astype("<u4").view("<f4")


def by_halves(x, n_heads):
    """Rows of each head from (2 i, 2 i + 1) to (i, i + n / 2)."""
    heads = x.reshape(n_heads, -1, 2, *x.shape[1:])
    return np.swapaxes(heads, 1, 2).reshape(x.shape)


def save_safetensors(path, tensors, header_bytes=8):
    """tensors: name -> (dtype, array); the header is padded to a multiple of header_bytes."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, x) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % header_bytes if header_bytes > 1 else len(text) % 2 == 0)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, x in tensors.values():
            f.write(x.tobytes())


class Converter:
    def __init__(self, path, folder, dtype, n_shards, options):
        self.reader, self.folder, self.dtype, self.n_shards, self.options = GGUFReader(path), folder, dtype, n_shards, options
        self.fields = {name: field.contents() for name, field in self.reader.fields.items()}
        self.arch = self.fields["general.architecture"]
        self.type = options.get("model_type", MODEL_TYPES[self.arch])
        self.tensors, self.n_experts = {}, self.get("expert_count", 0)
        self.names = {t.name for t in self.reader.tensors}

    def get(self, key, default=None):
        return self.fields.get(f"{self.arch}.{key}", default)

    # ---- weights

    def name(self, gguf):
        prefix = "language_model.model." if self.options.get("sees") else "model."
        stem, suffix = gguf.rsplit(".", 1)
        if not stem.startswith("blk."):
            own = {"token_embd": prefix + "embed_tokens", "output_norm": prefix + "norm", "output": "lm_head"}
            return f"{own[stem]}.{suffix}"
        _, layer, stem = stem.split(".")
        names = LAYER_NAMES | OTHER_NAMES.get(self.type, {})
        return f"{prefix}layers.{layer}.{names[stem]}.{suffix}"

    def add(self, name, x):
        """To the folder; returns what a GGUF file has then."""
        stored, means = raw(np.ascontiguousarray(x), self.dtype)
        self.tensors[name] = (self.dtype, stored)
        return means

    def convert(self, tensor, writer):
        x = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        x = x.reshape(tuple(int(d) for d in reversed(tensor.shape)))
        name = tensor.name
        if name == "rope_freqs.weight":
            writer.add_tensor(name, x)
            return
        theirs = self.name(name)
        n_heads = {"attn_q": self.get("attention.head_count"), "attn_k": self.get("attention.head_count_kv")}.get(name.split(".")[-2])
        n_heads = n_heads or self.get("attention.head_count")
        if self.arch == "gemma3" and "norm" in name:
            x = self.add(theirs, x - np.float32(1)) + np.float32(1)
        elif self.arch == "llama" and name.split(".")[-2] in ("attn_q", "attn_k"):
            x = by_halves(x, n_heads)
            means = self.add(theirs, x)
            # and back
            heads = means.reshape(n_heads, 2, -1, *x.shape[1:])
            x = np.ascontiguousarray(np.swapaxes(heads, 1, 2)).reshape(x.shape)
        elif "_exps." in name:
            x = np.stack([self.add(theirs.format(e), x[e]) for e in range(self.n_experts)])
        else:
            x = self.add(theirs, x)
        if x.ndim == 1 or name.endswith("ffn_gate_inp.weight") and self.dtype == "F32":
            writer.add_tensor(name, x)
            return
        stored, _ = raw(x, self.dtype)
        writer.add_tensor(name, stored.view(np.uint8) if self.dtype == "BF16" else stored, raw_dtype=TYPES[self.dtype])

    def write_weights(self, writer):
        for tensor in self.reader.tensors:
            self.convert(tensor, writer)
        if self.options.get("extra_head"):  # that a tied model does not use
            self.add("lm_head.weight", np.ones((3, 2), np.float32))
        if self.options.get("sees"):
            self.add("vision_tower.patch.weight", np.ones((3, 2, 5), np.float32))
        names = sorted(self.tensors)  # as published: expert 10 before 2
        if self.n_shards == 1:
            save_safetensors(self.folder / "model.safetensors", {n: self.tensors[n] for n in names}, self.options.get("header_bytes", 8))
            return
        weight_map = {}
        for i in range(self.n_shards):
            file = f"model-{i + 1:05}-of-{self.n_shards:05}.safetensors"
            mine = names[len(names) * i // self.n_shards : len(names) * (i + 1) // self.n_shards]
            save_safetensors(self.folder / file, {n: self.tensors[n] for n in mine})
            weight_map |= dict.fromkeys(mine, file)
        index = {"metadata": {"total_size": sum(x.nbytes for _, x in self.tensors.values())}, "weight_map": weight_map}
        (self.folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))

    # ---- config.json

    def rope(self):
        kind = self.get("rope.scaling.type")
        if "rope" in self.options:
            return self.options["rope"]
        if kind is None:
            return None
        scaling = {"rope_type": kind, "factor": self.get("rope.scaling.factor")}
        if kind == "yarn":
            scaling["original_max_position_embeddings"] = self.get("rope.scaling.original_context_length")
        return scaling

    def config(self):
        n_heads, n_layers = self.get("attention.head_count"), self.get("block_count")
        gemma = self.arch == "gemma3"
        config = {
            "architectures": [CLASSES[self.type] + "ForCausalLM"],
            "model_type": self.type,
            "num_hidden_layers": n_layers,
            "hidden_size": self.get("embedding_length"),
            "intermediate_size": self.get("feed_forward_length") or 1,
            "num_attention_heads": n_heads,
            "num_key_value_heads": self.get("attention.head_count_kv", n_heads),
            "head_dim": self.get("attention.key_length"),
            "max_position_embeddings": self.get("context_length"),
            "rms_norm_eps": self.get("attention.layer_norm_rms_epsilon"),
            "hidden_activation" if gemma else "hidden_act": "gelu_pytorch_tanh" if gemma else "silu",
            "tie_word_embeddings": "output.weight" not in self.names,
            "vocab_size": 293,
            "bos_token_id": self.fields.get("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self.fields.get("tokenizer.ggml.eos_token_id"),
            "torch_dtype": {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[self.dtype],
        }
        theta, rope = self.get("rope.freq_base", 10000.0), self.rope()
        local = self.get("rope.freq_base_swa", 10000.0)
        if self.options.get("new_rope"):
            config["rope_parameters"] = {"rope_theta": theta} | (rope or {"rope_type": "default"})
            if gemma:
                config["rope_parameters"] = {
                    "full_attention": config["rope_parameters"],
                    "sliding_attention": {"rope_type": "default", "rope_theta": local},
                }
        else:
            config |= {"rope_theta": theta, "rope_scaling": rope}
        if self.n_experts:
            qwen = self.arch == "qwen3moe"
            config["num_experts" if qwen else "num_local_experts"] = self.n_experts
            config["num_experts_per_tok"] = self.get("expert_used_count")
            if qwen:
                config |= {"moe_intermediate_size": self.get("expert_feed_forward_length"), "norm_topk_prob": True}
        if gemma:
            pattern = self.get("attention.sliding_window_pattern", 6)
            config |= {"query_pre_attn_scalar": config["head_dim"], "sliding_window": self.get("attention.sliding_window")}
            if not self.options.get("new_rope"):
                config["rope_local_base_freq"] = local
            if self.options.get("layer_types"):
                kinds = ["full_attention" if i % pattern == pattern - 1 else "sliding_attention" for i in range(n_layers)]
                config["layer_types"] = kinds
            else:
                config["sliding_window_pattern"] = pattern
            config["final_logit_softcapping"] = self.get("final_logit_softcapping")
        if self.options.get("sees"):
            root = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "vision_config": {"hidden_size": 3}}
            config = root | {"text_config": {k: v for k, v in config.items() if k != "architectures"}}
        return config

    # ---- tokenizer.json

    def vocabulary(self):
        key = "tokenizer.ggml."
        tokens, types = self.fields[key + "tokens"], self.fields[key + "token_type"]
        spm = self.fields[key + "model"] == "llama"
        vocab = {t: i for i, (t, kind) in enumerate(zip(tokens, types)) if kind != UNUSED and (spm or kind in (NORMAL, BYTE))}
        added = [
            {"id": i, "content": t, "special": kind != USER_DEFINED, "normalized": False, "lstrip": False, "rstrip": False}
            for i, (t, kind) in enumerate(zip(tokens, types))
            if kind in (UNKNOWN, CONTROL, USER_DEFINED)
        ]
        model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "vocab": vocab}
        tokenizer = {"version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": None, "post_processor": None, "model": model}
        if spm:
            scores = self.fields[key + "scores"]
            order = sorted((t for t, i in vocab.items() if types[i] == NORMAL), key=lambda t: -scores[vocab[t]])
            merges = [(t[:i], t[i:]) for t in order for i in range(1, len(t)) if t[:i] in vocab and t[i:] in vocab]
            model |= {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
            tokenizer["normalizer"] = {
                "type": "Sequence",
                "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}],
            }
            bos = tokens[self.fields[key + "bos_token_id"]]
            single = [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
            tokenizer["post_processor"] = {"type": "TemplateProcessing", "single": single}
        else:
            merges = [tuple(m.split(" ")) for m in self.fields[key + "merges"]]
            pre = self.fields[key + "pre"]
            byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
            first = {"llama-bpe": LLAMA3, "qwen2": QWEN2}.get(pre)
            if first:
                steps = [{"type": "Split", "pattern": {"Regex": first}, "behavior": "Isolated", "invert": False}, byte_level | {"use_regex": False}]
            else:
                assert pre == "smollm", pre
                steps = [{"type": "Digits", "individual_digits": True}, byte_level | {"use_regex": True}]
            tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
            model |= {"byte_fallback": False, "ignore_merges": pre == "llama-bpe"}
            adds_bos = self.fields.get(key + "add_bos_token", pre == "llama-bpe")
            if adds_bos:
                bos = tokens[self.fields[key + "bos_token_id"]]
                single = [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
                tokenizer["post_processor"] = {"type": "Sequence", "processors": [byte_level, {"type": "TemplateProcessing", "single": single}]}
        model["merges"] = [list(m) for m in merges] if self.options.get("merges") == "pairs" else [" ".join(m) for m in merges]
        return tokenizer

    def tokenizer_config(self):
        key, config = "tokenizer.ggml.", {}
        tokens = self.fields[key + "tokens"]
        for name in ("bos", "eos", "unknown", "padding"):
            if f"{key}{name}_token_id" in self.fields:
                short = {"unknown": "unk", "padding": "pad"}.get(name, name)
                config[short + "_token"] = tokens[self.fields[f"{key}{name}_token_id"]]
        if key + "add_bos_token" in self.fields:
            config["add_bos_token"] = bool(self.fields[key + "add_bos_token"])
        config["model_max_length"] = 1000000000000000019884624838656  # as published
        if "tokenizer.chat_template" in self.fields:
            config["chat_template"] = self.fields["tokenizer.chat_template"]
        return config

    def copy_keys(self, writer):
        for name, field in self.reader.fields.items():
            if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
                continue
            kind = field.types
            writer.add_key_value(name, field.contents(), kind[0], sub_type=kind[-1] if len(kind) > 1 else None)

    def run(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        writer = GGUFWriter(str(self.folder) + ".gguf", self.arch)
        self.copy_keys(writer)
        self.write_weights(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        config = self.config()
        rows = next(t for t in self.reader.tensors if t.name == "token_embd.weight").shape[1]
        config["vocab_size"] = int(rows)
        (self.folder / "config.json").write_text(json.dumps(config, indent=1))
        (self.folder / "tokenizer.json").write_text(json.dumps(self.vocabulary(), ensure_ascii=False))
        (self.folder / "tokenizer_config.json").write_text(json.dumps(self.tokenizer_config(), indent=1))


def main():
    if len(sys.argv) > 2:
        dtype, shards = (*sys.argv[3:5], *("BF16", "1")[len(sys.argv) - 3 :])
        Converter(sys.argv[1], Path(sys.argv[2]), dtype, int(shards), {}).run()
        return
    out = Path(sys.argv[1])
    for name, (model, dtype, shards, options) in FOLDERS.items():
        Converter(out / "models" / f"{model}.gguf", out / "folders" / name, dtype, shards, options).run()


if __name__ == "__main__":
    main()
