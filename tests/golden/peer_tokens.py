"""peer_tokens.py MODEL.gguf OUT.jsonl - writes what llama.cpp (through llama-cpp-python) makes of the corpus.

Run by hand when the corpus changes; its output tests/golden/tokenizer_smollm2.jsonl is kept. First line: who made it.
Then one object per string:
  text or hex   the bytes to tokenize (hex where they are not text without NUL)
  special       true: special tokens are parsed
  ids           what the peer made of them
  seen          hex; only where the peer does not keep the bytes: it reads each byte that is not UTF-8 as U+FFFD, and
                the ids are those of this text instead
"""

import ctypes
import json
import os
import sys

import llama_cpp

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tokenizer_corpus as corpus


class Peer:
    def __init__(self, path):
        self.silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.silence, None)
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)

    def encode(self, text, special):
        ids = (ctypes.c_int32 * (len(text) + 8))()
        n = llama_cpp.llama_tokenize(self.vocab, text, len(text), ids, len(ids), False, special)
        assert n >= 0
        return list(ids[:n])

    def specials(self):
        n = llama_cpp.llama_vocab_n_tokens(self.vocab)
        control = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
        return [llama_cpp.llama_vocab_get_text(self.vocab, i).decode() for i in range(n)
                if llama_cpp.llama_vocab_get_attr(self.vocab, i) & control]


def special_texts(names):
    for i, name in enumerate(names):
        other = names[(7 * i + 3) % len(names)]
        for mix in corpus.SPECIAL_MIXES:
            yield mix.replace("{}", name, 1).replace("{}", other, 1)
        yield name[:-1]
        yield name[1:]
        yield name[:3] + " " + name[3:]
    yield "<|im_start|>system\nYou are terse.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\n"
    yield "<|im_start|><|im_start|>user<|im_end|><|im_end"
    yield "<<|im_end|>>|<|im_end||>"


def as_seen(data):
    """The bytes with each one that begins no character read as U+FFFD."""
    out, i = b"", 0
    while i < len(data):
        for length in (1, 2, 3, 4):
            try:
                data[i:i + length].decode()
                out += data[i:i + length]
                i += length
                break
            except UnicodeDecodeError:
                continue
        else:
            out += b"\xef\xbf\xbd"
            i += 1
    return out


def entry(peer, data, special):
    line = {}
    try:
        text = data.decode()
        line["hex" if "\0" in text else "text"] = data.hex() if "\0" in text else text
    except UnicodeDecodeError:
        line["hex"] = data.hex()
        line["seen"] = as_seen(data).hex()
    if special:
        line["special"] = True
    line["ids"] = peer.encode(data, special)
    return line


def main(model, out):
    peer = Peer(model)
    lines = [entry(peer, t.encode(), False) for t in corpus.texts(600)]
    lines += [entry(peer, b, False) for b in corpus.invalid_bytes(80)]
    for special in (False, True):
        lines += [entry(peer, t.encode(), special) for t in dict.fromkeys(special_texts(peer.specials()))]
    with open(out, "w") as f:
        made_by = {"peer": "llama.cpp", "through": "llama-cpp-python " + llama_cpp.__version__, "model": os.path.basename(model), "strings": len(lines)}
        for line in [made_by, *lines]:
            f.write(json.dumps(line, separators=(",", ":"), ensure_ascii=True) + "\n")
    print(len(lines), "strings,", sum("seen" in x for x in lines), "of them not UTF-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
