"""Files of an app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikoma.cli.blocks import Block, ItemList, Message, Table
from ikoma.cli.views import ForCall, write_command
from ikoma.cli.words import Size, Time
from ikoma.kernel.page import Column


def show_list(result: Mapping[str, Any]) -> Sequence[Block]:
    columns = (Column("name"), Column("size", right=True), Column("changed"))
    rows = [
        (
            f"{item['path']}/" if item["type"] == "folder" else item["path"],
            None if item["type"] == "folder" else Size(item["size"]),
            Time(item["modified"]),
        )
        for item in result["entries"]
    ]
    blocks: list[Block] = [Table(columns, rows, empty="There are no files.")]
    if result.get("truncated"):
        blocks.append(Message("There are more: list a folder further down.", "warning"))
    return blocks


def show_deleted(result: Mapping[str, Any], given: Mapping[str, Any]) -> Sequence[Block]:
    back = write_command("files.restore", given, path=result["path"])
    return [Message(f"{result['path']} is deleted; it is kept for 30 days: `{back}` brings it back.", "good")]


def show_restored(result: Mapping[str, Any]) -> Sequence[Block]:
    if not result.get("release"):
        return [Message(f"{result['path']} is as it was in version {result['version']}.", "good")]
    many = "1 path is" if result["count"] == 1 else f"{result['count']} paths are"
    return [
        Message(f"{many} as in release {result['release']}.", "good"),
        ItemList("restored", result["restored"]),
        ItemList("not in that release, and left", result["others"]),
    ]


VIEWS = {
    "files.delete": ForCall(show_deleted),
    "files.list": show_list,
    "files.restore": show_restored,
}
