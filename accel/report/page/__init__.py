"""Pages of charts: one HTML file each, which needs no network and no package."""
