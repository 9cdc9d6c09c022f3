"""What the images hold is under licenses that bind neither the project nor those who pass it on.

AGPL and GPL are refused: whoever passes on an image would have to put all that imports such a
library under it. So are licenses that forbid some uses (non-commercial, source-available). Weak
copyleft (LGPL, MPL, EPL) binds only changes to the library itself, and longtail changes none; the
same holds for GPL with an exception for linking, which is named below.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.builders.paths import ROOT

# What only tests and the site need is in no image, and neither is Spark, which brings Java's.
NOT_SHIPPED = {"dev", "docs", "spark"}
# Looked for in any statement; everything else has to be known, too.
REFUSED = re.compile(
    r"AGPL|Affero|(?<!L)GPL|(?<!Lesser )General Public|SSPL|Server Side Public|BUSL|Business Source"
    r"|Commons Clause|Elastic|\bNC\b|-NC\b|Non-?Commercial|Proprietary",
    re.IGNORECASE,
)
ALLOWED = re.compile(
    r"Apache|MIT\b|MIT-0|MIT-CMU|BSD|ISC\b|PSF|Python Software Foundation|CNRI|Zlib|CC0|BSL-1|Boost"
    r"|Unlicense|Artistic|ZPL|Zope|LLVM-exception"
    r"|LGPL|Lesser General Public|MPL|Mozilla Public|EPL|Eclipse Public",
    re.IGNORECASE,
)
# Where the metadata does not say it, or says less than the license does.
READ_BY_HAND = {
    "grandalf": 'GPL-2 or EPL-1 (its field License: "GPLv2 | EPLv1"); taken under the EPL',
    "huey": "MIT (its file LICENSE)",
    "openlineage-sql": "Apache-2.0 (OpenLineage's, from whose repository it is built)",
    "python-dateutil": "Apache-2.0 or BSD-3-Clause (LICENSE)",
    "pygit2": "GPL-2 with an exception that lets any program link to it (COPYING); unchanged here",
    "skops": "MIT (its file LICENSE)",
    "text-unidecode": "Artistic or GPL-2, at the user's choice (README); taken under the Artistic",
}


def stated(package: Distribution) -> list[str]:
    """What a distribution's metadata says of its license; all of it holds."""
    expression = package.metadata.get("License-Expression")
    if expression:
        return [expression]
    classifiers = [
        line.rpartition("::")[2].strip()
        for line in package.metadata.get_all("Classifier") or []
        if line.startswith("License ::") and line.count("::") > 1
    ]
    text = (package.metadata.get("License") or "").strip()
    # Some put the whole text of the license there.
    short = [text] if text and "\n" not in text and text != "UNKNOWN" else []
    return classifiers + short or [text.partition("\n")[0]]


def permitted(line: str) -> bool:
    """Whether one statement permits the import: an SPDX expression, or the name of a license."""
    if not re.search(r"\b(AND|OR)\b", line):
        return bool(ALLOWED.search(line)) and not REFUSED.search(line)
    parts = re.split(r"([()]|\bAND\b|\bOR\b)", line)
    signs = {"(": "(", ")": ")", "AND": " and ", "OR": " or "}
    return bool(eval("".join(signs.get(p) or str(permitted(p)) for p in parts if p.strip())))


def refusal(package: Distribution) -> str | None:
    """Why a distribution may not be imported, or None if it may."""
    wrong = [line for line in stated(package) if not permitted(line)]
    if not wrong:
        return None
    known = any(REFUSED.search(line) for line in wrong)
    return f"is under {wrong}: {'refused' if known else 'this test does not know it'}"


