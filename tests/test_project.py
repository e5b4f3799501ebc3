"""The project keeps its own rules: import contracts bite, the lock is clean, excerpts are true."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# One deliberate violation of each contract: (contract, file, line added at its end).
VIOLATIONS = [
    ("The harness is layered", "harness/runs.py", "import harness.judge.decide"),
    ("Model and judge are pure", "harness/judge/decide.py", "import pathlib"),
    (
        "The target and the harness meet only on the wire",
        "harness/provenance.py",
        "import target_app.settings",
    ),
    ("Scenarios see only the load vocabulary", "scenarios/cold_cache.py", "import harness.slo"),
    ("Locust and gevent stay in load and scenarios", "harness/runs.py", "import locust"),
    ("pandas and Jinja stay in report", "harness/slo.py", "import pandas"),
    ("hdrh stays behind harness.hdr", "harness/evidence/client.py", "import hdrh.histogram"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def violated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Lint a copy of the project that breaks every import contract once."""
    copy = tmp_path_factory.mktemp("project")
    for package in ("harness", "scenarios", "target_app"):
        shutil.copytree(ROOT / package, copy / package)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for _, file, line in VIOLATIONS:
        with (copy / file).open("a", encoding="utf-8") as source:
            source.write(f"\n{line}\n")
    return lint_imports(copy).stdout


def test_the_import_contracts_hold():
    result = lint_imports(ROOT)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("contract", [pytest.param(v[0], id=v[0]) for v in VIOLATIONS])
def test_a_deliberate_violation_breaks_the_contract(violated, contract):
    assert re.search(rf"^{re.escape(contract)} BROKEN", violated, re.MULTILINE), violated


def test_every_contract_has_a_violation():
    configured = re.findall(
        r'^name = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )

    assert sorted(v[0] for v in VIOLATIONS) == sorted(n for n in configured if n != "harness")


def test_the_lock_pins_every_package_with_hashes_and_names_no_address():
    lock = (ROOT / "requirements.lock").read_text()
    packages = re.findall(r"^[a-z0-9][^\n]*", lock, re.MULTILINE)

    assert len(packages) > 80
    assert [p for p in packages if "==" not in p] == []
    assert lock.count("--hash=sha256:") >= len(packages)
    assert "://" not in lock


def test_excerpts_in_the_readme_are_what_the_files_say():
    readme = (ROOT / "README.md").read_text()
    excerpts = re.findall(r"<!-- excerpt: (\S+) -->\n```\w+\n(.*?)```", readme, re.DOTALL)

    assert [file for file, _ in excerpts] == ["scenarios/cold_cache.py"]
    for file, text in excerpts:
        assert text in (ROOT / file).read_text()


def test_links_in_the_documentation_lead_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    dead = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert dead == []
