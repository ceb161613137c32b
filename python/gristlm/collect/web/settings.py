"""The settings of a crawl: the table `[collect.web]`."""

from __future__ import annotations

from pydantic import Field, field_validator

from gristlm.runs.config import Config

PRODUCT = "gristlm"
"""The product token of the crawler: its name in robots.txt and at the start of its User-Agent."""


class WebConfig(Config):
    """How web sites are read."""

    contact: str = ""
    """An e-mail address or a page about you, sent with every request, so that a site can reach you; needed unless
    `allow_private` is set."""
    allowed_domains: list[str] = Field(default_factory=list)
    """Domains that may be read with all below them, beside the hosts of the start URLs."""
    max_depth: int = Field(default=10, ge=0, le=1000)
    """Links to follow from a start URL; 0 reads the start URLs alone."""
    max_pages: int = Field(default=10_000, ge=1)
    """Most URLs to ask for, of all sites together."""
    max_page_bytes: int = Field(default=10_000_000, ge=1000, le=1_000_000_000)
    """A longer answer (as sent, or unpacked) is broken off and dropped."""
    timeout_seconds: float = Field(default=30.0, gt=0.0, le=600.0)
    """Time for one answer, from looking up the host to the last byte."""
    max_redirects: int = Field(default=5, ge=0, le=20)
    """Redirects to follow one after the other; each is checked as a link is."""
    delay_seconds: float = Field(default=0.2, ge=0.0, le=600.0)
    """Time between two requests to a host; a longer `Crawl-delay` of its robots.txt is kept."""
    max_crawl_delay_seconds: float = Field(default=60.0, ge=0.0, le=3600.0)
    """A host that asks for a longer delay is not read."""
    concurrency: int = Field(default=16, ge=1, le=256)
    """Requests at a time, of all hosts together."""
    concurrency_per_host: int = Field(default=2, ge=1, le=16)
    """Requests at a time to one host; 1 where its robots.txt asks for a delay."""
    retries: int = Field(default=2, ge=0, le=10)
    """How often a URL is asked for again that was answered with 429 or 503, after the time the answer names."""
    sitemaps: bool = True
    """Whether the sitemaps that a robots.txt names are read."""
    allow_private: bool = False
    """Also read hosts of this machine and of private networks, where a start URL or `allowed_domains` names them; for
    tests. Link-local addresses are never read."""
    cache: str | None = None
    """A folder for pages that outlives the run: a later crawl asks only whether they have changed."""

    @field_validator("contact")
    @classmethod
    def _says_who(cls, value: str) -> str:
        if value and (("@" not in value and "." not in value) or not value.isprintable() or not value.isascii()):
            raise ValueError(f"must be an e-mail address or a URL; given {value!r}")
        return value
