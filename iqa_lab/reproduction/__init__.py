"""Tables of papers, run again on the databases that are on this machine, and printed beside what was published."""
