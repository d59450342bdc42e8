"""The command line: one file per command, each with its options and a `run` function.

Only the standard library and tyro are imported before the options are read, so that `--help`
answers at once; what a command needs is imported inside its `run`.
"""
