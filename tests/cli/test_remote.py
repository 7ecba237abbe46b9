"""Models that are elsewhere: stile info reads their headers over HTTP, and little else."""

import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from common import STILE, CliTest
from web import Web, reset, stall, write_model


class Remote(CliTest):
    def setUp(self):
        super().setUp()
        self.files = self.folder / "files"
        self.files.mkdir()
        self.web = self.serve(self.files)

    def serve(self, folder, certificate=None):
        web = Web(folder, certificate)
        self.addCleanup(web.close)
        return web

    def env(self, **more):
        proxies = {name: "" for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "HTTPS_PROXY")}
        return {"HF_ENDPOINT": self.web.home, "HF_TOKEN": "", "SSL_CERT_FILE": "", **proxies, **more}

    def info(self, name, **more):
        return json.loads(self.stile("info", name, "--json", env=self.env(**more))[0])

    def refuses(self, name, says, *arguments, **more):
        err = self.fails("info", name, *arguments, status=1, says=says, env=self.env(**more))
        self.assertNotIn("secret", err)
        return err

    def test_header_of_a_large_file(self):
        header = write_model(self.files / "large.gguf", n_more=300000)
        size = (self.files / "large.gguf").stat().st_size
        self.assertGreater(size, 40e9)
        self.assertGreater(header, 4 << 20)
        here = json.loads(self.stile("info", self.files / "large.gguf", "--json", "--tensors")[0])
        url = self.web.home + "/ranges/large.gguf"
        there = json.loads(self.stile("info", url, "--json", "--tensors", env=self.env())[0])
        self.assertLess(self.web.sent, header + (2 << 20))
        self.assertEqual(there.pop("path"), url)
        here.pop("path")
        self.assertEqual(here, there)
        for way in ["/moved/large.gguf", "/moved/large.gguf?download=true", "/plain/large.gguf#top"]:
            self.assertEqual(self.info(self.web.home + way)["n_layers"], 80)
        self.assertLess(self.web.sent, 100 << 20)
        self.web.sent = 0
        machine = ("--machine", "rtx5090+ddr5-6000x2+nvme4")
        plan = json.loads(self.stile("plan", url, *machine, "--json", env=self.env())[0])
        self.assertLess(self.web.sent, header + (2 << 20))
        self.assertIn("fits", plan[0] if isinstance(plan, list) else plan)

    def test_sets(self):
        for i in range(3):
            write_model(self.files / f"set-{i + 1:05}-of-00003.gguf", n_layers=6, width=512, shard=(i, 3))
        for i in [1, 2]:
            info = self.info(f"{self.web.home}/ranges/set-{i:05}-of-00003.gguf?download=true")
            self.assertEqual((info["n_shards"], info["n_tensors"]), (3, 2 + 6 * 9))
        self.assertIn("/ranges/set-00003-of-00003.gguf?download=true", [path for path, _ in self.web.requests])
        self.assertEqual(self.info("org/repo")["n_shards"], 3)
        (self.files / "set-00002-of-00003.gguf").unlink()
        self.refuses(self.web.home + "/ranges/set-00001-of-00003.gguf", "set-00002-of-00003.gguf: HTTP status 404")

    def test_names_at_the_hub(self):
        for name in ["T-Q4_K_M.gguf", "T-Q8_0.gguf", "mmproj-T-F16.gguf", "sub dir/T-é-F16.gguf"]:
            (self.files / name).parent.mkdir(exist_ok=True)
            write_model(self.files / name, n_layers=1, width=256)
        info = self.info("org/repo:q8_0")
        self.assertEqual(info["path"], self.web.home + "/org/repo/resolve/main/T-Q8_0.gguf")
        self.assertEqual(self.web.requests[0][0], "/api/models/org/repo?blobs=true")
        self.assertTrue(self.info("org/repo:F16")["path"].endswith("/sub%20dir/T-%C3%A9-F16.gguf"))
        self.assertTrue(self.info("org/repo:T-Q4_K_M.gguf")["path"].endswith("T-Q4_K_M.gguf"))
        page = self.web.home + "/org/repo/blob/main/T-Q8_0.gguf"  # what people copy from a browser
        self.assertEqual(self.info(page)["path"], info["path"])
        self.assertRegex(self.refuses("org/repo", "holds 3 models, name one"), r"Q4_K_M \d+ MiB, .*Q8_0 \d+ MiB")
        self.refuses("org/repo:Q5_K", 'no file "Q5_K"; there are: ')
        for text, says in [("<html>", "not JSON"), ("[]", "no list"), ("[" * 100000, "not JSON"), ("{}", "no list")]:
            self.web.listing = text
            self.refuses("org/repo:Q8_0", says)
        self.web.wrong["/api/models/org/repo"] = lambda request: self.web.send(request, 401, b"{}")
        self.refuses("org/repo", "HTTP status 401: not allowed")

    def test_what_is_no_name(self):
        self.refuses("no/such.gguf", "cannot open")
        self.refuses("./no/such", "cannot open")
        self.refuses(self.web.home + "/ranges/none.gguf", "HTTP status 404")
        self.refuses("http://user:secret@127.0.0.1/x.gguf", "with a user name")
        self.refuses("http://", "http://: ")
        self.refuses("http:///x.gguf", "http:///x.gguf: ")
        self.refuses("org/repo", "HF_ENDPOINT", HF_ENDPOINT="huggingface.co")
        self.refuses("org/repo", "with a user name", HF_ENDPOINT="https://user:secret@huggingface.co")
        (self.files / "page.html").write_text("<html>no model</html>")
        self.refuses(self.web.home + "/ranges/page.html", "not a GGUF file")
        (self.files / "empty.gguf").write_bytes(b"")
        self.refuses(self.web.home + "/plain/empty.gguf", "the file is empty")
        self.assertEqual(len(self.web.requests), 3)

    def test_running_needs_a_file(self):
        for name in ["org/repo:Q4_0", self.web.home + "/ranges/x.gguf"]:
            self.fails("run", name, "-p", "x", status=1, says="download it first", env=self.env())
        self.assertEqual(self.web.requests, [])

    def test_servers_in_trouble(self):
        write_model(self.files / "x.gguf", n_layers=1, width=256)
        url, tries = self.web.home + "/ranges/x.gguf", []

        def busy(request):
            tries.append(request)
            if len(tries) == 1:
                return reset(request)
            del self.web.wrong["/ranges/x.gguf"]
            return self.web.send(request, 503, b"busy")

        self.web.wrong["/ranges/x.gguf"] = busy
        self.assertEqual(self.info(url)["n_layers"], 1)
        self.assertEqual(len(tries), 2)
        self.web.wrong["/ranges/x.gguf"] = lambda request: self.web.send(
            request, 429, b"", {"Retry-After": "600"}
        )
        self.refuses(url, "HTTP status 429: too many requests")

    def test_interrupt(self):
        self.web.wrong["/x.gguf"] = stall
        process = subprocess.Popen(
            [STILE, "info", self.web.home + "/x.gguf"],
            env={**os.environ, **self.env()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        end = time.monotonic() + 10
        while not self.web.requests and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=5)
        self.assertEqual((process.returncode, out, err), (130, b"", b""))

    def test_token_and_certificates(self):
        if not shutil.which("openssl"):
            self.skipTest("no openssl to make a certificate with")
        pem = self.folder / "both.pem"
        subprocess.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test "
            f"-addext subjectAltName=IP:127.0.0.1 -keyout {self.folder}/key -out {self.folder}/cert",
            shell=True,
            check=True,
            capture_output=True,
        )
        pem.write_bytes((self.folder / "key").read_bytes() + (self.folder / "cert").read_bytes())
        write_model(self.files / "x-Q8_0.gguf", n_layers=1, width=256)
        hub, elsewhere = self.serve(self.files, pem), self.serve(self.files, pem)

        def tokens(web):
            return {headers.get("Authorization") for _, headers in web.requests}

        env = {"HF_ENDPOINT": hub.home + "/", "HF_TOKEN": "hf_secret", "SSL_CERT_FILE": str(self.folder / "cert")}
        self.refuses("org/repo", "certificate", **{**env, "SSL_CERT_FILE": ""})
        self.assertEqual(hub.requests, [])
        self.assertEqual(self.info("org/repo", **env)["n_layers"], 1)
        self.assertEqual(tokens(hub), {"Bearer hf_secret"})
        # the hub sends on to other servers: they get no token
        for other in [elsewhere.home, hub.home.replace("127.0.0.1", "localhost")]:
            hub.requests.clear()
            hub.wrong["/org/repo/resolve/main/x-Q8_0.gguf"] = lambda request, other=other: hub.send(
                request, 302, b"", {"Location": other + "/ranges/x-Q8_0.gguf"}
            )
            if other == elsewhere.home:
                self.assertEqual(self.info("org/repo", **env)["n_layers"], 1)
                self.assertEqual(tokens(elsewhere), {None})
            else:
                self.refuses("org/repo", "127.0.0.1", **env)  # a certificate for another name
        # nor does anybody on the way from https to http, or without https
        hub.wrong["/org/repo/resolve/main/x-Q8_0.gguf"] = lambda request: hub.send(
            request, 302, b"", {"Location": self.web.home + "/ranges/x-Q8_0.gguf"}
        )
        self.refuses("org/repo", "not safe", **env)
        self.assertEqual(self.web.requests, [])
        self.assertEqual(self.info("org/repo", HF_TOKEN="hf_secret")["n_layers"], 1)
        self.assertEqual(tokens(self.web), {None})


if __name__ == "__main__":
    unittest.main()
