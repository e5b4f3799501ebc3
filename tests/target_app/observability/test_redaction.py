"""Secrets are hidden, and nothing else is."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from target_app.observability.redaction import (
    CONTENT_CHARACTERS,
    LONG_CHARACTERS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_ITEMS,
    SCANNED_CHARACTERS,
    WITHHELD,
    Redactor,
    make_redactor,
)
from target_app.observability.shapes import check_own_patterns
from target_app.settings import Settings, SettingsError, load_settings
from tests.target_app.observability.planted import (
    ALNUM,
    CONTEXTS,
    HARMLESS,
    KEYS,
    PLANTED,
    Planted,
    forms,
    written,
)

REDACTOR = Redactor()
VALUE = "Tr0ub4dor/" + "&3+x"
"""A secret known by its value only, with signs that every encoding writes differently."""


def leaked(planted: Planted, shown: str) -> list[str]:
    return [form for form in forms(planted.secret) if form in shown]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("kind", KEYS)
def test_every_shape_is_hidden_wherever_it_stands(kind: str, context: str) -> None:
    @given(KEYS[kind])
    @settings(max_examples=8, deadline=None)
    def hidden(planted: Planted) -> None:
        shown = REDACTOR.text(CONTEXTS[context](planted.text))
        assert leaked(planted, shown) == []

    hidden()


@given(st.lists(PLANTED, min_size=2, max_size=4), st.sampled_from([" ", "\n", ", ", " | ", "; "]))
@settings(deadline=None)
def test_secrets_beside_each_other_are_all_hidden(several: list[Planted], between: str) -> None:
    shown = REDACTOR.text(between.join(planted.text for planted in several))

    assert [leaked(planted, shown) for planted in several] == [[] for _ in several]


@given(HARMLESS, HARMLESS)
@settings(max_examples=400, deadline=None)
def test_what_is_no_secret_stays(one: str, other: str) -> None:
    for text in (one, f"see {one}, and {other}.", json.dumps({"text": f"{one}\n{other}"})):
        assert REDACTOR.text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ask bob@example.com.", "ask [e-mail]."),
        ("jürgen@müller.de", "[e-mail]"),
        (r"\nzoe@example.com", r"\n[e-mail]"),
        (r"\n@pytest.fixture", r"\n@pytest.fixture"),
        ("/home/alice/docs and /root/.ssh", "~/docs and ~/.ssh"),
        (r"C:\Users\John Smith\notes.txt", r"~\notes.txt"),
        ("https://me:hunter2@host/x", "https://[secret]@host/x"),
        ('{"api_key": "a b c", "page": 2}', '{"api_key": "[secret]", "page": 2}'),
        (r"{\"password\": \"a b c\", \"page\": 2}", r"{\"password\": \"[secret]\", \"page\": 2}"),
        ("password=hunter2 page=2", "password=[secret] page=2"),
        ("Authorization: Bearer abc123def456", "Authorization: [secret]"),
        ("curl -H 'X-Api-Key: abc123' x", "curl -H 'X-Api-Key: [secret]' x"),
        ("<password>hunter2</password>", "<password>[secret]</password>"),
        ("time_to_first_token=0.53", "time_to_first_token=0.53"),
        ("API_TOKEN: is empty; leave it out", "API_TOKEN: is empty; leave it out"),
        ("", ""),
    ],
)
def test_what_is_shown_instead(text: str, shown: str) -> None:
    assert REDACTOR.text(text) == shown


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        # What begins like a path, a variable or something masked already.
        ("DB_PASSWORD=$Hunter2xyz", "Hunter2xyz"),
        ("DB_PASSWORD=${UNSET:-Hunter2xyz}", "Hunter2xyz"),
        ("password: ***Hunter2xyz", "Hunter2xyz"),
        ('password = "[secret] Hunter2xyz"', "Hunter2xyz"),
        ("db_pwd=/Hunter2xyz", "Hunter2xyz"),
        ('{"client_secret": "/9j4AAQSkZJRgABAQ=="}', "9j4AAQSkZJRgABAQ"),
        # What an escape cuts in two.
        (r'{"password": "1234\"Hunter2xyz"}', "Hunter2xyz"),
        (r'{"password": "none\"Hunter2xyz"}', "Hunter2xyz"),
        (json.dumps(json.dumps({"password": '1234"Hunter2xyz'})), "Hunter2xyz"),
        # A name here, its value there.
        ('{"name": "DB_PASSWORD", "value": "Hunter2xyz"}', "Hunter2xyz"),
        ("{'key': 'api_key', 'value': 'Hunter2xyz'}", "Hunter2xyz"),
        ("- name: DB_PASSWORD\n  value: Hunter2xyz\n", "Hunter2xyz"),
        ('["X-Api-Key", "Hunter2xyz"]', "Hunter2xyz"),
        ("[(b'authorization', b'Hunter2xyz')]", "Hunter2xyz"),
        ("secret:\n  api_key: Hunter2xyz", "Hunter2xyz"),
        ('password=\n"password": "Hunter2xyz"', "Hunter2xyz"),
        # Several, and other names.
        ("passwords: Hunter2xyz", "Hunter2xyz"),
        ('{"tokens": ["abc", "Hunter2xyz"]}', "Hunter2xyz"),
        ("api_keys=Hunter2xyz", "Hunter2xyz"),
        ("user: zoe\npass: Hunter2xyz", "Hunter2xyz"),
        ("machine db login zoe password Hunter2xyz", "Hunter2xyz"),
        ("mysql -u root -pHunter2xyz shop", "Hunter2xyz"),
        ("sshpass -p Hunter2xyz ssh db", "Hunter2xyz"),
        ("Authorization: Token abc Hunter2xyz", "Hunter2xyz"),
        ("o'brien@example.com", "o'"),
        ("sean.o'brien@example.com", "sean"),
    ],
)
def test_what_is_easily_missed_is_hidden(text: str, secret: str) -> None:
    assert secret not in REDACTOR.text(text)


@pytest.mark.parametrize(
    "form", ["aws_secret_access_key = {}", "AccountKey={};x=1", '{{"client_secret": "{}"}}']
)
@pytest.mark.parametrize("first", ["/", "+", "$", "*", "-", "."])
def test_a_random_key_is_hidden_whatever_it_begins_with(form: str, first: str) -> None:
    random = Random(1)
    keys = [
        first + "".join(random.choices(ALNUM + "+/", k=39 if "aws" in form else 85)) + "=="
        for _ in range(300)
    ]

    assert [key for key in keys if key[1:-2] in REDACTOR.text(form.format(key))] == []


@pytest.mark.parametrize(
    "text",
    [
        "PWD=/srv/documents and OLDPWD=/var/lib/app-2",
        "private_key: /etc/ssl/private/app-2024.pem",
        'password: "$DB_PASSWORD", secret=${VAULT_SECRET};',
        "password=*** token: ********",
        r'{"text": "token: none\nnext line"}',
        "tokens: prompt and completion, max_tokens=4096 total_tokens: 1234567",
        '{"tokens": [15496, 11, 995], "tokens": {"input": 5}}',
        "prompt_tokens=usage.input_tokens, tokens = len(words)",
        "see `PWD=/srv`",
        "tests pass: 31, fail: 2; second pass: compile",
        '["name", "value"] {"name": "page", "value": "two"}',
        "the mysql -p option asks; mysql -P 3306",
        "b'x' and it's at o'clock @ noon",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert REDACTOR.text(text) == text


# -- cutting


def test_a_long_text_is_cut_and_its_length_told() -> None:
    assert REDACTOR.text("x" * 1000) == "x" * 1000
    assert REDACTOR.text("x" * 1001) == "x" * 1000 + "... (1001 characters)"
    assert REDACTOR.text("ü" * 5000) == "ü" * 1000 + "... (5000 characters)"


@given(
    PLANTED,
    st.integers(0, 1100),
    st.integers(0, 3000),
    st.sampled_from(["x ", "\n", "ü ", "a@example.com ", "password=hunter2 "]),
)
@settings(max_examples=400, deadline=None)
def test_a_cut_leaves_no_half_of_a_secret(
    planted: Planted, before: int, after: int, filler: str
) -> None:
    text = (filler * before)[:before] + "\n" + planted.text + "\n" + "y " * after
    shown = REDACTOR.text(text)

    # Of a secret in one piece, not even the first dozen characters; home names are shorter.
    assert planted.secret[:12] not in shown
    assert planted.secret not in shown


def test_what_follows_many_hidden_texts_is_not_pulled_into_the_cut() -> None:
    key = "gh" + "p_" + "aB3" * 12
    # What is looked at ends within the key, where too little of it is left to be known for one.
    text = ("zoe@example.com " * 200)[:2014] + " " + key

    shown = REDACTOR.text(text)

    assert key[:4] not in shown
    assert shown == "[e-mail] " * 62 + f"[e-mail]... ({len(text)} characters)"


# -- values


def test_a_value_keeps_its_shape() -> None:
    value = {"a": [1, 2.5, True, None, "text"], "b": {"c": ("x", frozenset(["y"]))}}

    assert REDACTOR.value(value) == {"a": [1, 2.5, True, None, "text"], "b": {"c": ["x", ["y"]]}}


def test_strings_and_keys_in_a_value_are_redacted() -> None:
    value = {"ann@example.com": 1, "bob@example.com": ["carol@example.com"], 7: "seven"}

    assert REDACTOR.value(value) == {"[e-mail]": 1, "[e-mail] 2": ["[e-mail]"], "7": "seven"}


def test_many_names_that_look_the_same_are_numbered() -> None:
    value: dict[str, int] = {f"z{n}@example.com": n for n in range(1000)}

    shown = REDACTOR.value({"[e-mail] 3": -1, **value})

    assert list(shown)[:4] == ["[e-mail] 3", "[e-mail]", "[e-mail] 2", "[e-mail] 4"]
    assert list(shown.values()) == [-1, *range(1000)]
    assert max(map(len, shown)) == len("[e-mail] 1001")


@pytest.mark.parametrize(
    "name", ["password", "db_password", "API_KEY", "x-api-key", "clientSecret", "Authorization", "Cookie", "pass", "passwords", "api_keys"]
)  # fmt: skip
@pytest.mark.parametrize("value", ["hunter2", 12345678, ["hunter2"], {"value": "hunter2"}])
def test_what_has_the_name_of_a_secret_is_hidden(name: str, value: Any) -> None:
    assert REDACTOR.value({name: value}) == {name: "[secret]"}


def test_a_name_beside_its_value_hides_it() -> None:
    value = [{"name": "DB_PASSWORD", "value": "hunter2"}, ("X-Api-Key", "hunter2"), ("a", "b")]

    assert REDACTOR.value(value) == [
        {"name": "DB_PASSWORD", "value": "[secret]"},
        ["X-Api-Key", "[secret]"],
        ["a", "b"],
    ]


def test_counts_of_tokens_are_no_secrets() -> None:
    counts = {
        "input_tokens": 5,
        "max_tokens": 9,
        "token": 3,
        "tokens": {"input": 5, "ids": [15496, 11]},
        "time_to_first_token": 0.25,
        "password": None,
    }

    assert REDACTOR.value(counts) == counts


def test_a_deep_value_and_a_cycle_end_somewhere() -> None:
    cycle: list[Any] = ["a"]
    cycle.append(cycle)
    text = json.dumps(REDACTOR.value(cycle))

    assert text.count('"a"') == MAX_DEPTH
    assert '"[too deep]"' in text


def test_a_wide_value_is_cut() -> None:
    shown = REDACTOR.value([list(range(1500)), {str(n): n for n in range(1500)}])

    assert len(shown[0]) + len(shown[1]) == MAX_ITEMS - 2 + 1
    assert shown[1]["..."] == "[too many]"


def test_a_long_value_is_cut_whatever_it_is_made_of() -> None:
    texts = [f"{n:04d}" + "x" * 896 for n in range(MAX_ITEMS - 1)]
    fitting = -(-MAX_CHARACTERS // 900)

    for value in (texts, [texts], {"a": texts}, dict.fromkeys(texts, 1)):
        shown = json.dumps(REDACTOR.value(value))
        assert shown.count("xxxx" * 200) == fitting
        assert shown.count("[too many]") == 1


class Odd:
    def __str__(self) -> str:
        return "odd: zoe@example.com"


class Broken:
    def __str__(self) -> str:
        raise RuntimeError


def test_other_objects_become_their_redacted_text() -> None:
    value = [
        Odd(),
        Path("/home/zoe/x"),
        ValueError("zoe@example.com"),
        b"zoe@example.com",
        2**80,
        10**6000,
    ]

    assert REDACTOR.value(value) == [
        "odd: [e-mail]", "~/x", "[e-mail]", "b'[e-mail]'", str(2**80), WITHHELD,
    ]  # fmt: skip


def test_one_part_that_cannot_be_read_does_not_hide_the_rest() -> None:
    assert REDACTOR.value({"a": Broken(), "b": 1}) == {"a": WITHHELD, "b": 1}
    assert REDACTOR.value({Broken(): 1}) == {WITHHELD: 1}


def test_a_mapping_that_changes_meanwhile_is_withheld() -> None:
    class Changing(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError

    assert REDACTOR.value(Changing(a=1)) == WITHHELD


def test_numbers_that_no_exporter_can_write_become_text() -> None:
    assert REDACTOR.value([float("nan"), float("inf")]) == ["nan", "inf"]


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=20)),
        lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=9), parts, max_size=4),
        max_leaves=20,
    )
)  # fmt: skip
@settings(deadline=None)
def test_any_value_can_be_written_afterwards(value: Any) -> None:
    json.dumps(REDACTOR.value(value), allow_nan=False, ensure_ascii=False).encode()


@given(st.text())
@example("\ud800 zoe@example.com \x00")
@settings(deadline=None)
def test_any_text_can_be_written_afterwards(text: str) -> None:
    REDACTOR.text(text).encode()
    assert "zoe@example.com" not in REDACTOR.text(text)


def test_half_characters_and_nuls_hide_nothing() -> None:
    assert REDACTOR.text("\ud800zoe@example.com\x00") == "?[e-mail]\x00"


# -- long texts, as in the log


def test_of_a_long_text_the_ends_stay() -> None:
    text = "start " + "x" * 40_000 + " end"

    shown = REDACTOR.long_text(text)

    assert shown.startswith("start x")
    assert shown.endswith("x end")
    assert f"... ({len(text)} characters) ..." in shown
    assert len(shown) < LONG_CHARACTERS + 40


@given(
    PLANTED,
    st.sampled_from(
        [LONG_CHARACTERS // 2, LONG_CHARACTERS, SCANNED_CHARACTERS - 1024, SCANNED_CHARACTERS]
    ),
    st.integers(0, 120),
)
@settings(deadline=None)
def test_no_half_of_a_secret_stays_of_a_long_text(planted: Planted, edge: int, back: int) -> None:
    text = ("x " * edge)[: edge - back] + " " + planted.text + " y" * edge

    assert planted.secret[:12] not in REDACTOR.long_text(text)


# -- what the operator adds


def test_patterns_of_the_operator_are_hidden() -> None:
    redactor = Redactor(["CUST-[0-9]{4,}", "(?i)project (?P<name>zeus|hera)", "(?P<name>x)-ray"])

    assert redactor.text("cust CUST-12345, Project ZEUS, x-ray") == (
        "cust [redacted], [redacted], [redacted]"
    )


def test_a_pattern_is_found_although_it_overlaps_a_known_shape() -> None:
    redactor = Redactor(["alice/plan-[a-z]+", "ann@"])

    assert redactor.text("/home/alice/plan-nine!") == "~!"
    assert redactor.text("ann@example.com") == "[e-mail]"
    assert redactor.text("ann@") == "[redacted]"


def test_a_pattern_finds_numbers_too() -> None:
    redactor = Redactor([r"\b4[0-9]{15}\b"])

    assert redactor.value({"card": 4111111111111111, "n": 5}) == {"card": "[redacted]", "n": 5}


@pytest.mark.parametrize(
    ("patterns", "reason"),
    [
        (["fine", "(abc"], "pattern 2 is not RE2 syntax: missing )"),
        (["a(?=b)"], "pattern 1 is not RE2 syntax: invalid perl operator"),
        (["x*"], "pattern 1 matches the empty text, hence everywhere"),
        ([r"\b"], "pattern 1 matches the empty text, hence everywhere"),
        ([""], "pattern 1 matches the empty text, hence everywhere"),
        (["a", "$"], "pattern 2 matches the empty text, hence everywhere"),
    ],
)
def test_a_bad_pattern_is_named_by_its_number(patterns: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match="pattern") as refused:
        check_own_patterns(patterns)
    assert str(refused.value) == reason
    with pytest.raises(ValueError, match="pattern"):
        Redactor(patterns)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, documents: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    monkeypatch.setenv("DATA_ROOT_PATH", str(documents))
    return monkeypatch


@pytest.mark.parametrize(
    ("written_as", "fault"),
    [
        ('["ok", "(bad"]', "REDACT_PATTERNS: pattern 2 is not RE2 syntax: missing )"),
        ('[".*"]', "REDACT_PATTERNS: pattern 1 matches the empty text, hence everywhere"),
        (
            "not json",
            'REDACT_PATTERNS: a JSON list of patterns is wanted, such as ["CUST-[0-9]+"]',
        ),
    ],
)
def test_settings_with_a_bad_pattern_are_refused(
    environment: pytest.MonkeyPatch, written_as: str, fault: str
) -> None:
    environment.setenv("REDACT_PATTERNS", written_as)

    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value) == fault


def test_patterns_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("REDACT_PATTERNS", '["CUST-[0-9]{2,3}", "a,b"]')

    chosen = load_settings()

    assert chosen.redact_patterns == ("CUST-[0-9]{2,3}", "a,b")
    assert make_redactor(chosen).text("CUST-12 a,b") == "[redacted] [redacted]"


# -- secrets known by their value


def test_the_apps_own_secrets_are_hidden(documents: Path) -> None:
    chosen = Settings(
        data_root_path=documents,
        openai_api_key="plain-value-1",
        azure_openai_api_key="plain-value-2",
        langfuse_secret_key="plain-value-3",
        api_token="plain-value-4",
    )

    assert make_redactor(chosen).text(" ".join(f"plain-value-{n}" for n in range(1, 6))) == (
        "[secret] [secret] [secret] [secret] plain-value-5"
    )


@pytest.mark.parametrize(
    "text",
    [
        VALUE,
        f"x{VALUE}x",
        quote(VALUE, safe=""),
        quote(VALUE, safe="").replace("2F", "2f").replace("2B", "2b"),
        json.dumps(VALUE),
        json.dumps(json.dumps({"a": VALUE})),
        base64.b64encode(VALUE.encode()).decode(),
        base64.b64encode(f"ab:{VALUE}!".encode()).decode(),
        base64.urlsafe_b64encode(f"abcd:{VALUE}!".encode()).decode(),
    ],
)
def test_a_known_value_is_hidden_however_it_is_written(text: str) -> None:
    shown = Redactor(secrets=[VALUE]).text(f"see {text} there")

    assert "[secret]" in shown
    # Base64 keeps what shares a sign with a neighbour: less than two bytes at each end.
    assert VALUE[:6] not in shown
    assert base64.b64encode(VALUE.encode()).decode()[4:14] not in shown


@given(st.text(ALNUM + "\"\\/+= äß'", min_size=8, max_size=40), st.sampled_from(list(CONTEXTS)))
@settings(max_examples=100, deadline=None)
def test_any_known_value_is_hidden(value: str, context: str) -> None:
    shown = Redactor(secrets=[value]).text(CONTEXTS[context](value))

    # Python's repr, and JSON that leaves out umlauts, write some values in ways of their own.
    if value.isalnum() and value.isascii():
        assert leaked(Planted("value", value, value), shown) == []
    assert context in {"as Python writes it", "in JSON", "in JSON in JSON"} or value not in shown


def test_short_values_are_not_looked_for() -> None:
    redactor = Redactor(secrets=["", "sk", "unused", "12345678"[:6], "ab12cd"])

    assert redactor.text("sk unused 123456 ab12cd") == "sk unused 123456 [secret]"


def test_the_own_home_is_hidden_wherever_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    redactor = Redactor()

    assert redactor.text(f"{tmp_path}/notes and {tmp_path}") == "~/notes and ~"
    assert redactor.text(f"{tmp_path}-other/x") == f"{tmp_path}-other/x"


def test_without_a_home_the_rest_works() -> None:
    program = (
        "import pathlib\n"
        "def no(): raise RuntimeError\n"
        "pathlib.Path.home = staticmethod(no)\n"
        "from target_app.observability.redaction import Redactor\n"
        "print(Redactor().text('zoe' + '@example.com'))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )
    assert ended.stdout == "[e-mail]\n"


# -- bounds


@pytest.mark.parametrize(
    "piece",
    ["a@", "a@b.co,", "://", "password=", 'token="', "-----BEGIN RSA PRIVATE KEY", "eyJ", "/home/", "\\", '\\"',
     "%40", "é@é.éé ", "sk-", "bearer ", "--password ", "<password>", "x:y@",
     "password:\n", 'tokens: ["', '["token", "', "name: token value: ", "mysql -u ", "o'a@b.co'"],
)  # fmt: skip
def test_no_text_is_worse_than_linear(piece: str) -> None:
    def steps(times: int) -> int:
        """Count the bytes that searches read: each is linear in them."""
        redactor = Redactor()
        count = 0

        class Counted:
            def __init__(self, search: Any) -> None:
                self.search_in = search

            def search(self, data: bytes, at: int = 0) -> Any:
                nonlocal count
                match = self.search_in.search(data, at)
                count += 1 + (len(data) if match is None else match.end()) - at
                return match

        redactor._first = [Counted(search) for search in redactor._first]
        redactor._kinds = [
            (Counted(search), [(shape, Counted(search)) for shape, search in shapes])
            for search, shapes in redactor._kinds
        ]
        redactor.long_text(piece * times)
        return count

    assert steps(800) <= 2.1 * steps(400) + 50


def test_a_text_of_megabytes_is_looked_at_only_where_it_is_shown() -> None:
    seen: list[int] = []
    redactor = Redactor()
    search = redactor._first[0]

    class Watched:
        def search(self, data: bytes) -> Any:
            seen.append(len(data))
            return search.search(data)

    redactor._first = [Watched()]

    assert redactor.text("x" * 5_000_000) == "x" * 1000 + "... (5000000 characters)"
    assert seen == [CONTENT_CHARACTERS + 1024]


def test_texts_seen_lately_are_not_searched_again() -> None:
    redactor = Redactor()
    long = "zoe@example.com " * 100
    first = [redactor.text("plain"), redactor.text(long)]
    redactor._first = []
    redactor._redacted = None  # type: ignore[assignment, method-assign]

    assert [redactor.text("plain"), redactor.text(long)] == first


def test_texts_that_begin_alike_are_told_apart_by_their_length() -> None:
    redactor = Redactor()
    long = "x" * 5000

    assert [redactor.text(long)[1000:], redactor.text(long * 2)[1000:]] == [
        "... (5000 characters)",
        "... (10000 characters)",
    ]


def test_what_is_remembered_is_bounded() -> None:
    redactor = Redactor()
    redactor._recent._limit = 10_000
    for number in range(1000):
        redactor.text(f"{number:05d} " + "x" * 94)

    held = len(redactor._recent._new) + len(redactor._recent._old)
    assert 25 <= held <= 2 * 27
    # Of two generations, a text in use is taken along.
    redactor.text("often")
    for number in range(200):
        redactor.text("often")
        redactor.text(f"{number:05d} " + "y" * 94)
    assert redactor._recent.get("often") == "often"


def test_a_fault_withholds_the_text() -> None:
    redactor = Redactor()
    redactor._first = [None]

    assert redactor.text("zoe@example.com") == WITHHELD
    assert redactor.text("zoe@example.com" * 100) == WITHHELD
    assert redactor.long_text("zoe@example.com") == WITHHELD
    assert redactor.value(["zoe@example.com", 1]) == [WITHHELD, 1]


def test_threads_may_share_a_redactor() -> None:
    redactor = Redactor()
    redactor._recent._limit = 500
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(200):
            shown = redactor.text(f"{number} {turn % 7} zoe@example.com")
            if shown != f"{number} {turn % 7} [e-mail]":
                wrong.append(shown)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(written(ALNUM, 1, 15))
@settings(max_examples=20, deadline=None)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = REDACTOR.text(f"{text} zoe@example.com password={text}1x /home/{text}")

    assert REDACTOR.text(once) == once


def test_a_home_after_a_double_slash_is_a_home() -> None:
    shown = Redactor().text("GET /api//home/carla/notes/a.txt, not /srv/home/index.html")

    assert "carla" not in shown
    assert "/srv/home/index.html" in shown
