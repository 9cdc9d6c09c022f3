"""The named sources: apt's real configuration, Reuters in numbers, fallbacks."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from components import ingest as command
from components._formats.corpus import read_corpus
from components._frame.exit_codes import TemporaryError
from components._sources import debian, synthetic
from components._sources.reuters import read_reuters
from components._sources.rows import Rows
from longtail.errors import DataError, ParameterError
from tests.builders.paths import REUTERS

needs_apt = pytest.mark.skipif(
    shutil.which("apt-get") is None or not debian.APT_HELPER.exists(), reason="no apt"
)
LISTS = {
    "sources.list": "deb [trusted=yes] http://deb.example.org/{0} testing-{0} main contrib\n"
    "deb http://security.example.org/x {0}-security main\n"
    "deb http://contrib.example.org/debian {0} contrib\n"
    "deb http://first.example.org/debian {0} contrib main\n"
    "deb http://second.example.org/debian {0} main\n",
    "parts/x.sources": "Types: deb\nURIs: http://first.example.org/debian\n"
    "Suites: {0}-updates {0}\nComponents: contrib main\n",
}


def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """Point apt at our own sources, in the old format or the new one."""
    (tmp_path / "parts").mkdir()
    (tmp_path / name).write_text(text.format("bookworm"), encoding="utf-8")
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\n'
        f'Dir::Etc::SourceParts "{tmp_path}/parts";\nDir::State::Lists "{tmp_path}/no-lists";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))


@needs_apt
@pytest.mark.parametrize("name", sorted(LISTS))
def test_the_mirror_is_the_systems_own_for_release_and_main(tmp_path, monkeypatch, name):
    configured(tmp_path, monkeypatch, name, LISTS[name])
    assert debian.mirror("bookworm") == "http://first.example.org/debian/"
    with pytest.raises(ParameterError, match="no archive for trixie main"):
        debian.mirror("trixie")


@needs_apt
def test_an_unreachable_mirror_is_temporary_and_leaves_nothing(tmp_path, monkeypatch):
    configured(
        tmp_path, monkeypatch, "sources.list", "deb http://localhost:9/debian bookworm main\n"
    )
    monkeypatch.setattr(debian, "release", lambda: ("debian", "bookworm"))
    config = debian.APT_CONF.replace('Retries "3"', 'Retries "0"')
    monkeypatch.setattr(debian, "APT_CONF", config)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(TemporaryError, match=r"localhost:9"):
        debian.read_debian()
    assert not list(tmp_path.glob("longtail-apt-*"))


def test_no_apt_is_a_parameter_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ParameterError, match="apt is not installed"):
        debian.read_debian()


def test_the_release_is_read_from_os_release(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: "/bin/" + name)
    for name in ("OS_RELEASE", "APT_HELPER"):
        monkeypatch.setattr(debian, name, tmp_path / "os-release")
    (tmp_path / "os-release").write_text('NAME="x"\nID=debian\nVERSION_CODENAME="bookworm"\n')
    assert debian.release() == ("debian", "bookworm")
    (tmp_path / "os-release").write_text("ID=arch\n")
    with pytest.raises(ParameterError, match="VERSION_CODENAME"):
        debian.release()


def test_the_private_configuration_leaves_the_system_alone(tmp_path):
    config = Path(debian._prepare(tmp_path, "nosuch", "bookworm", "http://m.example.org/"))
    text = config.read_text()
    for setting in ("Dir::State::Lists", "Dir::Cache", "Dir::Etc::SourceParts"):
        assert f'{setting} "{tmp_path}/' in text
    source = (tmp_path / "sources" / "corpus.sources").read_text()
    assert "URIs: http://m.example.org/\nSuites: bookworm\nComponents: main\n" in source
    assert "Architectures: amd64" in source and "Signed-By" not in source


@pytest.mark.slow
@needs_apt
def test_the_default_corpus_has_its_documented_size_and_the_same_bytes_twice(tmp_path):
    if debian.release() != ("debian", "bookworm"):
        pytest.skip("the documented numbers are those of Debian 12")
    for name in ("a", "b"):
        ingest("debian", "--out", str(tmp_path / name))
    paths = [tmp_path / name / "corpus.parquet" for name in ("a", "b")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    corpus = read_corpus(paths[0])
    n_packages = Counter(label for labels in corpus["labels"] for label in labels)
    assert len(corpus) == pytest.approx(12_619, abs=100)
    assert len(n_packages) == pytest.approx(393, abs=5) and min(n_packages.values()) >= 5
    assert corpus["group"].nunique() == pytest.approx(9_982, abs=100)
    assert corpus["labels"].map(len).mean() == pytest.approx(3.515, abs=0.05)


def ingest(*arguments: str) -> None:
    command.command.main(list(arguments), standalone_mode=False)


def auto(out: Path) -> None:
    ingest("auto", "--out", str(out))


def test_auto_falls_back_to_the_synthetic_corpus_and_says_so(tmp_path, monkeypatch, capsys):
    def away() -> list[Rows]:
        raise TemporaryError("mirror down")

    monkeypatch.setattr(command, "read_debian", away)
    monkeypatch.setattr(synthetic, "N_DOCS", 300)  # the default shape has a test of its own
    auto(tmp_path / "data")
    assert (
        "the synthetic corpus, because Debian package tags are not available: mirror down"
        in capsys.readouterr().out
    )
    assert len(read_corpus(tmp_path / "data" / "corpus.parquet")) == 300


def test_auto_keeps_an_existing_corpus(tmp_path, monkeypatch, capsys):
    rows = Rows.of_records("debian-bookworm", [{"id": "a", "text": "x", "labels": ["l"]}])
    monkeypatch.setattr(command, "read_debian", lambda: [rows])
    auto(tmp_path)
    before = (tmp_path / "corpus.parquet").read_bytes()
    monkeypatch.setattr(command, "read_debian", lambda: pytest.fail("read again"))
    auto(tmp_path)
    assert (tmp_path / "corpus.parquet").read_bytes() == before
    assert "nothing new" in capsys.readouterr().out


def archive(path: Path) -> Path:
    stories = "".join(
        f'<REUTERS TOPICS="YES" LEWISSPLIT="{split}" NEWID="{i}"><TOPICS><D>tin</D></TOPICS>'
        f"<TEXT><TITLE>caf\xe9 {i}</TITLE></TEXT></REUTERS>"
        for i, split in enumerate(["TRAIN", "TRAIN", "TEST"], start=1)
    )
    with tarfile.open(path, "w:gz") as file:
        for name, text in (("x/README.txt", "not a story"), ("x/reut2-000.sgm", stories)):
            content = text.encode("latin-1")
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def test_reuters_is_read_inside_the_archive(tmp_path):
    rows = read_reuters(archive(tmp_path / "r.tar.gz"), 1, 123)[0]
    assert rows.columns["text"] == ["café 1", "café 2", "café 3"]
    assert Counter(rows.columns["split"]) == {"train": 1, "val": 1, "test": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.tar.gz"]


def test_a_broken_archive_is_refused_by_name(tmp_path):
    whole = archive(tmp_path / "r.tar.gz").read_bytes()
    for content in (whole[: len(whole) // 2], b"not an archive", b""):
        path = tmp_path / "broken.tar.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.tar\.gz"):
            read_reuters(path, None, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("val", "sizes"), [([], (7770, 0)), (["--val", "1000"], (6770, 1000))])
def test_reuters_has_the_published_counts(tmp_path, val, sizes):
    if not REUTERS.exists():
        pytest.skip(f"{REUTERS.name} is not beside the checkout (../shared/data)")
    arguments = ["reuters", str(REUTERS), "--out", str(tmp_path), *val, "--val-seed", "123"]
    ingest(*arguments)
    corpus = read_corpus(tmp_path / "corpus.parquet")
    assert Counter(corpus["split"]) == Counter(train=sizes[0], val=sizes[1], test=3019)
    assert len({label for labels in corpus["labels"] for label in labels}) == 90
    assert corpus["labels"].map(len).mean() == pytest.approx(1.2354, abs=5e-5)
    assert (corpus["text"].str.len() >= 20).all()
