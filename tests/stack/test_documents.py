"""The documents are always the same, and each question has one answer in one place."""

from __future__ import annotations

import ast
import csv
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from harness.stack.documents import (
    exploration_lines,
    explorations,
    main,
    question_lines,
    questions,
    write_documents,
)

SCENARIOS = Path(__file__).parents[2] / "scenarios"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    write_documents(folder)
    return folder


@pytest.fixture(scope="module")
def texts(root):
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for path in root.rglob("*")
        if path.is_file()
    }


def test_there_are_many_documents_of_several_kinds(texts):
    kinds = Counter(name.rpartition(".")[2] for name in texts)

    assert kinds == {
        "txt": 120, "md": 88, "log": 60, "csv": 54, "py": 40, "yaml": 40, "json": 36,
    }  # fmt: skip
    assert 1_000_000 < sum(map(len, texts.values())) < 3_000_000


def test_every_document_fits_into_what_an_agent_reads_at_once(texts):
    assert max(len(text) for text in texts.values()) < 20_000
    assert max(text.count("\n") for text in texts.values()) < 200


def test_structured_documents_can_be_parsed(texts):
    parse = {".yaml": yaml.safe_load, ".json": json.loads, ".py": ast.parse}
    parsed = 0
    for name, text in texts.items():
        if (suffix := Path(name).suffix) in parse:
            assert parse[suffix](text)
            parsed += 1
        elif suffix == ".csv":
            assert len({len(row) for row in csv.reader(text.splitlines())}) == 1
            parsed += 1

    assert parsed == 170


def test_each_answer_stands_beside_its_subject_in_its_file_only(texts):
    for question in questions():
        places = {
            name
            for name, text in texts.items()
            if question.subject in text
            for line in text.splitlines()
            if question.subject in line and question.answer in line
        }
        assert places == {question.file}, question


def test_each_subject_is_searched_once_and_found_in_few_files(texts):
    asked = questions()
    subjects = [question.subject for question in asked]
    found = Counter(sum(subject in text for text in texts.values()) for subject in subjects)

    assert found == {1: 446, 2: 120}
    assert len(set(subjects)) == len({question.id for question in asked}) == 566
    assert all(question.text.count(f'"{question.subject}"') == 1 for question in asked)
    assert not [one for one in subjects for other in subjects if one != other and one in other]


def test_another_seed_gives_other_documents_and_other_questions():
    assert questions(1) != questions(2)
    assert questions(1) == questions(1)


def test_the_committed_questions_are_the_generated_ones():
    committed = (SCENARIOS / "questions.jsonl").read_text("utf-8")

    assert committed == question_lines(questions())
    assert list(json.loads(committed.splitlines()[0])) == ["id", "text", "answer", "subject"]


def test_the_committed_explorations_are_the_generated_ones():
    committed = (SCENARIOS / "explorations.jsonl").read_text("utf-8")

    assert committed == exploration_lines(explorations())
    assert len({json.loads(line)["text"] for line in committed.splitlines()}) == 48


def test_writing_again_leaves_files_untouched_and_mends_what_was_changed(root):
    changed, untouched = root / "runbooks" / "new.md", root / questions()[0].file
    damaged = root / questions()[1].file
    original, before = damaged.read_bytes(), untouched.stat()
    damaged.write_text("gone", "utf-8")
    changed.write_text("mine", "utf-8")

    write_documents(root)

    after = untouched.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    assert damaged.read_bytes() == original
    assert changed.read_text("utf-8") == "mine"
    changed.unlink()


def test_the_command_writes_what_its_options_name(tmp_path):
    asked, endless, folder = tmp_path / "q.jsonl", tmp_path / "e.jsonl", tmp_path / "documents"

    code = main(["--questions", str(asked), "--explorations", str(endless), "--root", str(folder)])

    assert code == 0
    assert asked.read_text("utf-8") == question_lines(questions())
    assert endless.read_text("utf-8") == exploration_lines(explorations())
    assert sum(path.is_file() for path in folder.rglob("*")) == 438


def test_the_command_without_options_says_how_it_is_used(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: python -m harness.stack.documents")
