"""
The files that start master and workers elsewhere are right, as far as can be told without a cluster.

Kubernetes objects are held against the models of its API that the package lightkube-models ships,
field by field; command lines against the parsers that will read them; variables against the code.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import typing
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.cli import _parser

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(p for p in (DEPLOY / "kubernetes").glob("*.yaml"))
MODELS = {
    "v1": "core_v1",
    "apps/v1": "apps_v1",
    "batch/v1": "batch_v1",
    "networking.k8s.io/v1": "networking_v1",
}


def check(document: dict[str, Any]) -> str:
    """What is wrong with a Kubernetes object: a field missing, unknown, or of another type."""
    models = import_module(f"lightkube.models.{MODELS[document['apiVersion']]}")
    try:
        taken = msgspec.convert(document, getattr(models, document["kind"]))
    except msgspec.ValidationError as error:
        return str(error)
    return unknown(document, msgspec.to_builtins(taken), document["kind"])


def unknown(given: Any, taken: Any, where: str) -> str:
    """The first field that the models left out, since they do not know it."""
    if isinstance(given, dict):
        for name, value in given.items():
            if taken.get(name) is None:
                return f"{where}.{name} is not known"
            if found := unknown(value, taken[name], f"{where}.{name}"):
                return found
    if isinstance(given, list):
        for number, (one, other) in enumerate(zip(given, taken, strict=True)):
            if found := unknown(one, other, f"{where}[{number}]"):
                return found
    return ""


def objects() -> dict[str, dict[str, Any]]:
    """All objects of the manifests, by kind and name."""
    return {
        f"{d['kind']}/{d['metadata']['name']}": d
        for path in MANIFESTS
        if path.name != "kustomization.yaml"
        for d in yaml.safe_load_all(path.read_text())
    }


OBJECTS = objects()


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = OBJECTS[name]["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("name", OBJECTS)
def test_a_manifest_is_what_the_kubernetes_api_takes(name: str) -> None:
    assert check(OBJECTS[name]) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"replica": 2}, "Deployment.spec.replica is not known", id="a typo"),
        pytest.param({"replicas": "2"}, "Expected `int | null`, got `str`", id="a type"),
        pytest.param({"template": None}, "missing required field `template`", id="a gap"),
        pytest.param(
            {"template": {"spec": {"containers": [{"image": "i"}]}}},
            "missing required field `name` - at `$.spec.template.spec.containers[0]`",
            id="a gap far down",
        ),
    ],
)
def test_a_wrong_manifest_is_found_out(change: dict[str, Any], said: str) -> None:
    wrong = {**OBJECTS["Deployment/workers"]}
    wrong["spec"] = {k: v for k, v in {**wrong["spec"], **change}.items() if v is not None}
    assert said in check(wrong)


def test_every_manifest_is_part_of_the_kustomization() -> None:
    kustomization = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
    others = {p.name for p in MANIFESTS} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == others
    assert [i["name"] for i in kustomization["images"]] == ["harness-load"]


def test_names_that_refer_to_each_other_do() -> None:
    master, workers = pod("Job/master"), pod("Deployment/workers")
    kustomization = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
    labels = OBJECTS["Job/master"]["spec"]["template"]["metadata"]["labels"]
    of_workers = OBJECTS["Deployment/workers"]["spec"]["template"]["metadata"]["labels"]
    service, policy = OBJECTS["Service/master"]["spec"], OBJECTS["NetworkPolicy/master"]["spec"]
    assert service["selector"] == policy["podSelector"]["matchLabels"] == labels
    assert OBJECTS["Deployment/workers"]["spec"]["selector"]["matchLabels"] == of_workers
    assert policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"] == of_workers
    assert [p["name"] for p in master["containers"][0]["ports"]] == ["load"]
    assert service["ports"][0]["targetPort"] == "load"
    assert "PersistentVolumeClaim/reports" in OBJECTS
    assert master["volumes"][0]["persistentVolumeClaim"]["claimName"] == "reports"
    maps = {
        f["configMapRef"]["name"]
        for f in master["containers"][0]["envFrom"]
        if "configMapRef" in f
    }
    assert maps == {g["name"] for g in kustomization["configMapGenerator"]}
    assert workers["containers"][0]["command"][3] == OBJECTS["Service/master"]["metadata"]["name"]


def test_no_manifest_holds_a_secret_and_workers_get_only_the_targets() -> None:
    assert not any(name.startswith("Secret/") for name in OBJECTS)
    secrets = {
        name: [
            f["secretRef"]["name"]
            for f in pod(name)["containers"][0]["envFrom"]
            if "secretRef" in f
        ]
        for name in ("Job/master", "Deployment/workers")
    }
    assert secrets == {"Job/master": ["target", "langfuse"], "Deployment/workers": ["target"]}
    assert all("env" not in c for n in secrets for c in pod(n)["containers"])


# -- the Compose file ------------------------------------------------------------------


class Strict(BaseModel):
    """As in the Compose specification, of which this is what the file uses: nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Build(Strict):
    context: str
    dockerfile: str


