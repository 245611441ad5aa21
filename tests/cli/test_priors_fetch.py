"""Priors from addresses, files and folders: fetched, known by name, replaced and removed."""

import errno
import io
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request

import numpy as np
import pytest
from safetensors.numpy import save

import medscore as ms
from medscore.cli import doctor
from medscore.errors import MedscoreWarning
from medscore.io import download
from medscore.io.opening import file_sha256
from medscore.likelihood.typicality import beside
from medscore.nets.covariance_head import head_spec
from medscore.priors import catalogue, fetching
from medscore.priors.catalogue import prior_folder, prior_path, shipped_priors
from medscore.priors.covariance_file import COVARIANCE, CovarianceContract
from medscore.priors.manifest import FILE, manifest_of, read_manifest
from medscore.reconstruction.inspection import inspect_path
from medscore.reconstruction.run import choose_method

Done = Callable[..., Any]
Refused = Callable[..., str]
MakePrior = Callable[..., Path]
OTHER = "0" * 64
SECRET = "secret-4711"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of fetched priors, which does not exist yet."""
    monkeypatch.setenv("MEDSCORE_PRIORS", str(tmp_path / "user" / "priors"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "user" / "priors"


@pytest.fixture(scope="module")
def content(prior: Path) -> bytes:
    return prior.read_bytes()


@pytest.fixture(scope="module")
def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


@pytest.fixture(scope="module")
def folder(shared: Path, prior: Path) -> Path:
    """A folder with a prior, its card, licence and statistics, and files of others."""
    found = shared / "published"
    found.mkdir()
    shutil.copy(prior, found / "knee.v2.safetensors")
    for name in ("knee.v2.md", "knee.v2.typical.json", "knee.v2.LICENSE", "hip.md", "README"):
        (found / name).write_text(f"text of {name}")
    (found / "notes.safetensors").write_bytes(b"of something else")
    return found


@pytest.fixture(scope="module")
def server(content: bytes) -> Iterator[str]:
    """Address of a server on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True
            where = self.path.partition("?")[0]
            if where in MOVED:
                self.send_response(302)
                self.send_header("Location", MOVED[where])
                self.end_headers()
            elif where == "/silent":
                stop.wait(10)
            elif where in ("/prior", "/short", "/unknown-size", "/huge", "/text"):
                self.send_response(200)
                body = b"<html>no prior</html>" if where == "/text" else content
                size = {"/short": len(body) + 5, "/huge": 10**15}.get(where, len(body))
                if where != "/unknown-size":
                    self.send_header("Content-Length", str(size))
                self.end_headers()
                self.wfile.write(body)
            else:
                self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    stop = threading.Event()
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield f"http://127.0.0.1:{found.server_port}"
    stop.set()
    found.shutdown()
    found.server_close()


MOVED = {
    "/moved": "/prior",
    "/insecure": "http://example.org/prior",
    "/local-file": "file:///etc/hosts",
}


