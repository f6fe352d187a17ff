"""Taking a log elsewhere: `copy` to another engine or prefix, `backup` and `restore`. See docs/moving.md for how it is done."""