class Resources(Strict):
    cpus: str = "1"
    memory: str


class Limits(Strict):
    reservations: Resources
    limits: Resources


class Placed(Strict):
    replicas: str | int
    resources: Limits


class Service(Strict):
    image: str
    build: Build
    init: bool
    cap_drop: list[str]
    security_opt: list[str]
    command: list[str]
    environment: list[str]
    profiles: list[str] = []
    volumes: list[str] = []
    ports: list[str] = []
    restart: typing.Literal["no", "always", "on-failure", "unless-stopped"] = "no"
    stop_grace_period: str = Field("10s", pattern=r"^\d+s$")
    deploy: Placed | None = None


COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = TypeAdapter(dict[str, Service])


def test_the_compose_file_has_a_master_and_workers() -> None:
    services = SERVICES.validate_python(COMPOSE["services"])
    assert COMPOSE.keys() == {"name", "x-load", "services"}
    assert {n: s.restart for n, s in services.items()} == {"master": "no", "worker": "always"}
    # Only the master has a disk that outlives it.
    assert {n: s.volumes for n, s in services.items()} == {
        "master": ["../reports:/load/reports"],
        "worker": [],
    }
    for service in services.values():
        assert (DEPLOY / service.build.context / service.build.dockerfile).is_file()


def test_a_wrong_compose_file_is_found_out() -> None:
    wrong = {"worker": {**COMPOSE["services"]["worker"], "restart": "allways", "enviroment": {}}}
    with pytest.raises(ValidationError, match=r"(?s)restart.*enviroment"):
        SERVICES.validate_python(wrong)


# -- what is started, and with which variables ----------------------------------------


