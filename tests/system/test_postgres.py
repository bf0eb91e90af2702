"""Expressions against a real PostgreSQL: the same value, or an error of the same class, for every row.

Examples of functions.def, and random typed expressions over columns with nulls and edge values. Where Kappa differs
on purpose, the difference is listed here with its reason, and in processor/README.md.
"""

import json
import math
import os
import re
import struct
import subprocess

from support import ROOT, seed_for

TOOLS = os.environ.get("KAPPA_TOOLS", os.path.join(ROOT, "build/release/tests/tool"))


def tool(*args, lines=()):
    result = subprocess.run([os.path.join(TOOLS, "expr_eval"), *args], capture_output=True, text=True, timeout=300,
                            input="".join(json.dumps(line) + "\n" for line in lines))
    assert result.returncode == 0, result.stderr[-2000:]
    return [json.loads(line) for line in result.stdout.split("\n")[:-1]]


# ---- Examples of functions.def

# Rows of functions.def, name(argument letters), that PostgreSQL has otherwise, with the reason.
DIFFER = {
    "regexp_match(tt)": "text here, an array of texts there",
    "regexp_match(ttt)": "text here, an array of texts there",
    "log(dd)": "double precision here, only numeric there",
    "round(di)": "double precision here, only numeric there",
}


def row_name(row):
    return f"{row['name']}({row['args']})"


def near(ours, theirs):
    """Double precision here, numeric with more digits there: extract, stddev, variance."""
    return isinstance(theirs, str) and math.isclose(float(ours), float(theirs), rel_tol=1e-15)


def test_examples(postgres):
    postgres.table([("x", "integer")], [["1"]])
    # Names that PostgreSQL does not have are ours alone: the unit tests hold their examples.
    known = set(postgres.sql("SELECT DISTINCT proname FROM pg_proc").split())
    rows = [row for row in tool("--functions") if row_name(row) not in DIFFER
            and (row["kind"] == "operator" or row["name"] in known)]
    source = "(VALUES (1), (2), (2), (NULL)) AS t (x)"
    wanted = postgres.evaluate([row["example"] if row["kind"] != "aggregate" else
                                f"SELECT ({row['example']})::text FROM {source}" for row in rows])
    wrong = [(row["example"], row["expected"], want[0]) for row, want in zip(rows, wanted)
             if row["expected"] != want[0] and not (row["result"] == "d" and near(row["expected"], want[0]))]
    assert not wrong, "\n".join(f"{example}: functions.def says {ours}, PostgreSQL {theirs}"
                                for example, ours, theirs in wrong)


# ---- Random expressions

TYPES = {"b": "boolean", "s": "smallint", "i": "integer", "l": "bigint", "n": "numeric", "f": "real",
         "d": "double precision", "t": "text", "z": "timestamptz", "p": "timestamp", "c": "date", "u": "uuid",
         "y": "bytea"}
