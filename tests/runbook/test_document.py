from __future__ import annotations

from pathlib import Path

from tests.runbook.document import commands, sections


def test_commands_keep_their_continued_lines_quotes_and_here_documents() -> None:
    block = (
        "# 1. say\ncurl -X POST a \\\n  -d '{}' | jq\n\ncat > f <<EOF\nA=1\n# B\nEOF\nX=$(cat f)\necho 'two\nlines'\n"
    )
    assert commands(block) == [
        "curl -X POST a \\\n  -d '{}' | jq",
        "cat > f <<EOF\nA=1\n# B\nEOF",
        "X=$(cat f)",
        "echo 'two\nlines'",
    ]


def test_sections_know_the_headings_above_them(tmp_path: Path) -> None:
    document = tmp_path / "runbook.md"
    document.write_text("# T\n## 🚀 A\n```bash\none\n```\n### B\n```json\nno\n```\n```bash\ntwo\n```\n## C\n")
    found = {section.title: section.blocks for section in sections(document)}
    assert found["A"] == (("one",),)
    assert found["A / B"] == (("two",),)
    assert found["C"] == ()
