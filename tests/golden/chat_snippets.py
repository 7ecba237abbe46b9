"""Small templates, each for one rule: whatever jinja2 makes of them is right. An item is a source, or (source, variables)."""

VARIABLES = {
    "s": "Hello, World",
    "u": "Ünï ß 😀",
    "e": "",
    "n": 42,
    "m": -7,
    "f": 2.5,
    "t": True,
    "x": None,
    "l": [3, 1, 2],
    "w": ["banana", "Apple", "cherry", "apple"],
    "d": {"b": 1, "a": 2, "C": 3},
    "o": [{"k": "x", "v": 1, "in": {"z": [5, 6]}}, {"k": "y", "v": 2, "in": {"z": [7]}}, {"k": "X", "v": 3}],
    "h": "<a href=\"x\">it's & more</a>",
    "ws": " \t\n padded \u00a0\u2003 ",
    "lines": "one\n\ntwo\r\nthree\n",
    "q": "it's \"both\" \\ \n\t\x01\x7f\u00ad\u200b\ue000é",
    "items": {"items": 1, "keys": 2, "get": 3, "pop": 4, "update": 5},
    "big": 9007199254740993,
    "cases": "".join(chr(c) for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000 and (chr(c).lower() != chr(c) or chr(c).upper() != chr(c) or chr(c).title() != chr(c)) and c != 0x3A3),
}

