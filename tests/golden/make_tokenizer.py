#!/usr/bin/env python3
"""Vocabularies of other model families as GGUF files, and what the `tokenizers` package makes of the corpus with them.

    make_tokenizer.py OUT_DIR     writes OUT_DIR/tokenizer_FAMILY.gguf and OUT_DIR/tokenizer_FAMILY.jsonl

Genuine vocabularies come from ../shared/tokenizers (nothing is written when that folder is missing). Pre-tokenizers
without one are run over a part of Qwen's. One JSON object per string:
    text or hex   the bytes to tokenize
    special       true: special tokens are parsed
    from          "list": a vector of the format reference (../shared/formats.md, 9.2), made by other engines
    ids           what the peer made of them
Left out, because the GGUF form of a vocabulary knows less than tokenizer.json: Unicode normalisation (qwen3).
"""
import json
import lzma
import os
import re
import sys
from pathlib import Path

import gguf
import tokenizers

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tokenizer_corpus as corpus

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared"
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

# As published (docs/formats.md, pre-tokenizers); \uXXXX becomes the character itself.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
          r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
HAN = r"[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+"
CODER = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN, r"\p{N}"]


def cased_letters():
    """The letters class of deepseek-llm, from the format reference."""
    text = (SHARED / "formats.md").read_text()
    found = re.search(r"deepseek-llm CLASS = A-Z a-z and, hex code points: (.*?)\(cased letters", text, re.S).group(1)
    return "A-Za-z" + "".join("-".join(chr(int(c, 16)) for c in part.split("-")) for part in found.split())


def deepseek_llm():
    return [r"[\r\n]", r"\s?[" + cased_letters() + "]+", r"\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+",
            r"\s+$", HAN, r"\p{N}+"]


