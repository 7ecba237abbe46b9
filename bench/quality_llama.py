#!/usr/bin/env python3
"""quality_llama.py MODEL TEXT [--reference MODEL] [--ctx N] [--chunks N]: perplexity and divergence from llama.cpp's logits,
in the windows of its perplexity tool. For comparing with `stile quality`. Needs llama-cpp-python and numpy.
"""

import argparse
import math

import llama_cpp
import numpy


def open_model(path, n_ctx, threads):
    return llama_cpp.Llama(
        path, n_ctx=n_ctx, n_batch=n_ctx, n_ubatch=n_ctx, n_threads=threads, n_threads_batch=threads, logits_all=True, verbose=False
    )


def log_softmax(rows):
    rows = rows - rows.max(axis=1, keepdims=True)
    return rows - numpy.log(numpy.exp(rows).sum(axis=1, keepdims=True, dtype=numpy.float64))


def window_log_p(model, tokens):
    model.reset()
    model.eval(tokens)
    first = len(tokens) // 2
    return log_softmax(model.scores[first : len(tokens) - 1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--reference")
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--chunks", type=int, default=1 << 30)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    model = open_model(options.model, options.ctx, options.threads)
    reference = options.reference and open_model(options.reference, options.ctx, options.threads)
    text = open(options.text, "rb").read().removesuffix(b"\n")
    tokens = model.tokenize(text, add_bos=True, special=False)
    bos = model.token_bos() if tokens[:1] == [model.token_bos()] != model.tokenize(b"a", add_bos=False)[:1] else None
    losses, divergences, same = [], [], 0
    for i in range(min(len(tokens) // options.ctx, options.chunks)):
        window = tokens[i * options.ctx : (i + 1) * options.ctx]
        scored = window[options.ctx // 2 + 1 :]
        if bos is not None:
            window = [bos] + window[1:]
        log_p = window_log_p(model, window)
        losses += list(-log_p[numpy.arange(len(scored)), scored])
        if reference:
            true = window_log_p(reference, window)
            divergences += list((numpy.exp(true) * (true - log_p)).sum(axis=1))
            same += int((true.argmax(axis=1) == log_p.argmax(axis=1)).sum())
    losses = numpy.array(losses)
    error = math.sqrt(losses.var() / (len(losses) - 1))
    print(f"{len(tokens)} tokens, {len(losses)} scored, bos {bos}")
    print(f"perplexity {math.exp(losses.mean()):.5f} +- {error * math.exp(losses.mean()):.5f}")
    if divergences:
        d = numpy.array(divergences)
        print(f"divergence {d.mean():.6f}, median {numpy.median(d):.6f}, 99% {numpy.quantile(d, 0.99):.6f}, most {d.max():.5f}")
        print(f"same top {same / len(d):.5f}")


main()