EXPRESSIONS = r"""
1 + 2
1 - 2 - 3
7 // 2
-7 // 2
7 // -2
-7 % 3
7 % -3
-7.5 % 2
7.5 // 2
-7.5 // 2
1 / 2
4 / 2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
2.0 ** 0.5
0 ** -1
1 / 0
1 // 0
1 % 0
1.0 / 0
2 * 3 + 4 * 5
(2 + 3) * 4
2 + 3 ~ 4
1 ~ 2 ~ 3 + 4
1 ~ none ~ true ~ 1.5 ~ undefd
"a" "b" 'c'
"a" + "b"
"a" * 3
3 * "ab"
"a" * -1
[1] * 2
2 * (1, 2)
[1] + [2, 3]
(1,) + (2,)
[1] + (2,)
"a" + 1
1 + "a"
none + 1
undefd + 1
1 + undefd
undefd * 2
true + true
true * 3
-true
+true
-f
- - 3
-"a"
+"a"
-undefd
not true
not not 1
not x
1.0
1.5e3
1e16
1e15
123456789012345680.0
1e-4
1e-5
0.1 + 0.2
1e22
1e400
-1e400
0.0
-0.0
1e308 * 10
5e-324
1.7976931348623157e308
100.0
3.14159
1_000
1_0.5_0
0x1F
0b101
0o17
0XfF
00
012
1__0
9223372036854775807
9007199254740993.0
big
big + 0.0
[1e100, 1.5, -2.0]
1.
.5
1.5.5
"a\nb"
"a\tb\\n"
'\x41\u00e9\U0001F600'
'\101\60'
'\q\d'
'it\'s'
"\a\b\f\v\r" | tojson
'a\
b'
"\x4"
"unterminated
(1, 2)
(1,)
()
(1)
[1, 2, ]
[]
{}
{'a': 1, "b": [1, 2], 3: none}
{'a': 1,}
{1: 'a', 1.0: 'b', true: 'c'}
{[1]: 2}
{(1, 2): 3}
[1, 'a', none, true, 1.5, (1,), {'k': 'v'}]
1 == 1.0
1 == true
1 == "1"
"a" == "a"
[1, 2] == [1, 2]
[1, 2] == (1, 2)
{'a': 1} == {'a': 1.0}
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
none == none
none == false
undefd == undefd
undefd == none
undefd == ""
undefd != none
range(3) == range(0, 3)
1 < 2
1 < 2 < 3
1 < 3 < 2
3 > 2 > 1 == 1
1 <= 1.0
"a" < "b"
"a" < "B"
"é" > "z"
[1, 2] < [1, 3]
[1] < [1, 0]
(1, 2) >= (1, 2)
1 < "a"
none < 1
undefd < 1
1 < undefd
[1] < (1,)
{} < {}
true < 2
big == 9007199254740992.0
big > 9007199254740992.0
1 in [1, 2]
4 not in l
"ell" in s
"" in s
"z" not in s
"a" in d
"z" in d
2 in d.values()
("a", 2) in d.items()
1 in 5
1 in none
1 in "abc"
"a" in undefd
undefd in "abc"
undefd in [1]
2 in range(3)
3 in range(3)
not 1 in [1]
1 in [1] and 2 in [1]
1 and 2
0 and 2
0 or 2
"" or none or "z"
x or "default"
t and s
1 or 1 / 0
0 and 1 / 0
1 if t else 2
1 if x else 2
1 if x
(1 if x) is undefined
1 if x else 2 if x else 3
"a" if t else "b" ~ "c"
[1 if t else 2, 3]
s[0]
s[-1]
s[50]
s[1:4]
s[:-1]
s[::-1]
s[::2]
s[-5:]
s[5:1]
s[5:1:-1]
s[-100:100]
s[1:4:0]
s["upper"]()
u[0]
u[-1]
u[::-1]
u[1:3]
u[4:5]
l[0]
l[-1]
l[3]
l[1:]
l[::-1]
l[:2]
l["a"]
l[1.0]
l[true]
l[none:none:none]
(1, 2, 3)[1:]
range(10)[3]
range(5)[1]
d["a"]
d["zz"]
d.a
d.zz
d["zz"].y
d.zz.y
d.zz["y"]
undefd
undefd.a
undefd["a"]
undefd[0]
undefd[1:]
undefd()
undefd.a()
x.a
x.a.b
x["a"]
x[1:]
n.a
n[0]
n[1:]
l.0
o.0.k
o[0].k
o[0]["in"].z[1]
o[0].in.z
d[[1]]
d[[1]] is defined
s.zz
s.zz is defined
d.items is defined
d.zz is defined
items.items()|list
items["items"]
items.keys()|list
items["keys"]
items.get("get")
items["get"]
items.update
items["update"]
items.update is defined
d["get"]("a")
d["update"]
d.pop("a")
d.pop("zz", 5)
d.pop("zz")
[1, 2, 3].pop()
[1, 2, 3].pop(0)
[].pop()
[1].pop(5)
[1, 2].append(3)
[1].extend([2])
[1].insert(0, 1)
[1].sort()
d.clear()
d.setdefault("q", 1)
l.copy()
[1, 2, 1].count(1)
[1, 2].index(2)
[1, 2].index(5)
(1, 2).index(2)
(1, 2).append
d.get("a")
d.get("zz")
d.get("zz", 7)
d.get("zz", default=7)
d.get()
d.get([1])
d.keys()
d.values()
d.items()
d.keys()|list
d.copy()
{}.items()
{}.items()|list
d.keys()[0]
s.upper()
s.lower()
s.title()
"they're bill's".title()
"hello wORLD-foo".capitalize()
"x y".capitalize()
u.upper()
"ß".upper()
"ﬁ ŉ ǆ".upper()
"ﬁn ßa ǆx".title()
"ǆabc".capitalize()
"ΑΣ ΣΑΣ Σ Σ. aΣ' bΣ'c".lower()
"İ".lower()
ws.strip()
ws.lstrip() ~ "|"
ws.rstrip()
"xxayxx".strip("x")
"xyaxy".strip("yx")
"xya".lstrip("xy")
"axy".rstrip("xy")
"éaé".strip("é")
"abc".strip("")
s.strip(none)
s.strip(1)
"a,b,,c".split(",")
"a,b,,c".split(",", 1)
"a,b,,c".split(",", maxsplit=1)
"a,b,,c".split(sep=",")
"a,b,,c".rsplit(",", 1)
" a  b c ".split()
" a  b c ".split(none, 1)
" a  b c ".rsplit(none, 1)
" a  b c ".rsplit()
"  ".split()
"".split()
"".split(",")
"abc".split("")
"abc".split(1)
"a--b--c".split("--")[-1]
"<think>x</think>y".split("</think>")[-1].lstrip("\n")
"a\u2003b".split()
"a,b".partition(",")
"ab".partition(",")
"a,b,c".rpartition(",")
"ab".rpartition(",")
lines.splitlines()
lines.splitlines(true)
"a\x0bb\x1cc\u2028d".splitlines()
s.startswith("Hell")
s.startswith(("x", "H"))
s.startswith("ello", 1)
s.startswith("")
s.endswith("ld")
s.endswith("x")
s.endswith(("x", "World"))
s.startswith(1)
s.removeprefix("Hello")
s.removesuffix("World")
s.removesuffix("x")
s.find("o")
s.find("o", 5)
s.find("zz")
s.rfind("o")
s.index("W")
s.index("zz")
s.rindex("o")
u.find("😀")
s.count("l")
"aaaa".count("aa")
"abc".count("")
s.replace("l", "L")
s.replace("l", "L", 1)
"abc".replace("", "-")
"abc".replace("", "-", 2)
"é".replace("", "-")
"aaa".replace("aa", "b")
s.replace("l")
s.replace("l", 1)
"-".join(["a", "b"])
"-".join("abc")
"-".join([1])
"".join(w)
"-".join(d)
"{} and {}".format(1, "b")
"{1} {0} {1}".format("a", "b")
"{a} {b}".format(a=1, b=[1, 'x'])
"{0.k} {0[v]}".format(o[0])
"{0[0]} {1[a]}".format(l, d)
"{:>5}|{:<5}|{:^5}|".format("a", "b", "c")
"{:*^7}".format("mid")
"{:05d} {:+d} {:,}".format(42, 42, 1234567)
"{:x} {:X} {:#x} {:o} {:b} {:#b}".format(255, 255, 255, 8, 5, 5)
"{:.2f} {:8.3f} {:e} {:g} {:%}".format(3.14159, 2.5, 12345.678, 0.0001, 0.25)
"{:.3}".format("abcdef")
"{:.3}".format(3.14159)
"{} {!r} {!s}".format(1.0, "a'b", "c")
"{{}} {}".format(1)
"{} {}".format(1)
"{a}".format(b=1)
"{".format(1)
"}".format(1)
"{:d}".format("a")
"{:s}".format(1)
"{:d}".format(1.5)
"{:{}}".format("a", 5)
"{:{w}.{p}f}".format(3.14159, w=8, p=2)
"{:,.2f}".format(1234567.891)
"{0} {}".format(1)
"{:5}|".format(true)
"{:5}|".format(3)
"{}".format(none)
"{:5}".format(none)
"%s and %s" % ("a", 1)
"%s" % "x"
"%s" % [1, 2]
"%s" % none
"%d %i" % (3, 4)
"%d" % 3.7
"%5d|%-5d|%05d|%+d|% d" % (1, 2, 3, 4, 5)
"%.2f %8.3f|%-8.1f|%08.2f" % (3.14159, 2.5, 1.25, -1.5)
"%e %g %G" % (12345.678, 0.00001, 1e20)
"%x %X %o %#x" % (255, 255, 8, 255)
"%r %s" % ("a'b", "c")
"%5s|%-5s|%.2s" % ("a", "b", "cde")
"%c%c" % ("a", "b")
"%%" % ()
"100%" % ()
"%(a)s-%(b)05.1f" % {"a": 1, "b": 2}
"%(a)s" % {"b": 1}
"%s" % ()
"%s %s" % ("a",)
"%s" % ("a", "b")
"a" % 1
"a" % d
"%d" % "a"
"%q" % 1
"%*d" % (5, 42)
"%s" % undefd
"x" % undefd
"x" % []
"x" % l
"x" % d
"x" % range(3)
"x" % "y"
"x" % none
"ab".ljust(4) ~ "|"
"ab".rjust(4, "*")
"ab".center(5, "*")
"abc".center(6, "*")
"ab".center(1)
"42".zfill(5)
"-42".zfill(5)
"ab".ljust(4, "xy")
"abc".isalpha()
"ab1".isalpha()
"12".isdigit()
"1a".isdigit()
"".isdigit()
"٣".isdigit()
"12".isdecimal()
"½".isnumeric()
"ab1".isalnum()
"a b".isalnum()
" \t\n".isspace()
"".isspace()
"abc".islower()
"aBc".islower()
"a1!".islower()
"1!".islower()
"ABC".isupper()
"A1".isupper()
"abé".isascii()
"abc".isascii()
s|upper
s|lower
n|upper
x|lower
undefd|upper
s|length
u|length
l|length
d|length
e|length
undefd|length
n|length
x|length
(l|map('string'))|length
range(4)|length
d.items()|length
s|count
ws|trim
"xxaxx"|trim("x")
n|trim
undefd|trim
x|trim
s|title
"foo-bar (baz) [qux] <a {b it's fOO"|title
u|title
s|capitalize
"ÉCOLE école"|capitalize
s|replace("l", "L")
s|replace("l", "L", 2)
n|replace(4, "x")
undefd|replace("a", "b")
s|replace("l")
u|replace("ß", "ss")
n|string
x|string
l|string
undefd|string
f|string|length
s|safe
s|list
l|list
d|list
undefd|list
n|list
e|list
range(3)|list
range(1, 4)|list
range(5, 0, -2)|list
range(0)|list
range(3, 3)|list
range(0, 5, 0)
range(100001)
range("a")
range()
range(1.5)
range(3)
range(1, 10, 2)
l|first
l|last
e|first
[]|first
[]|last
s|first
s|last
u|last
undefd|first
undefd|last
d|first
d|last
n|first
(l|map('string'))|first
(l|map('string'))|last
l|sort
l|sort(reverse=true)
w|sort
w|sort(case_sensitive=true)
w|sort(true)
w|sort(reverse=true)
o|sort(attribute="k")|map(attribute="v")|list
o|sort(attribute="k,v", reverse=true)|map(attribute="v")|list
o|sort(attribute="k", case_sensitive=true)|map(attribute="k")|list
[1, "a"]|sort
[1, 1.5, true]|sort
[(2, 'b'), (1, 'z'), (2, 'a')]|sort
undefd|sort
"cab"|sort
d|sort
d|dictsort
d|dictsort(true)
d|dictsort(false, "value")
d|dictsort(by="value", reverse=true)
d|dictsort(by="zz")
undefd|dictsort
l|dictsort
{1: 'a', 'b': 2}|dictsort
l|min
l|max
w|min
w|max
w|max(case_sensitive=true)
[]|min
[]|max
o|max(attribute="v")
undefd|min
[1, "a"]|min
l|sum
[0.1]*3|sum
[]|sum
l|sum(start=10)
o|sum(attribute="v")
w|sum
[[1], [2]]|sum(start=[])
w|unique|list
w|unique(case_sensitive=true)|list
[1, 1.0, true, 2]|unique|list
o|unique(attribute="k")|map(attribute="v")|list
[[1]]|unique|list
w|join
w|join(", ")
l|join("-")
o|join(",", attribute="k")
[1, none, true, 1.5]|join("|")
"abc"|join("-")
d|join(",")
undefd|join(",")
n|join
l|join(1)
[undefd, 1]|join(",")
o|map(attribute="k")|list
o|map(attribute="in.z.0")|list
o|map(attribute="in.z.0", default="none")|list
o|map(attribute="zz", default=5)|list
o|map(attribute="zz")|list
[[1, 2], [3, 4]]|map(attribute=1)|list
[[1, 2], [3, 4]]|map(attribute="0")|list
w|map("upper")|list
w|map("replace", "a", "o")|list
l|map("string")|join
w|map("nope")|list
w|map|list
w|map(attribute="x", zz=1)|list
undefd|map("upper")|list
[]|map("upper")|list
l|map("int", default=1)|list
l|select("odd")|list
l|select|list
[0, 1, "", "a", none]|select|list
[0, 1, "", "a", none]|reject|list
l|reject("odd")|list
l|select("greaterthan", 1)|list
l|select(">=", 2)|list
l|select("in", [1, 2])|list
w|select("equalto", "apple")|list
l|select("nope")|list
o|selectattr("k", "equalto", "x")|map(attribute="v")|list
o|selectattr("k", "==", "x")|list|length
o|selectattr("in")|list|length
o|selectattr("in", "defined")|list|length
o|selectattr("in.z")|list|length
o|selectattr("v", "gt", 1)|list|length
o|rejectattr("k", "eq", "x")|map(attribute="v")|list
o|rejectattr("in")|list|length
o|selectattr|list
undefd|selectattr("a")|list
(l|select("odd"))|list + [9]
(l|map("string")) is iterable
(l|map("string")) is sequence
l|reverse|list
s|reverse
(l|map('string'))|reverse
undefd|reverse|list
d|reverse|list
n|reverse
d|items|list
undefd|items|list
l|items|list
x|items|list
[1, 2, 3, 4, 5]|batch(2)|list
[1, 2, 3, 4, 5]|batch(2, "x")|list
[1, 2, 3, 4, 5]|slice(2)|list
[1, 2, 3, 4, 5]|slice(3, "x")|list
o|groupby("k")|list|length
o|groupby("k")
o|groupby("k", case_sensitive=true)|map("first")|list
o|groupby("zz", default="d")|map("first")|list
undefd|default("a")
undefd|default
undefd|d("a")
x|default("a")
x|default("a", true)
e|default("a", true)
e|default("a", boolean=true)
e|d("a")
0|default(5, true)
d.zz|default("none")
d.zz.y|default("none")
"42"|int
" 42 "|int
"4_2"|int
"42.9"|int
"-3"|int
"+3"|int
"abc"|int
"abc"|int(7)
"abc"|int(default=none)
"0x1f"|int
"0x1f"|int(base=16)
"0x1f"|int(0, 0)
"1f"|int(0, 16)
"012"|int(5, 0)
"z"|int(base=36)
"101"|int(base=2)
"1e3"|int
"inf"|int
"nan"|int
""|int
"- 3"|int
f|int
-2.9|int
1e30|int|string|length > 30
t|int
x|int
l|int
undefd|int
"99999999999"|int
"2.5"|float
" 2.5 "|float
"1e5"|float
"inf"|float
"-inf"|float
"nan"|float
"1_0.5"|float
"abc"|float
"abc"|float(1.5)
"0x10"|float
n|float
t|float
x|float
undefd|float
l|float(default="z")
m|abs
-2.5|abs
true|abs
"a"|abs
undefd|abs
2.5|round
3.5|round
-2.5|round
2.675|round(2)
1234.567|round(-2)
n|round
1250|round(-2)
1350|round(-2)
-1250|round(-2)
-1251|round(-2)
2.1|round(0, "ceil")
2.9|round(0, "floor")
42.55|round(1, "floor")
42.51|round(1, "ceil")
-2.5|round(method="floor")
7|round(1, "ceil")
2.5|round(1, "nope")
"a"|round
2.5|round|int
1e300|round(2)
0.1|round(20)
s|e
h|e
h|escape
h|e|e
h|forceescape
h|e|forceescape
(h|e) ~ h
(h|e) + h
h + (h|e)
(h|safe) + h
(h|safe) + 1
"%s" % (h|safe)
("%s!"|safe) % h
("%s!"|safe) % (h|safe)
("%d!"|safe) % 5
("{}!"|safe).format(h)
(","|safe).join([h, h|safe])
(h|safe) is escaped
h is escaped
(h|safe)|replace("<", h)
(h|safe).replace("it", "<")
(h|safe)[0:3] + "<"
(h|safe)|upper + "<"
(h|safe).split(">")[0] + "<"
(h|safe) * 2
[h|safe]
(h|safe)|string + "<"
(h|safe)|list|first + "<"
(h|safe)|trim + "<"
(h|safe)|tojson
(h|safe)|indent + "<"
(h|safe) == h
"a\nb"|indent
"a\nb"|indent(2)
"a\nb\n\nc\n"|indent(2)
"a\nb\n\nc"|indent(2, true)
"a\nb\n\nc"|indent(2, blank=true)
"a\nb"|indent("> ")
"a\nb"|indent(width="--", first=true)
"a\r\nb\x0bc"|indent(1)
""|indent
""|indent(2, true)
n|indent
undefd|indent
"foo bar baz qux"|truncate(9)
"foo bar baz qux"|truncate(9, true)
"foo bar baz qux"|truncate(11)
"foo bar baz qux"|truncate(11, false, "...", 0)
"foo bar baz qux"|truncate(5, end="")
"foobarbazqux quux"|truncate(6)
s|truncate(2)
u|truncate(4, true, "", 0)
undefd|truncate
s|center(20) ~ "|"
"ab"|center(5) ~ "|"
s|wordcount
"a-b c_d é1"|wordcount
"a b/c?&é~"|urlencode
"%s-%s"|format("a", 2)
"%(a)s"|format(a=1)
"%s"|format("a", b=1)
"%s"|format
o[0]|attr("k")
s|attr("upper") is defined
d|attr("items") is defined
namespace(a=1)|attr("a")
o|tojson
o[0]|tojson(indent=2)
{"a": [], "b": {}, "c": [1, {"d": none}]}|tojson(indent=4)
{"a": [1, 2]}|tojson(indent="--")
{"a": [1, 2]}|tojson(indent=0)
{"b": 1, "a": {"d": 1, "c": 2}}|tojson(sort_keys=true)
{"b": 1, "a": [1, 2]}|tojson(separators=(",", ":"))
{"b": 1, "a": [1, 2]}|tojson(separators=[",", ":"], indent=1)
q|tojson
q|tojson(ensure_ascii=true)
u|tojson(true)
h|tojson
[1.0, 1e100, 0.1, -0.0, 1e-7, 5, true, none]|tojson
{1: "a", none: "b", true: "c", 1.5: "d"}|tojson
{(1, 2): 3}|tojson
(1, (2, 3))|tojson
undefd|tojson
[undefd]|tojson
range(3)|tojson
d.items()|tojson
namespace(a=1)|tojson
"inf"|float|tojson
"nan"|float|tojson
[h|safe]|tojson
{1: 1, "a": 2}|tojson(sort_keys=true)
'{"a": [1, 2.5, "é", null, true]}'|from_json
'{"a": 1}'|from_json|tojson
'5'|from_json
'{bad'|from_json
n|from_json
q
[q]
["it's", 'say "hi"', "both ' and \"", "\x00\x1f\x7f\x80\xa0\u0378\ud7ff"]
{"k'": "v\n"}
[undefd]
{"a": undefd}
x
t
[none, true]
l
d
(1, "a")
namespace(a=1, b="x")
dict(a=1, b="x")
dict({"a": 1}, b=2)
dict([("a", 1), ("b", 2)])
dict(1)
dict([1])
namespace({"a": 1}).a
namespace(a=1)["a"]
namespace(a=1).b
namespace(a=1).b is defined
namespace(_a=1)._a
namespace(a=1) is mapping
"a" in namespace(a=1)
namespace(a=1) == namespace(a=1)
n is defined
undefd is defined
undefd is undefined
undefd is not defined
x is none
x is not none
x is None
n is number
t is number
f is number
s is number
n is integer
t is integer
f is integer
f is float
n is float
s is string
n is string
(s|safe) is string
d is mapping
l is mapping
l is sequence
s is sequence
d is sequence
d.items() is sequence
n is sequence
undefd is sequence
range(3) is sequence
l is iterable
s is iterable
d is iterable
n is iterable
x is iterable
undefd is iterable
t is boolean
n is boolean
t is true
n is true
1 is true
t is false
false is false
0 is false
3 is odd
3 is even
-1 is odd
f is odd
"a" is odd
9 is divisibleby 3
9 is divisibleby(4)
9 is divisibleby(num=3)
1 is eq 1
1 is equalto(1.0)
1 is == 1
1 is ne 2
1 is lt 2
1 is lessthan 2
2 is le 2
3 is gt 2
3 is greaterthan(2)
3 is ge 4
1 is in [1, 2]
1 is in(l)
"a" is in "abc"
1 is not in [1]
none is sameas none
t is sameas true
1 is sameas true
"abc" is lower
"ABC" is upper
n is lower
s is callable
range is callable
s.upper is callable
undefd is callable
"upper" is filter
"nope" is filter
"odd" is test
"nope" is test
1 is nope
1|nope
1 is odd and 2 is even
1 is odd or 1 is even
not 1 is odd
1 is not odd
1 is odd is true
1 is string ~ "x"
[1 is odd, 2 is odd]
l is defined and l|length > 2
d.a is defined and d.zz is not defined
1 if n is defined else 2
s|upper|lower|title
-1|abs
-1|string ~ "x"
2 + 3|string
(2 + 3)|string
"a" ~ 1|string ~ "b"
s.upper()|lower
s|upper()
s|trim()|length
s.upper().lower().title()
raise_exception("no way")
raise_exception("é %s \"q\"")
raise_exception(5)
raise_exception()
strftime_now("%Y-%m-%d")
strftime_now("%d %B %Y")
strftime_now("%d %b %Y %H:%M:%S %A %a %j %y %p %I %%")
strftime_now("%Z%z|")
strftime_now("")
strftime_now("é %Y")
strftime_now(5)
cycler("a", "b").next()
cycler("a", "b").current
cycler()
joiner(", ")()
foo(1)
s(1)
s.upper(1)
s.upper(a=1)
range(1, 2, 3, 4)
range(*[1, 4])|list
range(*l[1:])|list
dict(**d)
dict(**{"a": 1}, **{"b": 2})
dict(a=1, **{"a": 2})
dict(a=1, a=2)
dict(1, 2)
"{} {}".format(*l[:2])
"{a}".format(**d)
s.replace(*["l", "L"])
dict(**l)
range(*5)
dict(a=1, 5)
{"a": 1}.a
"abc".0
"abc"[1]
[1, 2][1]
(1, 2).0
{"a": {"b": {"c": 1}}}.a.b.c
loop
loop is defined
self is defined or true
none.x
true.x
1 .x
a b
1 2
1 +
* 1
(1
1)
[1, 2
{1: 2
{1}
1 ==
x.
x[
x[]
s|
s is
s is not
f(
f(a=)
f(1,,2)
{'a' 1}
1 = 2
"a" | "b"
a..b
$
1 & 2
1 ! 2
a ? b
@
l[1, 2]
d[1, 2]
l[1:2, 3]
s[::]
s[:]
s["a":]
s[1.0:]
1 if
if
not
true
True
TRUE
false
False
none
None
null
(((((1)))))
[[[[1]]]]
1, 2
1,
cases|upper
cases|lower
cases.title()
cases|capitalize
"abc"|length + 1
"é"*3
[1,2,3][-2:]
"😀é"|length
"a" < "b" < "c"
"" ~ [] ~ {} ~ ()
l|join(",")|upper
x is none and n is number
range(3)|map("string")|join(",")
{"a":1}|items|list
d|length > 2 and "yes"
"%s" % d
"%s" % (d,)
(l|sort)[0]
(w|sort)|join
w|sort|first|upper
o[0].k ~ o[1].k
o|map(attribute="k")|map("upper")|join(",")
o|selectattr("k","in",["x","y"])|map(attribute="v")|sum
"a,b;c".replace(",", ";").split(";")
"abc" "def"|upper
"{}-{}".format("a", "b")|upper
1.5|string + "x"
d.items()|map("first")|list
d.items()|map("last")|sum
d.values()|sum
d.keys()|join(",")
d.values()|max
"a".join(["1","2"]) ~ "b"
l|length is even
(l|length) is odd
1 > 0 and not 0 > 1
2 ** 62
2 ** 63
9223372036854775807 + 1
-9223372036854775807 - 1
3037000500 * 3037000500
99999999999999999999
""".strip("\n").split("\n")

