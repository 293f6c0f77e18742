"""How pictures stand on a page: in groups, side by side or over the whole width, no more than a page can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edge_dendrite.report.pictures import GROUPS, Picture, latency_picture
from edge_dendrite.report.rows import Report

# Of a page's 2 MB; the rest is for its texts.
_MAX_BYTES = 950_000


@dataclass(frozen=True)
class Placed:
    """A picture and its place: "" for half of a row, "wide" for a row, "alone" for a half picture in one."""

    picture: Picture
    place: str


@dataclass(frozen=True)
class Group:
    """The pictures of one subject; `anchor` is its id on the page."""

    name: str
    anchor: str
    pictures: tuple[Placed, ...]


def fit_pictures(drawn: Sequence[Picture], max_bytes: int = _MAX_BYTES) -> tuple[Picture, ...]:
    """As many as `max_bytes` hold, in their order; one that is too large does not keep out those behind it."""
    fitting, room = [], max_bytes
    for picture in drawn:
        num_bytes = len(picture.svg.encode("utf-8", "replace"))
        if num_bytes <= room:
            fitting.append(picture)
            room -= num_bytes
    return tuple(fitting)


def group_pictures(pictures: Sequence[Picture]) -> tuple[Group, ...]:
    """Groups in the order of pictures.GROUPS, without those that are empty."""
    found = []
    for name in dict.fromkeys([*GROUPS, *(picture.group for picture in pictures)]):
        members = [picture for picture in pictures if picture.group == name]
        if members:
            found.append(Group(name, f"pictures-{name.lower().replace(' ', '-')}", place_pictures(members)))
    return tuple(found)


def place_pictures(pictures: Sequence[Picture]) -> tuple[Placed, ...]:
    """Two in a row, as far as there are two; wide ones in rows of their own."""
    placed: list[Placed] = []
    for picture in pictures:
        if picture.wide:
            placed.append(Placed(picture, "wide"))
        elif placed and placed[-1].place == "alone":
            placed[-1:] = [Placed(placed[-1].picture, ""), Placed(picture, "")]
        else:
            placed.append(Placed(picture, "alone"))
    return tuple(placed)


def drawing(picture: Picture, caption_id: str) -> Markup:
    """The picture's own markup; who cannot see it hears the caption with that id."""
    return Markup(picture.svg.replace("<svg ", f'<svg aria-describedby="{caption_id}" ', 1))


def board_pictures(reports: Sequence[Report], max_bytes: int = _MAX_BYTES) -> list[tuple[Placed, ...]]:
    """For each board how its networks' latencies are distributed, as long as there is room on the page."""
    placed: list[tuple[Placed, ...]] = []
    room = max_bytes
    for number, report in enumerate(reports, 1):
        picture = latency_picture(report, f"board{number}-latency") if room > 0 else None
        room -= len(picture.svg.encode("utf-8", "replace")) if picture else 0
        placed.append((Placed(picture, "alone"),) if picture and room > 0 else ())
    return placed
