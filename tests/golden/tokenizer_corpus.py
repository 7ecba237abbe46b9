"""Texts that tokenizers disagree about, the same on every run: languages, emoji, code, white space, control
characters, spelled-out special tokens, random Unicode. Written for this test; used by peer_tokens.py and
make_tokenizer.py."""

import random
import re
import unicodedata

SENTENCES = [
    "The kettle is on; shall we say half past four?",
    "She'd've come if they'd asked, but it isn't what we're after, I'm afraid: he'll be late, they've gone.",
    "DON'T SHOUT, IT'S LATE. We'LL see. That'S odd, 'tis true, o'clock, rock 'n' roll, 'em.",
    "In 2024 about 1,234,567.89 people (0.02 %) paid $3.50 or 12 €; 1/2 + ⅓ ≈ 0.8333, x² + y³ = z₁, №7, Ⅷ, ①②③.",
    "Der Bäcker aß früh drei große Brötchen und süße Käsestückchen, GRÖSSE STRASSE Straße.",
    "L'été dernier, où étiez-vous ? Ça m'a coûté cher, l'œuvre d'un naïf garçon, aujourd'hui.",
    "¿Dónde está el niño? ¡Mañana será otro día, señor! Pingüino.",
    "Não há avó sem avô; a ação começou às três, coração.",
    "Perché così tardi? La città è già lontana, c'è più d'un'ora.",
    "Het meisje zag 's ochtends de ĳsvogel en de reëel zeeën.",
    "Smörgåsbord på sjön, ärlig talat; blåbær og røde æbler på øen.",
    "Þetta er ágætt, ég veit það ekki, æðislegt hús.",
    "Tässä on yöpöytä, hääyöaie, älä mene.",
    "Zażółć gęślą jaźń, chrząszcz brzmi w trzcinie.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Árvíztűrő tükörfúrógép, hűvös őszi este.",
    "Ştiu că în oraş ţânţarii şi pădurea sînt aproape; știu țara.",
    "İstanbul'da ılık bir akşam, çığlık, şöyle böyle, ğ.",
    "Tiếng Việt có nhiều dấu: phở, đường, nước mắm, Nguyễn, ẩm thực.",
    "Привет, как дела? Ёжик не видел подъезда; приВЕТ МИР, щётка.",
    "Їжак їсть смачні ґудзики, а п'ять п’ятниць минуло.",
    "Ние сме тук, нещо на български, ъгълът е остър.",
    "Љубав и њива, џем, ћуприја; Ђорђе.",
    "Καλημέρα κόσμε, πώς είσαι; ΑΒΓ αβγ ς Σ, ὦ ἄνδρες Ἀθηναῖοι.",
    "שלום עולם, מה שלומך היום? שָׁלוֹם",
    "مرحبا بالعالم، كيف الحال؟ السَّلامُ عليكم ١٢٣٤",
    "سلام دنیا، می‌خواهم کتاب بخوانم ۱۲۳",
    "یہ اردو ہے، بہت اچھا۔",
    "नमस्ते दुनिया, क्या हाल है? हिन्दी में १२३ क्षत्रिय।",
    "আমি বাংলায় গান গাই, কেমন আছেন? ১২৩",
    "வணக்கம் உலகம், எப்படி இருக்கிறீர்கள்?",
    "తెలుగు భాష చాలా అందమైనది",
    "ಕನ್ನಡ ಭಾಷೆ ಸುಂದರವಾಗಿದೆ",
    "മലയാളം വായിക്കാൻ അറിയാമോ?",
    "ગુજરાતી ભાષા, ਪੰਜਾਬੀ ਬੋਲੀ, සිංහල",
    "สวัสดีชาวโลก วันนี้อากาศดีมาก ๑๒๓ ภาษาไทย",
    "ສະບາຍດີ ໂລກ, ភាសាខ្មែរ, မြန်မာဘာသာ",
    "你好，世界！今天天气很好，我想去北京大学。工作1234小时～",
    "繁體中文測試：臺灣、香港、龍門。「引號」『書名』——破折號……",
    "こんにちは世界。カタカナとひらがな、漢字が混ざった文章です！ﾊﾝｶｸ ー々〆ヶ",
    "안녕하세요 세계, 오늘 날씨가 좋네요. 한국어 ㅋㅋㅋ",
    "გამარჯობა მსოფლიო, როგორ ხარ? ᲥᲐᲠᲗᲣᲚᲘ",
    "Բարեւ աշխարհ, ինչպես ես։",
    "ሰላም ዓለም፣ እንዴት ነህ? አማርኛ",
    "Сайн уу дэлхий, монгол ᠮᠣᠩᠭᠣᠯ\u180e ᠪᠢᠴᠢᠭ",
    "བོད་སྐད་ཡིག་རེད།",
    "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ꮳꮃꭹ, ᐃᓄᒃᑎᑐᑦ, ⵜⴰⵎⴰⵣⵉⵖⵜ",
    "Mwongozo wa Kiswahili ni rahisi; ọjọ́ dára, ẹ káàbọ̀; ʻōlelo Hawaiʻi",
    "Saluton mondo, ĉu vi ŝatas ĝardenojn? Ĵaŭdo, ĥoro.",
    "ꜱᴍᴀʟʟ ᴄᴀᴘꜱ 𝔣𝔯𝔞𝔨𝔱𝔲𝔯 𝒞𝓊𝓇𝓈𝒾𝓋ℯ 𝟙𝟚𝟛 ｆｕｌｌｗｉｄｔｈ １２３ Ａ！ ⓐⓑ ǄǅǆǇǈ ﬁﬂ",
    "e\u0301te\u0301 nai\u0308ve A\u030angstro\u0308m, Z\u0351\u036b\u0343a\u0321\u034al\u0352g\u0321o, ṩ s\u0323\u0307",
    "ſ'ſ I'ſ x K'ſ, he'ſ DON'ſ \u212a \u2126 \u212b",
]

