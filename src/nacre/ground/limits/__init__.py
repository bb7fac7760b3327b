"""Control groups with controllers: what a container may use, what it uses, and how it is ended.

hierarchies (where this process is) ← settings (values for files) ← groups (made, entered, removed)
                                    ← usage (what was used)
"""
