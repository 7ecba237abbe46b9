"""Golden data for the chat templates: what Python's jinja2 renders, in the environment transformers gives it.

    make_chat.py OUT_DIR    writes OUT_DIR/chat.json

chat.json: {"now": seconds, "snippet_variables": {...}, "cases": [{"name", "file" or "source", "variables", and one of
"expected" (the text), "raised" (raise_exception's message), "error" (any other failure)}]}. Cases without a file also
have the variables of "snippet_variables" where their own have none of that name.
Every template of ../shared/templates meets every conversation below; the snippets are in chat_snippets.py.

Two things differ from transformers, on purpose: lists and dicts may be changed by append and pop (published templates
do so, other engines allow it, and here no object of the host can be reached), and the filter from_json exists.
"""

import copy
import datetime
import functools
import glob
import json
import os
import sys

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chat_snippets import SNIPPETS, VARIABLES

NOW = 1772600767  # 2026-03-04 05:06:07 UTC
HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATES = os.path.join(HERE, "..", "..", "..", "shared", "templates")

# SmolLM2-135M-Instruct: tokenizer.chat_template of the GGUF file (Apache-2.0)
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou"
    " are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' +"
    " message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt"
    " %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class Raised(TemplateError):
    pass


class Generation(Extension):
    """{% generation %}: transformers notes where the model's own text is; the text itself stays the same."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("render_body"), [], [], body).set_lineno(line)

    def render_body(self, caller):
        return caller()


class Environment(ImmutableSandboxedEnvironment):
    def is_safe_attribute(self, obj, attr, value):
        if attr in ("append", "pop") and isinstance(obj, (list, dict)):
            return True
        return super().is_safe_attribute(obj, attr, value)


def raise_exception(message):
    raise Raised(message)


def strftime_now(form):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None).strftime(form)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
    env.filters["tojson"] = tojson
    env.filters["from_json"] = json.loads
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


ENV = environment()


@functools.cache
def compiled(source):
    return ENV.from_string(source)


def render(source, variables):
    try:
        return {"expected": compiled(source).render(**copy.deepcopy(variables))}
    except Raised as e:
        return {"raised": str(e)}
    except Exception as e:  # whatever Python raises is a failure of the template
        return {"error": f"{type(e).__name__}: {e}"}


# ---- conversations ----

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place, \"now\" or later <b>&</b>",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "City, e.g. Zürich"},
                "days": {"type": "integer", "description": "How many", "default": 1},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "exact": {"type": "boolean"},
                "range": {"type": "number", "minimum": 0.5},
            },
            "required": ["place"],
        },
    },
}
NESTED = {
    "type": "function",
    "function": {
        "name": "book",
        "description": "Books a trip",
        "parameters": {
            "type": "object",
            "properties": {
                "trip": {
                    "type": "object",
                    "description": "Where to",
                    "properties": {
                        "stops": {
                            "type": "array",
                            "description": "In order",
                            "items": {
                                "type": "object",
                                "properties": {"name": {"type": "string"}, "nights": {"type": "integer"}},
                                "required": ["name"],
                            },
                        },
                        "when": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "A date"},
                        "price": {"type": ["number", "null"], "nullable": True},
                    },
                    "required": ["stops"],
                },
                "pay": {"oneOf": [{"type": "string", "description": "card"}, {"type": "integer", "default": 3}]},
            },
            "required": ["trip"],
        },
        "return": {"type": "object", "properties": {"id": {"type": "string"}}},
    },
}
NO_PARAMETERS = {"type": "function", "function": {"name": "ping", "description": "Says pong", "parameters": {}}}
BARE = {"type": "function", "function": {"name": "bare", "description": "", "parameters": {"type": "object", "properties": {}}}}


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, id):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


ARGUMENTS = {"place": "Zürich \"old\" <town> & 'more'", "days": 2, "exact": True, "range": 1.5, "tags": ["a", "b"], "unit": None}
ODD = "Ünïcödé 😀 \"quotes\" 'single' \\ back\n\ttabs <|im_end|> {{ not }} {% a %} </s> & <b>\u2028\u00a0\u0085"

CONVERSATIONS = {
    "plain": {"messages": [message("system", "You are terse."), message("user", "Hi there")]},
    "no system": {"messages": [message("user", "Hi there")]},
    "turns": {
        "messages": [
            message("system", "  Be kind.\n"),
            message("user", "One"),
            message("assistant", "Two "),
            message("user", "Three\n"),
            message("assistant", "Four"),
            message("user", "Five"),
        ]
    },
    "ends with assistant": {"messages": [message("user", "Say"), message("assistant", "I say")]},
    "tools": {
        "messages": [message("system", "Use tools."), message("user", "Weather?")],
        "tools": [WEATHER, NESTED, NO_PARAMETERS, BARE],
    },
    "tools, no system": {"messages": [message("user", "Weather?")], "tools": [WEATHER, NESTED]},
    "tool calls": {
        "messages": [
            message("system", "Use tools."),
            message("user", "Weather?"),
            message("assistant", "", tool_calls=[call("get_weather", ARGUMENTS, "call_0001")]),
            message("tool", "{\"sky\": \"blue\", \"deg\": 21.5}", tool_call_id="call_0001", name="get_weather"),
            message("assistant", "Blue."),
            message("user", "Thanks"),
        ],
        "tools": [WEATHER],
    },
    "tool calls, text arguments": {
        "messages": [
            message("user", "Weather?"),
            message("assistant", None, tool_calls=[call("get_weather", json.dumps(ARGUMENTS), "abcdefghi")]),
            message("tool", "blue", tool_call_id="abcdefghi", name="get_weather"),
        ],
        "tools": [WEATHER],
    },
    "two calls": {
        "messages": [
            message("user", "Both?"),
            message(
                "assistant",
                "I look.",
                reasoning_content="Two places.",
                tool_calls=[
                    call("get_weather", {"place": "Bern"}, "aaaaaaaa1"),
                    call("book", {"trip": {"stops": [{"name": "Bern", "nights": 2}], "price": None}}, "aaaaaaaa2"),
                ],
            ),
            message("tool", "rain", tool_call_id="aaaaaaaa1", name="get_weather"),
            message("tool", "{\"id\": \"x\"}", tool_call_id="aaaaaaaa2", name="book"),
            message("assistant", "Rain, and booked.", reasoning_content="Sum it up.\n"),
            message("user", "Good"),
        ],
        "tools": [WEATHER, NESTED],
    },
    "reasoning": {
        "messages": [
            message("user", "2+2?"),
            message("assistant", "4", reasoning_content="Two and two."),
            message("user", "3+3?"),
            message("assistant", "<think>\nThree and three.\n</think>\n\n6"),
            message("user", "4+4?"),
            message("assistant", "8", thinking="Four and four.", thought="Hm"),
        ]
    },
    "parts": {
        "messages": [
            message("system", [{"type": "text", "text": "Parts."}]),
            message("user", [{"type": "text", "text": "One "}, {"type": "text", "text": "two"}]),
            message("assistant", [{"type": "text", "text": "Three"}]),
            message("user", [{"type": "text", "text": "Look"}, {"type": "image"}, {"type": "image_url", "image_url": {"url": "u"}}]),
        ]
    },
    "missing": {
        "messages": [
            {"role": "user"},
            {"role": "assistant", "content": None},
            {"role": "user", "content": None},
            {"role": "assistant", "content": None, "tool_calls": None, "reasoning_content": None},
            message("user", ""),
        ]
    },
    "odd text": {
        "messages": [message("system", ODD), message("user", ODD), message("assistant", ODD), message("user", ODD)],
        "tools": [{"type": "function", "function": {"name": "f", "description": ODD, "parameters": {"type": "object", "properties": {"x": {"type": "string", "description": ODD, "default": ODD}}}}}],
    },
    "documents": {
        "messages": [message("user", "What do they say?")],
        "documents": [{"title": "First", "text": "One\ntwo"}, {"title": "Second é", "text": "Three", "n": 1}],
    },
    "wrong order": {"messages": [message("user", "a"), message("user", "b"), message("system", "late"), message("assistant", "c")]},
    "unknown role": {"messages": [message("wizard", "Abracadabra"), message("developer", "Dev"), message("user", "x")]},
    "developer": {"messages": [message("developer", "Dev rules."), message("user", "x")], "tools": [WEATHER]},
    "none at all": {"messages": []},
}
SETTINGS = {
    "": {"add_generation_prompt": True},
    "no prompt": {"add_generation_prompt": False},
    "thinking": {"add_generation_prompt": True, "enable_thinking": True, "reasoning_effort": "high", "thinking": True},
    "no thinking": {
        "add_generation_prompt": True,
        "enable_thinking": False,
        "thinking_budget": 512,
        "date_string": "12 Nov 2025",
        "builtin_tools": ["browser", "python", "code_interpreter"],
        "xml_tools": [],
        "model_identity": "You are Q.",
    },
}


def cases():
    paths = sorted(glob.glob(os.path.join(TEMPLATES, "*.jinja")))
    sources = {os.path.basename(path): open(path, encoding="utf-8", newline="").read() for path in paths}
    for name, source in [("SmolLM2", SMOLLM2), *sources.items()]:
        for title, conversation in CONVERSATIONS.items():
            for setting, more in SETTINGS.items():
                variables = {"bos_token": "<s>", "eos_token": "</s>", "tools": None, **conversation, **more}
                where = {"file": name} if name in sources else {"source": source}
                yield {"name": f"{name}, {title}, {setting}", **where, "variables": variables, **render(source, variables)}
    for i, snippet in enumerate(SNIPPETS):
        source, variables = snippet if isinstance(snippet, tuple) else (snippet, {})
        yield {"name": f"snippet {i}", "source": source, "variables": variables, **render(source, {**VARIABLES, **variables})}


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "chat.json"), "w", encoding="utf-8") as f:
        json.dump({"now": NOW, "snippet_variables": VARIABLES, "cases": list(cases())}, f, ensure_ascii=False)


if __name__ == "__main__":
    main()
