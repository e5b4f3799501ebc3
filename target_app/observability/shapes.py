r"""
What secrets look like: the shapes that redaction looks for, in RE2 syntax.

RE2 takes linear time whatever the text is. A secret is found by its shape alone, so each shape is
made to leave ids, digests, file names and ordinary prose in peace. Text is seen as UTF-8; escapes
in it (JSON, URLs) are undone before it comes here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import re2  # type: ignore[import-untyped]

SECRET = "[secret]"  # noqa: S105 - what is shown in its place
EMAIL = "[e-mail]"
HOME = "~"
OWN = "[redacted]"
"""What is shown for something that a pattern of the operator found."""

MIN_VALUE_CHARACTERS = 6
"""A secret known by its value is looked for from here on: shorter ones are in ordinary words."""


NAME_CHARACTERS = 40
"""How much of the end of a name tells whether it is the name of a secret."""


@dataclass(frozen=True, slots=True)
class Shape:
    """
    One shape. What its groups hold is hidden, what is around them is where it must stand.

    With `whole`, all of a match is hidden. `harmless` says of what was found that it is
    not a secret after all.
    """

    pattern: str
    shown: str
    harmless: Callable[[bytes], bool] | None = None
    whole: bool = False


def compiled(pattern: str, *, groups: bool = True) -> re2._Regexp:
    """Compile a pattern for bytes of UTF-8. Raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = not groups
    return re2.compile(pattern.encode(errors="replace"), options)


def check_own_patterns(patterns: Sequence[str]) -> None:
    """
    Check patterns of the operator. Raises ValueError, which names the bad one by its number.

    The pattern itself is not repeated: it may spell out what nobody is to see.
    """
    for number, pattern in enumerate(patterns, 1):
        try:
            search = compiled(pattern)
        except re2.error as error:
            fault = error.args[0] if error.args else "not understood"
            reason = fault.decode(errors="replace") if isinstance(fault, bytes) else str(fault)
            # "missing ): (abc" ends with the pattern, or with a part of it.
            said = reason.partition(": ")[0]
            raise ValueError(f"pattern {number} is not RE2 syntax: {said}") from None
        for text in (b"", b"a", b" ", b"a b", b"\n"):
            match = search.search(text)
            if match is not None and match.start() == match.end():
                raise ValueError(f"pattern {number} matches the empty text, hence everywhere")


def built_in() -> Iterator[Shape]:
    """Make the shapes that are always looked for."""
    yield Shape(_PEM, SECRET)
    yield Shape(f"{_LEFT}({'|'.join(_KEYS)})", SECRET)
    yield Shape(f"{_LEFT}(sk-[A-Za-z0-9_-]{{16,}})", SECRET, _is_kebab)
    yield Shape(_CREDENTIALS, SECRET, _is_prose)
    yield Shape(_AUTHORIZATION, SECRET)
    yield Shape(_AUTHORIZATION_LINE, SECRET)
    yield Shape(_COOKIE, SECRET)
    yield Shape(f"{_NAME}{_ASSIGNED}(?:{_QUOTED})", SECRET, _is_placeholder)
    yield Shape(f"{_NAME}{_ASSIGNED}({_WORD})", SECRET, _is_placeholder_of_a_line)
    yield Shape(f"{_NAME}[sS]?{_ASSIGNED}{_LIST}", SECRET)
    yield Shape(_SEVERAL, SECRET, _is_word_or_count)
    yield Shape(_PAIR, SECRET, _is_placeholder)
    yield Shape(_NAMED_VALUE, SECRET, _is_placeholder_of_a_line)
    yield Shape(_ELEMENT, SECRET, _is_placeholder)
    yield Shape(_LOGIN, SECRET)
    yield Shape(_OPTION, SECRET, _is_placeholder_of_a_line)
    yield Shape(rf"(?:{_SPACE}|^)(?:-u|--user){_SPACE}*[\"']?([^\s\"':]+:[^\s\"']+)", SECRET)
    yield Shape(r"://([^\s/\"'<>]+)@", SECRET)
    yield Shape(_EMAIL, EMAIL, _is_image)
    yield Shape(_MAC_HOMES, HOME)
    yield Shape(_HOMES, HOME)
    yield Shape(_WINDOWS_HOMES, HOME)
    yield Shape(f"{_LEFT_OF_PATH}(/root)(?:[^A-Za-z0-9_.-]|$)", HOME)
    home = _own_home()
    if home:
        yield Shape(f"({re2.escape(home)})(?:[^A-Za-z0-9_.-]|$)", HOME)