COLUMNS = [(kind + str(n), kind) for kind in TYPES for n in (1, 2)]
VALUES = {
    "b": ["true", "false"],
    "s": ["0", "1", "-1", "2", "7", "-12", "181", "182", "32767", "-32768"],
    "n": ["0", "0.00", "1", "-1", "1.0", "1.50", "-2.5", "0.1", "19.99", "1234.5678", "-0.001", "3", "1000000", "2.5",
          "3.5", "12345678.90"],
    "f": ["0", "-0", "1", "-1", "0.1", "1.5", "-2.5", "3.4e38", "1e-10", "16777217", "123456.7", "1e6", "NaN",
          "Infinity", "-Infinity", "33554435"],
    "p": ["1970-01-01 00:00:00", "1969-12-31 23:59:59.999999", "2026-01-31 12:34:56.789", "2024-02-29 23:59:59",
          "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "2021-01-03 05:06:07"],
    "c": ["1970-01-01", "1969-12-31", "2026-01-31", "2024-02-29", "0001-01-01", "9999-12-31", "2000-03-01"],
    "u": ["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
          "{A0EEBC999C0B4EF8BB6D6BB9BD380A12}", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "y": ["\\x", "\\x00", "\\x0001ff", "\\xDEADbeef", "abc", "a\\\\b", "\\000\\377"],
    "i": ["0", "1", "-1", "2", "3", "-7", "10", "100", "2147483647", "-2147483648"],
    "l": ["0", "1", "-1", "5", "-12", "3000000000", "9223372036854775807", "-9223372036854775808", "86400"],
    "d": ["0", "-0", "1", "-1", "0.5", "1.5", "-2.5", "2.25", "1e15", "1e-5", "123456.789", "1e308", "5e-324", "NaN",
          "Infinity", "-Infinity", "-1e300", "3", "45", "9007199254740993", "0.1"],
    "t": ["", "a", "abc", "ABC", "aBc", "äÖß", "日本語", "a%b_c", " x ", "12", "-7", "1.5", "true", "a,b,,c", "\\", "aaa",
          "2026-01-31 10:00:00+00", "x\ny", "ÀÉ ñandú o'neil", "Ǆ ǆ", "hello world foo", "é", "1e5", "ΑΣ Σ"],
    "z": ["1970-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00", "2026-01-31 12:34:56.789+00",
          "2024-02-29 23:59:59+00", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", "2021-01-03 05:06:07+00",
          "2000-12-31 00:00:00.5+00", "1900-03-01 01:00:00+00", "2016-01-01 00:00:00+00"],
}
PATTERNS = ["%", "a%", "%b%", "_b_", "", "a\\%b%", "%ä%", "___", "%C", "A%", "%ö_", "日%", "\\\\", "%\n%", "_", "%%_c"]
NUMBERS = "silnfd"
# Out of some rows' arguments: a literal of the row's own.
UNITS_TRUNC = ["microseconds", "milliseconds", "second", "minute", "hour", "day", "week", "month", "quarter", "year", "decade", "century", "millennium"]
UNITS_EXTRACT = ["year", "quarter", "month", "day", "hour", "minute", "second", "dow", "isodow", "doy", "epoch",
                 "milliseconds", "microseconds", "week", "isoyear", "decade", "century", "millennium", "julian"]
STRIDES = ["15 minutes", "1 hour", "1 day", "7 days", "1 second", "250 milliseconds"]
REGEXES = ["a", "^a", "c$", ".", "b+", "(a)(b)?", "[a-c]{2}", "\\d+", "\\w+", "\\s", "x*", "(?:a|b)c", "^$", "ö", "[^a]", "l+o",
           "^\\S+", "([^,]*),", "(\\w)o", "\\.", "日.", ".\ny"]
FLAGS = ["", "i", "x", "n", "in"]
REPLACEMENTS = ["", "-", "<\\1>", "[\\&]", "\\\\", "\\x"]
# Functions that are not compared by name: syntax of their own (made below), or not in PostgreSQL.
# width_bucket: this version of PostgreSQL puts a number just below the range into the bucket behind it.
NOT_CALLED = {"timezone", "sha256_hex", "width_bucket", "haversine_km", "overlay", "extract", "position", "date_part", "date_trunc", "date_bin",
              "to_timestamp"}
# Functions whose last bits may differ from the C library's.
INEXACT = {"acos", "asin", "atan", "atan2", "cbrt", "cos", "exp", "ln", "log", "log10", "pow", "power", "sin", "tan", "^"}


class Expr:
    """One expression as Kappa and as PostgreSQL read it. lazy: holds AND, OR, IN or BETWEEN."""

    def __init__(self, kind, ours, theirs, lazy=False):
        self.kind, self.ours, self.theirs, self.lazy = kind, ours, theirs, lazy


def join(kind, template, *parts, lazy=False):
    return Expr(kind, template.format(*[p.ours for p in parts]), template.format(*[p.theirs for p in parts]),
                lazy or any(p.lazy for p in parts))


def text_literal(value):
    if "\\" in value or "\n" in value:
        return "E'" + value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"
    return "'" + value.replace("'", "''") + "'"


class Generator:
    def __init__(self, rng, functions):
        self.rng = rng
        self.functions = {}
        for row in functions:
            known = all(letter in [*TYPES, "a", "x", "*"] for letter in row["args"]) and row["result"] in TYPES
            # SQL functions there, which swap their operands: another one's error is seen first.
            known = known and not (row["kind"] == "operator" and row["args"] in ("ic", "vc", "vp", "vz"))
            if row["kind"] != "aggregate" and known and row["args"] and row["name"] not in NOT_CALLED | INEXACT \
                    and row_name(row) not in DIFFER:
                self.functions.setdefault(row["result"], []).append(row)

    def literal(self, kind):
        """PostgreSQL folds constants when it plans, errors of branches not taken too: it gets them as (SELECT ...)."""
        value = self.rng.choice(VALUES[kind])
        text = f"{text_literal(value)}::{TYPES[kind]}"
        if kind in "siln" and self.rng.random() < 0.8:
            text = f"({value})::{TYPES[kind]}"
        return Expr(kind, text, f"(SELECT {text})")

    def constant(self, values):
        text = text_literal(self.rng.choice(values))
        return Expr("t", text, text)

    def leaf(self, kind):
        if self.rng.random() < 0.1:
            return Expr(kind, f"NULL::{TYPES[kind]}", f"(SELECT NULL::{TYPES[kind]})")
        if self.rng.random() < 0.3:
            return self.literal(kind)
        index = self.rng.choice([i for i, column in enumerate(COLUMNS) if column[1] == kind])
        return Expr(kind, f"c{index}::{TYPES[kind]}", COLUMNS[index][0])

    def any(self, depth):
        return self.make(self.rng.choice(list(TYPES)), depth)

    def make(self, kind, depth):
        if depth <= 0 or self.rng.random() < 0.1:
            return self.leaf(kind)
        general = [self.choose, self.choose, self.cast]
        own = {"b": [self.compare, self.compare, self.logic, self.logic, self.like, self.membership, self.test],
               "i": [self.arithmetic, self.position], "l": [self.arithmetic], "d": [self.arithmetic, self.field],
               "s": [self.arithmetic], "n": [self.arithmetic], "f": [self.arithmetic],
               "t": [self.concat], "z": [self.time], "p": [self.shift], "c": [self.cast], "u": [self.cast],
               "y": [self.cast]}[kind]
        calls = [self.call] * (2 + len(own)) if kind in self.functions else []
        return self.rng.choice(general + own * 2 + calls)(kind, depth - 1)

    def call(self, kind, depth):
        row = self.rng.choice(self.functions[kind])
        letters = row["args"]
        if letters.endswith("*"):
            letters = letters[:-1] + letters[-2] * self.rng.randrange(4)
        args = [self.any(depth) if letter in "ax" else self.make(letter, depth) for letter in letters]
        if "~" in row["name"] and letters == "tt" or row["name"].startswith("regexp") or row["name"] == "substring" and letters == "tt":
            args[1] = self.constant(REGEXES)
            for k, letter in enumerate(letters):
                if letter == "i":
                    args[k] = Expr("i", *[str(self.rng.randrange(0, 4))] * 2)
                elif letter == "t" and k == len(letters) - 1 and k > 2 or letters == "ttt" and k == 2:
                    args[k] = self.constant(FLAGS)
            if row["name"] == "regexp_substr" and len(letters) > 4:
                args[4] = self.constant(FLAGS)
            if "[^" in args[1].ours:  # with the flag n it does not match a newline there
                args = [self.constant(["", "i"]) if arg.ours in ("'n'", "'in'") else arg for arg in args]
            if row["name"] == "regexp_replace":
                args[2:] = [self.constant(REPLACEMENTS), self.constant([*FLAGS[:3], "g", "gi"] if "[^" in args[1].ours else [*FLAGS, "g", "gn"])][:len(args) - 2]
        if row["name"] in ("repeat", "lpad", "rpad", "right"):
            args[1] = Expr("i", *[str(self.rng.randrange(-1, 20))] * 2)
        if row["name"] in ("encode", "decode", "convert_to", "convert_from"):
            args[1] = self.constant(["utf8", "UTF-8"] if "convert" in row["name"] else ["hex", "base64", "HEX"])
            if row["name"] == "decode":
                args[0] = self.constant(["", "00ff", "0 0", "00 fF", "0g", "YQ==", "Y Q==", "YWI=", "YWJj", "YQ=", "====",
                                         "YWJjZA==", "Y"])
                args[0].theirs = f"(SELECT {args[0].theirs}::text)"
        if row["name"] in ("<<", ">>"):
            args[1] = Expr("i", *[str(self.rng.randrange(31))] * 2)
        if row["kind"] == "operator":
            return join(kind, f"({{}} {row['name']} {{}})" if len(args) == 2 else f"({row['name']} {{}})", *args)
        return join(kind, row["name"] + "(" + ", ".join(["{}"] * len(args)) + ")", *args)

    def choose(self, kind, depth):
        shape = self.rng.randrange(6)
        part = lambda: self.make(kind, depth)  # noqa: E731
        if shape == 0:
            return join(kind, "coalesce({}, {})", part(), part())
        if shape == 1:
            return join(kind, "nullif({}, {})", part(), part())
        if shape == 2:
            return join(kind, self.rng.choice(["greatest", "least"]) + "({}, {}, {})", part(), part(), part())
        if shape == 3:
            return join(kind, "CASE WHEN {} THEN {} ELSE {} END", self.make("b", depth), part(), part())
        if shape == 4:
            return join(kind, "CASE WHEN {} THEN {} WHEN {} THEN {} END", self.make("b", depth), part(),
                        self.make("b", depth), part())
        other = self.rng.choice(list(TYPES))
        return join(kind, "CASE {} WHEN {} THEN {} ELSE {} END", self.make(other, depth), self.make(other, depth),
                    part(), part())

    def cast(self, kind, depth):
        sources = {"b": "it", "s": "ilnfdt", "i": "bslnfdt", "l": "sinfdt", "n": "silft", "f": "silndt", "d": "silnft",
                   "t": "bsilnfdzpcuy", "z": "tcp", "p": "tcz", "c": "tpz", "u": "t", "y": "t"}[kind]
        source = self.rng.choice(sources)
        # PostgreSQL reads times with stray signs and without punctuation; here they are read strictly.
        part = self.leaf("t") if kind in "zpcuy" and source == "t" else self.make(source, depth)
        return join(kind, f"({{}})::{TYPES[kind]}", part)

    def arithmetic(self, kind, depth):
        operator = self.rng.choice("+-*/" if kind in "fd" else "+-*/%")
        other = kind if kind == "f" else self.rng.choice(NUMBERS[:NUMBERS.index(kind) + 1])
        parts = [self.make(kind, depth), self.make(other, depth)]
        self.rng.shuffle(parts)
        return join(kind, f"({{}} {operator} {{}})", *parts)

    def position(self, kind, depth):
        return join(kind, "position({} in {})", self.make("t", depth - 1), self.make("t", depth - 1))

    def field(self, kind, depth):
        unit = self.rng.choice(UNITS_EXTRACT)
        form = f"date_part('{unit}', {{}})"
        if unit != "epoch" and self.rng.random() < 0.5:
            form = f"extract({unit} from {{}})::double precision"
        return join(kind, form, self.make("z", depth))

    def concat(self, kind, depth):
        return join(kind, "({} || {})", self.make("t", depth), self.any(depth))

    def time(self, kind, depth):
        shape = self.rng.randrange(4)
        if shape == 0:
            return join(kind, f"date_trunc('{self.rng.choice(UNITS_TRUNC)}', {{}})", self.make("z", depth))
        if shape == 1:
            return join(kind, f"date_bin(interval '{self.rng.choice(STRIDES)}', {{}}, {{}})", self.make("z", depth),
                        self.make("z", depth))
        if shape == 2:
            sign = self.rng.choice("+-")
            return join(kind, f"({{}} {sign} interval '{self.rng.choice(STRIDES)}')", self.make("z", depth))
        return join(kind, "to_timestamp({})", Expr("d", *[str(self.rng.randrange(-10 ** 10, 10 ** 10) / 4)] * 2))

    def shift(self, kind, depth):
        sign = self.rng.choice("+-")
        return join(kind, f"({{}} {sign} interval '{self.rng.choice(STRIDES)}')", self.make(self.rng.choice("pc"), depth))

    def compare(self, kind, depth):
        left = self.rng.choice(list(TYPES))
        right = self.rng.choice(NUMBERS) if left in NUMBERS else self.rng.choice("zpc") if left in "zpc" else left
        operator = self.rng.choice(["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"])
        return join(kind, f"({{}} {operator} {{}})", self.make(left, depth), self.make(right, depth))

    def logic(self, kind, depth):
        shape = self.rng.randrange(4)
        if shape == 0:
            return join(kind, "(NOT {})", self.make("b", depth))
        return join(kind, f"({{}} {self.rng.choice(['AND', 'OR'])} {{}})", self.make("b", depth),
                    self.make("b", depth), lazy=True)

    def like(self, kind, depth):
        operator = self.rng.choice(["LIKE", "ILIKE", "NOT LIKE", "NOT ILIKE"])
        pattern = text_literal(self.rng.choice(PATTERNS))
        escape = self.rng.choice(["", "", "", " ESCAPE '!'", " ESCAPE ''"])
        return join(kind, f"({{}} {operator} {pattern}{escape})", self.make("t", depth))

    def membership(self, kind, depth):
        of = self.rng.choice(list(TYPES))
        parts = [self.make(of, depth - 1) for _ in range(3)]
        form = self.rng.choice(["({} IN ({}, {}))", "({} NOT IN ({}, {}))", "({} BETWEEN {} AND {})",
                                "({} NOT BETWEEN {} AND {})", "({} BETWEEN SYMMETRIC {} AND {})"])
        return join(kind, form, *parts, lazy=True)

    def test(self, kind, depth):
        if self.rng.random() < 0.5:
            return join(kind, f"({{}} IS {self.rng.choice(['NULL', 'NOT NULL'])})", self.any(depth))
        word = self.rng.choice(["TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "UNKNOWN", "NOT UNKNOWN"])
        return join(kind, f"({{}} IS {word})", self.make("b", depth))


DIVISION = "division by zero"
RANGE = "value out of the range of its type"
CAST = "text is not a value of the type"
LIMIT = "value longer than allowed"
ARGUMENT = "a function does not take this value"
ERRORS = {
    "22012": {DIVISION}, "22003": {RANGE}, "22008": {RANGE, CAST}, "22P02": {CAST}, "22007": {CAST},
    "22021": {ARGUMENT}, "22023": {ARGUMENT}, "2201G": {ARGUMENT}, "2201E": {ARGUMENT}, "2201F": {ARGUMENT}, "22011": {ARGUMENT}, "22025": {ARGUMENT},
    "2201B": {ARGUMENT}, "22019": {ARGUMENT}, "54000": {LIMIT, ARGUMENT},
}


def same(ours, theirs, expr):
    failed = isinstance(ours, dict)
    if re.search(r"\bn[12]\b|numeric", expr.theirs):  # which has 38 digits here, and no NaN
        if failed and ours["error"] in (RANGE, DIVISION):
            return True
        if isinstance(theirs, str) and (re.search(r"[.][0-9]{37}|[0-9]e-[0-9]|[0-9.]{39}", theirs)
                                        or theirs in ("NaN", "Infinity", "-Infinity") and failed):
            return True
    if isinstance(theirs, dict):
        if failed and ours["error"] == CAST and theirs["message"].startswith(('"', "value overflows numeric")):
            return True  # a number out of range with something behind it: either is right
        if failed and theirs["error"] == "22008":
            return True  # integer + date is inlined there as date + integer: its operands fail in another order
        if failed:
            return ours["error"] in ERRORS.get(theirs["error"], ())
        return expr.lazy  # false AND error is false here, in any order; there it depends on the order
    return not failed and ours == theirs


def random_row(rng):
    return [None if rng.random() < 0.15 else rng.choice(VALUES[kind]) for _, kind in COLUMNS]


def differences(postgres, rows, exprs, equal):
    postgres.table([(name, TYPES[kind]) for name, kind in COLUMNS], rows)
    setup = {"columns": len(COLUMNS), "rows": rows}
    ours = tool(lines=[setup, *[expr.ours for expr in exprs]])
    theirs = postgres.evaluate([expr.theirs for expr in exprs])
    wrong = []
    for expr, mine, their in zip(exprs, ours, theirs):
        if isinstance(mine, dict):
            wrong.append(f"{expr.ours}\n    is refused: {mine['refused'].splitlines()[0]}; PostgreSQL: {their[:3]}")
            continue
        bad = [i for i in range(len(rows)) if not equal(mine[i], their[i], expr)]
        if bad:
            row = {name: value for (name, _), value in zip(COLUMNS, rows[bad[0]]) if name in expr.theirs}
            wrong.append(f"{expr.theirs}\n    for {row}: {mine[bad[0]]!r}; PostgreSQL: {their[bad[0]]!r}")
    return wrong


def test_random_expressions(postgres):
    rng, _ = seed_for("test_random_expressions")
    generator = Generator(rng, tool("--functions"))
    rows = [random_row(rng) for _ in range(24)]
    count = int(os.environ.get("KAPPA_EXPRESSIONS", 1500))
    exprs = [generator.any(rng.choice([1, 2, 2, 3])) for _ in range(count)]
    wrong = differences(postgres, rows, exprs, same)
    assert not wrong, f"{len(wrong)} of {count} differ:\n" + "\n".join(sorted(wrong, key=len)[:40])


def test_letters(postgres):
    """lower and upper of every character; initcap where the C library's idea of a letter is Unicode's."""
    points = [n for n in range(1, 0x30000) if not 0xD800 <= n < 0xE000 and n & 0xFFFE != 0xFFFE]
    blocks = [points[i:i + 4096] for i in range(0, len(points), 4096)]
    rows = [["".join(map(chr, block))] for block in blocks] + [[" ".join(map(chr, range(1, 0x2B0)))]]
    postgres.table([("t1", "text")], rows)
    for function in ("lower", "upper", "initcap"):
        ours = tool(lines=[{"columns": 1, "rows": rows}, f"{function}(c0)"])[0]
        theirs = postgres.evaluate([f"{function}(t1)"])[0]
        wrong = [(hex(ord(point)), mine, their) for row, mine_text, their_text in zip(rows, ours, theirs)
                 for point, mine, their in zip(row[0], mine_text, their_text)
                 if mine != their and (function != "initcap" or row is rows[-1])]
        assert not wrong, f"{function}: {len(wrong)} {wrong[:20]}"


def doubles(rng, count):
    """Any bits, powers of two and their neighbours, short decimals, large whole numbers."""
    for _ in range(count):
        shape = rng.randrange(4)
        if shape == 0:
            yield struct.unpack("d", rng.randbytes(8))[0]
        elif shape == 1:
            yield math.ldexp(1, rng.randrange(-1074, 1023)) * rng.choice([1, 1 + 2 ** -52, 1 - 2 ** -53])
        elif shape == 2:
            yield rng.randrange(10 ** rng.randrange(1, 18)) * 10.0 ** rng.randrange(-30, 30)
        else:
            yield float(rng.randrange(2 ** 50, 2 ** rng.choice([54, 57, 60, 64, 90])))


def test_texts_of_doubles(postgres):
    rng, _ = seed_for("test_texts_of_doubles")
    rows = [[repr(value)] for value in doubles(rng, 20000) if math.isfinite(value)]
    postgres.table([("d1", "double precision")], rows)
    ours = tool(lines=[{"columns": 1, "rows": rows}, "c0::double precision"])[0]
    theirs = postgres.evaluate(["d1"])[0]
    wrong = [(row[0], mine, their) for row, mine, their in zip(rows, ours, theirs) if mine != their]
    assert not wrong, f"{len(wrong)} {wrong[:10]}"


# ---- jsonb

def random_document(rng, depth):
    """JSON text with blanks, escapes, doubled names, numbers in all spellings."""
    blank = lambda: rng.choice(["", "", "", " ", "\n\t", "  "])  # noqa: E731
    strings = ['""', '"a"', '"aa"', '"b"', '"\\u00e9"', '"\\n\\t\\\\ \\/ \\""', '"\\ud83d\\ude00"', '"ä日"', '"\\u0001"', '"a.b"']
    kind = rng.randrange(8 if depth > 0 else 6)
    if kind < 2:
        return rng.choice(strings)
    if kind < 4:
        return rng.choice(["0", "-0", "-0.0", "1", "1.0", "1.50", "-12.5e1", "1e3", "1.25e-3", "12E+2", "0e5", "0.00e1", "1e-20",
                           "123456789012345678901234567890.5", "5e20", "100e-1", "-1.5e-1"])
    if kind < 6:
        return rng.choice(["true", "false", "null"])
    count = rng.randrange(5)
    if kind == 6:
        return blank() + "[" + ",".join(blank() + random_document(rng, depth - 1) + blank() for _ in range(count)) + "]"
    return blank() + "{" + blank() + ",".join(
        blank() + rng.choice(strings) + blank() + ":" + blank() + random_document(rng, depth - 1) + blank()
        for _ in range(count)) + "}" + blank()


def test_jsonb(postgres):
    rng, _ = seed_for("test_jsonb")
    broken = ["", " ", "{", "[1,]", '{"a"}', '{"a":1,}', "01", "+1", ".5", "1.", "1e", "tru", "nulll", "1 2", '"\\u0000"', '"\\x"',
              '"\n"', "'a'", "{1:2}", "[1", '"a', "NaN", '"\\ud83d"', "[1}", '{"a":1]', "-"]
    rows = [[text] for text in broken] + [[random_document(rng, 4)] for _ in range(400)]
    steps = ["", " -> 'a'", " -> 'aa'", " -> 0", " -> 1", " -> -1", " -> 'a' -> 0", " -> 'b' -> 'a'", " -> 'é'", " -> ''"]
    names = ["'a'", "0", "-2", "''", "'é'", "E'\\n\\t\\\\ / \"'", "'😀'"]
    jsonb = ["({}::jsonb" + step + ")" for step in steps]
    exprs = [f"{of}::text" for of in jsonb] + [f"({of} ->> {name})" for of in jsonb for name in names]
    exprs += [f"jsonb_typeof({of})" for of in jsonb] + [f"jsonb_array_length({of})" for of in jsonb[:4]]
    exprs += [f"({of} ? {name})" for of in jsonb[:3] for name in ["'a'", "''", "'é'"]]
    exprs += [f"{of}::{kind}" for of in jsonb for kind in ("numeric", "integer", "boolean", "bigint")]
    postgres.table([("j", "text")], rows)
    ours = tool(lines=[{"columns": 1, "rows": rows}, *[expr.format("c0") for expr in exprs]])
    theirs = postgres.evaluate([expr.format("j") for expr in exprs])
    wrong = [f"{expr.format(repr(row[0]))}: {mine!r}; PostgreSQL: {their!r}"
             for expr, our, their_row in zip(exprs, ours, theirs) for row, mine, their in zip(rows, our, their_row)
             if mine != their and not (isinstance(mine, dict) and isinstance(their, dict))
             and not (isinstance(mine, dict) and mine["error"] == RANGE)]
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(sorted(wrong, key=len)[:30])


def near_or_same(ours, theirs, expr):
    """Their C library and our functions are both right but for the last bit or two."""
    if isinstance(ours, str) and isinstance(theirs, str):
        return ours == theirs or math.isclose(float(ours), float(theirs), rel_tol=1e-15)
    return same(ours, theirs, expr)


def test_inexact_functions(postgres):
    rng, _ = seed_for("test_inexact_functions")
    rows = [row for row in tool("--functions") if row["name"] in INEXACT and row_name(row) not in DIFFER]
    columns = [("d1", "double precision"), ("d2", "double precision")]
    edges = [[a, b] for a in VALUES["d"] for b in VALUES["d"]]
    values = edges + [[repr(a), repr(b)] for a, b in zip(doubles(rng, 2000), doubles(rng, 2000))]
    values += [[repr(rng.uniform(-2, 2)), repr(rng.uniform(-20, 20))] for _ in range(2000)]
    postgres.table(columns, values)
    calls = [("({} ^ {})" if row["name"] == "^" else row["name"] + ("({}, {})" if row["args"] == "dd" else "({})"))
             for row in rows]
    ours = tool(lines=[{"columns": 2, "rows": values},
                       *[call.format("c0::float8", "c1::float8") for call in calls]])
    theirs = postgres.evaluate([call.format("d1", "d2") for call in calls])
    wrong = [(call, value, mine, their) for call, mine_all, their_all in zip(calls, ours, theirs)
             for value, mine, their in zip(values, mine_all, their_all)
             if not near_or_same(mine, their, Expr("d", call, call))]
    assert not wrong, f"{len(wrong)}: {wrong[:10]}"


# ---- Arrays

ARRAYS = ["{}", "{1}", "{1,2,3}", "{3,NULL,-1}", "{NULL}", "{ 10 , 20 }", '{"1","2"}', "{1,,2}", "{1", "1}", "{a}", '{"a b",c}', "{{1}}",
          '{"","NULL",null,"x,y","\\"q\\"","\\\\"}', "{1}x", "{2147483648}", "", "{1.5,2.50}", "{t,f,true}", " {1,2} ", "{1, 2 ,3}",
          "{2026-01-31,2025-12-31}", '{"2026-01-31 10:00:00"}', "{a\\,b}", "{1e2,0.1}", "{é,日本}"]
ARRAY_TYPES = ["integer", "text", "boolean", "numeric", "double precision", "date", "timestamp", "bigint", "real"]
ARRAY_FORMS = [
    "{0}::{1}[]::text", "({0}::{1}[])[1]::text", "({0}::{1}[])[2]::text", "({0}::{1}[])[0]::text", "cardinality({0}::{1}[])",
    "array_length({0}::{1}[], 1)", "array_length({0}::{1}[], 2)", "{0}::{1}[] = '{{1,2,3}}'::{1}[]", "{0}::{1}[] < '{{1,2,3}}'::{1}[]",
    "{0}::{1}[] > '{{1}}'::{1}[]", "array_to_string({0}::{1}[], '|')", "array_to_string({0}::{1}[], '|', '-')",
    "'1'::{1} = ANY ({0}::{1}[])", "'1'::{1} <> ALL ({0}::{1}[])", "'2'::{1} < ANY ({0}::{1}[])", "NULL::{1} = ANY ({0}::{1}[])",
    "ARRAY[({0}::{1}[])[1], NULL, ({0}::{1}[])[2]]::text",
]


def test_arrays(postgres):
    rows = [[text] for text in ARRAYS]
    # Texts like {1} are dates here nowhere: a literal that is none of the type is refused when the definition is compiled.
    pairs = [(form, kind) for form in ARRAY_FORMS for kind in ARRAY_TYPES
             if kind not in ("boolean", "date", "timestamp") or "'" not in form.replace("'|'", "").replace("'-'", "")]
    forms = [(form.format("c0", kind), form.format("a", kind)) for form, kind in pairs]
    forms += [(f"string_to_array(c0, {by})::text", f"string_to_array(a, {by})::text") for by in ("','", "''", "'a'")]
    postgres.table([("a", "text")], rows)
    ours = tool(lines=[{"columns": 1, "rows": rows}, *[form[0] for form in forms]])
    theirs = postgres.evaluate([form[1] for form in forms])
    wrong = []
    for form, our, their_row in zip(forms, ours, theirs):
        if isinstance(our, dict):
            wrong.append(f"{form[0]} is refused: {our['refused']}")
            continue
        for row, mine, their in zip(rows, our, their_row):
            zeros = isinstance(mine, str) and "numeric" in form[1] and row[0] == "{1.5,2.50}"  # are not kept
            deep = row[0] == "{{1}}"  # arrays of arrays
            if mine != their and not (isinstance(mine, dict) and isinstance(their, dict)) and not zeros and not deep:
                wrong.append(f"{form[1]} for {row[0]!r}: {mine!r}; PostgreSQL: {their!r}")
    assert not wrong, f"{len(wrong)} differ:\n" + "\n".join(sorted(wrong, key=len)[:30])
