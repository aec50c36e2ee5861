"""report.html: `page` puts it together from `view`, `taps`, `pictures` and `parts`."""
