"""What calaudit finds by the entry points of this package's pyproject.toml."""
