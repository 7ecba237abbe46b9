"""What speculation brings: python3 bench/speculation.py [options] MODEL

Runs `stile run` on prompts of three kinds: code that is edited, a document that is quoted, and fresh prose, where there is
nothing to guess from. Each plainly (--no-lookup) and with every source of guesses there is, taking turns, so that what
disturbs the machine disturbs all of them. The hash of all logits must be the same. The medians of tokens per second, how
many times plain that is (the median of the ratios of each round), tokens for each pass over the weights, and how many of
the guesses that were evaluated were right.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys

CODE = '''\
def load_users(path, encoding="utf-8"):
    """Reads users from a CSV file: name, age and city of each."""
    users = []
    with open(path, encoding=encoding) as file:
        for number, line in enumerate(file, start=1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            fields = [field.strip() for field in line.split(",")]
            if len(fields) != 3:
                raise ValueError(f"{path}:{number}: expected 3 fields, got {len(fields)}")
            name, age, city = fields
            users.append({"name": name, "age": int(age), "city": city})
    return users


def oldest_user(users):
    """The user with the highest age; the first of several."""
    oldest = None
    for user in users:
        if oldest is None or user["age"] > oldest["age"]:
            oldest = user
    return oldest


def users_by_city(users):
    """Groups users: a dictionary from city to a list of names."""
    cities = {}
    for user in users:
        cities.setdefault(user["city"], []).append(user["name"])
    return cities
'''

DOCUMENT = """\
The lighthouse at Carrow Point was lit for the first time on 3 March 1861. It stands 41 metres above high water and was \
built from grey granite that barges brought from the quarries at Stennet, eleven miles along the coast. The first keeper, \
Josiah Marl, lived there with his wife and four children for nineteen years, and kept a diary of the weather that the \
Meteorological Office still holds. In 1898 the oil lamp was replaced by an incandescent burner, which could be seen from \
eighteen nautical miles away. The light was made automatic in 1983, and the last keeper, Anne Doyle, left on 12 October \
of that year. Since 1991 the buildings have been a field station of the university, where students count seabirds between \
April and July. The tower may be visited on the first Sunday of each month, weather permitting; the climb of 164 steps is \
steep, and children under eight are not admitted."""

PROMPTS = {
    "edit": f"Rename the variable `users` to `people` in this code and print all of it again:\n```python\n{CODE}```",
    "add": f"Print this code again, and add a type annotation to each function:\n```python\n{CODE}```",
    "quote": f"{DOCUMENT}\n\nRepeat the text above word for word.",
    "answer": f"{DOCUMENT}\n\nAnswer with sentences from the text: who kept the light, and when may the tower be visited?",
    "story": "Write a long story about a clockmaker who finds a letter in an old clock.",
    "essay": "Explain at length how rain forms, why rivers bend, and what a delta is.",
}


def run(options, kind: str, way: list, temperature: float) -> dict:
    command = [options.stile, "run", options.model, "-p", PROMPTS[kind], "-n", str(options.tokens), "--json"]
    command += ["--temp", str(temperature), "--seed", "1", "--logits-hash", *way, *shlex.split(options.more)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(options, kind: str, ways: dict, temperature: float) -> None:
    results = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            results[name].append(run(options, kind, way, temperature))
    if len({result["logits_hash"] for all in results.values() for result in all}) != 1:
        sys.exit(f"{kind}: the ways differ in their logits")
    plain = [result["reply_tokens_per_s"] for result in results["plain"]]
    for name, all in results.items():
        rates = [result["reply_tokens_per_s"] for result in all]
        last = all[-1]
        guesses = [
            f"{source} {last[source]['accepted_tokens']} of {last[source]['drafted_tokens']}"
            + (f" in {last['draft_ms']:.0f} of {last['reply_ms']:.0f} ms" if source == "draft" else "")
            for source in ("lookup", "draft")
            if last[source]["drafted_tokens"]
        ]
        ratio = statistics.median(rate / base for rate, base in zip(rates, plain))
        print(
            f"{kind:8} {temperature:4} {name:8} {last['reply_tokens']:5} tokens {statistics.median(rates):8.2f}/s "
            f"(best {max(rates):8.2f}) {ratio:6.2f}x {last['tokens_per_pass']:6.2f} a pass  {', '.join(guesses)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--stile", default="build/stile")
    parser.add_argument("--draft", help="a smaller model of the same family")
    parser.add_argument("--kinds", default=",".join(PROMPTS), help="of " + ",".join(PROMPTS))
    parser.add_argument("--ways", help="of plain,lookup,draft,both; default: all there are")
    parser.add_argument("--temps", default="0,0.8")
    parser.add_argument("-n", "--tokens", type=int, default=256)
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("--more", default="", help='further options of stile run: "--memory-limit 4G"')
    options = parser.parse_args()
    ways = {"plain": ["--no-lookup"], "lookup": []}
    if options.draft:
        ways |= {"draft": ["--no-lookup", "--draft", options.draft], "both": ["--draft", options.draft]}
    if options.ways:
        ways = {name: ways[name] for name in ["plain", *(way for way in options.ways.split(",") if way != "plain")]}
    for kind in options.kinds.split(","):
        for temperature in options.temps.split(","):
            measure(options, kind, ways, float(temperature))


if __name__ == "__main__":
    main()
