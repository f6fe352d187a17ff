"""Handlers on Faust (`runtime = "faust"`): their rows of ACCEPTANCE.md on the whole program, and the parts."""
