"""From official database releases to index.csv, and the making of the files that ship with the package."""
