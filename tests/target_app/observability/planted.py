"""
Secrets to plant, and what merely looks a little like one.

They are put together when the tests run: none of them stands in the repository.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st

UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LOWER = UPPER.lower()
DIGITS = "0123456789"
ALNUM = UPPER + LOWER + DIGITS
URLSAFE = ALNUM + "-_"
HEX = DIGITS + "abcdef"


@dataclass(frozen=True)
class Planted:
    """A text with a secret in it, and the part that nobody may see."""

    kind: str
    text: str
    secret: str


def written(alphabet: str, least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most or least)


def _key(kind: str, *parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[Planted]:
    """A key that is a secret from its first letter to its last."""
    drawn = [part if not isinstance(part, str) else st.just(part) for part in parts]
    return st.tuples(*drawn).map("".join).map(lambda key: Planted(kind, key, key))


def _in(
    kind: str, before: str, secret: st.SearchStrategy[str], after: str = ""
) -> st.SearchStrategy[Planted]:
    return secret.map(lambda text: Planted(kind, f"{before}{text}{after}", text))


SIGNS = "!#$%*+-./:=?@^_~"
# Beginning with anything. Small letters and a digit in it: no word, no number, no $NAME.
PASSWORDS = st.tuples(
    written(ALNUM + SIGNS, 1),
    written(ALNUM + SIGNS, 3, 8),
    st.just("q"),
    written(DIGITS, 1),
    written(ALNUM + SIGNS, 3, 12),
    written(ALNUM, 1),
).map("".join)
PASSPHRASES = st.lists(written(LOWER, 4, 8), min_size=3, max_size=4).map(" ".join)
NAMES = written(LOWER, 5, 9).map(lambda name: "z" + name)
LINES_OF_KEY = st.lists(written(ALNUM + "+/", 64), min_size=3, max_size=8)

EMAILS = st.tuples(
    NAMES, st.sampled_from(["", ".", "+", "_", "-"]), NAMES, st.sampled_from(["@"]), NAMES,
    st.sampled_from([".com", ".co.uk", ".example", ".de"]),
).map("".join)  # fmt: skip


@st.composite
def _pem(draw: st.DrawFn) -> Planted:
    what = draw(st.sampled_from(["RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", ""]))
    lines = draw(LINES_OF_KEY)
    edge = "-" * 5
    end = draw(st.sampled_from([f"\n{edge}END {what}PRIVATE KEY{edge}", ""]))
    text = f"{edge}BEGIN {what}PRIVATE KEY{edge}\n" + "\n".join(lines) + end
    return Planted("private key", text, draw(st.sampled_from(lines)))


@st.composite
def _jwt(draw: st.DrawFn) -> Planted:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = part({"sub": draw(NAMES), "n": draw(st.integers(0, 10**9))})
    signature = draw(written(URLSAFE, 20, 43))
    text = ".".join([part({"alg": "HS256"}), claims, signature])
    return Planted("web token", text, draw(st.sampled_from([claims, signature])))


@st.composite
def _basic(draw: st.DrawFn) -> Planted:
    text = base64.b64encode(f"{draw(NAMES)}:{draw(PASSWORDS)}".encode()).decode()
    return Planted("basic", draw(st.sampled_from(["Basic ", "basic "])) + text, text)


@st.composite
def _assigned(draw: st.DrawFn) -> Planted:
    name = draw(
        st.sampled_from(
            ["password", "PASSWORD", "db_password", "PGPASSWORD", "passwd", "secret", "client_secret", "api_key",
             "apiKey", "API-KEY", "access_token", "auth-token", "secret_key", "private_key", "passphrase"]
        )
    )  # fmt: skip
    secret = draw(PASSWORDS)
    form = draw(
        st.sampled_from(
            ["{}={}", "{} = {}", "{}: {}", "{}:{}", '{}="{}"', "{}='{}'", '"{}": "{}"', "'{}': '{}'",
             "export {}={}", "{} := {}", "--{} {}", "--{}={}", "<{}>{}</x>", "?{}={}&page=2"]
        )
    )  # fmt: skip
    # Written so, a secret ends where the next parameter begins.
    return Planted("assigned", form.format(name, secret), secret)


@st.composite
def _phrase(draw: st.DrawFn) -> Planted:
    secret = draw(PASSPHRASES)
    form = draw(st.sampled_from(['"password": "{}"', "'password': '{}'", 'password="{}"']))
    return Planted("passphrase", form.format(secret), secret)


@st.composite
def _userinfo(draw: st.DrawFn) -> Planted:
    secret = draw(PASSWORDS.map(lambda text: text.replace("/", "-")))
    scheme = draw(st.sampled_from(["https", "postgresql", "redis", "amqp", "git+ssh"]))
    return Planted("userinfo", f"{scheme}://{draw(NAMES)}:{secret}@db.internal:5432/x", secret)


@st.composite
def _home(draw: st.DrawFn) -> Planted:
    name = draw(NAMES)
    form = draw(
        st.sampled_from(
            ["/home/{}", "/home/{}/notes/a.txt", "/Users/{}/notes", "file:///home/{}/x", "-I/home/{}/include",
             "PATH=/usr/bin:/home/{}/bin", "/mnt/c/Users/{}/x", "/var/home/{}/x", "C:\\Users\\{}\\notes.txt", "c:\\users\\{}",
             "C:\\Users\\{} Smith\\notes.txt", "/Users/{} Smith/notes", "C:\\Documents and Settings\\{}\\x", "\\\\server\\Users\\{}\\x"]
        )
    )  # fmt: skip
    return Planted("home", form.format(name), name)


KEYS: dict[str, st.SearchStrategy[Planted]] = {
    "openai": _key("openai", "sk-", written(ALNUM, 40, 48).map(lambda text: text + "A1")),
    "openai project": _key("openai project", "sk-", "proj-", written(URLSAFE, 40, 120), "A1"),
    "anthropic": _key("anthropic", "sk-", "ant-api03-", written(URLSAFE, 40, 90)),
    "langfuse secret": _key(
        "langfuse secret", "sk-", "lf-", written(HEX, 8), "-", written(HEX, 12)
    ),
    "langfuse public": _key(
        "langfuse public", "pk-", "lf-", written(HEX, 8), "-", written(HEX, 12)
    ),
    "github": _key("github", "gh", st.sampled_from("opsur"), "_", written(ALNUM, 36)),
    "github fine": _key(
        "github fine", "github_", "pat_", written(ALNUM, 22), "_", written(ALNUM, 59)
    ),
    "gitlab": _key("gitlab", "gl", "pat-", written(URLSAFE, 20)),
    "aws": _key("aws", st.sampled_from(["AKIA", "ASIA"]), written(UPPER + DIGITS, 16)),
    "aws secret": _in(
        "aws secret", "aws_secret_access_key = ", written(ALNUM + "+/", 40).map(lambda t: t + "q1")
    ),
    "azure": _in(
        "azure", "AccountName=x;AccountKey=", written(ALNUM + "+/", 86).map(lambda t: t + "==")
    ),
    "google": _key("google", "AI", "za", written(URLSAFE, 35)),
    "slack": _key(
        "slack", "xox", st.sampled_from("abprs"), "-", written(DIGITS, 12), "-", written(ALNUM, 24)
    ),
    "hugging face": _key("hugging face", "hf", "_", written(ALNUM, 34)),
    "stripe": _key("stripe", st.sampled_from(["sk", "rk"]), "_live_", written(ALNUM, 24)),
    "npm": _key("npm", "npm", "_", written(ALNUM, 36)),
    "telegram": _key("telegram", written(DIGITS, 10), ":AA", written(URLSAFE, 33)),
    "twilio": _key("twilio", "SK", written(HEX, 32)),
    "mailgun": _key("mailgun", "key", "-", written(HEX, 32)),
    "atlassian": _key("atlassian", "ATATT3", "xFfGF0", written(URLSAFE, 40, 60), "=1A"),
    "nvidia": _key("nvidia", "nv", "api-", written(URLSAFE, 60)),
    "web token": _jwt(),
    "private key": _pem(),
    "bearer": _in("bearer", "Bearer ", written(URLSAFE, 20, 60).map(lambda text: text + "A1")),
    "basic": _basic(),
    "authorization": _in("authorization", "Authorization: Token ", written(ALNUM, 20, 40)),
    "cookie": _in("cookie", "Cookie: sid=", written(ALNUM, 20, 40)),
    "curl": PASSWORDS.map(lambda text: text.replace("/", "-")).map(
        lambda text: Planted("curl", f"curl -u admin:{text} http://db", text)
    ),
    "assigned": _assigned(),
    "passphrase": _phrase(),
    "userinfo": _userinfo(),
    "e-mail": EMAILS.map(lambda text: Planted("e-mail", text, text)),
    "home": _home(),
}
"""Every shape that is redacted without being asked for."""

PLANTED = st.one_of(*KEYS.values())


def in_json(text: str) -> str:
    return json.dumps({"pattern": f"first\n{text}"})


CONTEXTS = {
    "alone": lambda text: text,
    "in a sentence": lambda text: f"it says {text} there",
    "at the start of a line": lambda text: f"first\n{text}\nlast",
    "after a tab": lambda text: f"key\t{text}\tx",
    "in brackets": lambda text: f"({text})",
    "in markup": lambda text: f"<b>{text}</b>",
    "after an umlaut": lambda text: f"für ü {text} ✓",
    "in JSON": in_json,
    "in JSON without ASCII": lambda text: json.dumps(f"ü\r\n{text}", ensure_ascii=False),
    "in JSON in JSON": lambda text: json.dumps({"arguments": in_json(text)}),
    "as Python writes it": lambda text: repr({"text": f"a\n{text}"}),
    "in a form": lambda text: f"/api/search?n=1&q={quote_plus(text)}",
    "in a query": lambda text: f"/api/search?q={quote(text, safe='')}&n=1",
    "behind another": lambda text: f"{text} and {text}",
}
"""What a secret can stand in."""


def forms(secret: str) -> set[str]:
    """Write a secret in each way that would tell it."""
    return {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(json.dumps(secret)[1:-1])[1:-1],
        repr(secret)[1:-1],
    }


# -- what must stay as it is

_WORDS = [
    "alpha",
    "beta",
    "release",
    "notes",
    "tutorial",
    "part",
    "guide",
    "meeting",
    "report",
    "draft",
    "basic",
    "bearer",
    "token",
    "password",
    "secret",
    "key",
    "home",
    "users",
    "root",
    "risk",
    "task",
    "desk",
    "disk",
    "mask",
    "sketch",
    "api",
    "auth",
    "team",
    "index",
    "readme",
]

WORDS = st.sampled_from(_WORDS)
FILE_NAMES = st.tuples(
    st.lists(WORDS, min_size=1, max_size=6).flatmap(
        lambda words: st.sampled_from("-_.").map(lambda joint: joint.join(words))
    ),
    st.sampled_from(["", "-2", "-2024-11-22", "_v10", "@2x"]),
    st.sampled_from([".md", ".txt", ".py", ".json", ".png"]),
).map(lambda parts: parts[0] + (parts[1] if parts[1] != "@2x" else "") + parts[2])
DOCUMENT_PATHS = st.lists(WORDS, min_size=1, max_size=4).flatmap(
    lambda folders: FILE_NAMES.map(lambda name: "/".join([*folders, name]))
)
HARMLESS = st.one_of(
    written(HEX, 32),  # a trace id
    written(HEX, 16),
    written(HEX, 64),  # a digest
    st.uuids().map(str),
    st.uuids().map(lambda value: f"session {value} of 2024-11-22T10:00:00.123456+00:00"),
    FILE_NAMES,
    DOCUMENT_PATHS,
    st.lists(WORDS, min_size=1, max_size=12).map(" ".join),
    st.integers(0, 10**6).map(lambda n: json.dumps({"input_tokens": n, "max_tokens": n, "total": n})),
    st.integers(0, 10**6).map(lambda n: f"tokens: {n}, time_to_first_token={n / 1000}"),
    st.integers(1, 9999).map(lambda n: f"teams/blue.txt:{n}:Blue keeps alpha running at 10:30, 50% done"),
    st.sampled_from(
        [
            "http://127.0.0.1:8000/api/chat", "https://example.com/a/b?page=2#top", "react@18.2.0", "icon@2x.png",
            "@pytest.fixture", "Basic information and basic requirements", "the bearer certificates",
            "def sign_in(password: str, token=None): ...", "-----BEGIN CERTIFICATE-----", "a = b; c: d", "C:\\Windows\\System32",
            "the token is missing", "sk-learn-tutorial-part-2.md", "/rooted/x", "/srv/home/index.html", "key: value",
        ]
    ),
)  # fmt: skip
