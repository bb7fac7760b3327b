"""Layers that carry a table of contents: zstd:chunked and eStargz.

`toc` and `estargz` read the tables, `tarsplit` what lies between the files, `write` makes zstd:chunked.
Everything here is pure: bytes to values and back. Sources: containers/storage, zstd-chunked(5);
containerd/stargz-snapshotter, docs/estargz.md; vbatts/tar-split.
"""
