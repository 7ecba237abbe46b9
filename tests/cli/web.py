"""A web server for tests: a model hub and its misbehaving relatives, on 127.0.0.1; and a model of any size to serve."""

import http.server
import json
import pathlib
import re
import socket
import ssl
import struct
import threading
import time
import urllib.parse

PIECE = 1 << 16


class Web:
    """Serves the files of a folder. What is done with a request is said by the first part of its path:

    /ranges/FILE   as a good server    /plain/FILE   without ranges    /moved/FILE   sends on to /ranges/FILE
    /api/models/ORG/REPO and /ORG/REPO/resolve/main/FILE   as a hub, which sends on to /ranges/FILE

    `wrong` maps a path to a function that answers instead. `requests` and `sent` tell what happened."""

    def __init__(self, folder, certificate=None):
        self.folder = pathlib.Path(folder)
        self.listing = None  # text of the hub's answer; None: made from the folder
        self.wrong = {}
        self.requests = []  # (path, headers)
        self.sent = 0  # bytes of bodies
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                web.requests.append((self.path, dict(self.headers)))
                path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
                try:
                    web.answer(self, path)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.home = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request, path):
        kind, _, rest = path[1:].partition("/")
        resolve = re.fullmatch(r"/[^/]+/[^/]+/resolve/main/(.*)", path)
        if path in self.wrong:
            self.wrong[path](request)
        elif kind == "api":
            self.send(request, 200, (self.listing or self.list_files()).encode())
        elif kind == "moved" or resolve:
            self.send(request, 302, b"", {"Location": "/ranges/" + urllib.parse.quote(resolve[1] if resolve else rest)})
        elif kind in ("ranges", "plain") and (self.folder / rest).is_file():
            self.send_file(request, self.folder / rest, kind == "ranges")
        else:
            self.send(request, 404, b"nothing here\n")

    def list_files(self):
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        return json.dumps(
            {
                "siblings": [
                    {"rfilename": str(path.relative_to(self.folder)), "size": path.stat().st_size} for path in files
                ]
            }
        )

    def send(self, request, status, body, headers=None, length=None):
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        request.end_headers()
        self.write(request, body)

    def write(self, request, body):
        for at in range(0, len(body), PIECE):
            request.wfile.write(body[at : at + PIECE])
            self.sent += len(body[at : at + PIECE])

    def send_file(self, request, path, ranges):
        size = path.stat().st_size
        first, last = 0, size - 1
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        if ranges and asked:
            first, last = int(asked[1]), min(int(asked[2]), size - 1)
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(last - first + 1))
        request.end_headers()
        with open(path, "rb") as file:
            file.seek(first)
            left = last - first + 1
            while left > 0:
                piece = file.read(min(left, PIECE))
                self.write(request, piece)
                left -= len(piece)


def stall(request, seconds=60):
    """Answers nothing."""
    del request
    time.sleep(seconds)


def reset(request):
    """Breaks the connection."""
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()
    request.close_connection = True


# ---- a model --------------------------------------------------------------------------------------

U32, F32, STRING, ARRAY, I32 = 4, 6, 8, 9, 5
F16 = 1


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value):
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    if isinstance(value, float):
        return struct.pack("<If", F32, value)
    if isinstance(value, int):
        return struct.pack("<II", U32, value)
    if value and isinstance(value[0], int):
        return struct.pack("<IIQ", ARRAY, I32, len(value)) + struct.pack(f"<{len(value)}i", *value)
    if value and isinstance(value[0], float):
        return struct.pack("<IIQ", ARRAY, F32, len(value)) + struct.pack(f"<{len(value)}f", *value)
    return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(_string, value))


def write_model(path, n_layers=80, width=8192, n_vocab=1000, shard=None, n_more=0):
    """A Llama in F16 of that size whose weights are a hole in the file; `shard` (i, n) is the i-th part of n of it.
    `n_more` strings make its header longer. Returns the bytes of the header."""
    keys = {
        "general.architecture": "llama",
        "general.name": "Hole",
        "llama.block_count": n_layers,
        "llama.context_length": 8192,
        "llama.embedding_length": width,
        "llama.feed_forward_length": 4 * width,
        "llama.attention.head_count": width // 64,
        "llama.attention.head_count_kv": width // 64,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>"]
        + [f"<0x{byte:02X}>" for byte in range(256)]
        + [f"w{i}" for i in range(n_vocab - 259)],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * (n_vocab - 259),
        "tokenizer.ggml.scores": [float(-i) for i in range(n_vocab)],
        "more": [f"more of {i}" for i in range(n_more)],
    }
    layer = {
        "attn_norm": (width,),
        "attn_q": (width, width),
        "attn_k": (width, width),
        "attn_v": (width, width),
        "attn_output": (width, width),
        "ffn_norm": (width,),
        "ffn_gate": (width, 4 * width),
        "ffn_up": (width, 4 * width),
        "ffn_down": (4 * width, width),
    }
    tensors = {"token_embd.weight": (width, n_vocab), "output_norm.weight": (width,)}
    for i in range(n_layers):
        tensors.update({f"blk.{i}.{name}.weight": dims for name, dims in layer.items()})
    if shard:
        i, n = shard
        n_tensors = len(tensors)
        tensors = dict(list(tensors.items())[i * n_tensors // n : (i + 1) * n_tensors // n])
        if i > 0:
            keys = {}
        keys.update({"split.no": i, "split.count": n, "split.tensors.count": n_tensors})
    table, offset = b"", 0
    for name, dims in tensors.items():
        size = 2 * (dims[0] if len(dims) == 1 else dims[0] * dims[1])
        table += _string(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        table += struct.pack("<IQ", F16, offset)
        offset += (size + 31) // 32 * 32
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    header += b"".join(_string(key) + _value(value) for key, value in keys.items()) + table
    header += b"\0" * (-len(header) % 32)
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(len(header) + offset)
    return len(header)
