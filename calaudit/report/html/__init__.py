"""report.html: `page` puts it together from `view`, `taps`, `samples` and `parts`."""
