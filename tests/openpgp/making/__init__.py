"""How the cases were made: real gpg and pysequoia, and by hand what neither will make any more."""