def filled(word: str) -> str:
    """A word as Compose gives it, with the defaults of its variables."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: m[2] or "http://target:8000", word)


def master_words() -> list[list[str]]:
    script = pod("Job/master")["containers"][0]["command"][2].replace("\\\n", " ")
    (run,) = [line for line in script.splitlines() if line.startswith("harness run")]
    return [
        [filled(w) for w in COMPOSE["services"]["master"]["command"]],
        shlex.split(run.split("||")[0].replace("$TARGET", "http://target:8000")),
    ]


def worker_words() -> list[list[str]]:
    return [
        [filled(w) for w in COMPOSE["services"]["worker"]["command"]],
        pod("Deployment/workers")["containers"][0]["command"],
    ]


def test_the_masters_command_is_one_that_the_harness_takes() -> None:
    for words in master_words():
        assert words[0] == "harness"
        options = _parser().parse_args(words[1:])
        assert (options.command, options.host) == ("run", "http://target:8000")
        assert (options.master_bind_host, options.master_bind_port) == ("0.0.0.0", 5557)


def test_the_guides_commands_are_ones_that_the_harness_takes() -> None:
    guide = (ROOT / "docs/distributed.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^harness (run .*)$", guide, re.MULTILINE)
    options = [_parser().parse_args(shlex.split(c)) for c in commands]
    assert [(o.processes, o.expect_workers) for o in options] == [(4, None), (1, 8)]
    named = set(re.findall(r"\bdeploy/[a-zA-Z./]+\b", guide))
    assert {"deploy/worker.sh", "deploy/compose.yaml", "deploy/kubernetes"} <= named
    assert [n for n in named if not (ROOT / n).exists()] == []


def test_the_master_waits_for_as_many_workers_as_there_are() -> None:
    compose, kubernetes = (_parser().parse_args(w[1:]).expect_workers for w in master_words())
    assert COMPOSE["services"]["worker"]["deploy"]["replicas"] == "${WORKERS:-2}"
    assert compose == 2
    assert kubernetes == OBJECTS["Deployment/workers"]["spec"]["replicas"]


def test_the_workers_command_is_one_that_locust_takes(tmp_path: Path) -> None:
    (tmp_path / "locust").symlink_to(Path(sys.executable).with_name("locust"))
    loop = (DEPLOY / "worker.sh").read_text()
    (started,) = re.findall(r"^  (locust .*) &$", loop, re.MULTILINE)
    for words in worker_words():
        assert words[:2] == ["sh", "deploy/worker.sh"]
        command = [*shlex.split(started.replace('"$@"', "")), *words[2:], "--list"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "WarmCache" in done.stdout + done.stderr


def test_a_worker_comes_back_until_it_is_stopped(tmp_path: Path) -> None:
    """A stand-in for Locust notes each start, and runs on at the third."""
    locust = tmp_path / "locust"
    locust.write_text(
        '#!/bin/sh\necho "$@" >>starts\n[ "$(wc -l <starts)" -lt 3 ] && exit 0\n'
        "echo up\nexec sleep 60\n"
    )
    locust.chmod(0o755)
    process = subprocess.Popen(
        ["sh", str(DEPLOY / "worker.sh"), "--master-host", "there"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    # The pipe ends when the last that holds it has, so nothing is left running.
    assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == 0
    starts = (tmp_path / "starts").read_text().splitlines()
    assert starts == ["-f scenarios --worker --master-host there"] * 3


def test_every_variable_that_is_passed_on_is_read_by_the_code() -> None:
    code = "\n".join(p.read_text() for p in (ROOT / "harness").rglob("*.py"))
    passed = {n for s in COMPOSE["services"].values() for n in s["environment"]}
    manifest = (DEPLOY / "kubernetes/master.yaml").read_text()
    passed |= set(re.findall(r"\b(?:TARGET_TOKEN|LANGFUSE_[A-Z_]+)\b", manifest))
    assert {"TARGET_TOKEN", "LANGFUSE_SECRET_KEY", "METRICS_URL"} <= passed
    assert {n for n in passed if not re.search(rf'"{n}"|\b{n}\b', code)} == set()


# -- the image -------------------------------------------------------------------------


def test_the_image_is_made_of_what_is_here_and_runs_without_rights() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    steps = [line.split() for line in text.splitlines()]
    sources = [w for s in steps if s[:1] == ["COPY"] for w in s[1:-1]]
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert [s for s in sources if not (ROOT / s).exists()] == []
    assert {s.removeprefix("./") for s in sources} == {a[1:] for a in allowed if a[0] == "!"}
    assert "--require-hashes -r requirements.lock" in text
    assert steps[-1] == ["USER", "10001"]
    for name in ("Job/master", "Deployment/workers"):
        assert pod(name)["securityContext"]["runAsUser"] == 10001


def test_what_the_image_holds_is_enough_to_start_both_commands(tmp_path: Path) -> None:
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            *sources, to = line.split()[1:]
            for source in sources:
                place = (
                    tmp_path / to if len(sources) == 1 and to != "." else tmp_path / to / source
                )
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place)
                else:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / source, place)
    for words in (["harness", "run", "--help"], ["locust", "-f", "scenarios", "--list"]):
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
