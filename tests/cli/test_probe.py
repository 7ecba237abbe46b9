"""stile probe: what it says, what it keeps, and that it leaves nothing behind. No speed is ever expected."""

import json
import os
import pathlib
import signal
import statistics
import subprocess
import time
import unittest

from common import STILE, CliTest, model_path

FAILED, USAGE = 1, 2
QUICK = ["--time", "0.2"]
MACS = ["matmul", "matmul_narrow", "matmul_few", "matmul_some", "attention", "attention_token"]
MACS += ["attention_narrow", "attention_token_narrow"]
UNITS = {"latency": "ns", "elements": "elements_per_s", **{name: "macs_per_s" for name in MACS}}


class Probe(CliTest):
    def setUp(self):
        super().setUp()
        self.env = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        self.disk = self.folder / "disk"
        self.disk.mkdir()

    def probe(self, *more):
        return self.stile("probe", *more, env=self.env)[0]

    def measure(self, *more):
        return json.loads(self.probe(*QUICK, "--json", *more))

    def test_json(self):
        probe = self.measure("--disk", self.disk)
        self.assertTrue(probe["complete"])
        self.assertLess(abs(time.time() - probe["unix_time_s"]), 120)
        self.assertEqual(probe["disk_path"], str(self.disk))
        for name in ["cpu", "n_processors", "n_threads", "memory_bytes", "cache_bytes", "large_pages"]:
            self.assertIn(name, probe["machine"])
        found = set()
        for entry in probe["measurements"]:
            unit = UNITS.get(entry["quantity"], "bytes_per_s")
            samples = entry[f"{unit}_samples"]
            self.assertTrue(1 <= len(samples) <= 3 and all(sample > 0 for sample in samples), entry)
            self.assertAlmostEqual(entry[unit] / statistics.median(samples), 1, 6)
            self.assertIn(entry[f"best_{unit}"], [max(samples), min(samples)])
            found.add(entry["quantity"])
        self.assertLessEqual({"memory_read", "memory_write", "memory_copy", "matvec", *UNITS}, found)
        if not probe["disk_note"]:
            self.assertLessEqual({"disk_sequential", "disk_random", "disk_buffered"}, found)
        threads = {entry["threads"] for entry in probe["measurements"] if entry["quantity"] == "memory_read"}
        self.assertEqual((min(threads), max(threads)), (1, probe["machine"]["n_threads"]))
        self.assertIn("Q4_K", {entry.get("format") for entry in probe["measurements"]})
        self.assertEqual(list(self.disk.iterdir()), [])
        self.kept(probe)
        self.shares_of_it(probe)

    def kept(self, probe):
        cached = json.loads(self.probe("--cached", "--json"))
        self.assertEqual(cached, probe)
        out = self.probe("--cached")
        self.assertLessEqual(max(map(len, out.splitlines())), 100, out)
        for text in ["memory, GB/s", "2 threads" if probe["machine"]["n_threads"] > 1 else "1 thread", "latency", "Q4_K", str(self.disk)]:
            self.assertIn(text, out)

    def shares_of_it(self, probe):
        """Prefill is a share of the kernels' rate; another commit's rate is no limit."""
        bench = ["bench", model_path(), "-p", "16", "-n", "0", "-r", "2", "--json"]
        record = json.loads(self.stile(*bench, env=self.env)[0])[0]
        self.assertEqual(record["limit"], "arithmetic")
        self.assertAlmostEqual(record["share_of_limit"] * record["limit_macs_per_s"] / record["macs_per_s"], 1, delta=0.3)
        path = self.folder / "cache/stile/machine.json"
        kept = json.loads(path.read_text())
        next(iter(kept["probes"].values()))["commit"] = "another"
        path.write_text(json.dumps(kept))
        record = json.loads(self.stile(*bench, env=self.env)[0])[0]
        self.assertEqual((record["limit"], record["share_of_limit"], record["limit_macs_per_s"]), (None, None, None))

    def test_a_file_is_read_as_it_is(self):
        path = self.disk / "file"
        path.write_bytes(os.urandom(1 << 20) * 8)
        before = path.read_bytes()
        probe = self.measure("--disk", path)
        self.assertEqual(probe["disk_path"], str(path))
        self.assertEqual(path.read_bytes(), before)
        self.assertEqual(list(self.disk.iterdir()), [path])

    @unittest.skipUnless(os.access("/dev/shm", os.R_OK) and "/dev/shm tmpfs" in pathlib.Path("/proc/mounts").read_text(), "no tmpfs")
    def test_memory_is_no_disk(self):
        out = self.probe(*QUICK, "--disk", "/dev/shm")
        self.assertIn("disk: /dev/shm, tmpfs: this file system is in memory, not on a disk", out)

    def test_interrupt(self):
        process = subprocess.Popen(
            [STILE, "probe", "--time", "100", "--disk", self.disk], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **self.env}
        )
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        time.sleep(4)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        self.assertEqual((process.returncode, err), (130, b""))
        self.assertIn(b"memory, GB/s", out)
        self.assertEqual(list(self.disk.iterdir()), [])
        self.fails("probe", "--cached", status=FAILED, says="nothing was measured", env=self.env)

    def test_command_lines(self):
        self.fails("probe", "x", status=USAGE, says="probe")
        for option in [["--thorough"], ["--disk", "/tmp"], ["--time", "1"]]:
            self.fails("probe", "--cached", *option, status=USAGE, says=f"takes no {option[0]}")
        self.fails("probe", "--time", "0", status=USAGE, says="--time")
        self.fails("probe", "--disk", self.folder / "none", status=FAILED, says="none: ")
        self.assertNotIn("--time", self.stile("help", "probe")[0])

    def test_no_control_characters_from_the_cache(self):
        path = self.folder / "cache/stile/machine.json"
        self.measure("--disk", self.disk)
        kept = json.loads(path.read_text())
        probe = next(iter(kept["probes"].values()))
        for name in ["disk_path", "disk_kind", "disk_note", "isa", "commit"]:
            probe[name] = "\033[31m"
        for entry in probe["measurements"]:
            entry["format"] = "\033[1m"
        path.write_text(json.dumps(kept))
        self.assertNotIn("\033", self.probe("--cached"))


if __name__ == "__main__":
    unittest.main()
