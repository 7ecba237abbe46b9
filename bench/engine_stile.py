"""engine_stile.py LIBSTILE.so [ISA]: stile as an engine of peers.py."""

import ctypes
import sys

from engine import Engine


class Options(ctypes.Structure):
    """struct stile_session_options"""

    _fields_ = [
        ("n_ctx", ctypes.c_uint32),
        ("n_batch", ctypes.c_uint32),
        ("n_threads", ctypes.c_uint32),
        ("kv_format", ctypes.c_int),
        ("isa", ctypes.c_char_p),
        ("cancel", ctypes.c_void_p),
        ("memory_limit_bytes", ctypes.c_uint64),
        ("place", ctypes.c_char_p),
        ("draft", ctypes.c_void_p),
    ]


class Error(ctypes.Structure):
    """struct stile_error"""

    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 1000)]


class Stile(Engine):
    def __init__(self, library, isa):
        self.api, self.isa = ctypes.CDLL(library), isa
        self.error, self.model, self.session = Error(), ctypes.c_void_p(), ctypes.c_void_p()

    def must(self, name, *arguments):
        if getattr(self.api, name)(*arguments, ctypes.byref(self.error)) != 0:
            raise SystemExit(self.error.message.decode())

    def open(self, path, n_ctx, threads, kv):
        kv_format = {"f16": 0, "f32": 1, "q8_0": 2}[kv]
        options = Options(n_ctx=n_ctx, n_threads=threads, kv_format=kv_format, isa=self.isa)
        self.must("stile_model_open", ctypes.byref(self.model), path.encode())
        self.must("stile_session_create", ctypes.byref(self.session), self.model, ctypes.byref(options))

    def eval(self, tokens):
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        self.must("stile_eval", self.session, array, ctypes.c_size_t(len(tokens)))

    def wait(self):
        pass

    def rewind(self, n_tokens):
        self.must("stile_rewind", self.session, ctypes.c_uint32(n_tokens))


Stile(sys.argv[1], sys.argv[2].encode() if len(sys.argv) > 2 else None).serve()