def of_values(secrets: Iterable[str]) -> Iterator[Shape]:
    """Make the shapes of secrets whose value is known, as they are and in base64."""
    for secret in secrets:
        if not _is_telling(secret):
            continue
        # The longest first: RE2 takes the first alternative that fits.
        words = sorted({secret, *_in_base64(secret)}, key=len, reverse=True)
        yield Shape("|".join(re2.escape(word) for word in words), SECRET, whole=True)


def of_operator(patterns: Sequence[str]) -> Iterator[Shape]:
    """Make the shapes of the operator's own patterns. Raises ValueError for a bad one."""
    check_own_patterns(patterns)
    # Their groups are for their own use: the whole match is hidden.
    return (Shape(pattern, OWN, whole=True) for pattern in patterns)


@lru_cache(1024)
def is_secret_name(name: str) -> bool:
    """Whether what has a name that ends so is a secret, such as `db_password`."""
    return _SECRET_NAME.search(name) is not None


# -- patterns

_SPACE = r"[\s+]"
"""In a query, a plus sign stands for a space."""

_LEFT = r"(?:^|[^0-9A-Za-z])"
"""Where a word begins."""

_KEYS = (
    r"sk-(?:proj|svcacct|admin|ant|or)-[A-Za-z0-9_-]{12,}",
    r"[sp]k-lf-[A-Za-z0-9-]{8,}",
    r"gh[oprsu]_[A-Za-z0-9]{20,}",
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"gl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|soat)-[A-Za-z0-9_.-]{16,}",
    r"A(?:BIA|CCA|IDA|KIA|ROA|SIA)[A-Z0-9]{16}",
    r"AIza[A-Za-z0-9_-]{30,}",
    r"GOCSPX-[A-Za-z0-9_-]{20,}",
    r"ya29\.[A-Za-z0-9_-]{20,}",
    r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}",
    r"xapp-[0-9]-[A-Za-z0-9-]{10,}",
    r"hooks\.slack\.com/services/[A-Za-z0-9/]{10,}",
    r"hf_[A-Za-z0-9]{20,}",
    r"[prs]k_(?:live|test)_[A-Za-z0-9]{10,}",
    r"whsec_[A-Za-z0-9+/=]{20,}",
    r"npm_[A-Za-z0-9]{30,}",
    r"pypi-AgE[A-Za-z0-9_-]{20,}",
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    r"dckr_pat_[A-Za-z0-9_-]{20,}",
    r"do[opr]_v1_[0-9a-f]{40,}",
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    r"dapi[0-9a-f]{32}",
    r"glsa_[A-Za-z0-9]{20,}",
    r"(?:gsk|lin_api|r8)_[A-Za-z0-9]{20,}",
    r"(?:xai|pplx)-[A-Za-z0-9]{20,}",
    r"hv[bs]\.[A-Za-z0-9_-]{20,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{20,}",
    r"nvapi-[A-Za-z0-9_-]{20,}",
    r"AT[AC]TT3[A-Za-z0-9_=-]{20,}",
    r"SK[0-9a-f]{32}",
    r"key-[0-9a-f]{32}",
    # Of a Telegram bot, in an address too.
    r"(?:bot)?[0-9]{8,10}:AA[A-Za-z0-9_-]{30,}",
    # A JSON Web Token, its signature there or not.
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*",
)

_PEM = (
    rf"(-----BEGIN{_SPACE}(?:[A-Z0-9]{{1,12}}{_SPACE}){{0,3}}PRIVATE{_SPACE}KEY"
    r"(?s:.*?)(?:-----END[A-Z0-9 +%]*(?:-----)?|\z))"
)
"""A private key, up to the end of the text when its last line is not there."""

_CREDENTIALS = rf"{_LEFT}(?i:bearer|basic)[ \t+]+([A-Za-z0-9._~+/=-]{{8,}})"

