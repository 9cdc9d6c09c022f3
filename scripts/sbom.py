"""Lists what the images hold, as CycloneDX: `python scripts/sbom.py [data train …]`."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from images import TARGETS, find_engine, image
from podman import ROOT, environment

FOLDER = ROOT / "build" / "sbom"
# Runs in the image, with its Python. (`pip inspect` of Debian's pip leaves out License-Expression.)
INVENTORY = r"""
import json, platform, subprocess
from importlib.metadata import distributions
debian = ["dpkg-query", "--show", "--showformat=${Package} ${Version} ${Architecture}\n"]
print(json.dumps({
    "python": [
        {"name": package.metadata["Name"], "version": package.version,
         "expression": package.metadata["License-Expression"],
         "classifiers": package.metadata.get_all("Classifier") or []}
        # A distribution that is on the path twice is imported from the first place.
        for package in {p.metadata["Name"]: p for p in reversed(list(distributions()))}.values()
    ],
    "debian": subprocess.check_output(debian, text=True).splitlines(),
    "release": platform.freedesktop_os_release(),
}))
"""


def component(purl: str, name: str, version: str) -> dict[str, Any]:
    """A package; its address (`purl`) is what scanners look it up by."""
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def python_package(found: dict[str, Any]) -> dict[str, Any]:
    """The component of a distribution, with the license that its metadata states."""
    name, version = found["name"], found["version"]
    address = f"{quote(name.lower().replace('_', '-'), safe='')}@{quote(version, safe=':')}"
    named = [line.rpartition(" :: ")[2] for line in found["classifiers"]
             if line.startswith("License ::")]  # fmt: skip
    licenses: list[dict[str, Any]] = [{"license": {"name": license}} for license in named]
    if found["expression"]:
        licenses = [{"expression": found["expression"]}]
    return component(f"pkg:pypi/{address}", name, version) | {"licenses": licenses}


def debian_package(line: str, release: dict[str, str]) -> dict[str, Any]:
    """The component of a Debian package, from its line of the inventory."""
    name, version, architecture = line.split()
    address = f"{release['ID']}/{quote(name, safe='')}@{quote(version, safe=':')}"
    of = f"arch={architecture}&distro={release['ID']}-{release['VERSION_ID']}"
    return component(f"pkg:deb/{address}?{of}", name, version)


def bill(name: str, digest: str, inventory: dict[str, Any]) -> dict[str, Any]:
    """The bill of materials of an image."""
    components = [python_package(found) for found in inventory["python"]]
    components += [debian_package(line, inventory["release"]) for line in inventory["debian"]]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "component": {"type": "container", "name": name, "version": digest},
        },
        "components": sorted(components, key=lambda found: found["purl"]),
    }


def run(engine: str, *arguments: str) -> str:
    """Run a command of the engine and return its output."""
    env = environment() if engine == "podman" else None
    argv = [engine, *arguments]
    return subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout


def write(target: str, engine: str) -> None:
    """Write the bill of one target's image."""
    name = image(target)
    digest = run(engine, "image", "inspect", "--format", "{{.Id}}", name).strip()
    found = run(engine, "run", "--rm", "--network=none", name, "python", "-c", INVENTORY)
    made = bill(name, digest, json.loads(found))
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{target}.json"
    file.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{file.relative_to(ROOT)}: {len(made['components'])} packages")


if __name__ == "__main__":
    engine = find_engine()
    try:
        for target in sys.argv[1:] or TARGETS:
            write(target, engine)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{image(target)}: {engine} ended with {error.returncode}; is the image built "
                 "(`make images`)?")  # fmt: skip
