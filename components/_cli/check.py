"""Check all of params.yaml at once, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path

import click

from components._frame.launch import CONTEXT, launch
from components._frame.params import PARAMS_FILE, load_params, load_sections, read_document
from longtail.errors import ParameterError, unknown_name
from longtail.models.bundled import BUNDLED, MOST_TOKENS, bundled

# Section: the module with its `Params`. A test compares them with the stages and commands.
SECTIONS = {
    "validate": "components.validate",
    "split": "components.split",
    "frequencies": "components.frequencies",
    "baseline": "components.baseline",
    "train": "components._train.params",
    "scores": "components._formats.scores_params",
    "thresholds": "components._thresholds_params",
    "report": "components._report.params",
    "register": "components.register",
    "promote": "components._registry.rules",
    "predict": "components.predict",
    "drift": "components.drift",
    "queue": "components._cli.queue_params",
}


def check(path: Path = PARAMS_FILE, sections: Collection[str] = SECTIONS.keys()) -> None:
    """Validate sections, by default all, and refuse those that nothing reads.

    Raises:
        ParameterError: the file is missing or has errors; all are reported together.
    """
    models = {name: (name, import_module(SECTIONS[name]).Params) for name in sections}
    unknown = [str(name) for name in read_document(path) if name not in SECTIONS]
    wrong = [f"{path}: {unknown_name('section', name, SECTIONS)}" for name in unknown]
    looks: list[Callable[[], object]] = [lambda: load_sections(models, path)]
    if "train" in sections:
        looks.append(lambda: _check_encoder(path))
    for look in looks:
        try:
            look()
        except ParameterError as error:
            wrong.append(str(error))
    if wrong:
        raise ParameterError("\n".join(dict.fromkeys(wrong)))


def _check_encoder(path: Path) -> None:
    """Compare `train.max_length` with the encoder's limit, if the encoder is on this machine."""
    from components._train.params import Params

    params = load_params("train", Params, path)
    if params.encoder == BUNDLED and bundled() and params.max_length <= MOST_TOKENS:
        return
    # Not at the top: transformers takes as long to load as everything else here.
    from longtail.models.encoder import check_length, without_weights

    encoder = without_weights(params.encoder)
    if encoder is not None:
        check_length(params.encoder, encoder, params.max_length)


@click.command("check", context_settings=CONTEXT, help=__doc__)
def command() -> None:
    """Say that the file is right, or everything that is wrong with it (exit code 2)."""
    check()
    print(f"{PARAMS_FILE}: all {len(SECTIONS)} sections are valid.")


if __name__ == "__main__":
    launch(command)
