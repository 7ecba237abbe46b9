"""stile info and stile tokenize."""

import json
import os
import unittest

from common import MODEL, CliTest, model_path


class Info(CliTest):
    def test_table(self):
        out, err = self.stile("info", MODEL)
        self.assertEqual(err, "")
        for pattern in [
            r"(?m)^architecture +llama$",
            r"(?m)^parameters +134\.5 M$",
            r"(?m)^trained context +\d+ tokens$",
            r"(?m)^layers +30 of width 576, feed-forward 1536$",
            r"(?m)^heads +9 of width 64, 3 for keys and values$",
            r"(?m)^tokenizer +gpt2 / smollm, 49152 tokens$",
            r"(?m)^chat template +yes, \d+ bytes$",
            r"(?m)^Q4_1 +\d+ ",
            r"(?m)^F32 +\d+ ",
            r"memory for a context of \d+ tokens",
            r"(?m)^  KV cache +[\d.]+ MiB$",
        ]:
            self.assertRegex(out, pattern)
        self.assertNotIn("output_norm", out)

    def test_tensors(self):
        out, _ = self.stile("info", MODEL, "--tensors")
        self.assertRegex(out, r"(?m)^F32 +576 +2\.25 KiB  output_norm\.weight$")
        self.assertRegex(out, r"(?m)^Q4_1 +576 x 1536 +[\d.]+ KiB  blk\.0\.ffn_up\.weight$")

    def test_json(self):
        info = json.loads(self.stile("info", MODEL, "--json")[0])
        self.assertEqual((info["architecture"], info["n_layers"], info["n_vocab"]), ("llama", 30, 49152))
        self.assertEqual(sum(share["n_parameters"] for share in info["formats"]), info["n_parameters"])
        self.assertEqual(sum(share["size_bytes"] for share in info["formats"]), info["size_bytes"])
        self.assertLess(info["size_bytes"], os.path.getsize(model_path()))
        self.assertIn("im_start", info["chat_template"])
        self.assertNotIn("tensors", info)
        tensors = json.loads(self.stile("info", MODEL, "--json", "--tensors")[0])["tensors"]
        self.assertEqual(len(tensors), info["n_tensors"])
        self.assertEqual(sum(tensor["size_bytes"] for tensor in tensors), info["size_bytes"])
        self.assertLessEqual(
            max(tensor["offset_bytes"] + tensor["size_bytes"] for tensor in tensors), os.path.getsize(model_path())
        )

    def test_shapes_need_no_file(self):
        info = json.loads(self.stile("info", "llama-3.1-70b", "--format", "q8_0", "--json", env={"HOME": "/none"})[0])
        self.assertEqual((info["n_layers"], info["d_model"], info["n_shards"]), (80, 8192, 1))
        self.assertEqual([share["format"] for share in info["formats"]], ["Q8_0", "F32"])
        self.assertAlmostEqual(info["memory"]["weights_bytes"] / 1e9, 75, delta=1)
        self.assertRegex(self.stile("info", "qwen3-30b-a3b")[0], r"(?m)^size +17\.\d GiB, 4\.\d+ bits per parameter$")
        self.fails("info", "llama-3.1-70b", "--format", "none", status=1, says='"none" is unknown')

    def test_memory_at_a_context(self):
        def kv(*arguments):
            memory = json.loads(self.stile("info", MODEL, "--json", *arguments)[0])["memory"]
            return memory["kv_bytes"]

        self.assertGreaterEqual(kv("--ctx", "4096"), 30 * 2 * 3 * 64 * 2 * 4096)
        self.assertAlmostEqual(kv("--ctx", "8192") / kv("--ctx", "4096"), 2, delta=0.1)
        self.assertEqual(kv("--ctx", "4096", "--kv", "f32"), 2 * kv("--ctx", "4096"))
        self.assertEqual(kv("--ctx", "4096", "--kv", "q8_0") * 64, 34 * kv("--ctx", "4096"))


class Tokenize(CliTest):
    def test_ids(self):
        out, err = self.stile("tokenize", MODEL, "Hello world", "--ids")
        self.assertEqual((out, err), ("19556 905\n", ""))

    def test_spelling(self):
        out, _ = self.stile("tokenize", MODEL, 'a "b"\n\t\\<|im_end|>')
        self.assertRegex(out, r'(?m)^ +\d+  "a"$')
        self.assertIn('\\"', out)
        self.assertIn("\\n", out)
        self.assertRegex(out, r'(?m)^ +2  "<\|im_end\|>"$')

    def test_bytes_that_are_no_text(self):
        out, _ = self.stile("tokenize", MODEL, given=b"\xe6\x00\x1b[31m")
        self.assertIn("\\xe6", out)
        self.assertIn("\\x00", out)
        self.assertNotIn("\033", out)

    def test_text_from_everywhere(self):
        ids, _ = self.stile("tokenize", MODEL, "one two", "--ids")
        file = self.folder / "text"
        file.write_text("one two\n")
        self.assertEqual(self.stile("tokenize", MODEL, "-f", file, "--ids")[0], ids)
        self.assertEqual(self.stile("tokenize", MODEL, "--ids", given=b"one two")[0], ids)
        self.assertEqual(self.stile("tokenize", "--ids", "--", MODEL, "one two")[0], ids)

    def test_nothing(self):
        self.assertEqual(self.stile("tokenize", MODEL, "", "--ids")[0], "\n")
        self.assertEqual(self.stile("tokenize", MODEL, "")[0], "")


if __name__ == "__main__":
    unittest.main()
