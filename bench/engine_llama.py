"""engine_llama.py [llama.cpp | ik | ik-rtr]: llama.cpp (package llama-cpp-python) or ik_llama.cpp (ik-llama-cpp-python,
-rtr: weights repacked at start) as an engine of peers.py.

Their own defaults but for flash attention, which is on; the C functions are called as llama-bench does.
"""

import ctypes
import sys

from engine import Engine

GGML_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}


class Llama(Engine):
    def __init__(self):
        import llama_cpp

        self.api = llama_cpp
        self.no_log = self.api.llama_log_callback(lambda level, text, user: None)
        self.api.llama_log_set(self.no_log, ctypes.c_void_p(0))
        self.api.llama_backend_init()

    def model_params(self):
        return self.api.llama_model_default_params()

    def flash(self, params):
        params.flash_attn_type = 1

    def open(self, path, n_ctx, threads, kv):
        self.model = self.api.llama_model_load_from_file(path.encode(), self.model_params())
        if not self.model:
            raise SystemExit(f"cannot open {path}")
        params = self.api.llama_context_default_params()
        params.n_ctx = params.n_batch = n_ctx
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = GGML_TYPES[kv]
        self.flash(params)
        self.context = self.api.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit("cannot make a context")

    def batch(self, tokens):
        return self.api.llama_batch_get_one(tokens, len(tokens))

    def eval(self, tokens):
        array = (ctypes.c_int32 * len(tokens))(*tokens)  # the batch points into it
        if self.api.llama_decode(self.context, self.batch(array)) != 0:
            raise SystemExit("llama_decode failed")

    def wait(self):
        self.api.llama_synchronize(self.context)

    def rewind(self, n_tokens):
        self.api.llama_memory_seq_rm(self.api.llama_get_memory(self.context), 0, n_tokens, -1)


class Ik(Llama):
    """ik_llama.cpp left llama.cpp some time ago."""

    n_past = 0

    def __init__(self, repack):
        from ik_llama_cpp import _ctypes_api

        self.api, self.repack = _ctypes_api, repack
        self.library = _ctypes_api._lib
        self.no_log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda level, text, user: None)
        self.library.llama_log_set(self.no_log, ctypes.c_void_p(0))
        self.library.llama_kv_cache_seq_rm.argtypes = [ctypes.c_void_p] + 3 * [ctypes.c_int32]
        self.api.llama_backend_init()

    def model_params(self):
        params = self.api.llama_model_default_params()
        params.repack_tensors = self.repack
        return params

    def flash(self, params):
        params.flash_attn = True

    def batch(self, tokens):
        batch = self.api.llama_batch(n_tokens=len(tokens), token=tokens, all_pos_0=self.n_past, all_pos_1=1)
        self.n_past += len(tokens)
        return batch

    def wait(self):
        self.library.llama_synchronize(ctypes.c_void_p(self.context))

    def rewind(self, n_tokens):
        self.library.llama_kv_cache_seq_rm(self.context, 0, n_tokens, -1)
        self.n_past = n_tokens


kind = sys.argv[1] if len(sys.argv) > 1 else "llama.cpp"
(Llama() if kind == "llama.cpp" else Ik(kind == "ik-rtr")).serve()
