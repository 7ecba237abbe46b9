"""The truth that the engine is compared with: float64 forward passes, written from the formulas.

Families: llama (Llama 2/3.x, Mistral, Mixtral, SmolLM), qwen2, qwen3, qwen3moe, gemma3. The formulas are those of
../shared/formats.md section 7. Shapes: T tokens, D width, H query heads, K key/value heads, d head size.

    model = Model("file.gguf")
    logits = model.forward(tokens)               # (T, n_vocab)

Whole sequences only, no cache: position t attends to what its mask shows of positions 0..t. Every matrix product
goes through `linear`, every key and value through `stored`, so that a subclass can imitate an engine's rounding there.
"""

import math

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def yarn_blend(n_rot, base, original_context):
    """Share of the unscaled angle for each pair: 1 for the fast ones, 0 for the slow ones."""

    def corr(beta):
        return n_rot * math.log(original_context / (2 * math.pi * beta)) / (2 * math.log(base))

    low = max(0, math.floor(corr(32)))
    high = min(n_rot - 1, math.ceil(corr(1)))
    return 1 - np.clip((np.arange(n_rot // 2) - low) / max(0.001, high - low), 0, 1)


def rotate(x, cos, sin, neox):
    """x (T, heads, d); cos, sin (T, n_rot/2). Dimensions from n_rot on pass unchanged."""
    half = cos.shape[1]
    cos, sin = cos[:, None, :], sin[:, None, :]
    a_at = np.arange(half) if neox else 2 * np.arange(half)
    b_at = a_at + (half if neox else 1)
    a, b = x[..., a_at], x[..., b_at]
    out = x.copy()
    out[..., a_at] = a * cos - b * sin
    out[..., b_at] = a * sin + b * cos
    return out


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        self.arch = reader.fields["general.architecture"].contents()
        prefix = self.arch + "."
        self.keys = {n[len(prefix) :]: f.contents() for n, f in reader.fields.items() if n.startswith(prefix)}
        self.stored_tensors = {t.name: t for t in reader.tensors}
        self.cache = {}

        get = self.keys.get
        self.n_layers = get("block_count")
        self.d_model = get("embedding_length")
        self.n_heads = get("attention.head_count")
        self.n_kv_heads = get("attention.head_count_kv", self.n_heads)
        self.head_dim = get("attention.key_length", self.d_model // self.n_heads)
        self.eps = get("attention.layer_norm_rms_epsilon")
        self.n_rot = get("rope.dimension_count", self.head_dim)
        self.n_experts = get("expert_count", 0)
        self.n_experts_used = get("expert_used_count", 0)
        self.routes = []  # of the last forward: for each layer (scores (T, n_experts), chosen experts (T, n_used))
        self.gemma = self.arch == "gemma3"
        self.neox = self.arch != "llama"
        self.activation = gelu_tanh if self.gemma else silu
        # gemma3-27B, known by its 62 layers, scales by its width per head instead of the head size
        wide = self.gemma and self.n_layers == 62
        self.attention_scale = get("attention.scale") or (self.d_model / self.n_heads if wide else self.head_dim) ** -0.5

    # ---- weights

    def tensor(self, name):
        if name not in self.cache:
            t = self.stored_tensors[name]
            self.cache[name] = dequantize(t.data, t.tensor_type).astype(np.float64)
        return self.cache[name]

    def linear(self, name, x, expert=...):
        """W x * scale + bias; scale belongs to NVFP4, and both are optional. Of the matrices of all experts, one."""
        y = x @ self.tensor(name + ".weight")[expert].T
        if name + ".scale" in self.stored_tensors:
            y = y * self.tensor(name + ".scale")[expert]
        if name + ".bias" in self.stored_tensors:
            y = y + self.tensor(name + ".bias")
        return y

    def norm(self, name, x):
        return rms_norm(x, self.tensor(name + ".weight"), self.eps)

    # ---- position

    def slides(self, layer):
        if not self.gemma or not self.keys.get("attention.sliding_window"):
            return False
        pattern = self.keys.get("attention.sliding_window_pattern", 6)
        return layer % pattern < pattern - 1

    def mask(self, n_tokens, layer):
        """True where query p (row) may see key t (column)."""
        distance = np.arange(n_tokens)[:, None] - np.arange(n_tokens)[None, :]
        window = self.keys["attention.sliding_window"] if self.slides(layer) else n_tokens
        return (distance >= 0) & (distance < window)

    def angles(self, n_tokens, layer):
        """cos and sin (T, n_rot/2) of the layer's rotation, the magnitude of yarn included."""
        slides = self.slides(layer)
        base = self.keys.get("rope.freq_base", 10000.0)
        if slides:
            base = self.keys.get("rope.freq_base_swa", 10000.0)
        theta = base ** (-2 * np.arange(self.n_rot // 2) / self.n_rot)
        if "rope_freqs.weight" in self.stored_tensors:
            theta = theta / self.tensor("rope_freqs.weight")
        magnitude = 1.0
        kind = self.keys.get("rope.scaling.type", "none")
        factor = self.keys.get("rope.scaling.factor", 1.0)
        if kind == "linear" and not slides:
            theta = theta / factor
        elif kind == "yarn":
            keep = yarn_blend(self.n_rot, base, self.keys["rope.scaling.original_context_length"])
            theta = theta / factor * (1 - keep) + theta * keep
            magnitude = (1 + 0.1 * math.log(factor)) * self.keys.get("rope.scaling.attn_factor", 1.0)
        angle = np.arange(n_tokens)[:, None] * theta[None, :]
        return magnitude * np.cos(angle), magnitude * np.sin(angle)

    # ---- the layer

    def stored(self, x):
        """What reading a key or value back from the cache gives."""
        return x

    def attention(self, layer, x):
        prefix = f"blk.{layer}.attn_"
        n_tokens = len(x)
        q = self.linear(prefix + "q", x).reshape(n_tokens, self.n_heads, self.head_dim)
        k = self.linear(prefix + "k", x).reshape(n_tokens, self.n_kv_heads, self.head_dim)
        v = self.linear(prefix + "v", x).reshape(n_tokens, self.n_kv_heads, self.head_dim)
        if self.arch in ("qwen3", "qwen3moe", "gemma3"):
            q = self.norm(prefix + "q_norm", q)
            k = self.norm(prefix + "k_norm", k)
        cos, sin = self.angles(n_tokens, layer)
        q, k = rotate(q, cos, sin, self.neox), rotate(k, cos, sin, self.neox)
        k, v = self.stored(k), self.stored(v)

        share = self.n_heads // self.n_kv_heads
        visible = self.mask(n_tokens, layer)
        out = np.empty_like(q)
        for head in range(self.n_heads):
            scores = self.attention_scale * q[:, head] @ k[:, head // share].T
            out[:, head] = softmax(np.where(visible, scores, -np.inf)) @ v[:, head // share]
        return self.linear(prefix + "output", out.reshape(n_tokens, -1))

    def gated(self, prefix, suffix, x, expert=...):
        gate, up = (self.linear(prefix + name + suffix, x, expert) for name in ("gate", "up"))
        return self.linear(prefix + "down" + suffix, self.activation(gate) * up, expert)

    def mixture(self, prefix, x):
        """The experts with the highest scores, weighted by the softmax over these."""
        scores = self.linear(prefix + "gate_inp", x)
        # of equal scores the lower number goes first; numpy's sums of equal rows may differ in the last bits
        chosen = np.argsort(-scores.round(9), axis=1, kind="stable")[:, : self.n_experts_used]
        weights = softmax(np.take_along_axis(scores, chosen, axis=1))
        self.routes.append((scores, chosen))
        out = np.zeros_like(x)
        for expert in range(self.n_experts):
            tokens, rank = np.nonzero(chosen == expert)
            if len(tokens):
                out[tokens] += weights[tokens, rank, None] * self.gated(prefix, "_exps", x[tokens], expert)
        return out

    def feed_forward(self, layer, x):
        prefix = f"blk.{layer}.ffn_"
        return self.mixture(prefix, x) if self.n_experts else self.gated(prefix, "", x)

    def block(self, layer, h):
        prefix = f"blk.{layer}."
        a = self.attention(layer, self.norm(prefix + "attn_norm", h))
        if self.gemma:
            a = self.norm(prefix + "post_attention_norm", a)
        h = h + a
        f = self.feed_forward(layer, self.norm(prefix + "ffn_norm", h))
        if self.gemma:
            f = self.norm(prefix + "post_ffw_norm", f)
        return h + f

    def forward(self, tokens, rows=slice(None)):
        """Logits (n_rows, n_vocab) of the chosen positions, by default of all."""
        self.routes = []
        h = self.tensor("token_embd.weight")[np.asarray(tokens)]
        if self.gemma:
            h = h * math.sqrt(self.d_model)
        for layer in range(self.n_layers):
            h = self.block(layer, h)
        tied = "output.weight" not in self.stored_tensors
        logits = self.linear("token_embd" if tied else "output", self.norm("output_norm", h[rows]))
        cap = self.keys.get("final_logit_softcapping")
        return cap * np.tanh(logits / cap) if cap else logits
