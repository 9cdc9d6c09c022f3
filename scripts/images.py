"""Builds the images with Docker or Podman: `python scripts/images.py [data train airflow mlflow]`.

Podman needs no image registry: the base is made from the Debian archive, and the builds see this
machine's pip settings (index, certificate, local folders), which are mounted and never copied.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from podman import HOME, ROOT, environment, images, install, podman

TARGETS = ("data", "train", "airflow", "mlflow")
BASE = "localhost/longtail-debian:latest"
INCLUDE = "python3,python3-venv,ca-certificates"
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def image(target: str) -> str:
    return f"localhost/longtail-{target}:latest"


def make_base() -> None:
    """Import a small Debian with Python, from the archive that this machine's apt uses."""
    if BASE in images():
        return
    archive = HOME / "base.tar"
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={INCLUDE}", *excluded,
         "bookworm", str(archive)],
        check=True,
    )  # fmt: skip
    podman("import", str(archive), BASE)
    archive.unlink()


def pip_settings() -> dict[str, str]:
    """This machine's pip settings; environment variables override files."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    settings: dict[str, str] = {}
    for line in sorted(done.stdout.splitlines(), key=lambda text: text.startswith(":env:")):
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    return settings


def local_paths(settings: dict[str, str]) -> set[Path]:
    """Folders and files that the settings name; the build needs them too."""
    items = [item for value in settings.values() for item in value.split()]
    paths = [Path(urlsplit(item).path if item.startswith("file://") else item) for item in items
             if item.startswith(("/", "file://"))]  # fmt: skip
    # `…/simple` of a local index links to files beside it.
    return {path.parent if path.name == "simple" else path for path in paths if path.exists()}


def pip_mounts(folder: Path) -> list[str]:
    """`--volume` arguments that show a build this machine's pip settings."""
    settings = pip_settings()
    mounts = local_paths(settings)
    certificate = Path(settings.get("cert") or os.environ.get("SSL_CERT_FILE", ""))
    if certificate.is_file():
        settings["cert"] = str(certificate)
        mounts.add(certificate)
    lines = [f"{name} = {value.replace(chr(10), ' ')}" for name, value in settings.items()]
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
    pairs = [f"{folder}/pip.conf:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in mounts)]
    return [argument for pair in pairs for argument in ("--volume", pair)]


def build(target: str, engine: str) -> float:
    """Build one target and return the seconds it took."""
    started = time.monotonic()
    argv = [engine, "build", "--file=docker/Dockerfile", "--target", target, "--tag", image(target)]
    with tempfile.TemporaryDirectory() as folder:
        if engine == "podman":
            base = os.environ.get("BASE_IMAGE", BASE)
            argv += ["--network=host", "--pull=never", "--format=docker", "--layers",
                      "--build-arg", f"BASE={base}", *pip_mounts(Path(folder))]  # fmt: skip
        elif "BASE_IMAGE" in os.environ:
            argv += ["--build-arg", f"BASE={os.environ['BASE_IMAGE']}"]
        for name in ("INDEX_URL", "EXTRA_INDEX_URL", "CA_CERT"):
            argv += ["--build-arg", f"{name}={os.environ[name]}"] if name in os.environ else []
        env = environment() if engine == "podman" else None
        subprocess.run([*argv, "."], cwd=ROOT, env=env, check=True)
    return time.monotonic() - started


def size(target: str, engine: str) -> float:
    """Size of an image in megabytes."""
    argv = [engine, "image", "inspect", "--format", "{{.Size}}", image(target)]
    env = environment() if engine == "podman" else None
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1e6


def find_engine() -> str:
    """The engine to use: docker if it answers, else podman."""
    docker = shutil.which("docker")
    up = docker and not subprocess.run([docker, "info"], capture_output=True).returncode
    return "docker" if up else "podman"


if __name__ == "__main__":
    engine = find_engine()
    if engine == "podman":
        install()
        make_base()
    for target in sys.argv[1:] or TARGETS:
        seconds = build(target, engine)
        print(f"{image(target)}: {size(target, engine):,.0f} MB, built in {seconds:.0f} s")
