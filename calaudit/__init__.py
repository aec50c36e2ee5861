"""calaudit: audits INT8 engines slice by slice before they ship."""

__version__ = "0.1.0"
