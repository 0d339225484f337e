"""A hook of MkDocs: links from a page to a file of the repository that is no page.

On GitHub such a link opens the file. A site of the pages alone has no such file: there the link leads to the repository
where mkdocs.yml or the environment (`REPO_URL`) names one, and else its text stays without it. A link to a file that is
not there is a warning, which ends a strict build.
"""

import logging
import os
import re
from pathlib import Path
from typing import Any

_LOG = logging.getLogger("mkdocs.hooks.site_links")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The page with links that leave the folder of pages turned into ones that a site can have."""
    pages = Path(config["docs_dir"]).resolve()
    base = (config.get("repo_url") or os.environ.get("REPO_URL") or "").rstrip("/")

    def turned(match: re.Match[str]) -> str:
        text, link, anchor = match.groups()
        target = (pages / page.file.src_uri).parent.joinpath(link).resolve()
        if target.is_relative_to(pages):
            return match[0]
        if not target.exists():
            _LOG.warning("%s: links to %s, which is not in the repository", page.file.src_uri, link)
        place = target.relative_to(pages.parent).as_posix()
        return f"[{text}]({base}/blob/HEAD/{place}{anchor or ''})" if base else text

    return _LINK.sub(turned, markdown)