EMOJI = [
    "🦙", "😀😃😄", "👍🏽", "👩‍👩‍👧‍👦 family", "🏳️‍🌈🏴‍☠️", "🇩🇪🇫🇷🇯🇵", "1️⃣2️⃣#️⃣*️⃣", "❤️ ❤ ♥︎", "👨🏿‍🚒 is 🏃‍♀️ to 🏥", "🫠🫶🏻",
    "🧑‍💻x🤖", "ok👌ok", " 🚀 launch", "🎉🎉🎉🎉🎉🎉🎉🎉", "(╯°□°)╯︵ ┻━┻", "¯\\_(ツ)_/¯", "→←↑↓⇒∀∃∈∉≤≥≠∞√∑∫", "♔♕♖♗♘♙ ☃️ ☂",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\u200b\u200c\u200d\u2060\ufeff zero", "a\ufe0fb", "™©®℠ €£¥₹₿",
]

CODE = [
    "#include <stdio.h>\n\nint main(void)\n{\n\tfor (int i = 0; i < 10; i++)\n\t\tprintf(\"%d\\n\", i);\n\treturn 0;\n}\n",
    "def fib(n: int) -> int:\n    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)  # slow\n\n\nprint([fib(i) for i in range(10)])\n",
    "const f = async (x) => {\n  await fetch(`https://example.org/${x}?a=1&b=2#top`);\n  return x ?? null;\n};\n// ok === true\n",
    "fn main() {\n    let v: Vec<u32> = (0..10).map(|x| x * x).collect();\n    println!(\"{:?}\", v);\n}\n",
    "package main\n\nfunc main() {\n\tch := make(chan int, 3)\n\tgo func() { ch <- 1 }()\n\t<-ch\n}\n",
    "SELECT id, COUNT(*) AS n FROM t WHERE name LIKE '%x_%' GROUP BY id HAVING n > 10 ORDER BY 2 DESC;\n",
    "<!DOCTYPE html>\n<html lang=\"en\"><body class='a b'><p>Hi &amp; bye</p><br/></body></html>\n",
    "{\"a\": [1, 2.5e-3, null, true], \"b\": {\"c\": \"\\u00e9\\n\"}}\n",
    "for f in *.txt; do\n  sed -i 's/foo/bar/g' \"$f\" && echo ${f%.txt} >> /dev/null 2>&1\ndone\n",
    "template <typename T>\nauto max(const T &a, const T &b) -> T { return a > b ? a : b; }\n\n#define X(a) #a##b\n",
    "public class A {\n    private static final Map<String, List<Integer>> m = new HashMap<>();\n    @Override\n    public String toString() { return \"A\" + m; }\n}\n",
    "main :: IO ()\nmain = mapM_ print $ filter even [1..20] >>= \\x -> [x, x*2]\n",
    "(defn f [x] (let [y (* x x)] (println \"y=\" y) y))\n;; comment\n",
    "\\begin{equation}\n  E = mc^2,\\quad \\alpha_{ij} \\in \\mathbb{R}^{n\\times n}\n\\end{equation}\n",
    "| a | b |\n|---|:-:|\n| 1 | **x** |\n\n- [ ] item `code`\n\n```c\nx;\n```\n\n> quote\n\n---\n",
    "0x1F 0b1010 1e10 1_000_000 3.14f 0777 'a' '\\0' \"\\x41\" a+=b<<=c>>=d->e::f..g...h !a~b^c|d&e\n",
    "helloWORLD HELLOworld XMLHttpRequest iPhone15 getHTTPResponseCode2xx snake_case_name kebab-case-name SCREAMING_CASE",
    "-----BEGIN KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END KEY-----\n====== ****** ______ ////// \\\\\\\\",
    "diff --git a/x b/x\n@@ -1,2 +1,2 @@\n-old\n+new\n  same\n\n\n\n",
    "https://user:pw@host.example:8080/p/a/t/h/?q=%20x+y&z[]=1;w#frag mailto:a.b+c@d-e.org C:\\dir\\file.txt ~/x/../y",
]

