"""Everything that is done side by side: in threads, in forks, in helper processes."""
