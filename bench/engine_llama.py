"""engine_llama.py [MODULE]: llama.cpp (llama_cpp), or ik_llama.cpp (ik_llama_cpp), as an engine of peers.py.

Its own defaults but for flash attention, which is on; calls the C functions as llama-bench does.
"""

import ctypes
import importlib
import sys

from engine import Engine

GGML_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}


class Llama(Engine):
    def __init__(self, module):
        self.api = importlib.import_module(module)
        self.no_log = self.api.llama_log_callback(lambda level, text, user: None)
        self.api.llama_log_set(self.no_log, ctypes.c_void_p(0))
        self.api.llama_backend_init()

    def open(self, path, n_ctx, threads, kv):
        self.model = self.api.llama_model_load_from_file(path.encode(), self.api.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp cannot open {path}")
        params = self.api.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = n_ctx
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = GGML_TYPES[kv]
        if hasattr(params, "flash_attn_type"):
            params.flash_attn_type = 1
        else:
            params.flash_attn = True
        self.context = self.api.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit("llama.cpp cannot make a context")

    def eval(self, tokens):
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        if self.api.llama_decode(self.context, self.api.llama_batch_get_one(array, len(tokens))) != 0:
            raise SystemExit("llama_decode failed")

    def wait(self):
        self.api.llama_synchronize(self.context)

    def rewind(self, n_tokens):
        self.api.llama_memory_seq_rm(self.api.llama_get_memory(self.context), 0, n_tokens, -1)


Llama(sys.argv[1] if len(sys.argv) > 1 else "llama_cpp").serve()
