"""stile plan for computers one may not own: names, files, rankings with limits, and the picture."""

import json
import os
import re
import xml.etree.ElementTree as xml

from common import CliTest

FAILED, USAGE = 1, 2


class PlanMachines(CliTest):
    def plan(self, *arguments):
        return json.loads(self.stile("plan", "--json", *arguments)[0])

    def test_a_computer_by_name(self):
        plan = self.plan("llama-3.1-70b", "--machine", "rtx5090+ddr5-6000x2:128+nvme5")
        self.assertTrue(plan["possible"] and plan["fits"] and plan["data_sheet"])
        self.assertEqual((plan["machine"], plan["assumed"]), ("rtx5090+ddr5-6000x2:128+nvme5", ""))
        self.assertEqual([tier["name"] for tier in plan["tiers"]], ["device memory", "host memory", "disk"])
        self.assertEqual(plan["decode_tokens_per_s"]["bound_by"], "host memory")
        for name in ["decode_tokens_per_s", "prefill_tokens_per_s", "modelled_token_j", "modelled_power_w"]:
            self.assertTrue(0 < plan[name]["low"] <= plan[name]["value"] <= plan[name]["high"])
        self.assertEqual(plan["quality"]["measured_with"], "Llama-3-70B")
        out = self.stile("plan", "llama-3.1-70b", "--machine", "rtx4090")[0]
        for words in ["data sheets", "assumed: +ddr5-5600x2:64+nvme4", "published of Llama-3-70B", "modelled:"]:
            self.assertIn(words, out)
        # what a data sheet does not say stays unknown
        plan = self.plan("llama-3.1-8b", "--machine", "m5-max-40")
        self.assertEqual(plan["prefill_tokens_per_s"]["value"], 0)
        self.assertGreater(plan["decode_tokens_per_s"]["value"], 0)
        self.fails("plan", "llama-3.1-8b", "--machine", "rtx509", status=FAILED, says="nearest device is rtx5090")
        self.fails("plan", "llama-3.1-8b", "--machine", "", status=FAILED, says="no device")

    def test_a_machine_in_a_file(self):
        env = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        probe = self.stile("probe", "--time", "0.2", "--json", env=env)[0]
        path = str(self.folder / "machine.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(probe)
        plan = self.plan("llama-3.2-1b", "--machine", path)
        self.assertFalse(plan["data_sheet"])
        self.assertEqual(plan["machine"], json.loads(probe)["machine"]["cpu"])
        self.assertEqual(plan["n_threads"], json.loads(probe)["machine"]["n_threads"])
        self.assertGreater(plan["decode_tokens_per_s"]["value"], 0)
        for text in ["", "{}", "[" * 100000, probe[: len(probe) // 2], probe.replace('"version"', '"ver"'), "\0\xff"]:
            with open(path, "w", encoding="latin-1") as file:
                file.write(text)
            self.fails("plan", "llama-3.2-1b", "--machine", path, status=FAILED, says="machine.json")
        self.fails("plan", "llama-3.2-1b", "--machine", str(self.folder), status=FAILED, says=str(self.folder))
        self.fails("plan", "llama-3.2-1b", "--machine", "./none", status=FAILED, says="./none")

    def test_all_machines(self):
        ranking = self.plan("llama-3.1-8b", "--all-machines")
        rates = [plan["decode_tokens_per_s"]["value"] for plan in ranking["plans"]]
        self.assertEqual(rates, sorted(rates, reverse=True))
        self.assertEqual((len(rates), ranking["n_tried"]), (64, 64))
        some = self.plan("llama-3.1-8b", "--all-machines", "--min-tps", "50", "--max-watts", "300")["plans"]
        self.assertTrue(0 < len(some) < 64)
        for plan in some:
            self.assertGreaterEqual(plan["decode_tokens_per_s"]["value"], 50)
            self.assertLessEqual(plan["rated_w"], 300)
        out = self.stile("plan", "llama-3.1-8b", "--all-machines")[0]
        self.assertRegex(out, r"(?m)^rtx5090 +q4_k_m ")
        self.assertLessEqual(max(map(len, out.splitlines())), 80)
        self.assertIn("Not shown", out)
        self.assertIn("stile itself computes on processors only", out)

    def test_all_formats(self):
        plans = self.plan("llama-3.1-8b", "--machine", "m4:16", "--all-formats")["plans"]
        losses = [plan["quality"]["ppl_loss"] for plan in plans]
        known = [loss for loss in losses if loss is not None]
        self.assertEqual(losses, sorted(known) + [None] * (len(losses) - len(known)))
        self.assertEqual(plans[0]["format"], "bf16")
        some = self.plan("llama-3.1-8b", "--machine", "m4:16", "--all-formats", "--max-loss", "1", "--max-memory", "8G")
        self.assertEqual({plan["format"] for plan in some["plans"]}, {"q6_k", "q5_k_m"})
        self.assertEqual(self.plan("llama-3.1-8b", "--all-formats", "--machine", "m4", "--max-loss", "0")["plans"][0]["format"], "bf16")

    def test_the_best_format_of_each_machine(self):
        plans = self.plan("llama-3.1-70b", "--all-machines", "--all-formats")["plans"]
        self.assertEqual(len({plan["machine"].split(":")[0] for plan in plans}), len(plans))
        for plan in plans:  # all in the device's own memory
            self.assertEqual(sum(tier["weights_bytes"] for tier in plan["tiers"][1:]), 0)
        named = {plan["machine"]: plan["format"] for plan in plans}
        self.assertEqual((named["b200-sxm"], named["h100-sxm"]), ("bf16", "q8_0"))
        fast = self.plan("llama-3.1-70b", "--all-machines", "--all-formats", "--min-tps", "30")["plans"]
        self.assertTrue(all(plan["decode_tokens_per_s"]["value"] >= 30 for plan in fast))

    def test_nothing_is_left(self):
        limits = ["--min-tps", "1e6", "--max-watts", "100"]
        self.fails("plan", "llama-3.1-8b", "--all-machines", *limits, status=FAILED,
                   says="nothing is left of 64 plans: --min-tps 1e+06 rules out 64, --max-watts 100 rules out")
        for arguments in [["--min-tps", "5"], ["--all-machines", "--machine", "rtx5090"], ["--all-machines", "--svg", "x"],
                          ["--all-formats", "--format", "q8_0"], ["--format", "q8_0,q4_0", "--svg", "x"],
                          ["--machine", "rtx5090", "-t", "4"],
                          ["--machine", "rtx5090", "--place", "*=streamed"], ["--audit"]]:
            self.fails("plan", "llama-3.1-8b", *arguments, status=USAGE, says="plan:")
        self.fails("plan", "llama-3.1-8b", "--all-machines", "--min-tps", "nan", status=USAGE, says="--min-tps")

    def test_picture(self):
        path = str(self.folder / "roofline.svg")
        self.stile("plan", "llama-3.1-8b", "--machine", "rtx5090", "--svg", path)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        root = xml.fromstring(text)
        words = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
        for word in ["llama-3.1-8b on rtx5090", "device memory 1792 GB/s", "disk 5.60 GB/s", "arithmetic, q4_k_m", "bf16",
                     "multiply-adds per second"]:
            self.assertIn(word, words)
        self.assertIn("prefers-color-scheme: dark", text)
        _, _, width, height = map(float, root.get("viewBox").split())
        for element in root.iter():
            for name, most in [("cx", width), ("cy", height), ("x1", width), ("x2", width), ("y1", height), ("y2", height)]:
                self.assertTrue(0 <= float(element.get(name, 0)) <= most)
        self.assertIsNone(re.search(r"nan|inf", text))
        _, err = self.stile("plan", "llama-3.1-8b", "--machine", "m4", "--svg", "/proc/none/x.svg", status=FAILED)
        self.assertIn("/proc/none", err)
        self.assertEqual(os.listdir(self.folder), ["roofline.svg"])


if __name__ == "__main__":
    import unittest

    unittest.main()