_NAME = (
    r"(?i:passw(?:or)?d|pwd|passphrase|passcode|[_-]pass|secret|credentials?|token|"
    r"(?:access|account|api|auth|client|encryption|license|master|private|secret|service|shared|"
    r"signing|subscription)[ +_.-]?key)"
)
_SECRET_NAME = re.compile(rf"(?:{_NAME}[sS]?|(?i:\bpass|authorization|cookie))\Z")
_ASSIGNED = rf"[\"']?{_SPACE}*[:=]{{1,2}}>?{_SPACE}*"
_QUOTED = r"\"((?:[^\"\\]|\\(?s:.))+)|'((?:[^'\\]|\\(?s:.))+)"
_ITEM = r"(?:\"(?:[^\"\\]|\\(?s:.))*\"?|'(?:[^'\\]|\\(?s:.))*'?)"
_LIST = rf"\[\s*({_ITEM}(?:\s*,\s*{_ITEM})*)"
_WORD = r"[^\s\"'&\\<>{}\[\](),;|][^\s\"'&<]*"
# A plural, or what is also an ordinary word, tells less of what follows.
_SEVERAL = rf"(?:{_NAME}[sS]|\b(?i:pass)){_ASSIGNED}(?:-\s+)?(?:{_QUOTED}|({_WORD}))"
_PAIR = (
    rf"[\[(]\s*b?[\"'][A-Za-z0-9_.-]*(?:{_NAME}|(?i:authorization|cookie))[\"']\s*,\s*"
    rf"b?(?:{_QUOTED})[\"']\s*[\])]"
)
_NAMED_VALUE = (
    rf"\b(?i:name|key)[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9_.-]*{_NAME}[\"']?\s*,?\s*"
    rf"[\"']?(?i:value)[\"']?\s*[:=]\s*(?:{_QUOTED}|({_WORD}))"
)
_LOGIN = (
    r"(?:\b(?:mysql|mariadb)[a-z]*\s(?:[^\n|;&]*\s)?-p|\bsshpass\s+-p\s*|"
    r"(?:\bmachine\s+\S+|\bdefault)\s+login\s+\S+\s+password\s+)[\"']?([^\s\"']+)"
)
_ELEMENT = rf"<[A-Za-z_:-]*{_NAME}>\s*([^\s<][^<]*)<"
_AUTHORIZATION = (
    rf"(?i:authorization){_ASSIGNED}[\"']?((?:[A-Za-z0-9-]+{_SPACE}+)?[^\s\"'\\,;]{{4,}})"
)
_OPTION = rf"--?[A-Za-z_-]*{_NAME}{_SPACE}+[\"']?({_WORD})"
# A header has its line for itself.
_AUTHORIZATION_LINE = (
    r"(?i:authorization)[\"']?\s*:\s*(?:b?[\"'])?([^\s\"'\\&<][^\"'\\&<\r\n]{3,})"
)
_COOKIE = rf"(?i:cookie){_ASSIGNED}[\"']?([^\s\"'\\=;]+=[^\"'\\\r\n]*)"

_LOCAL = r"A-Za-z0-9_.+\x{80}-\x{10ffff}-"
_DOMAIN = r"@(?:[A-Za-z0-9\x{80}-\x{10ffff}-]+\.)+[A-Za-z\x{80}-\x{10ffff}]{2,}"
_EMAIL = (
    # An escaped letter before it is no part of it: there is none in `\n@decorator.of`.
    # A quote is part of it in O'Brien and D'Angelo only: in b'...' it is Python's.
    rf"(?:^|[^\\{_LOCAL}]|\\[bfnrtv])((?:[{_LOCAL}]*[DLMOdlmo]')?[{_LOCAL}]+{_DOMAIN})|"
    rf"\\([A-Zac-eg-mo-qsuw-z0-9_.+\x{{80}}-\x{{10ffff}}-][{_LOCAL}]*{_DOMAIN})"
)

# A path after a double slash begins anew, as in /api//home/x.
_LEFT_OF_PATH = r"(?:^|/|[^0-9A-Za-z_.~/-]|(?:^|[^0-9A-Za-z])-[A-Za-z]|file:/*)/*"
_USER = r"[^\s/\\\"'<>|:;,(){}\[\]?*&#%=`]+"
_HOMES = (
    rf"{_LEFT_OF_PATH}((?:/mnt)?(?:/[A-Za-z]|/var|/usr|/export)?"
    rf"/(?:home|Users)/{_USER})"
)
_WINDOWS_HOMES = (
    r"(?:((?:[A-Za-z]:|\\\\[^\s\\/]+)?\\+(?i:users|documents[ +]and[ +]settings)\\+"
    # Names with a space in them are known by the folder that follows.
    r"[^\\/:*?\"'<>|\r\n]{1,64})\\|"
    r"((?:[A-Za-z]:|\\\\[^\s\\/]+)?\\+(?i:users|documents[ +]and[ +]settings)\\+"
    r"[^\s\\/:*?\"'<>|]+))"
)
_MAC_HOMES = rf"{_LEFT_OF_PATH}(/Users/{_USER}[ +][A-Z]{_USER})/"
"""A name of two words, known by the folder that follows."""


