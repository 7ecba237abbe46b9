"""Tiny vocabularies, whole enough for a tokenizer to accept: every byte, a few merges, the control tokens."""

NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE = 1, 2, 3, 5, 6


def byte_characters():
    """Byte -> character of byte-level BPE: printable bytes are themselves, the others follow from U+0100 on."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in kept]
    return {b: chr(b) for b in kept} | {b: chr(0x100 + i) for i, b in enumerate(others)}


WORDS = ["t h", "th e", "i n", "a n", "an d", "Ġ the", "Ġ a", "o f", "Ġ of", "e r", "in g", "o n", "r e", "Ġ in", "Ġ and"]


def add_bpe(writer, n_vocab, pre):
    """A gpt2-type vocabulary of n_vocab >= 275 tokens; ids above the real ones are unused."""
    tokens = list(byte_characters().values()) + [pair.replace(" ", "") for pair in WORDS]
    types = [NORMAL] * len(tokens)
    for control in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"):
        tokens.append(control)
        types.append(CONTROL)
    end = len(tokens) - 3
    while len(tokens) < n_vocab:
        types.append(UNUSED)
        tokens.append(f"[PAD{len(tokens)}]")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(WORDS)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end + 2)


def add_spm(writer, n_vocab):
    """A SentencePiece vocabulary of n_vocab >= 275 tokens."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + list("▁etaoinshrd") + ["▁t", "he", "▁the", "in", "an"]
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * (len(tokens) - 259)
    scores = [0.0] * 259 + [-float(i) for i in range(len(tokens) - 259)]
    while len(tokens) < n_vocab:
        scores.append(-10000.0)
        types.append(UNUSED)
        tokens.append(f"[PAD{len(tokens)}]")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
