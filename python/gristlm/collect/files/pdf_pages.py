"""The process that reads PDF files for `pdf.py`: `python -m gristlm.collect.files.pdf_pages`.

A line of JSON on standard input names a file, a line of JSON on standard output answers; it ends with its input.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping

MAX_PAGES = 20_000
MAX_MEMORY_BYTES = 1 << 30
MAX_CPU_SECONDS = 120


def main() -> None:
    """Answers until standard input ends."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, MAX_MEMORY_BYTES)
    for line in sys.stdin.buffer:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + MAX_CPU_SECONDS)
        answer = _pages(json.loads(line))
        answer["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _pages(job: Mapping[str, object]) -> dict[str, object]:
    """Returns the `texts` of a file's pages and its `title`, or a `reason` for dropping it."""
    import pypdfium2

    texts: list[str] = []
    size, limit, max_pages = 0, int(str(job["max_bytes"])), int(str(job["max_pages"]))
    try:
        with open(str(job["path"]), "rb") as opened:  # noqa: PTH123  # any path, encodable or not
            if not opened.read(1):
                return {"reason": "empty", "fault": False}
            opened.seek(0)
            with pypdfium2.PdfDocument(opened) as pdf:
                if len(pdf) > max_pages:
                    return {"reason": "too large", "detail": f"{len(pdf):,} pages; at most {max_pages:,}"}
                title = pdf.get_metadata_value("Title").strip()
                for page in pdf:
                    content = page.get_textpage()
                    text = content.get_text_bounded().replace("\r\n", "\n").strip()
                    content.close()
                    page.close()
                    size += len(text)
                    if size > limit:
                        return {"reason": "too large", "detail": f"over {limit:,} bytes of text (max_document_bytes)"}
                    texts.append(text)
    except OSError as error:
        return {"reason": "unreadable file", "detail": str(error)}
    except (pypdfium2.PdfiumError, ValueError, UnicodeError) as error:
        return {"reason": "damaged file", "detail": str(error)}
    return {"texts": texts, "title": title}


if __name__ == "__main__":
    main()
