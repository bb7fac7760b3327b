"""The management API of a registry, as client and server know it: pure, no I/O.

records      what travels, with its limits: from these come the checks and the schemas
operations   the table of operations: method, path, who may, what goes in and comes out
openapi      the document that is made of the table

It needs `msgspec`, and is loaded when the first request for the API comes.
"""
