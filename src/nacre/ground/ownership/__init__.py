"""Users and owners for programs in a user namespace that has one id only.

The kernel knows nobody but the user there, so `setgroups` and `chown` to another fail, and with them
`apt-get`. What the programs ask is answered by the process that keeps the container: see `answers`.
"""
