"""Dockerfiles and what belongs to them, as text into values; no input or output, no `re` where avoidable.

    text ──lines──▶ logical lines ──syntax──▶ nodes ──parse──▶ typed instructions, grouped into stages
    word + environment ──expand──▶ text          .dockerignore ──ignore──▶ matcher       glob: COPY *.txt

Sources: the Dockerfile reference and BuildKit's behaviour (frontend/dockerfile: parser, shell,
instructions), moby/patternmatcher. Every error is a DockerfileError with file, line, column and the
line of text; tokens carry where they stood, so later floors can point at them too.
"""