def shipped_requirements() -> list[str]:
    """The requirements of the project, its shipped extras, and what the Dockerfile adds to them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [line for name in extras.keys() - NOT_SHIPPED for line in extras[name]]
    added = re.findall(
        r"install\.py .*--(?:with|only) (.+)", (ROOT / "docker" / "Dockerfile").read_text()
    )
    assert len(added) == 3, "docker/Dockerfile adds packages elsewhere; read them here, too"
    return [*project["dependencies"], *lines, *" ".join(added).split()]


def closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """Every installed distribution that the requirements need, by canonical name."""
    found: dict[str, Distribution] = {}
    todo, done = [Requirement(line) for line in requirements], set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if (key := (name, frozenset(wanted.extras))) in done:
            continue
        done.add(key)
        try:
            found[name] = distribution(wanted.name)
        except PackageNotFoundError:
            pytest.fail(f"{wanted} is not installed, so its license is not known: `make test`")
        for line in found[name].requires or []:
            needed = Requirement(line)
            extras = wanted.extras or {""}
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras):
                todo.append(needed)
    return found


@pytest.fixture(scope="module")
def packages() -> dict[str, Distribution]:
    return closure(shipped_requirements())


def test_no_dependency_has_a_license_that_binds_the_project(
    packages: dict[str, Distribution],
) -> None:
    assert len(packages) > 250
    assert {"torch", "mlflow", "apache-airflow-core", "psycopg2-binary"} <= packages.keys()
    refused = {
        name: reason
        for name, package in packages.items()
        if name not in READ_BY_HAND and (reason := refusal(package))
    }
    assert not refused, (
        f"{refused}\nUse another library; or, where its own files say otherwise than its metadata, "
        f"name it in READ_BY_HAND with what you read and where."
    )


def test_nothing_is_read_by_hand_that_speaks_for_itself(packages: dict[str, Distribution]) -> None:
    assert [n for n in READ_BY_HAND if n not in packages or not refusal(packages[n])] == []


def plant(folder: Path, name: str, metadata: str) -> Path:
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{metadata}\n"
    (info / "METADATA").write_text(text, encoding="utf-8")
    return info


def test_a_library_of_a_library_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "planted", 'License: MIT\nRequires-Dist: below; extra == "more"')
    plant(tmp_path, "below", "License-Expression: GPL-3.0-only")
    monkeypatch.syspath_prepend(tmp_path)
    assert closure(["planted"]).keys() == {"planted"}
    found = closure(["planted[more]"])
    assert not refusal(found["planted"]) and "refused" in str(refusal(found["below"]))


@pytest.mark.parametrize(
    "metadata, word",
    [
        ("License-Expression: GPL-3.0-or-later", "refused"),
        ("License-Expression: AGPL-3.0-only", "refused"),
        ("License-Expression: MIT AND GPL-2.0-only", "refused"),
        ("License-Expression: CC-BY-NC-4.0", "refused"),
        ("License: CC BY-NC 4.0", "refused"),
        ("License: GNU GPL v3", "refused"),
        ("License: Free for non-commercial use", "refused"),
        ("Classifier: License :: OSI Approved :: GNU Affero General Public License v3", "refused"),
        ("Classifier: License :: OSI Approved :: GNU General Public License (GPL)", "refused"),
        (
            "License: MIT\nClassifier: License :: OSI Approved :: GNU General Public License (GPL)",
            "refused",
        ),
        ("License-Expression: GPL-3.0-only AND (MIT OR Apache-2.0)", "refused"),
        ("License-Expression: MIT AND LicenseRef-Ours", "does not know"),
        ("License: see the web page", "does not know"),
        ("Classifier: License :: OSI Approved", "does not know"),
        ("Summary: says nothing", "does not know"),
        ("License-Expression: Apache-2.0 OR GPL-2.0-or-later", None),
        ("License-Expression: MPL-2.0 AND (GPL-2.0-only OR MIT)", None),
        ("License-Expression: Apache-2.0 WITH LLVM-exception AND BSD-2-Clause", None),
        ("License-Expression: LGPL-3.0-or-later", None),
        (
            "Classifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)",
            None,
        ),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", None),
    ],
)
def test_a_planted_license(metadata: str, word: str | None, tmp_path: Path) -> None:
    reason = refusal(PathDistribution(plant(tmp_path, "planted", metadata)))
    assert reason is None if word is None else word in str(reason)
