"""Read files that are not ours: JSON, YAML, tables, arrays, zips and weights, as plain data or not at all.

Every function returns checked plain data, or raises one ValueError that names the file and the reason (OSError where
the file cannot be opened). Nothing in a file runs, and what it declares and unpacks to has limits.
"""