# ours are 64-bit integers: Python's go on
EXPRESSIONS = [x for x in EXPRESSIONS if x not in ("2 ** 63", "9223372036854775807 + 1", "99999999999999999999", "1e30|int|string|length > 30", "3037000500 * 3037000500")]
# what Python prints with an address
EXPRESSIONS = [x for x in EXPRESSIONS if x not in ("d[\"update\"]x",)]

STATEMENTS = [
    # text and white space
    "",
    "plain",
    "plain\n",
    "plain\n\n",
    "\n",
    "\r\n",
    "a\r\nb\rc\n",
    "a {# comment #} b",
    "a {# {{ x }} {% if %} #}\nb",
    "  {# c #}\nb",
    "a\n  {# c #}  \nb",
    "{# a #}{# b #}",
    "{#- a -#} b",
    "a {#- c #} b",
    "a {# c -#} b",
    "a {#+ c +#}\n b",
    "   {#+ c #}\n b",
    "{# unterminated",
    "{##}",
    "{#-#}",
    "{#--#}x",
    "{% if t %}\nx\n{% endif %}\ny",
    "  {% if t %}  \n  x\n  {% endif %}\n  y",
    "a  {% if t %}\nb{% endif %}",
    "a\n\n  {%- if t %}\n b {% endif -%}  \n\n c",
    "  {%+ if t %}x{% endif %}",
    "\n  {%+ if t +%}\n x {%+ endif %}",
    "{% if t +%}\nx{% endif %}",
    "{% if t -%}\n\n  x  \n{%- endif %}\n",
    "{{ n }}\n{{ n }}",
    "  {{ n }}  \n",
    "a  {{- n -}}  b",
    "a\n{{- n }}\nb",
    "{{ n -}}\n\n b",
    "{{+1}}",
    "{{-1}}",
    "a {{-1}}",
    "{{ +1 }}",
    "{{ 1 +}}",
    "{{n}}{{n}}",
    "{{ n }",
    "{{ n",
    "{% if",
    "{%",
    "{{",
    "{",
    "}",
    "}}",
    "%}",
    "{ { n } }",
    "{{ '}}' }}",
    "{{ '%}' }}{% if '%}' %}x{% endif %}",
    "{{ {'a': {'b': 1}}['a']['b'] }}",
    "{{ {'a': {}} }}",
    "{{{'a': 1}}}",
    "{{ {'a': 1}.a}}",
    "{% raw %}{{ n }}{% if %}{% endraw %}",
    "{% raw -%}\n  {{ n }}\n{%- endraw %}",
    "a\n  {% raw %}\n  x\n  {% endraw %}\nb",
    "a  {%- raw %} x {% endraw -%}  b",
    "{%raw%}a{%endraw%}",
    "{% raw +%} a {% endraw %}",
    "{% raw %}a",
    "{% raw %}{% endraw",
    "{% rawx %}",
    "x\n{% set a = 1 %}\n\ny",
    "{% set a = 1 %}   \ny",
    "{% set a = 1 %}\t\n{{ a }}",
    "\u00a0{% set a = 1 %}x",
    "x\u2003{%- set a = 1 -%}\u2003y",
    "\ta\n\t{% if t %}\n\tb\n\t{% endif %}\n",
    "{% if t %}a{% endif %}\n{% if t %}b{% endif %}\n",
    "{%- if t -%} a {%- endif -%} \n b",
    # if
    "{% if x %}a{% endif %}",
    "{% if x %}a{% else %}b{% endif %}",
    "{% if x %}a{% elif t %}b{% else %}c{% endif %}",
    "{% if x %}a{% elif x %}b{% elif t %}c{% elif t %}d{% endif %}",
    "{% if n == 42 and not x or 1 / 0 %}a{% endif %}",
    "{% if undefd %}a{% else %}b{% endif %}",
    "{% if undefd.x %}a{% endif %}",
    "{% if t: %}a{% endif %}",
    "{% if t, %}a{% endif %}",
    "{% if %}a{% endif %}",
    "{% if t %}a",
    "{% if t %}a{% else %}b",
    "{% if t %}a{% endfor %}",
    "{% if t %}a{% endif x %}",
    "{% endif %}",
    "{% else %}",
    "{% elif t %}",
    "{% if t %}{% if x %}a{% else %}b{% endif %}c{% endif %}",
    "{% if t %}a{% else if x %}b{% endif %}",
    # for
    "{% for i in l %}{{ i }},{% endfor %}",
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }};{% endfor %}",
    "{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }};{% endfor %}",
    "{% for i in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for i in l %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for i in l %}{{ loop.cycle() }}{% endfor %}",
    "{% for i in [1, 1, 2, 2, 1] %}{% if loop.changed(i) %}{{ i }}{% endif %}{% endfor %}",
    "{% for i in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
    "{% for i in l %}{{ loop.zz }}{% endfor %}",
    "{% for i in l %}{{ loop['index'] }}{% endfor %}",
    "{% for i in [] %}a{% else %}b{% endfor %}",
    "{% for i in l %}a{% else %}b{% endfor %}",
    "{% for i in undefd %}a{% else %}b{% endfor %}",
    "{% for i in x %}a{% endfor %}",
    "{% for i in n %}a{% endfor %}",
    "{% for c in u %}[{{ c }}]{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}",
    "{% for (k, v) in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|dictsort %}{{ loop.index }}{{ k }}{{ v }}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}x{% endfor %}",
    "{% for a, b in [(1,)] %}x{% endfor %}",
    "{% for a, b in ['xy'] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a, b in [1] %}x{% endfor %}",
    "{% for a, in [(1,)] %}{{ a }}{% endfor %}",
    "{% for a in 1, 2, 3 %}{{ a }}{% endfor %}",
    "{% for a in (1, 2) %}{{ a }}{% endfor %}",
    "{% for i in range(3) %}{{ i }}{% endfor %}",
    "{% for i in l if i > 1 %}{{ i }}{{ loop.index }}{{ loop.length }}{{ loop.last }};{% endfor %}",
    "{% for i in l if i > 5 %}a{% else %}none{% endfor %}",
    "{% for i in l if i > 1 %}{{ loop.nextitem }}/{{ loop.previtem }};{% endfor %}",
    "{% set ns = namespace(s=[]) %}{% for i in [1, 2, 1, 3, 2] if i not in ns.s %}{{ i }}{% set ns.s = ns.s + [i] %}{% endfor %}",
    "{% set ns = namespace(s=[]) %}{% for i in [1, 2, 1, 3, 2] if i not in ns.s %}{{ i }}{{ loop.last }}{% set ns.s = ns.s + [i] %}{% endfor %}",
    "{% set ns = namespace(s=[]) %}{% for i in [1, 2, 1, 3, 2] if i not in ns.s %}{{ loop.length }}{% set ns.s = ns.s + [i] %}{% endfor %}",
    "{% for i in l %}{% for k in l %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for i in l %}{% set outer = loop %}{% for k in l %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for i in l %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in l %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in l %}{% for k in l %}{% if k == 1 %}{% break %}{% endif %}{{ k }}{% endfor %}|{% endfor %}",
    "{% for i in l %}{% break %}{% else %}e{% endfor %}",
    "{% for i in [] %}{% else %}e{% endfor %}",
    "{% break %}",
    "{% continue %}",
    "{% for i in l %}{{ i }}{% endfor %}{{ i }}",
    "{% set i = 9 %}{% for i in l %}{{ i }}{% endfor %}{{ i }}",
    "{% for i in l %}{% continue %}{% else %}e{% endfor %}",
    "{% for i in l %}{% if i == 1 %}{% break %}{% endif %}{% else %}e{% endfor %}",
    "{% for i in l recursive %}{{ i }}{% endfor %}",
    "{% for i in [[1, [2, 3]], 4] recursive %}{% if i is iterable %}[{{ loop(i) }}]{% else %}{{ i }}@{{ loop.depth }}{% endif %}{% endfor %}",
    "{% for i in l %}{{ loop(l) }}{% endfor %}",
    "{% for i in %}{% endfor %}",
    "{% for in l %}{% endfor %}",
    "{% for i l %}{% endfor %}",
    "{% for 1 in l %}{% endfor %}",
    "{% for i.x in l %}{% endfor %}",
    "{% for true in l %}{% endfor %}",
    "{% for i in l %}",
    "{% for i in l %}{% endif %}",
    "{% for i in l %}{% else %}{% else %}{% endfor %}",
    "{% for i in l|sort %}{{ i }}{% endfor %}",
    "{% for i in l if l if i %}{{ i }}{% endfor %}",
    "{% for i in l if i is odd %}{{ i }}{% endfor %}",
    "{% for i in (l if t else []) %}{{ i }}{% endfor %}",
    "{% for i in l|select('odd') %}{{ i }}{{ loop.last }}{{ loop.length }}{% endfor %}",
    "{% set g = l|map('string') %}{% for i in g %}{{ i }}{% endfor %}{% for i in g %}{{ i }}{% endfor %}",
    "{% set g = l|select('odd') %}{% if g %}yes{% endif %}{{ g|list }}{{ g|list }}",
    "{% for a in o %}{{ a.k }}{% for b in a['in'].z %}{{ b }}{% endfor %}{% endfor %}",
    "{% for a in o if a['in'] is defined %}{{ a.k }}{% for b in a['in'].z %}{{ b }}{% endfor %}{% endfor %}",
    "{% for m in o %}{{ m.k }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for m in o[::-1] %}{{ m.k }}{% endfor %}",
    "{% for i in l %}\n  {{ i }}\n{% endfor %}\n",
    "{% for i in l -%}\n  {{ i }}\n{%- endfor %}\n",
    # set
    "{% set a = 1 %}{{ a }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set (a, b) = (1, 2) %}{{ a }}{{ b }}",
    "{% set a, b = [1, 2] %}{{ b }}{{ a }}",
    "{% set a, b = 1 %}",
    "{% set a, b = 1, 2, 3 %}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set a = %}",
    "{% set = 1 %}",
    "{% set a %}",
    "{% set 1 = 1 %}",
    "{% set true = 1 %}",
    "{% set none = 1 %}",
    "{% set a.b = 1 %}",
    "{% set d.b = 1 %}",
    "{% set a['b'] = 1 %}",
    "{% set a == 1 %}",
    "{% set n = n + 1 %}{{ n }}",
    "{% set undefd = undefd|default(3) %}{{ undefd }}",
    "{% if t %}{% set a = 1 %}{% endif %}{{ a }}",
    "{% if x %}{% set n = 1 %}{% endif %}{{ n }}",
    "{% for i in l %}{% set a = i %}{% endfor %}{{ a }}",
    "{% set a = 0 %}{% for i in l %}{% set a = a + i %}{{ a }},{% endfor %}{{ a }}",
    "{% set a = 0 %}{% for i in l %}{% if t %}{% set a = a + i %}{% endif %}{{ a }},{% endfor %}{{ a }}",
    "{% set ns = namespace(a=0) %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}",
    "{% set ns = namespace() %}{% set ns.x = 1 %}{{ ns.x }}{{ ns.y }}{{ ns }}",
    "{% set ns = namespace(a=1) %}{% set ns.a, b = 5, 6 %}{{ ns.a }}{{ b }}",
    "{% set ns = {} %}{% set ns.a = 1 %}",
    "{% set undefd.a = 1 %}",
    "{% set a %}text {{ n }}{% endset %}[{{ a }}]{{ a is string }}",
    "{% set a | upper %}text {{ n }}{% endset %}{{ a }}",
    "{% set a | upper | replace('T', 'x') %}text{% endset %}{{ a }}",
    "{% set a | nope %}text{% endset %}",
    "{% set a %}{% set b = 1 %}{{ b }}{% endset %}{{ a }}{{ b }}",
    "{% set a %}\n  x\n{% endset %}[{{ a }}]",
    "{% set a, b %}x{% endset %}",
    "{% set ns = namespace() %}{% set ns.a %}text{% endset %}{{ ns.a }}",
    "{% set a %}x",
    "{% set a = [] %}{% set _ = a.append(1) %}{% set _ = a.append(2) %}{{ a }}{{ _ }}",
    "{% set ns = namespace(q=['a', 'b']) %}{% set p = ns.q.pop(0) %}{{ p }}{{ ns.q }}",
    "{% set a = [1, 2] %}{% set b = a %}{% set _ = b.append(3) %}{{ a }}",
    "{% set a = {'x': 1} %}{% set _ = a.pop('x') %}{{ a }}{{ _ }}",
    "{% set a = [1,2,3] %}{% for i in a %}{% if i == 1 %}{% set _ = a.pop() %}{% endif %}{% endfor %}{{ a }}",
    "{% set loop = 5 %}{{ loop }}",
    "{% set range = 5 %}{{ range }}",
    # macros
    "{% macro f() %}x{% endmacro %}{{ f() }}{{ f() }}",
    "{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(b=5, a=4) }}{{ f() }}",
    "{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}",
    "{% macro f(a=n) %}{{ a }}{% endmacro %}{{ f() }}{% set n = 5 %}{{ f() }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(z=2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, a=2) }}",
    "{% macro f(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ f() }}",
    "{% macro f(a) %}{{ a.b }}{% endmacro %}{{ f() }}",
    "{% macro f(a=1, b) %}{% endmacro %}",
    "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, a=3) }}",
    "{% macro f(a) %}{{ a }}{{ varargs|length }}{{ kwargs.z }}{% endmacro %}{{ f(1, 2, 3, z=4) }}",
    "{% macro f() %}{{ n }}{% endmacro %}{{ f() }}",
    "{% set v = 1 %}{% macro f() %}{{ v }}{% endmacro %}{% set v = 2 %}{{ f() }}",
    "{% macro f() %}{{ v }}{% endmacro %}{% set v = 2 %}{{ f() }}",
    "{% macro f() %}{% set v = 1 %}{{ v }}{% endmacro %}{{ f() }}{{ v }}",
    "{% macro f() %}{% set n = 1 %}{{ n }}{% endmacro %}{{ f() }}{{ n }}",
    "{% macro f() %}{{ n }}{% set n = 1 %}{{ n }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{% if n is not defined %}{% set n = 1 %}{% endif %}{{ n }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{% if zz is not defined %}{% set zz = 1 %}{% endif %}{{ zz }}{% endmacro %}{{ f() }}{{ zz }}",
    "{% for i in l %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}",
    "{% macro f() %}{{ i }}{% endmacro %}{% for i in l %}{{ f() }}{% endfor %}",
    "{% for i in l %}{{ g(i) }}{% endfor %}{% macro g(a) %}{{ a }}{% endmacro %}",
    "{% macro f(k) %}{{ k }}{% if k > 0 %}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro f(x) %}{{ g(x) }}{% endmacro %}{% macro g(x) %}<{{ x }}>{% endmacro %}{{ f(1) }}",
    "{% macro f() -%}\n  x\n{%- endmacro %}[{{ f() }}]",
    "{% macro f() %}\n  x\n{% endmacro %}[{{ f() }}]",
    "{% macro f() %}x{% endmacro %}{{ f()|upper ~ f() }}{{ f() + 'y' }}{{ f()|length }}",
    "{% macro f() %}x{% endmacro %}{{ f }}{{ f is defined }}{{ f is callable }}",
    "{% macro f(a) %}{{ a() }}{% endmacro %}{% macro g() %}g{% endmacro %}{{ f(g) }}",
    "{% macro f() %}{{ h }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ '<' }}{% endmacro %}{{ f() is escaped }}{{ ('a'|safe) + f() }}",
    "{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}",
    "{% macro f %}{% endmacro %}",
    "{% macro f( %}{% endmacro %}",
    "{% macro f(a, a) %}{{ a }}{% endmacro %}",
    "{% macro f(1) %}{% endmacro %}",
    "{% macro f() %}",
    "{% macro f() %}{% break %}{% endmacro %}",
    "{% for i in l %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}",
    "{% if t %}{% macro f() %}x{% endmacro %}{% endif %}{{ f() }}",
    "{% macro f() %}{% macro g() %}in{% endmacro %}{{ g() }}{% endmacro %}{{ f() }}{{ g is defined }}",
    "{% macro f(a) %}{% for i in a %}{{ loop.index }}{{ i }}{% endfor %}{% endmacro %}{{ f(l) }}{{ f(a=w) }}",
    "{% macro f(a, b='d', c=none) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ f('x', c='z') }}{{ f(*[1, 2, 3]) }}{{ f(**{'a': 7}) }}",
    "{% for i in l %}{% macro f() %}{{ loop.index }}{% endmacro %}{{ f() }}{% endfor %}",
    "{% macro f() %}{{ loop }}{% endmacro %}{% for i in l %}{{ f() }}{% endfor %}",
    # call, filter, with, print, scope
    "{% macro f(a) %}<{{ a }}{{ caller() }}>{% endmacro %}{% call f(1) %}body{{ n }}{% endcall %}",
    "{% macro f() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) f() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro f() %}{{ caller(1) }}{% endmacro %}{% call(a, b=5) f() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro f() %}x{% endmacro %}{% call f() %}body{% endcall %}",
    "{% macro f(caller=none) %}{{ caller() if caller }}{% endmacro %}{% call f() %}body{% endcall %}{{ f() }}",
    "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{% set q = 1 %}{{ q }}{% endcall %}{{ q }}",
    "{% macro f() %}{{ caller() }}{{ caller() }}{% endmacro %}{% for i in l %}{% call f() %}{{ i }}{% endcall %}{% endfor %}",
    "{% call 1 %}{% endcall %}",
    "{% call f %}{% endcall %}",
    "{% call f() %}{% endcall %}",
    "{% filter upper %}a{{ 'b' }}{% endfilter %}",
    "{% filter upper|replace('A', 'x') %}abc{% endfilter %}",
    "{% filter replace('a', 'x') %}{% set q = 1 %}aaa{% endfilter %}{{ q }}",
    "{% filter indent(2) %}a\nb\n{% endfilter %}|",
    "{% filter trim %}\n  x  \n{% endfilter %}|",
    "{% filter length %}abc{% endfilter %}",
    "{% filter %}{% endfilter %}",
    "{% filter nope %}{% endfilter %}",
    "{% filter upper %}",
    "{% with a = 1 %}{{ a }}{% endwith %}{{ a }}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}",
    "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a }}",
    "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% with a, b = (1, 2) %}{{ a }}{% endwith %}",
    "{% with a = 1 b = 2 %}{% endwith %}",
    "{% with a %}{% endwith %}",
    "{% print 1 %}",
    "{% print 1, 'a' %}",
    "{% print %}",
    "{% generation %}a{{ n }}{% endgeneration %}",
    "a\n  {%- generation -%}\n b \n{%- endgeneration %}\nc",
    "{% generation %}{% set q = 1 %}{{ q }}{% endgeneration %}{{ q }}",
    "{% for i in l %}{% generation %}{{ i }}{{ loop.index }}{% endgeneration %}{% endfor %}",
    "{% generation %}",
    "{% unknown %}",
    "{% 1 %}",
    "{% %}",
    "{% 'a' %}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% from 'x' import y %}",
    "{% do 1 %}",
    "{% endfor %}",
    "{% endmacro %}",
    "{% endset %}",
    # a name that a scope will set is undefined before, for inner scopes too
    "{{ n }}{% set n = 1 %}{{ n }}",
    "{% for i in l %}{{ n }}{% endfor %}{% set n = 1 %}",
    "{% for i in l %}{{ n }}{% endfor %}{{ n }}{% set n = 1 %}",
    "{% if t %}{% for i in l %}{{ n }}{% endfor %}{% endif %}{% set n = 1 %}",
    "{% for i in l %}{{ n }}{% endfor %}{% if t %}{% set n = 1 %}{% endif %}",
    "{% for i in l %}{{ n }}{% endfor %}{% for i in l %}{% set n = 1 %}{{ n }}{% endfor %}",
    "{% for i in l %}{{ n }}{% for k in l %}{{ n }}{% endfor %}{% set n = i %}{% endfor %}",
    "{% for i in l %}{% for k in l %}{{ n }}{% endfor %}{% set n = i %}{% endfor %}",
    "{% for i in l %}{% for k in l %}{{ n }}{% endfor %}{% set n = i %}{% endfor %}{{ n }}",
    "{% macro f() %}{{ n }}{% endmacro %}{{ f() }}{% set n = 1 %}{{ f() }}",
    "{% macro f() %}{{ n }}{% endmacro %}{{ f() }}{{ n }}{% set n = 1 %}{{ f() }}",
    "{% macro f() %}{{ n }}{% endmacro %}{{ f() }}{% if t %}{% set n = 1 %}{% endif %}{{ f() }}",
    "{% macro f() %}{{ n }}{% endmacro %}{{ f() }}{% set n %}b{% endset %}{{ f() }}",
    "{% macro f() %}{{ n }}{% endmacro %}{{ f() }}{% set n, m = 1, 2 %}{{ f() }}",
    "{% macro f() %}{{ n }}{% endmacro %}{{ f() }}{% macro n() %}{% endmacro %}",
    "{% macro f() %}{% macro g() %}{{ n }}{% endmacro %}{{ g() }}{% set n = 1 %}{{ g() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{% macro g() %}{{ n }}{% endmacro %}{{ g() }}{% set n = 1 %}{{ g() }}{% endmacro %}{{ f(9) }}",
    "{% set q %}{{ n }}{% for i in l %}{{ m }}{% endfor %}{% set m = 1 %}{% endset %}{{ q }}",
    "{% with a = n %}{% for i in l %}{{ n }}{{ a }}{% endfor %}{% set n = 1 %}{% endwith %}",
    "{% for i in l %}{{ l }}{% endfor %}{% set l = 1 %}",
    "{% for i in l if n %}{{ i }}{% endfor %}{% set n = 1 %}",
    "{% filter upper %}{{ s }}{% endfilter %}{% set s = 1 %}",
    "{% call(x) f() %}{{ x }}{{ n }}{% endcall %}{% macro f() %}{% endmacro %}",
    "{% macro f() %}{{ caller(1) }}{% endmacro %}{% call(x) f() %}{{ x }}{{ n }}{% endcall %}{% set n = 0 %}",
    "{% generation %}{{ n }}{% endgeneration %}{% set n = 1 %}",
    "{% for i in [] %}{% else %}{{ n }}{% endfor %}{% set n = 1 %}",
    "{% for i in [] %}{% else %}{% for k in l %}{{ n }}{% endfor %}{% set n = 1 %}{{ n }}{% endfor %}",
    "{% for c in cases %}{{ c.title() }}{{ c|capitalize }}{% endfor %}",
    # scoping at large
    "{% set a = 1 %}{% for i in l %}{{ a }}{% set a = a + 1 %}{{ a }}{% endfor %}{{ a }}",
    "{% for i in l %}{% if i == 3 %}{% set q = 'set' %}{% endif %}{{ q }}|{% endfor %}",
    "{% for i in l %}{{ q is defined }}{% set q = 1 %}{% endfor %}",
    "{% for i in l %}{% for k in l %}{% set q = k %}{% endfor %}{{ q is defined }}{% endfor %}",
    "{% set q = 0 %}{% for i in l %}{% for k in l %}{% set q = q + k %}{% endfor %}{{ q }}{% endfor %}",
    "{% set messages = o[1:] %}{% for m in messages %}{{ m.k }}{% endfor %}{{ messages|length }}",
    "{% if t %}{% if t %}{% set deep = 1 %}{% endif %}{% endif %}{{ deep }}",
    "{% set a = 1 %}{% if t %}{% set a = 2 %}{{ a }}{% endif %}{{ a }}",
    "{% for i in l %}{% set l = [9] %}{{ i }}{{ l }}{% endfor %}{{ l }}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set _ = c.reset() %}{{ c.next() }}",
    "{% set j = joiner('|') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}",
    "{% set j = joiner() %}{{ j() }}{{ j() }}",
    "{% set f = s.upper %}{{ f() }}",
    "{% set f = d.get %}{{ f('a') }}{{ f('zz', 1) }}",
    "{% set r = raise_exception %}{{ r('via') }}",
    "{{ n }}{{ raise_exception('late') }}",
    "{% for i in l %}{% if i == 2 %}{{ raise_exception('at ' ~ i ~ ' of ' ~ l) }}{% endif %}{% endfor %}",
    "line 1\n{{ 1 / 0 }}",
    "{% set x = {'a': 1, 'b': [1, 2, {'c': 'd'}]} %}{{ x.b[2].c }}{{ x['b'][0] }}{{ x }}",
    "{%set a=1%}{%if a==1%}y{%endif%}",
    "{{n}}{{-n}}{{ n-}}x",
    "{% if n is defined and n is not none %}{{ n }}{% endif %}",
    "{% set x = x or 'default' %}{{ x }}",
    "{{ (o|selectattr('k', 'equalto', 'y')|list)[0].v }}",
    "{{ o|selectattr('k', 'equalto', 'nope')|list|first }}",
    "{{ (o|selectattr('k', 'equalto', 'nope')|first).v }}",
    "{%- set ns = namespace(found=false) -%}{%- for m in o -%}{%- if m.k == 'y' -%}{%- set ns.found = true -%}{%- endif -%}{%- endfor -%}{{ ns.found }}",
    "{%- macro r(t, i=0) -%}{{ ' ' * i }}{{ t }}{%- if i < 3 -%}{{ '\\n' ~ r(t, i + 1) }}{%- endif -%}{%- endmacro -%}{{ r('x') }}",
    "{% set a = 'x' %}{% set b = a ~ '\n' %}{{ b }}",
    "{{ 'a\nb' }}",
    "{{ 'a\r\nb' }}",
    "é{{ u }}é{# é #}é{% if t %}é{% endif %}",
    "{% set é = 1 %}{{ é }}",
    "{% set _a1 = 1 %}{{ _a1 }}",
    "{{ d.items()|list|length }}{% for k, v in d.items()|list %}{{ k }}{% endfor %}",
    ("{{ messages[0]['content'] }}{{ messages[-1].role }}", {"messages": [{"role": "user", "content": "<|im_end|>"}]}),
    ("{{ range }}{{ namespace }}", {"range": 1, "namespace": 2}),
    ("{{ raise_exception }}", {"raise_exception": "shadow"}),
    ("{{ loop }}{% for i in [1] %}{{ loop.index }}{% endfor %}{{ loop }}", {"loop": "mine"}),
    ("{{ v }}{{ [v] }}{{ v|tojson }}", {"v": 1e16}),
    ("{{ v }}{{ [v] }}{{ v|tojson }}", {"v": 12345678.9}),
    ("{{ v }}|{{ v|int }}|{{ v // 1 }}", {"v": -3.7}),
    ("{{ v }}", {"v": [[], {}, [[]], {"a": {}}]}),
    ("{{ v|tojson }}{{ v|tojson(indent=2) }}", {"v": {"a": [], "b": {}, "c": [[1], {"x": []}], "é": "ü"}}),
    ("{% for k, v in v.items() %}{{ k }}:{{ v }};{% endfor %}{{ v }}", {"v": {"z": 1, "a": 2}}),
    ("{{ v.items }}", {"v": 5}),
]

SNIPPETS = ["{{ " + e + " }}" for e in EXPRESSIONS] + STATEMENTS
