"""Reads Debian package tags through apt: private lists, no root, system lists untouched."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from components._frame.exit_codes import TemporaryError
from components._sources.rows import Rows
from components._sources.source import Source
from longtail.corpora.debtags import debtags_records
from longtail.errors import DataError, ParameterError

APT_HELPER = Path("/usr/lib/apt/apt-helper")
OS_RELEASE = Path("/etc/os-release")
KEYRINGS = Path("/usr/share/keyrings")
# apt's hooks would touch the system (clean its cache, wake desktop services), so they are cleared.
APT_CONF = """\
Dir::State::Lists "{root}/lists";
Dir::Cache "{root}/cache";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{root}/sources";
Acquire::Languages "en";
Acquire::Retries "3";
APT::Update::Error-Mode "any";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""
SOURCE = """\
Types: deb
URIs: {mirror}
Suites: {codename}
Components: main
Architectures: amd64
Targets: Packages Translations
"""


def read_debian() -> list[Rows]:
    """Read the release's `main` archive for amd64; the column `source` names the release.

    Raises:
        ParameterError: apt is not installed.
        TemporaryError: the mirror cannot be reached.
        DataError: the archive has no tags (not every derivative of Debian has them).
    """
    system, codename = release()
    with tempfile.TemporaryDirectory(prefix="longtail-apt-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # apt downloads as its own user
        config = _prepare(root, system, codename, mirror(codename))
        _apt("apt-get", "-c", config, "-q", "update")
        packages, translation = (_lists(config, kind) for kind in ("Packages", "Translations"))
    records = debtags_records(packages, translation)
    if not records:
        raise DataError(f"The {system} {codename} archive has no debtags; ingest other data.")
    return [Rows.of_records(f"{system}-{codename}", records)]


DEBIAN = Source("package descriptions and debtags, through apt", read_debian)


def release() -> tuple[str, str]:
    """The running system's ID and codename, for example `("debian", "bookworm")`."""
    if shutil.which("apt-get") is None or not APT_HELPER.exists() or not OS_RELEASE.exists():
        raise ParameterError(
            "apt is not installed, so there are no Debian package tags; use another source, or "
            "`longtail ingest auto` for the synthetic corpus."
        )
    lines = (line.partition("=") for line in OS_RELEASE.read_text(encoding="utf-8").splitlines())
    fields = {name: value.strip("\"'") for name, _, value in lines}
    if not fields.get("VERSION_CODENAME"):
        raise ParameterError(
            f"{OS_RELEASE} has no VERSION_CODENAME, so the release is unknown; use another source."
        )
    return fields.get("ID", "debian"), fields["VERSION_CODENAME"]


def mirror(codename: str) -> str:
    """The URI of the release's `main` in the system's own sources (`.list` or `.sources`)."""
    line = "$(RELEASE)|$(COMPONENT)|$(REPO_URI)"
    for target in _apt(
        "apt-get", "indextargets", "--no-release-info", "--format", line, "Created-By: Packages"
    ).splitlines():
        suite, component, uri = target.split("|", 2)
        if (suite, component) == (codename, "main"):
            return uri
    raise ParameterError(
        f"apt's sources have no archive for {codename} main; add one in /etc/apt/sources.list.d."
    )


def _prepare(root: Path, system: str, codename: str, uri: str) -> str:
    """Write a private apt configuration to `root` and return the path of its main file."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True)
    (root / "sources").mkdir(mode=0o700)  # a mirror's URI may contain a password
    source = SOURCE.format(mirror=uri, codename=codename)
    keys = sorted(KEYRINGS.glob(f"{system}-archive-keyring.*"))
    if keys:  # otherwise apt trusts the keys in trusted.gpg.d
        source += f"Signed-By: {keys[0]}\n"
    (root / "sources" / "corpus.sources").write_text(source, encoding="utf-8")
    config = root / "apt.conf"
    config.write_text(APT_CONF.format(root=root), encoding="utf-8")
    return str(config)


def _lists(config: str, kind: str) -> str:
    """The text of the downloaded index files of a kind (`Packages` or `Translations`)."""
    files = _apt(
        "apt-get", "-c", config, "indextargets", "--format", "$(FILENAME)", f"Created-By: {kind}"
    ).splitlines()
    return "\n\n".join(_apt(str(APT_HELPER), "cat-file", name) for name in files)


def _apt(*command: str) -> str:
    """The output of an apt command; a failure is temporary (mirror or network down)."""
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise TemporaryError(f"`{' '.join(command[:2])}` failed: {' '.join(reason[:3])}")
    return done.stdout.decode("utf-8")
