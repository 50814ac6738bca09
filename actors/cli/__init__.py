"""The commands of `python -m supervisor` that talk to a running system, one file each."""
