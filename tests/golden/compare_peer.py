"""compare_peer.py MODEL.gguf LIBSTILE.so: llama.cpp and stile, each against the float64 truth of smollm2_truth.json.

Run by hand, with llama-cpp-python installed. Prints for each engine
    distance   mean |logprob - truth's logprob| over the truth's top 20 at every position of the truth
    lost       certain positions (the truth's first two differ by more than 0.1) where the most likely token is another one
and greedy continuations of the prompts side by side; stores llama.cpp's figures in smollm2_peer.json, which
tests/test_run_smollm2.c holds stile to.
"""

import argparse
import ctypes
import json
import platform
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
N_CTX = 1024
MARGIN = 0.1


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


class Peer:
    def __init__(self, path, flash):
        from llama_cpp import Llama

        self.llama = Llama(path, n_ctx=N_CTX, n_batch=512, n_threads=2, n_threads_batch=2, logits_all=True, flash_attn=flash, verbose=False)

    def restart(self):
        self.llama.reset()

    def eval(self, tokens):
        """Logits after the last of the tokens."""
        self.llama.eval(tokens)
        return self.llama.scores[self.llama.n_tokens - 1]


class Options(ctypes.Structure):
    """struct stile_session_options"""

    _fields_ = [
        ("n_ctx", ctypes.c_uint32),
        ("n_batch", ctypes.c_uint32),
        ("n_threads", ctypes.c_uint32),
        ("kv_format", ctypes.c_int),
        ("isa", ctypes.c_char_p),
        ("cancel", ctypes.c_void_p),
    ]


class Error(ctypes.Structure):
    """struct stile_error"""

    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 1000)]


class Stile:
    def __init__(self, path, library, n_vocab):
        self.n_vocab = n_vocab
        self.api = ctypes.CDLL(library)
        self.api.stile_logits.restype = ctypes.POINTER(ctypes.c_float)
        self.error = Error()
        self.model, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        options = Options(n_ctx=N_CTX, n_threads=2)
        self.must(self.api.stile_model_open(ctypes.byref(self.model), path.encode(), ctypes.byref(self.error)))
        created = self.api.stile_session_create(ctypes.byref(self.session), self.model, ctypes.byref(options), ctypes.byref(self.error))
        self.must(created)

    def must(self, code):
        if code != 0:
            raise SystemExit(self.error.message.decode())

    def restart(self):
        self.must(self.api.stile_rewind(self.session, 0, ctypes.byref(self.error)))

    def eval(self, tokens):
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        self.must(self.api.stile_eval(self.session, array, ctypes.c_size_t(len(tokens)), ctypes.byref(self.error)))
        return np.ctypeslib.as_array(self.api.stile_logits(self.session), (self.n_vocab,)).copy()


def measure(engine, truth):
    distances, lost = [], 0
    for prompt in truth:
        engine.restart()
        done = 0
        for row in prompt["top"]:
            logprobs = log_softmax(engine.eval(prompt["tokens"][done : row["position"] + 1]))
            done = row["position"] + 1
            distances.append(np.abs(logprobs[row["ids"]] - row["logprobs"]).mean())
            certain = row["logprobs"][0] - row["logprobs"][1] > MARGIN
            lost += int(certain and logprobs.argmax() != row["ids"][0])
    return {"distance": round(float(np.mean(distances)), 5), "lost": lost}


def continue_greedily(engine, prompt, n_tokens):
    engine.restart()
    answer = [int(engine.eval(prompt["tokens"]).argmax())]
    while len(answer) < n_tokens:
        answer.append(int(engine.eval(answer[-1:]).argmax()))
    return answer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("library")
    parser.add_argument("--prompts", type=int, default=20, help="how many to continue greedily")
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    from llama_cpp import __version__

    truth = json.loads((HERE / "smollm2_truth.json").read_text())
    n_positions = sum(len(p["top"]) for p in truth)
    n_certain = sum(r["logprobs"][0] - r["logprobs"][1] > MARGIN for p in truth for r in p["top"])
    peers = {f"flash attention {name}": Peer(args.model, flash) for name, flash in (("off", False), ("on", True))}
    peer = peers["flash attention off"]
    stile = Stile(args.model, args.library, peer.llama.n_vocab())

    print(f"{n_positions} positions, {n_certain} of them certain\n{'engine':36} distance  lost")
    runs = []
    for name, engine in {**{"llama.cpp, " + n: p for n, p in peers.items()}, "stile": stile}.items():
        figures = measure(engine, truth)
        print("{:36} {:.5f}   {:4}".format(name, *figures.values()))
        if engine is not stile:
            runs.append({"name": name} | figures)

    agreed = 0
    for prompt in truth[: args.prompts]:
        theirs, ours = (continue_greedily(engine, prompt, args.tokens) for engine in (peer, stile))
        same = next((i for i in range(args.tokens) if theirs[i] != ours[i]), args.tokens)
        agreed += same == args.tokens
        print(f"\n{prompt['name']}: the first {same} of {args.tokens} tokens agree")
        for label, tokens in (("llama.cpp", theirs), ("stile", ours)):
            print(f"  {label:9} {peer.llama.detokenize(tokens).decode(errors='replace')!r}")
    print(f"\n{agreed} of {min(args.prompts, len(truth))} continuations agree in all {args.tokens} tokens")

    peer_file = {
        "engine": f"llama-cpp-python {__version__}",
        "settings": "F16 KV, n_batch 512, 2 threads",
        "machine": platform.machine(),
        "positions": n_positions,
        "runs": runs,
    }
    (HERE / "smollm2_peer.json").write_text(json.dumps(peer_file, indent=1) + "\n")


if __name__ == "__main__":
    main()