WHITE = [" ", "  ", "   ", "    ", " " * 7, " " * 16, " " * 33, " " * 100, "\t", "\t\t", "\t" * 9, "\n", "\n\n", "\n\n\n", "\n" * 8, "\n" * 40,
         "\r\n", "\r\n\r\n", "\r", "\r\r\n", " \n", "\n ", " \n ", "\t\n", "\n\t", " \t ", "\t ", "\n \n\n \n\n\n", "\v\f", "\x85", "\xa0", "\xa0\xa0 ",
         "\u1680", "\u180e", "\u2000\u2001\u2002\u2003", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u3000\u3000", " \u3000", "\u200b", "\ufeff"]

SPECIAL_MIXES = ["{}", "a{}b", " {} ", "{}{}", "x {}\n{} y", "{}\n", "\n{}", "é{}🦙{}"]


def white_space():
    for w in WHITE:
        yield w
        yield "a" + w + "b"
        yield w + "x"
        yield "x" + w
        yield w + "(1)" + w + "!" + w + "é" + w


def controls():
    for c in list(range(0x20)) + [0x7F] + list(range(0x80, 0xA0)):
        yield chr(c)
        yield "a" + chr(c) + " b" + chr(c) * 2 + "1"


def numbers():
    yield from ("1" * n for n in range(1, 14))
    yield from ("a12b345", "12 345", " 123", "  123", "1.2.3", "1,234", "-1", "+1", "(1)", "½¾", "²³", "١٢٣", "१२३४", "Ⅷ", "一二三", "123abc456", "v1.10.100-rc2", "٣٣٣٣", "1²", "𝟏𝟐𝟑𝟒")


def punctuation():
    for p in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿«»“”‘’…–—·•":
        yield p
        yield "a" + p + "b " + p + "c" + p * 3 + "\n" + p + " "
    yield from ("' era", "''''", "'s", " 's", "x's's", "'S", "'re'RE'Re", "'ll'LL", "'d'D", "'m'M", "'t'T", "'ve'VE", "'x", "?!?!", "...", " ...", "a/b//c/\n\n/", "--", "==>", "\\n", "(a)", "a , b")


def assigned():
    """Code points with a category in the Unicode that Python 3.11 knows (14), no surrogates, no private use."""
    return [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]


def random_unicode(n, seed):
    rng = random.Random(seed)
    everything = assigned()
    blocks = [(0x20, 0x7E), (0xA0, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE4E), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2190, 0x21FF),
              (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xAD00), (0x1F600, 0x1F64F), (0x300, 0x36F), (0x9, 0xD)]
    allowed = set(everything)
    for i in range(n):
        length = rng.randint(1, 24)
        kind = i % 4
        if kind == 0:
            chars = [rng.choice(everything) for _ in range(length)]
        elif kind == 1:
            low, high = rng.choice(blocks)
            chars = [rng.randint(low, high) for _ in range(length)]
        elif kind == 2:
            chars = [rng.randint(*rng.choice(blocks)) for _ in range(length)]
        else:
            chars = [rng.choice([ord(c) for c in " \t\n\r'aAsSt1é中.,!-\u0301ДдS"]) for _ in range(length)]
        yield "".join(chr(c) for c in chars if c in allowed)