def pre_tokenizer(expressions):
    literal = [re.sub(r"\\u([0-9A-F]{4})", lambda m: chr(int(m.group(1), 16)), e) for e in expressions]
    splits = [{"type": "Split", "pattern": {"Regex": e}, "behavior": "Isolated", "invert": False} for e in literal]
    return {"type": "Sequence", "pretokenizers": splits + [
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}


def shared_json(name):
    data = json.loads(lzma.open(SHARED / "tokenizers" / name / "tokenizer.json.xz").read())
    data["post_processor"] = None
    if (data.get("normalizer") or {}).get("type") == "NFC":
        data["normalizer"] = None
    return data


def merges_of(data):
    return [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]


def small_json(data, n_merges, expressions, ignore_merges=False):
    """The first merges of a byte-level vocabulary, with other expressions; every third token of the rest is one that no
    merge makes, so that ignore_merges shows."""
    vocab = data["model"]["vocab"]
    merges = merges_of(data)[:n_merges]
    texts = [t for t, i in sorted(vocab.items(), key=lambda item: item[1]) if len(t) == 1]
    known = dict.fromkeys(texts)
    known.update(dict.fromkeys(m.replace(" ", "", 1) for m in merges))
    if ignore_merges:
        later = [m.replace(" ", "", 1) for m in merges_of(data)[n_merges:]]
        known.update(dict.fromkeys(later[::3]))
    vocab = {t: i for i, t in enumerate(known)}
    special = [{"id": len(vocab), "content": "<|endoftext|>", "special": True, "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False}]
    model = dict(data["model"], vocab=vocab, merges=merges, ignore_merges=ignore_merges)
    return dict(data, model=model, added_tokens=special, pre_tokenizer=pre_tokenizer(expressions))


def token_type(text, added):
    if text == "<unk>":
        return UNKNOWN
    if added:  # as the published converter decides
        looks = re.fullmatch(r"<\|.*\|>|<｜.*｜>|<unused\d+>|<pad>|<mask>|<2mass>|\[@BOS@\]", text)
        return CONTROL if added["special"] or looks else USER
    return BYTE if re.fullmatch(r"<0x[0-9A-F]{2}>", text) else NORMAL


class Family:
    def __init__(self, name, data, pre, vectors=()):
        self.name, self.data, self.pre, self.vectors = name, data, pre, vectors
        added = {a["content"]: a for a in data["added_tokens"]}
        by_id = {i: t for t, i in data["model"]["vocab"].items()}
        by_id.update({a["id"]: a["content"] for a in data["added_tokens"]})
        self.texts = [by_id.get(i, f"[PAD{i}]") for i in range(max(by_id) + 1)]
        self.types = [token_type(t, added.get(t)) if i in by_id else UNUSED for i, t in enumerate(self.texts)]

    def write(self, path):
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tokenizer_model("gpt2" if self.pre else "llama")
        if self.pre:
            writer.add_tokenizer_pre(self.pre)
            writer.add_token_list(self.texts)
            writer.add_token_merges(merges_of(self.data))
        else:
            # user-defined tokens are kept as they are written, with spaces
            writer.add_token_list([t.replace("▁", " ") if y == USER else t for t, y in zip(self.texts, self.types)])
            writer.add_token_scores(self.scores())
            writer.add_add_space_prefix(self.name == "llama2")
        writer.add_token_types(self.types)
        writer.add_add_bos_token(False)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()

    def scores(self):
        """The merges of tokenizer.json were made from the scores, best first; this goes the way back."""
        ranks = {}
        for rank, merge in enumerate(self.data["model"]["merges"]):
            ranks.setdefault("".join(merge.split(" ", 1) if isinstance(merge, str) else merge), rank)
        return [-float(ranks.get(t, len(ranks))) if y == NORMAL else -1000.0 if y == USER else 0.0
                for t, y in zip(self.texts, self.types)]

    def peer(self, special):
        """Without `special`, the tokens that only trusted text may spell are unknown to the peer."""
        types = {t: y for t, y in zip(self.texts, self.types)}
        added = [a for a in self.data["added_tokens"] if special or types[a["content"]] == USER]
        return tokenizers.Tokenizer.from_str(json.dumps(dict(self.data, added_tokens=added)))

    def specials(self):
        names = [t for t, y in zip(self.texts, self.types) if y == CONTROL]
        return names[:6] + names[-6:]


def special_texts(names):
    for i, name in enumerate(names):
        for mix in corpus.SPECIAL_MIXES:
            yield mix.replace("{}", name, 1).replace("{}", names[i - 1], 1)


def lines_of(family):
    plain, trusted = family.peer(False), family.peer(True)
    texts = corpus.texts(200)
    if not family.pre:  # U+2581 is how these vocabularies spell a space: no text with it comes back
        texts = [t for t in texts if "\u2581" not in t]
    for peer, special, some in ((plain, False, texts), (plain, False, special_texts(family.specials())),
                                (trusted, True, special_texts(family.specials()))):
        for text in dict.fromkeys(some):
            line = {"hex": text.encode().hex()} if "\0" in text else {"text": text}
            if special:
                line["special"] = True
            line["ids"] = peer.encode(text, add_special_tokens=False).ids
            yield line


def reference_vectors():
    """(label, text, ids) of section 9.2."""
    section = (SHARED / "formats.md").read_text().split("### 9.2", 1)[1].split("\n```\n")[1]
    for line in section.strip().split("\n"):
        if line.startswith('"'):
            text = json.loads(line)
        else:
            label, ids = line.strip().rsplit(":", 1)
            yield label, text, [int(i) for i in ids.split()]


def families():
    qwen = shared_json("qwen3")
    yield Family("llama3", shared_json("llama3_1"), "llama-bpe", ["llama-bpe"])
    yield Family("qwen3", qwen, "qwen2", ["qwen2"])
    yield Family("gptoss", shared_json("gptoss"), "gpt-4o", ["gpt-oss"])
    yield Family("deepseek_v3", shared_json("deepseek_v3"), "deepseek-v3", ["deepseek-v3"])
    yield Family("gemma3", shared_json("gemma3"), "", ["gemma3"])
    yield Family("llama2", shared_json("llama2"), "")  # in truth Mistral's vocabulary: the list of llama-spm is not its
    yield Family("qwen35", dict(qwen, pre_tokenizer=pre_tokenizer([QWEN35])), "qwen35", ["qwen35"])
    yield Family("gpt2", small_json(qwen, 12000, [GPT2]), "gpt-2")
    yield Family("smollm", small_json(qwen, 12000, [r"\p{N}", GPT2]), "smollm")
    yield Family("tekken", small_json(qwen, 12000, [TEKKEN], True), "tekken")
    yield Family("deepseek_coder", small_json(qwen, 12000, CODER), "deepseek-coder")
    yield Family("deepseek_llm", small_json(qwen, 12000, deepseek_llm()), "deepseek-llm")


def main(out):
    if not (SHARED / "tokenizers").is_dir():
        print(SHARED / "tokenizers", "is missing: no tokenizer families to compare")
        return
    vectors = list(reference_vectors())
    for family in families():
        path = Path(out) / f"tokenizer_{family.name}"
        family.write(str(path) + ".gguf")
        n = 0
        with open(str(path) + ".jsonl", "w") as f:
            for line in lines_of(family):
                f.write(json.dumps(line, separators=(",", ":")) + "\n")
                n += 1
            for label, text, ids in vectors:
                if label in family.vectors:
                    f.write(json.dumps({"text": text, "from": "list", "ids": ids}, separators=(",", ":")) + "\n")
                    n += 1
        print(f"{family.name}: {len(family.texts)} tokens, {n} strings")


if __name__ == "__main__":
    main(sys.argv[1])
