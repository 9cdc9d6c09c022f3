"""Debian package descriptions and debtags: turns apt's index files into labeled records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

DROPPED_FACETS = frozenset(
    [
        "role",
        "special",
        "suite",
        "implemented-in",
        "scope",
        "made-of",
        "junior",
        "iso15924",
        "culture",
    ]
)
DROPPED_ROLES = frozenset(["role::shared-lib", "role::devel-lib", "role::debug-symbols"])
MIN_PACKAGES = 5


def debtags_records(packages: str, translation: str) -> list[dict[str, Any]]:
    """Labeled documents from the text of a `Packages` and a `Translation-en` file.

    Left out are libraries and debug symbols (`DROPPED_ROLES`), then tags about the package rather
    than its use (`DROPPED_FACETS`) and tags of fewer than `MIN_PACKAGES` packages, then packages
    without a tag. If a package has two versions, the first one counts.

    Args:
        packages: text of the `Packages` file.
        translation: text of the `Translation-en` file.

    Returns:
        Records with `id` (package), `text` (title and long description), `labels` (sorted tags) and
        `group` (source package), sorted by package name.
    """
    long_texts = {
        stanza["Description-md5"]: stanza["Description-en"]
        for stanza in stanzas(translation)
        if "Description-md5" in stanza and "Description-en" in stanza
    }
    found: dict[str, dict[str, Any]] = {}
    for stanza in stanzas(packages):
        name, tags = stanza.get("Package"), parse_tags(stanza.get("Tag", ""))
        if name and name not in found and tags and not tags & DROPPED_ROLES:
            found[name] = _record(name, tags, stanza, long_texts)
    n_packages = Counter(tag for record in found.values() for tag in record["labels"])
    for record in found.values():
        record["labels"] = [tag for tag in record["labels"] if n_packages[tag] >= MIN_PACKAGES]
    return [found[name] for name in sorted(found) if found[name]["labels"]]


def _record(
    name: str, tags: set[str], stanza: dict[str, str], long_texts: dict[str, str]
) -> dict[str, Any]:
    short = stanza.get("Description", "")
    return {
        "id": name,
        "text": plain_description(long_texts.get(stanza.get("Description-md5", ""), short)),
        "labels": sorted(tag for tag in tags if tag.split("::")[0] not in DROPPED_FACETS),
        "group": stanza.get("Source", name).split(" ")[0],
    }


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The stanzas of a Debian control file; continuation lines stay in the value as lines."""
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in block.split("\n"):
            if line.startswith((" ", "\t")):
                fields[name] = f"{fields.get(name, '')}\n{line[1:]}"
            elif ":" in line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            yield fields


def parse_tags(field: str) -> set[str]:
    """The tags of a `Tag` field, which separates them by commas and may fold lines.

    >>> sorted(parse_tags("use::viewing, works-with::image, untagged"))
    ['use::viewing', 'works-with::image']
    """
    return {tag.strip() for tag in field.split(",") if "::" in tag}


def plain_description(description: str) -> str:
    r"""Title and paragraphs of a description, with folded lines joined.

    A line of ` .` ends a paragraph. Lines that are indented further (lists and examples) stay lines
    of their own, as in Debian Policy 5.6.13.

    >>> plain_description("viewer\nShows\nimages.\n.\nFormats:\n * PNG")
    'viewer\nShows images.\nFormats:\n* PNG'
    """
    title, *lines = description.split("\n")
    paragraphs, open_line = [title.strip()], False
    for line in lines:
        if line.strip() in ("", "."):
            open_line = False
        elif open_line and not line.startswith((" ", "\t")):
            paragraphs[-1] += " " + line.strip()
        else:
            paragraphs.append(line.strip())
            open_line = not line.startswith((" ", "\t"))
    return "\n".join(paragraphs)
