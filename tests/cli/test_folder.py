"""Hugging Face folders: the default model's vocabulary, published as tokenizer.json, around a tiny model."""

import json
import pathlib
import struct
import tempfile
import unittest

from common import MODEL, ROOT, CliTest, model_path

CONTROL = 3
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
SIZES = {"hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}


def keys_of(path):
    """The key-values of a GGUF file."""
    with open(path, "rb") as file:

        def number(kind):
            return struct.unpack("<" + kind, file.read(struct.calcsize("<" + kind)))[0]

        def value(kind):
            if kind == STRING:
                return file.read(number("Q")).decode("utf-8")
            if kind == ARRAY:
                element, n = number("I"), number("Q")
                return [value(element) for _ in range(n)]
            return number(SCALARS[kind])

        assert file.read(8) == b"GGUF\x03\0\0\0"
        number("Q")
        return {value(STRING): value(number("I")) for _ in range(number("Q"))}


def weights(n_vocab):
    """Names and shapes of a Llama of these sizes."""
    d, d_ff = SIZES["hidden_size"], SIZES["intermediate_size"]
    layer = {"input_layernorm": (d,), "post_attention_layernorm": (d,), "self_attn.q_proj": (d, d), "self_attn.o_proj": (d, d)}
    layer |= {"self_attn.k_proj": (d // 2, d), "self_attn.v_proj": (d // 2, d)}
    layer |= {"mlp.gate_proj": (d_ff, d), "mlp.up_proj": (d_ff, d), "mlp.down_proj": (d, d_ff)}
    names = {"model.embed_tokens": (n_vocab, d), "model.norm": (d,)} | {f"model.layers.0.{name}": shape for name, shape in layer.items()}
    return {f"{name}.weight": shape for name, shape in names.items()}


def save_safetensors(path, shapes):
    header, at = {}, 0
    for name, shape in shapes.items():
        n = 2 * (shape[0] * shape[1] if len(shape) == 2 else shape[0])
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(i * 7 % 64 if i % 2 == 0 else 0x3C + i % 3 for i in range(at)))


class Folder(CliTest):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory(prefix="stile-cli-")
        cls.addClassCleanup(temporary.cleanup)
        keys = keys_of(model_path())
        tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
        added = [i for i, kind in enumerate(types) if kind == CONTROL]
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        tokenizer = {
            "added_tokens": [{"id": i, "content": tokens[i], "special": True} for i in added],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
            "post_processor": None,
            "model": {
                "type": "BPE",
                "vocab": {text: i for i, text in enumerate(tokens)},
                "merges": keys["tokenizer.ggml.merges"],
            },
        }
        names = {
            "bos_token": tokens[keys["tokenizer.ggml.bos_token_id"]],
            "eos_token": {"content": tokens[keys["tokenizer.ggml.eos_token_id"]]},
            "chat_template": keys["tokenizer.chat_template"],
        }
        config = {"model_type": "llama", "tie_word_embeddings": True, "max_position_embeddings": 512} | SIZES
        cls.model = pathlib.Path(temporary.name) / "tiny"
        cls.model.mkdir()
        (cls.model / "config.json").write_text(json.dumps(config))
        (cls.model / "tokenizer.json").write_text(json.dumps(tokenizer))
        (cls.model / "tokenizer_config.json").write_text(json.dumps(names))
        save_safetensors(cls.model / "model.safetensors", weights(len(tokens)))

    def test_tokens(self):
        lines = (ROOT / "tests/golden/tokenizer_smollm2.jsonl").read_text().splitlines()[1:]
        (self.folder / "corpus").write_text("\n".join(json.loads(line).get("text", "") for line in lines))
        expected, _ = self.stile("tokenize", MODEL, "-f", self.folder / "corpus", "--ids")
        self.assertGreater(len(expected.split()), 10000)
        self.assertEqual(self.stile("tokenize", self.model, "-f", self.folder / "corpus", "--ids")[0], expected)

    def test_info(self):
        out, err = self.stile("info", f"{self.model}/")
        self.assertEqual(err, "")
        for pattern in [
            rf"(?m)^folder +{self.model}$",
            r"(?m)^name +tiny$",
            r"(?m)^architecture +llama$",
            r"(?m)^layers +1 of width 4, feed-forward 6$",
            r"(?m)^tokenizer +gpt2 / smollm, 49152 tokens$",
            r"(?m)^chat template +yes, \d+ bytes$",
            r"(?m)^BF16 +11 ",
        ]:
            self.assertRegex(out, pattern)
        info = json.loads(self.stile("info", self.model, "--json", "--tensors")[0])
        self.assertEqual(info["tensors"][0]["name"], "token_embd.weight")

    def test_run(self):
        run = ("-p", "a", "-n", "5", "--temp", "0", "--logits-hash")
        out, err = self.stile("run", self.model, *run)
        again, _ = self.stile("run", self.model, *run, "-t", "1", "--memory-limit", "200M", "--place", "blk.*=streamed")
        self.assertEqual(out, again)
        self.stile("plan", self.model)
        self.stile("quantize", self.model, self.folder / "tiny.gguf", "--format", "bf16")
        self.assertEqual(self.stile("run", self.folder / "tiny.gguf", *run)[0], out)

    def test_no_model(self):
        self.fails("run", self.folder, "-p", "a", status=1, says="config.json: it is missing")
        (self.folder / "config.json").write_text('{"model_type": "mamba"}')
        self.fails("info", self.folder, status=1, says='model_type "mamba" is not supported')


if __name__ == "__main__":
    unittest.main()
