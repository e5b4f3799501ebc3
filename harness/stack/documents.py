"""
The folder of documents that the target app answers questions about, and the questions.

Everything is generated from one seed: the papers of an invented freight company, in which every
fact asked about is written down in exactly one place. The same seed gives the same bytes, so
the expected answers can be committed beside the scenarios and a folder that already exists is
left untouched, with the file times that caches depend on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from itertools import product
from pathlib import Path
from random import Random

from harness.stack.document_words import (
    ADJECTIVES,
    BIRDS,
    CAUSES,
    FAMILY_NAMES,
    FIRST_NAMES,
    GOODS,
    MEETING,
    OFFICE,
    OPERATIONS,
    RULES,
    SITES,
    SUPPLIERS,
    TEAMS,
    TOPICS,
)

DEFAULT_SEED = 7


@dataclass(frozen=True, slots=True)
class Question:
    """A question with one right answer: `answer` stands beside `subject` in `file`."""

    id: str
    text: str
    answer: str
    subject: str
    file: str


@dataclass(frozen=True, slots=True)
class Exploration:
    """An open-ended request that gives an agent no reason ever to stop reading."""

    id: str
    text: str


@dataclass(slots=True)
class _Archive:
    """The documents and questions written so far, and the names still to be mentioned."""

    rng: Random
    files: dict[str, str] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    mentions: list[str] = field(default_factory=list)

    def ask(self, kind: str, text: str, subject: str, answer: str, file: str) -> None:
        number = sum(question.id.startswith(f"{kind}-") for question in self.questions) + 1
        self.questions.append(
            Question(f"{kind}-{number:03d}", text.format(f'"{subject}"'), answer, subject, file)
        )

    def day(self) -> date:
        return date(2025, 1, 1) + timedelta(days=self.rng.randrange(330))


def _services(archive: _Archive) -> None:
    """Write the configuration of the services (YAML) and a runbook for some of them (Markdown)."""
    rng = archive.rng
    names = [f"{adjective}-{bird}" for adjective, bird in product(ADJECTIVES, BIRDS)]
    rng.shuffle(names)
    ports = rng.sample(range(4000, 9999), 240)
    asked_files = 30
    for index in range(40):
        site, team = SITES[index % 6], rng.choice(TEAMS)
        file = f"config/services/{site}/{team}-{index:02d}.yaml"
        lines = [f"# Services of the {team} team at {site}.", "defaults:", "  protocol: http2"]
        lines += [f"  retries: {rng.randrange(2, 6)}", "services:"]
        for slot in range(6):
            name = names[index * 6 + slot]
            port = ports[index * 6 + slot]
            lines.append(
                f"  {name}: {{port: {port}, replicas: {rng.randrange(2, 9)}, "
                f"memory: {rng.choice((256, 512, 1024))}Mi, tier: {rng.choice('abc')}}}"
            )
            if index < asked_files and slot in {1, 4}:
                archive.ask(
                    "port", "Which port does the service {} listen on?", name, str(port), file
                )
                archive.mentions.append(name)
        lines.append("checks:")
        for check in range(14):
            lines.append(f"  - name: check-{check:02d}")
            lines.append(f"    every: {rng.choice((5, 10, 15, 30, 60))}s")
            lines.append(f"    note: {OPERATIONS.sentence(rng)}")
        archive.files[file] = "\n".join(lines) + "\n"
    people = [f"{first} {family}" for first, family in product(FIRST_NAMES, FAMILY_NAMES)]
    for name in names[240:]:
        file = f"runbooks/{name}.md"
        first, second = rng.sample(people[:60], 2)
        archive.files[file] = "\n\n".join(
            (
                f"# Runbook: {name}",
                f"The first responder for {name} is {first}.",
                f"Outside office hours the pager goes to {second}.",
                "## When the alert fires",
                OPERATIONS.paragraph(rng, 14),
                "## When that did not help",
                OPERATIONS.paragraph(rng, 14),
                "## Afterwards",
                OPERATIONS.paragraph(rng, 10) + "\n",
            )
        )
        archive.ask("responder", "Who is the first responder for {}?", name, first, file)


def _incidents(archive: _Archive) -> None:
    """Write incident reports (plain text); each file is named after its incident."""
    rng = archive.rng
    for number in sorted(rng.sample(range(20000, 29999), 60)):
        subject, day = f"INC-{number}", archive.day()
        cause = rng.choice(CAUSES).format(rng.choice(SITES).capitalize())
        file = f"incidents/{day.year}/q{(day.month + 2) // 3}/{subject}.txt"
        archive.files[file] = "\n".join(
            (
                f"INCIDENT REPORT {subject}",
                f"Date: {day.isoformat()}",
                f"Customers affected: {rng.randrange(3, 900)}",
                "",
                "What happened",
                OPERATIONS.paragraph(rng, 16),
                "",
                "Why it happened",
                f"The root cause of {subject} was {cause}.",
                OPERATIONS.paragraph(rng, 8),
                "",
                "What we change",
                OPERATIONS.paragraph(rng, 12),
                "",
            )
        )
        archive.ask("cause", "What was the root cause of the incident {}?", subject, cause, file)
        archive.mentions.append(subject)


def _machines(archive: _Archive) -> None:
    """Write inventories of machines (JSON, one machine a line)."""
    rng = archive.rng
    for index in range(36):
        site = SITES[index % 6]
        file = f"inventory/{site}/room-{index // 6 + 1}.json"
        rows = []
        for slot in range(30):
            host = f"{site}-node-{index // 6 * 30 + slot:03d}"
            serial = f"HX{rng.randrange(10, 99)}-{rng.randrange(10000, 99999)}"
            rows.append(
                json.dumps(
                    {
                        "host": host,
                        "serial": serial,
                        "rack": f"{rng.choice('ABCDEF')}{rng.randrange(1, 30):02d}",
                        "cores": rng.choice((8, 16, 32, 64)),
                        "memory_gib": rng.choice((32, 64, 128, 256)),
                        "bought": archive.day().isoformat(),
                    }
                )
            )
            if slot in {7, 19}:
                text = "What is the serial number of the machine {}?"
                archive.ask("serial", text, host, serial, file)
        archive.files[file] = "[\n" + ",\n".join(rows) + "\n]\n"


def _records(archive: _Archive) -> None:
    """Write purchase orders and telephone directories (CSV)."""
    rng = archive.rng
    numbers = iter(rng.sample(range(60000, 99999), 36 * 50))
    for index in range(36):
        year, month = 2022 + index // 12, index % 12 + 1
        file = f"finance/orders/{year}/{year}-{month:02d}.csv"
        rows = ["order,date,supplier,goods,amount_eur,state"]
        for slot in range(50):
            order, supplier = f"PO-{next(numbers)}", rng.choice(SUPPLIERS)
            amount = f"{rng.randrange(20, 40000)}.{rng.randrange(100):02d}"
            rows.append(
                f"{order},{year}-{month:02d}-{slot // 2 + 1:02d},{supplier},"
                f"{rng.choice(GOODS)},{amount},{rng.choice(('paid', 'open', 'approved'))}"
            )
            if slot in {11, 37}:
                text = "What was the amount, in euros, of the purchase order {}?"
                archive.ask("order", text, order, amount, file)
        archive.files[file] = "\n".join(rows) + "\n"
    people = [f"{first} {family}" for first, family in product(FIRST_NAMES, FAMILY_NAMES)]
    colleagues = people[60:]
    rng.shuffle(colleagues)
    for index, site in enumerate(SITES):
        for part in range(3):
            start = (index * 3 + part) * 9
            file = f"people/directory/{site}-{part + 1}.csv"
            rows = ["name,team,extension,floor,languages"]
            for slot, name in enumerate(colleagues[start : start + 9]):
                extension = str(rng.randrange(20000, 79999))
                rows.append(
                    f"{name},{rng.choice(TEAMS)},{extension},{rng.randrange(1, 6)},"
                    f"{rng.choice(('en', 'en no', 'en pt', 'en pl', 'en it nl'))}"
                )
                if slot in {1, 4, 6}:
                    text = "What is the telephone extension of {}?"
                    archive.ask("extension", text, name, extension, file)
            archive.files[file] = "\n".join(rows) + "\n"


def _deployments(archive: _Archive) -> None:
    """Write deployment logs, one day a file."""
    rng = archive.rng
    releases = iter(rng.sample(range(0x100000, 0xFFFFFF), 60 * 4))
    releases_at = (9, 25, 41, 57)
    for index in range(60):
        day = date(2025, 1, 2) + timedelta(days=index * 3)
        file = f"logs/deploy/{day:%Y-%m}/{day.isoformat()}.log"
        lines = []
        minute = 6 * 60
        for slot in range(64):
            minute += rng.randrange(1, 14)
            stamp = f"{day.isoformat()}T{minute // 60:02d}:{minute % 60:02d}:{slot % 60:02d}Z"
            if slot in releases_at:
                release, seconds = f"rel-{next(releases):06x}", rng.randrange(40, 900)
                lines.append(
                    f"{stamp} INFO deployer release {release} finished in {seconds} s, "
                    f"{rng.randrange(2, 9)} instances replaced"
                )
                if slot == releases_at[0]:
                    text = "How many seconds did the release {} take?"
                    archive.ask("release", text, release, f"{seconds} s", file)
            else:
                level = rng.choice(("INFO", "INFO", "INFO", "WARN"))
                lines.append(f"{stamp} {level} scheduler note: {OPERATIONS.sentence(rng)}")
        archive.files[file] = "\n".join(lines) + "\n"


def _limits(archive: _Archive) -> None:
    """Write small Python modules that hold limits."""
    rng = archive.rng
    words = [f"{adjective}_{site}" for adjective, site in product(ADJECTIVES, SITES)]
    rng.shuffle(words)
    for index in range(40):
        team = TEAMS[index % 6]
        file = f"tools/{team}/limits_{index:02d}.py"
        lines = [f'"""Limits that the {team} jobs keep to."""', "", "LIMITS = {"]
        for slot in range(3):
            name, value = f"quota_{words[index * 3 + slot]}", rng.randrange(100, 9999)
            lines.append(f'    "{name}": {value},')
            if slot == 1:
                text = "What is the value of the limit {}?"
                archive.ask("limit", text, name, str(value), file)
        lines += ["}", ""]
        for step in range(8):
            lines += [
                "",
                f"def step_{step}(used: int, limit: int) -> bool:",
                f'    """{OPERATIONS.sentence(rng)}"""',
                f"    # {OPERATIONS.sentence(rng)}",
                f"    return used * {rng.randrange(2, 9)} <= limit",
                "",
            ]
        archive.files[file] = "\n".join(lines)


def _handbook(archive: _Archive) -> None:
    """Write handbook chapters (Markdown), each with a few numbered rules."""
    rng = archive.rng
    numbers = iter(rng.sample(range(1000, 9999), 48 * 3))
    for index in range(48):
        topic = TOPICS[index % 6]
        file = f"handbook/{topic}/chapter-{index // 6 + 1:02d}.md"
        parts = [f"# {topic.capitalize()}, chapter {index // 6 + 1}", OFFICE.paragraph(rng, 8)]
        for slot in range(3):
            rule, days = f"HB-{next(numbers)}", str(rng.randrange(3, 120))
            parts += [
                f"## Rule {slot + 1}",
                f"**{rule}** {rng.choice(RULES).format(days)}.",
                OFFICE.paragraph(rng, 10),
            ]
            if slot == 1:
                text = "How many days does the handbook rule {} set?"
                archive.ask("rule", text, rule, f"{days} days", file)
        archive.files[file] = "\n\n".join(parts) + "\n"


def _meetings(archive: _Archive) -> None:
    """Write notes of meetings (plain text), which also mention what other documents are about."""
    rng = archive.rng
    numbers = iter(sorted(rng.sample(range(1000, 9999), 60)))
    mentions = iter(archive.mentions)
    for index in range(60):
        team, day = TEAMS[index % 6], date(2025, 1, 6) + timedelta(days=index * 5)
        file = f"notes/{team}/{day.isoformat()}.txt"
        subject, due = f"D-{next(numbers)}", day + timedelta(days=rng.randrange(10, 60))
        deadline = f"{due.day} {due:%B} {due.year}"
        archive.files[file] = "\n".join(
            (
                f"Meeting of the {team} team, {day.isoformat()}",
                "",
                MEETING.paragraph(rng, 18),
                "",
                f"Decision {subject}: the proposal is carried out by {deadline}.",
                f"Open: a word with the customer desk about {next(mentions)}.",
                f"Open: read up on {next(mentions)} before the next meeting.",
                "",
                "Other business",
                MEETING.paragraph(rng, 14),
                "",
            )
        )
        text = "By which date must the decision {} be carried out?"
        archive.ask("decision", text, subject, deadline, file)


@lru_cache(maxsize=4)
def _archive(seed: int) -> tuple[tuple[tuple[str, str], ...], tuple[Question, ...]]:
    rng = Random(seed)  # noqa: S311 - to be repeated, not kept secret
    archive = _Archive(rng)
    for write in (
        _services,
        _incidents,
        _machines,
        _records,
        _deployments,
        _limits,
        _handbook,
        _meetings,
    ):
        write(archive)
    rng.shuffle(archive.questions)
    return tuple(sorted(archive.files.items())), tuple(archive.questions)


def questions(seed: int = DEFAULT_SEED) -> tuple[Question, ...]:
    """
    Give every question about the documents of this seed, kinds mixed, in a fixed order.

    Each has a subject of its own, written in double quotes in the text and found in at most
    three documents; the answer stands on the subject's line in one document only.
    """
    return _archive(seed)[1]


def explorations() -> tuple[Exploration, ...]:
    """Give the prompts that ask for an endless review of the folder."""
    topics = (
        "every rule that contradicts another",
        "every machine that looks too old",
        "every supplier we depend on",
        "every risk to the winter peak",
        "every step that is still done by hand",
        "every name that is spelled in two ways",
        "every deadline that has passed",
        "every place where two teams do the same work",
    )
    ends = (
        "you are certain that no document is left",
        "each file has been opened and checked twice",
        "the list is complete beyond doubt",
        "you have compared all the files with each other",
        "nothing in the archive is unread",
        "the very last line has been seen",
    )
    return tuple(
        Exploration(
            f"exploration-{number:03d}",
            f"Keep reading through every folder and collect {topic}. Do not stop until {end}.",
        )
        for number, (topic, end) in enumerate(product(topics, ends), start=1)
    )


def write_documents(root: Path, seed: int = DEFAULT_SEED) -> None:
    """
    Write the documents of this seed beneath `root`, which is created if it is missing.

    A file that already has the right content is not written again, so its times stay as they
    are; other files in the folder are left alone. Raises OSError if the folder cannot be written.
    """
    for name, text in _archive(seed)[0]:
        path, content = root / name, text.encode()
        if path.is_file() and path.read_bytes() == content:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def question_lines(asked: Iterable[Question]) -> str:
    """Give questions as the scenarios read them: one JSON object a line, without the file."""
    return "".join(
        json.dumps({"id": q.id, "text": q.text, "answer": q.answer, "subject": q.subject}) + "\n"
        for q in asked
    )


def exploration_lines(prompts: Iterable[Exploration]) -> str:
    """Give exploration prompts as the scenarios read them: one JSON object a line."""
    return "".join(json.dumps(asdict(prompt)) + "\n" for prompt in prompts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what the options name; returns the exit code, 2 when nothing was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.stack.documents", description="Write the benchmark's documents."
    )
    parser.add_argument("--root", type=Path, help="folder to write the documents to")
    parser.add_argument("--questions", type=Path, help="file for the questions (JSON lines)")
    parser.add_argument("--explorations", type=Path, help="file for the endless prompts")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    options = parser.parse_args(arguments)
    if not (options.root or options.questions or options.explorations):
        parser.print_usage(sys.stderr)
        return 2
    if options.root:
        write_documents(options.root, options.seed)
    if options.questions:
        options.questions.write_text(question_lines(questions(options.seed)), encoding="utf-8")
    if options.explorations:
        options.explorations.write_text(exploration_lines(explorations()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