# -- what is harmless

_PLAIN_WORDS = re.compile(rb"[A-Za-z]?[a-z]+([-/.][a-z]+)*[.]?")
_KEBAB = re.compile(rb"sk(-[a-z]{0,15}|-[0-9]{1,8}|-[a-z]{1,10}[0-9]{1,4}|_[a-z]{0,15})+")
_PLACEHOLDER = re.compile(
    rb"(?:[+-]?[0-9]{1,5}([.][0-9]+)?([eE][+-]?[0-9]+)?%?|\*{3,}|"
    rb"\$[A-Z_][A-Z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\}|\[(?:secret|e-mail|redacted)\]|"
    # A key of base64 can begin with a slash, but not like this.
    rb"/(?:(?i:app|bin|data|dev|etc|home|lib|media|mnt|opt|proc|root|run|srv|tmp|users|usr|var|"
    rb"workspace)(?:/[A-Za-z0-9_./-]*)?)?)[),;:\]}.>`]*"
)
_WORD_OR_COUNT = re.compile(rb"[A-Za-z]?[a-z_./()\[\]-]{0,40}[,;:]?|[0-9]{1,15}[),;:\]}.>]*")
_END_OF_LINE = re.compile(rb"\\+(?:[nrt]|$)")
_PLACEHOLDERS = frozenset(
    b"a an and any are array as at bool boolean bytes by can empty expired false float for from "
    b"has if in int integer invalid is it list may missing must needed no none not null number "
    b"object of on optional or required see set should str string that the this to true undefined "
    b"unset was when where which will with wrong you your".split()
)
_IMAGES = frozenset((b"gif", b"jpeg", b"jpg", b"png", b"svg", b"webp"))


def _is_prose(found: bytes) -> bool:
    """Tell "basic requirements" and "bearer certificate" from credentials."""
    return len(found) < 24 and _PLAIN_WORDS.fullmatch(found) is not None


def _is_kebab(found: bytes) -> bool:
    """Tell a file name such as sk-learn-tutorial-part-2 from a key."""
    return _KEBAB.fullmatch(found) is not None


def _is_placeholder(found: bytes) -> bool:
    """Tell a type, a flag, a number, a variable or a path (`pwd=/srv`) from a secret."""
    word = found.strip()
    return (
        word.rstrip(b"),;:]}.>").lower() in _PLACEHOLDERS
        or _PLACEHOLDER.fullmatch(word) is not None
    )


def _is_placeholder_of_a_line(found: bytes) -> bool:
    r"""The same of what no quotes end: after the letters `\n` comes the next line, in JSON."""
    return _is_placeholder(_END_OF_LINE.split(found.strip(), 1)[0])


def _is_word_or_count(found: bytes) -> bool:
    """Tell "tokens: 1234567", "second pass: compile" and code from secrets."""
    word = _END_OF_LINE.split(found.strip(), 1)[0]
    return _WORD_OR_COUNT.fullmatch(word) is not None or _is_placeholder(word)


def _is_image(found: bytes) -> bool:
    """Tell icon@2x.png from an address."""
    return found.rpartition(b".")[2].lower() in _IMAGES


def _is_telling(secret: str) -> bool:
    """Whether a value is long enough not to stand in ordinary words by chance."""
    if len(secret) >= MIN_VALUE_CHARACTERS + 2:
        return True
    return len(secret) >= MIN_VALUE_CHARACTERS and not (secret.isalpha() or secret.isdigit())


def _in_base64(secret: str) -> Iterator[str]:
    """Write a secret as it stands in the base64 of a longer text, at each of three places."""
    data = secret.encode(errors="replace")
    for before in range(3):
        # Characters that also hold bits of the neighbours are left out.
        text = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        usable = (before + len(data)) * 8 // 6
        core = text[-(-before * 8 // 6) : usable]
        if len(core) >= 2 * MIN_VALUE_CHARACTERS:
            yield core
            yield core.replace("+", "-").replace("/", "_")


def _own_home() -> str:
    """Where the app's own user lives, when that is a place that names somebody."""
    try:
        home = str(Path.home())
    except RuntimeError:
        return ""
    return home if len(home) > 3 and home != "/root" else ""
