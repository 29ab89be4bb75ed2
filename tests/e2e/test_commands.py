"""Each sub-command, as a user types it."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mcproxy.types import JsonObject
from tests.e2e.gateways import MAIN, echo
from tests.issuing import AUDIENCE, issuing
from tests.preloaded.program import command


def run(directory: Path, *arguments: str, anew: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the program; ``anew``, it has an interpreter of its own, and imports what it needs."""
    return subprocess.run(
        [*([sys.executable, str(MAIN)] if anew else command()), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=directory,
        check=False,
    )


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A directory with a configuration of two servers, one of which cannot start."""
    servers: JsonObject = {"echo": echo(), "absent": {"command": "/no/such/command"}}
    namespaces: JsonObject = {"wide": {"extends": "public", "sandbox": {"memory_mb": 512}}}
    text = json.dumps({"servers": servers, "namespaces": namespaces})
    (tmp_path / "mcproxy.json").write_text(text)
    return tmp_path


@pytest.mark.requirement("cli.not_installed")
@pytest.mark.parametrize("arguments", [["check"], ["--port", "0"]])
def test_without_its_packages_it_says_how_to_install_them(arguments: list[str]) -> None:
    bare = [sys.executable, "-S", str(MAIN), *arguments]  # -S: no site-packages
    done = subprocess.run(bare, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "is not installed for" in done.stderr
    assert "make setup" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.requirement("cli.port_in_use")
def test_a_port_in_use_is_said_at_once_and_nothing_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(tmp_path, "--port", str(port))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line == (
        f"mcproxy: cannot listen on 127.0.0.1, port {port}: Address already in use; "
        "--host and --port choose another"
    )


@pytest.mark.requirement("cli.quiet_logs")
def test_what_doctor_logs_beside_its_report_has_no_secret(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=correct-horse\n")
    loud: JsonObject = {"command": "sh", "args": ["-c", "echo no ${KEY} >&2; exit 1"]}
    (tmp_path / "mcproxy.json").write_text(json.dumps({"servers": {"loud": loud}}))
    done = run(tmp_path, "doctor")
    assert done.returncode == 1
    assert "no ***" in done.stdout
    assert done.stderr == ""  # the report says each server once
    stubs = run(tmp_path, "stubs", "--output", "types")
    assert "loud: restart in 1 s" in stubs.stderr
    assert "no ***" in stubs.stderr
    assert "correct-horse" not in done.stdout + stubs.stdout + stubs.stderr


@pytest.mark.requirement("cli.check")
def test_check(configured: Path) -> None:
    done = run(configured, "check")
    assert (done.returncode, done.stdout) == (
        0,
        f"{configured}/mcproxy.json: good; 2 servers, 2 namespaces\n",
    )
    both = run(configured, "--config", "mcproxy.json", "check")
    assert both.returncode == run(configured, "check", "--config", "mcproxy.json").returncode == 0


def test_schema_is_json(tmp_path: Path) -> None:
    assert json.loads(run(tmp_path, "schema", anew=True).stdout)["$schema"]


def test_namespaces_tell_where_a_setting_comes_from(configured: Path) -> None:
    told = run(configured, "namespaces", "wide").stdout
    assert "512" in told
    assert "echo" in told


@pytest.mark.requirement("cli.doctor")
def test_doctor_names_the_server_that_cannot_start(configured: Path) -> None:
    done = run(configured, "--port", "0", "doctor", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["schema"] == 1
    assert "/no/such/command" in done.stdout


def test_doctor_is_content_with_the_demo(tmp_path: Path) -> None:
    done = run(tmp_path, "--port", "0", "doctor", anew=True)
    assert done.returncode == 0, done.stdout
    assert "level" in done.stdout


def test_stubs_are_written_and_what_is_missing_is_told(configured: Path) -> None:
    done = run(configured, "stubs", "--output", "types")
    assert done.returncode == 1
    assert "absent" in done.stdout
    assert "def add(" in (configured / "types/mcproxy_api.pyi").read_text()


def test_migrate_writes_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"_c": "mine", "servers": [{"name": "a", "command": "b"}]}))
    assert run(tmp_path, "migrate", "old.json", "--write").returncode == 0
    assert json.loads(path.read_text())["servers"]["a"] == {"command": "b"}
    assert (tmp_path / "old.json.bak").exists()
    assert run(tmp_path, "check", "old.json").returncode == 0


def test_import_takes_over_and_can_be_undone(tmp_path: Path) -> None:
    theirs = tmp_path / "claude.json"
    servers = {"t": {"command": "uvx", "args": ["x"], "env": {"API_KEY": "sk-abcdef0123456789"}}}
    theirs.write_text(json.dumps({"mcpServers": servers}))
    done = run(tmp_path, "import", "claude.json", "--write", "--config", "mine.json")
    assert done.returncode == 0, done.stderr
    assert "sk-abcdef" not in done.stdout
    assert "sk-abcdef" not in (tmp_path / "mine.json").read_text()
    assert "sk-abcdef" in (tmp_path / ".env").read_text()
    assert run(tmp_path, "import", "--undo", "--config", "mine.json").returncode == 0


@pytest.mark.requirement("cli.status")
def test_wrong_usage_is_status_2(tmp_path: Path) -> None:
    assert run(tmp_path, "--port", "nine").returncode == 2
    assert run(tmp_path, "dance").returncode == 2


def written(directory: Path, issuer: str) -> None:
    """A configuration that takes the tokens of an issuer."""
    auth: JsonObject = {"jwt": {"issuer": issuer, "audience": AUDIENCE}}
    (directory / "mcproxy.json").write_text(json.dumps({"auth": auth}))


@pytest.mark.requirement("jwt.extra")
@pytest.mark.parametrize("words", [["--port", "0"], ["check"]])
def test_without_its_library_an_issuer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without/jwt.py").write_text("raise ImportError('No module named jwt')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"))
    written(tmp_path, "https://login.example.org")
    done = run(tmp_path, *words, anew=True)
    assert done.returncode == 78
    assert "auth.jwt: needs PyJWT" in done.stderr
    assert "-m pip install 'pyjwt[crypto]>=2.11'" in done.stderr


@pytest.mark.requirement("cli.doctor")
def test_doctor_says_whether_the_issuer_gives_its_keys(tmp_path: Path) -> None:
    with issuing() as issuer:
        written(tmp_path, issuer.url)
        good = run(tmp_path, "--port", "0", "doctor")
        written(tmp_path, f"{issuer.url}/no")
        bad = run(tmp_path, "--port", "0", "doctor")
    assert f"{issuer.url}: keys for ES256" in good.stdout
    assert bad.returncode == 1
    assert f"{issuer.url}/no/.well-known/openid-configuration: it answers 404" in bad.stdout


@pytest.mark.requirement("cli.broken_pipe")
@pytest.mark.parametrize("name", ["doctor", "namespaces"])
def test_a_reader_that_ends_early_is_no_fault(tmp_path: Path, name: str) -> None:
    with subprocess.Popen(
        command(name),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        said = running.stderr.read()
        assert running.wait(60) in (0, 1)
    assert "pipe" not in said
    assert "Traceback" not in said


@pytest.mark.requirement("audit.unusable")
def test_an_audit_file_that_cannot_be_opened_is_explained(configured: Path) -> None:
    config: JsonObject = {"servers": {"echo": echo()}, "audit": {"file": "missing/audit.jsonl"}}
    (configured / "mcproxy.json").write_text(json.dumps(config))
    done = run(configured, "--port", "0")
    assert done.returncode == 78
    assert "audit.file: cannot be opened: No such file or directory (make the directory" in (
        done.stderr
    )
    assert "no such directory, and audit.file is to be in it" in run(configured, "doctor").stdout


@pytest.mark.requirement("cli.doctor")
def test_doctor_sees_that_nothing_more_can_be_kept(tmp_path: Path) -> None:
    """As on a full disk: the system refuses files of over 512 KiB."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -f 1024; exec {sys.executable} {MAIN} doctor"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
    )
    assert "cannot be written to: File too large" in done.stdout
    assert done.returncode == 1


@pytest.mark.requirement("make.venv")
def test_a_half_made_venv_is_made_anew(tmp_path: Path) -> None:
    shutil.copy(MAIN.parent / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to("/no/such/python")
    make = ["make", "-C", str(tmp_path), ".venv/.made"]
    subprocess.run(make, capture_output=True, check=True, timeout=120)
    pip = [str(tmp_path / ".venv" / "bin" / "python"), "-m", "pip", "--version"]
    subprocess.run(pip, capture_output=True, check=True, timeout=60)
    stamp = (tmp_path / ".venv" / ".made").stat().st_mtime_ns
    subprocess.run(make, capture_output=True, check=True, timeout=60)
    assert (tmp_path / ".venv" / ".made").stat().st_mtime_ns == stamp