def closed_port() -> str:
    """An address at which nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/prior"


@pytest.mark.parametrize("kind", ["prior", "unknown-size", "moved", "file", "folder"])
def test_a_fetched_prior_is_known_by_name_as_a_shipped_one(
    done: Done, server: str, prior: Path, folder: Path, digest: str, home: Path, kind: str
) -> None:
    sources = {"file": prior, "folder": folder}
    source = sources.get(kind, f"{server}/{kind}")
    out = done("priors", "fetch", source, "--sha256", digest.upper(), "--name", "knee").out
    assert "knee: fetched to" in out
    assert "licence: CC0" in out
    assert file_sha256(prior_path("knee")) == digest
    listed = done("priors", "list").out
    assert "knee" in listed
    assert "ct-128" in listed
    assert "licence: CC0" in listed
    assert json.loads(done("priors", "info", "knee").out)["manifest"]["sha256"] == digest
    assert done("priors", "verify", "knee").out.endswith("intact\n")
    assert ms.list_priors()["knee"].name == "tiny"
    names = [path.name for path in home.rglob("*") if path.is_file()]
    taken = ["knee.LICENSE", "knee.md", "knee.typical.json"] if kind == "folder" else []
    assert sorted(names) == sorted([*taken, "knee.safetensors", FILE])
    if taken:
        assert beside(prior_path("knee")).read_text() == "text of knee.v2.typical.json"


def test_python_fetches_and_loads_by_the_name_in_the_file(prior: Path, digest: str) -> None:
    seen: list[tuple[int, int | None]] = []
    found = ms.fetch_prior(
        prior, sha256=digest, on_progress=lambda done, total: seen.append((done, total))
    )
    assert (found.name, found.licence, found.is_new) == ("tiny", "CC0", True)
    assert seen[-1] == (prior.stat().st_size, prior.stat().st_size)
    assert ms.load_prior("tiny").file == found.file


def test_a_fetched_prior_is_compared_with_files_and_recorded_by_name(
    prior: Path, digest: str, scan: Path
) -> None:
    ms.fetch_prior(prior, sha256=digest, name="knee")
    assert "knee" in inspect_path(scan).priors  # type: ignore[union-attr]
    assert choose_method("knee").record()["prior"] == "knee"  # type: ignore[union-attr]
    assert choose_method(str(prior)).record()["prior"] is None  # type: ignore[union-attr]


def test_the_manifest_states_neither_paths_nor_secrets(
    done: Done, server: str, folder: Path, digest: str, home: Path
) -> None:
    for source, said in [
        (folder, "local file"),
        (folder / "knee.v2.safetensors", "local file"),
        (f"{server}/prior?token={SECRET}#{SECRET}", f"{server}/prior"),
    ]:
        done("priors", "fetch", source, "--sha256", digest)
        text = (home / FILE).read_text()
        entry = json.loads(text)["priors"]["tiny"]
        assert entry["source"] == said
        for word in (SECRET, "published", "knee.v2", str(folder.parent)):
            assert word not in text
        done("priors", "remove", "tiny")


def test_what_is_there_already_is_not_read_again(done: Done, prior: Path, digest: str) -> None:
    done("priors", "fetch", prior, "--sha256", digest, "--name", "knee")
    for more in ((), ("--name", "knee")):
        out = done("priors", "fetch", closed_port(), "--sha256", digest, *more).out
        assert "knee: is there already, nothing was fetched" in out
    shipped = file_sha256(prior_path("ct-128"))
    out = done("priors", "fetch", closed_port(), "--sha256", shipped).out
    assert "ct-128: is there already" in out


ADDRESSES: dict[str, tuple[str, str]] = {
    "404": ("{server}/nowhere", "the server answers 404 Not Found"),
    "short": ("{server}/short", "the connection ended after"),
    "huge": ("{server}/huge", "more than the memory budget"),
    "silent": ("{server}/silent", "no answer within 0.2 s"),
    "insecure": ("{server}/insecure", "addresses with http:// are not read"),
    "local file": ("{server}/local-file", "the server answers 302 Found"),
    "closed": ("{closed}", "cannot be fetched (Connection refused)"),
    "http": ("http://example.org/prior", "addresses with http:// are not read"),
    "ftp": ("ftp://example.org/prior", "addresses with ftp:// are not read"),
    "file": ("file:///etc/hosts", "file:///etc/hosts"),
    "no server": ("https:///prior", "names no server"),
    "port": ("https://example.org:seven/prior", "is no valid address"),
    "bracket": ("https://[::1/prior", "is no valid address"),
    "space": ("{server}/a prior", "cannot be fetched"),
    "user": ("https://me:word@example.org/prior", "holds a user name or password"),
}


@pytest.mark.parametrize("kind", ADDRESSES)
def test_an_address_that_gives_no_file_is_refused(
    refused: Refused, server: str, digest: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    source, why = ADDRESSES[kind]
    source = source.format(server=server, closed=closed_port())
    message = refused("priors", "fetch", source, "--sha256", digest)
    assert why in message
    assert "word" not in message.replace("password", "")


def test_other_machines_lead_to_https_addresses_only() -> None:
    def follow(address: str) -> Any:
        request = Request("https://example.org/prior")
        return download._Redirections().redirect_request(
            request, io.BytesIO(), 302, "Found", HTTPMessage(), address
        )

    assert follow("https://example.com/prior").full_url == "https://example.com/prior"
    for address in ("http://example.com/prior", "http://localhost/prior", "ftp://example.com/a"):
        with pytest.raises(ms.MedscoreError, match=r"are not read|of this machine"):
            follow(address)


@pytest.mark.parametrize("where", ["prior", "unknown-size"])
def test_what_exceeds_the_budget_is_refused(
    refused: Refused, server: str, digest: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("MEDSCORE_MEMORY", "10K")
    assert "memory budget" in refused("priors", "fetch", f"{server}/{where}", "--sha256", digest)
    with pytest.raises(ms.MedscoreError, match="memory budget"):
        download.receive(f"{server}/{where}", Path(os.devnull), lambda done, total: None)


@pytest.mark.parametrize("kind", ["text", "pickle", "foreign", "cut", "empty", "altered"])
def test_a_file_that_is_no_prior_is_refused_though_its_hash_is_right(
    refused: Refused, tmp_path: Path, content: bytes, kind: str
) -> None:
    file = tmp_path / "own.safetensors"
    bodies = {
        "text": b"<html></html>",
        "pickle": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01a\x94.",
        "foreign": save({"w": np.zeros(3, np.float32)}),
        "cut": content[:-100],
        "empty": b"",
        "altered": content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],
    }
    file.write_bytes(bodies[kind])
    message = refused("priors", "fetch", file, "--sha256", file_sha256(file))
    assert message.startswith(f"error: {file}: ")


@pytest.mark.parametrize("kind", ["prior", "file", "folder"])
def test_a_wrong_hash_is_refused_with_both(
    refused: Refused, server: str, prior: Path, folder: Path, digest: str, kind: str
) -> None:
    source = {"file": prior, "folder": folder}.get(kind, f"{server}/prior")
    message = refused("priors", "fetch", source, "--sha256", OTHER)
    assert digest in message
    assert f"--sha256 is {OTHER}" in message


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "0" * 63, "0" * 65])
def test_a_text_that_is_no_hash_is_refused(refused: Refused, prior: Path, text: str) -> None:
    assert f"--sha256 is '{text}'" in refused("priors", "fetch", prior, "--sha256", text)


@pytest.mark.parametrize(
    "name", ["a/b", "../up", "", ".hidden", "two words", "x" * 101, "own.safetensors", "a\nb", "ä"]
)
def test_what_can_be_no_name_is_refused(
    refused: Refused, make_prior: MakePrior, prior: Path, digest: str, tmp_path: Path, name: str
) -> None:
    message = refused("priors", "fetch", prior, "--sha256", digest, "--name", name)
    assert "--name is" in message
    if name not in ("a/b", "", "two words"):
        return
    own = make_prior(tmp_path / "p.safetensors", name=name)
    assert "is called" in refused("priors", "fetch", own, "--sha256", file_sha256(own))


@pytest.mark.parametrize("kind", ["missing", "pipe", "device", "no priors"])
def test_a_path_that_leads_to_no_prior_is_refused(
    refused: Refused, tmp_path: Path, digest: str, kind: str
) -> None:
    (tmp_path / "no priors").mkdir()
    os.mkfifo(tmp_path / "pipe")
    source = Path("/dev/zero") if kind == "device" else tmp_path / kind
    assert str(source) in refused("priors", "fetch", source, "--sha256", digest)


@pytest.mark.parametrize("named", [True, False])
def test_the_name_of_a_shipped_prior_stays_that_priors(
    refused: Refused, make_prior: MakePrior, tmp_path: Path, named: bool
) -> None:
    own = make_prior(tmp_path / "p.safetensors", name="x" if named else "ct-128")
    more = ("--name", "ct-128") if named else ()
    args = ("--overwrite", "priors", "fetch", own, "--sha256", file_sha256(own), *more)
    assert "'ct-128' is the name of a shipped prior with another hash" in refused(*args)


def test_a_fetched_prior_is_replaced_only_on_request(
    done: Done, refused: Refused, make_prior: MakePrior, prior: Path, digest: str, tmp_path: Path,
    home: Path,
) -> None:  # fmt: skip
    done("priors", "fetch", prior, "--sha256", digest)
    other = make_prior(tmp_path / "p.safetensors", data_mean=0.2)
    args = ("priors", "fetch", other, "--sha256", file_sha256(other))
    assert "'tiny' is the name of a fetched prior with another hash" in refused(*args)
    assert file_sha256(prior_path("tiny")) == digest
    done(*args, "--overwrite")
    assert file_sha256(prior_path("tiny")) == file_sha256(other)
    assert len(list(home.rglob("*.safetensors"))) == 1


def test_one_file_has_one_name(done: Done, refused: Refused, prior: Path, digest: str) -> None:
    done("priors", "fetch", prior, "--sha256", digest)
    message = refused("priors", "fetch", prior, "--sha256", digest, "--name", "second")
    assert "--name is 'second', but this prior is called 'tiny' here" in message


def test_an_interrupted_fetch_leaves_nothing_and_can_be_repeated(
    prior: Path, digest: str, home: Path
) -> None:
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ms.fetch_prior(prior, sha256=digest, on_progress=stop)
    assert not home.exists()
    assert ms.fetch_prior(prior, sha256=digest).is_new


def test_what_a_killed_fetch_left_is_taken_over(prior: Path, digest: str, home: Path) -> None:
    """Killed while it received, and killed before the manifest was written."""
    partial = home / f".part-{digest[:32]}"
    partial.mkdir(parents=True)
    (partial / "prior.safetensors").write_bytes(b"a part")
    (home / digest[:32]).mkdir()
    assert "tiny" not in catalogue.known_priors()
    assert ms.fetch_prior(prior, sha256=digest).is_new
    names = sorted(path.name for path in home.rglob("*"))
    assert names == sorted([FILE, digest[:32], "tiny.safetensors"])


def test_a_full_disk_is_named_and_nothing_is_left(
    refused: Refused, prior: Path, digest: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: Path, on_progress: object) -> str:
        target.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetching, "receive", full)
    message = refused("priors", "fetch", prior, "--sha256", digest)
    assert "No space left on device" in message
    assert str(home) in message


def test_a_full_disk_at_the_manifest_leaves_nothing(
    refused: Refused, prior: Path, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(change: object) -> None:
        raise ms.MedscoreError("cannot be written", hint="make room")

    monkeypatch.setattr(fetching, "_change_manifest", full)
    shown = refused("priors", "fetch", prior, "--sha256", digest)
    assert "cannot be written" in shown


def test_a_folder_that_cannot_be_written_is_named(
    refused: Refused, prior: Path, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MEDSCORE_PRIORS", str(tmp_path / "file" / "priors"))
    assert str(tmp_path / "file") in refused("priors", "fetch", prior, "--sha256", digest)


def test_a_damaged_fetched_prior_is_found_and_repaired(
    done: Done, refused: Refused, prior: Path, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("priors", "fetch", prior, "--sha256", digest, "--name", "knee")
    file = prior_path("knee")
    file.write_bytes(file.read_bytes()[:-1])
    assert "the manifest says" in refused("priors", "verify", "knee")
    assert f"knee: {file}: not a safetensors file" in done("priors", "list").out
    monkeypatch.setattr(catalogue, "shipped_priors", dict)
    assert doctor._priors()["knee"] != "intact"
    with pytest.warns(MedscoreWarning, match="not a safetensors file"):
        assert "knee" not in ms.list_priors()
    done("priors", "fetch", prior, "--sha256", digest)
    assert done("priors", "verify", "knee").out.endswith("intact\n")
    assert doctor._priors()["knee"] == "intact"


def entry(**changes: Any) -> str:
    """A manifest with one prior."""
    valid = {"file": f"{OTHER[:32]}/own.safetensors", "sha256": OTHER, "bytes": 1, "licence": "-"}
    return json.dumps({"priors": {"own": valid | changes}})


DAMAGED = {
    "no JSON": "{",
    "no object": "[]",
    "cut": entry()[:-5],
    "version": '{"format": "medscore-priors-2"}',
    "unknown key": entry(licenced="CC0"),
    "no hash": entry(sha256="abc"),
    "path up": entry(file="../../own.safetensors"),
    "absolute path": entry(file="/etc/own.safetensors"),
    "name": json.dumps({"priors": {"a/b": json.loads(entry())["priors"]["own"]}}),
    "bytes": entry(bytes=-1),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_manifest_is_named_and_shipped_priors_stay_usable(
    done: Done, refused: Refused, scan: Path, prior: Path, digest: str, home: Path, kind: str
) -> None:
    home.mkdir(parents=True)
    (home / FILE).write_text(DAMAGED[kind])
    for args in (
        ("list",), ("info", "own"), ("remove", "own"), ("fetch", prior, "--sha256", digest)
    ):  # fmt: skip
        message = refused("priors", *args)
        assert str(home / FILE) in message
        assert "remove it, and fetch the priors again" in message
    assert prior_path("ct-128") == shipped_priors()["ct-128"]
    assert prior_path(str(prior)) == prior
    assert choose_method("ct-128").record()["prior"] == "ct-128"  # type: ignore[union-attr]


def test_descriptions_name_a_damaged_manifest_and_go_on(home: Path) -> None:
    home.mkdir(parents=True)
    (home / FILE).write_text("{")
    assert str(home / FILE) in doctor._priors()["(fetched)"]
    with pytest.warns(MedscoreWarning, match="manifest"):
        assert set(ms.list_priors()) == set(shipped_priors())


@pytest.mark.parametrize("command", ["recon m.h5 --prior", "priors info", "priors remove"])
def test_the_shell_completes_names_of_fetched_priors(
    done: Done, prior: Path, digest: str, home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    ms.fetch_prior(prior, sha256=digest, name="knee")
    monkeypatch.setenv("_MEDSCORE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"medscore {command} ")
    monkeypatch.setenv("COMP_CWORD", str(len(command.split()) + 1))
    named = set(done().out.split())
    assert "knee" in named
    assert ("ct-128" in named) == ("remove" not in command)
    (home / FILE).write_text("{")
    assert ("ct-128" in done().out) == ("remove" not in command)


@pytest.mark.skipif("MEDSCORE_SHAPES" in os.environ, reason="types are checked at run time")
def test_a_hash_that_is_no_text_is_refused(prior: Path) -> None:
    with pytest.raises(ms.MedscoreError, match="`sha256` is None"):
        ms.fetch_prior(prior, sha256=None)  # type: ignore[arg-type]


def test_removed_priors_are_unknown(done: Done, refused: Refused, prior: Path, digest: str) -> None:
    done("priors", "fetch", prior, "--sha256", digest)
    file = prior_path("tiny")
    assert done("priors", "remove", "tiny").out == "tiny: removed\n"
    assert not file.parent.exists()
    assert "no prior 'tiny'" in refused("priors", "info", "tiny")
    assert "no fetched prior 'tiny'" in refused("priors", "remove", "tiny")
    assert "'ct-128' ships with medscore" in refused("priors", "remove", "ct-128")


def test_texts_of_a_file_do_not_steer_the_terminal(
    done: Done, make_prior: MakePrior, tmp_path: Path
) -> None:
    provenance = {"data": "-", "patients": 1, "slices": 1, "steps": 0, "seed": 0}
    own = make_prior(
        tmp_path / "p.safetensors", provenance=provenance | {"licence": "CC\x1b[2J0\nfree"}
    )
    out = done("priors", "fetch", own, "--sha256", file_sha256(own)).out
    assert "licence: CC?[2J0 free\n" in out
    assert "\x1b[2J" not in done("priors", "list").out


def test_the_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MEDSCORE_PRIORS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert catalogue.user_folder() == tmp_path / ".local" / "share" / "medscore" / "priors"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert catalogue.user_folder() == tmp_path / "data" / "medscore" / "priors"


def test_every_shipped_file_is_listed_with_its_hash_licence_and_card() -> None:
    """The manifest is what the files say, and no file is unlisted."""
    folder = prior_folder()
    manifest = read_manifest(folder, "")
    assert manifest == manifest_of(folder), "run python -m medscore.priors.manifest"
    assert (folder / FILE).read_text() == manifest.text()
    assert manifest.priors.keys() == shipped_priors().keys()
    listed = {FILE}
    for one in manifest.priors.values():
        assert one.sha256 == sha256((folder / one.file).read_bytes()).hexdigest()
        assert one.licence
        assert one.card
        listed |= {one.file, one.card, *one.beside}
    assert listed == {path.name for path in folder.iterdir()}


@pytest.fixture
def weightless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped folder as a build without weights has it; the real one is returned."""
    real, bare = prior_folder(), tmp_path / "bare"
    shutil.copytree(real, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    monkeypatch.setattr(catalogue, "prior_folder", lambda: bare)
    monkeypatch.setattr(fetching, "prior_folder", lambda: bare)
    return real


def test_a_build_without_weights_says_what_to_fetch(
    done: Done, refused: Refused, weightless: Path, scan: Path, prior: Path, tmp_path: Path
) -> None:
    wanted = file_sha256(weightless / "ct-128.safetensors")
    with pytest.raises(ms.MedscoreError, match=f"`medscore priors fetch`, its sha256 is {wanted}"):
        ms.load_prior("ct-128")
    assert "without the weights of 'ct-128'" in refused("priors", "verify", "ct-128")
    assert wanted in done("priors", "list").out
    assert ms.list_priors() == {}
    assert doctor._priors() == dict.fromkeys(
        ("ct", "ct-128", "ct-128-vp", "mri-128"), "not in this build"
    )
    assert "without the weights" in doctor._speed(**doctor._network())
    done("simulate", scan, "--views", 9, "-o", tmp_path / "m.h5")
    assert prior_path(str(prior)) == prior


@pytest.mark.slow
def test_the_weights_that_a_build_leaves_out_are_fetched_under_their_name(
    done: Done, refused: Refused, weightless: Path
) -> None:
    file = weightless / "ct-128.safetensors"
    args = ("priors", "fetch", weightless, "--sha256", file_sha256(file))
    assert "is called 'ct-128' here" in refused(*args, "--name", "mine")
    assert "ct-128: fetched to" in done(*args).out
    found = prior_path("ct-128")
    assert found.read_bytes() == file.read_bytes()
    assert beside(found).read_bytes() == beside(file).read_bytes()
    assert done("priors", "verify", "ct-128").out.endswith("intact\n")
    assert "is there already" in done(*args).out


def test_a_prior_of_another_version_does_not_take_the_name_of_a_shipped_one(
    done: Done, refused: Refused, prior: Path, digest: str, weightless: Path, home: Path
) -> None:
    done("priors", "fetch", prior, "--sha256", digest)
    text = (home / FILE).read_text().replace('"tiny"', '"ct-128"')
    (home / FILE).write_text(text)
    assert "without the weights of 'ct-128'" in refused("priors", "info", "ct-128")
    file = weightless / "ct-128.safetensors"
    done("priors", "fetch", file, "--sha256", file_sha256(file))
    assert file_sha256(prior_path("ct-128")) == file_sha256(file)
    assert beside(prior_path("ct-128")).read_bytes() == beside(file).read_bytes()
    assert len(list(home.rglob("*.safetensors"))) == 1


def test_a_learned_covariance_is_taken_along_and_is_no_prior(
    done: Done, folder: Path, digest: str, tmp_path: Path, home: Path
) -> None:
    """In a folder beside its prior, which has one more file in the manifest and one prior only."""
    published = shutil.copytree(folder, tmp_path / "published")
    (published / "notes.safetensors").unlink()
    bare = ms.load_prior(str(published / "knee.v2.safetensors"))
    assert isinstance(bare, ms.NetworkPrior)
    assert bare.contract is not None
    spec = head_spec(bare.network, 1, bare.contract.data_std, 1, 8)
    contract = CovarianceContract(
        name="knee.v2.covariance", body="knee", body_sha256=bare.sha256, head=spec,
        provenance=bare.contract.provenance,
    )  # fmt: skip
    path = published / "knee.v2.covariance.safetensors"
    COVARIANCE.save(path, contract, spec.build().network.state_dict())
    found = manifest_of(published).priors
    assert list(found) == ["knee.v2"]
    assert path.name in found["knee.v2"].beside
    done("priors", "fetch", published, "--sha256", digest, "--name", "knee")
    assert read_manifest(home, "").priors["knee"].beside[0] == "knee.covariance.safetensors"
    fetched = ms.load_prior("knee")
    assert fetched.has_covariance
    assert json.loads(done("priors", "info", "knee").out)["covariance"] == (
        "knee.covariance.safetensors"
    )
