"""Web sites: a polite crawler on Scrapy's downloader, with its own frontier on disk, robots rules and address guard."""