def random_ascii(n, seed):
    rng = random.Random(seed)
    for _ in range(n):
        yield "".join(chr(rng.choice([rng.randint(0x20, 0x7E), 0x20, 0x0A])) for _ in range(rng.randint(1, 40)))


def slices(n, seed):
    """Pieces of the sentences and programs that begin and end anywhere between two characters."""
    rng = random.Random(seed)
    everything = SENTENCES + CODE + EMOJI
    for _ in range(n):
        text = rng.choice(everything) + rng.choice(["", " ", "\n"]) + rng.choice(everything)
        begin = rng.randrange(len(text))
        yield text[begin:begin + rng.randint(1, 60)]


def texts(n_random=200, seed=1):
    """Valid Unicode without any special token's spelling."""
    everything = [*SENTENCES, *EMOJI, *CODE, *white_space(), *controls(), *numbers(), *punctuation(),
                  *random_unicode(n_random, seed), *random_ascii(n_random // 4, seed + 1), *slices(n_random // 2, seed + 2),
                  "a" * 300, "ab" * 150, "!" * 200, "é" * 100, "中" * 100, "🦙" * 50, "Aa" * 100, "1 " * 50, "\n " * 40]
    return list(dict.fromkeys(t for t in everything if t))


def invalid_bytes(n, seed=5):
    """Byte strings that are not UTF-8. Nothing past U+10FFFF in form (a peer ends the process at those), no overlong
    forms (the same peer reads them as if they were right)."""
    overlong = re.compile(rb"\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]|[\xc0\xc1][\x80-\xbf]|\xed[\xa0-\xbf][\x80-\xbf]")
    rng = random.Random(seed)
    fixed = [b"\x80", b"\xff", b"\xfe\xff", b"Hello \xff world", b"a\xe2\x82", b"\xe2\x82abc", b"\xc3", b"\xc3(", b"\xf0\x9f\xa6", b"\xf0\x9f\xa6 x", b"\xf0\x9f", b"\x80\x80\x80", b"abc\x80",
             b"caf\xe9 au lait", b"\xa0\xa0", b"\xbf\xbf x", b"1\xff2", b" \xff", b"\xff ", b"\n\xff\n", b"'\xff's", b"\xe4\xbd\xa0\xe5", b"\xe5\xe4\xbd\xa0", b"x\x00\xffy"]
    yield from fixed
    for _ in range(n):
        good = rng.choice(SENTENCES + EMOJI + CODE).encode()
        begin = rng.randrange(len(good))
        piece = bytearray(good[begin:begin + rng.randint(2, 30)])
        for _ in range(rng.randint(1, 3)):
            piece.insert(rng.randrange(len(piece) + 1), rng.choice([0x80, 0xBF, 0xFF, 0xFE, 0xC3, 0xE2, 0xF8]))
        if not overlong.search(piece):
            yield bytes(piece)
