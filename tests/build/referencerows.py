"""Each example of the frontend's reference as a row, by the heading it stands under.

The inputs are ours. What cannot be built here is a row with the reason. Source: moby/buildkit,
frontend/dockerfile/docs/reference.md.
"""

from __future__ import annotations

from typing import Any

BUSYBOX = "FROM busybox:test\n"
SCRATCH = "FROM scratch\n"


class Row:
    """One example: its Dockerfile, and what it makes: `files` and their texts, `config`, or an `error`."""

    def __init__(
        self, heading: str, dockerfile: str, files: dict[str, str] | None = None,
        config: dict[str, Any] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        self.heading, self.dockerfile = heading, dockerfile
        self.files, self.config = files, config or {}
        self.context: dict[str, str] = more.pop("context", {})
        self.error: str = more.pop("error", "")
        self.modes: dict[str, str] = more.pop("modes", {})
        self.options: dict[str, Any] = more


def labels(**pairs: str) -> dict[str, Any]:
    return {"Labels": {name.replace("_", "-"): value for name, value in pairs.items()}}


DIRECTIVES = [
    Row("Format", 'FROM scratch\n# a comment\nLABEL a="x \\\n# inside\ny"\n', config=labels(a="x y")),
    Row("Format, blanks", "   # far in\n    FROM scratch\n\tLABEL a=b\n", config=labels(a="b")),
    Row(
        "Parser directives, continued", "# direc \\\ntive=value\nFROM scratch\n", error="unknown instruction"
    ),
    Row(
        "Parser directives, twice",
        "# escape=\\\n# escape=`\nFROM scratch\n",
        error="only one escape parser directive can be used",
    ),
    Row(
        "Parser directives, after an instruction",
        "FROM scratch\n# escape=`\nLABEL a=b\\\nc\n",
        config=labels(a="bc"),
    ),
    Row(
        "Parser directives, after a comment",
        "# about\n# escape=`\nFROM scratch\nLABEL a=b\\\nc\n",
        config=labels(a="bc"),
    ),
    Row(
        "Parser directives, unknown",
        "# unknown=1\n# escape=`\nFROM scratch\nLABEL a=b\\\nc\n",
        config=labels(a="bc"),
    ),
    *(
        Row(
            f"Parser directives, spelled {text!r}",
            f"{text}\nFROM scratch\nLABEL a=b`\nc\n",
            config=labels(a="bc"),
        )
        for text in ("#escape=`", "# escape =`", "#\tescape= `", "# escape = `", "#\t  eScApE=`")
    ),
    Row("syntax", "# syntax=docker/dockerfile:1\nFROM scratch\nLABEL a=b\n", config=labels(a="b")),
    Row("escape, usual", "# escape=\\\nFROM scratch\nLABEL a=b\\\nc\n", config=labels(a="bc")),
    Row(
        "escape, of a path",
        "# escape=`\nFROM scratch\nCOPY f c:\\\nLABEL a=b\n",
        {"c:\\": "f"},
        context={"f": "f"},
    ),
    Row(
        "check, skipped",
        "# check=skip=JSONArgsRecommended,StageNameCasing\nFROM scratch AS Up\nCMD x y\n",
        config={"Cmd": ["/bin/sh", "-c", "x y"]},
    ),
    Row("check, all skipped", "# check=skip=all\nFROM scratch AS Up\nCMD x\n", {}),
    Row(
        "check, error",
        "# check=error=true\nFROM scratch\nCMD x y\n",
        error="lint violation found for rules: JSONArgsRecommended",
    ),
    Row("check, both", "# check=skip=JSONArgsRecommended;error=true\nFROM scratch\nCMD x y\n", {}),
]

VARIABLES = [
    Row(
        "Environment replacement",
        SCRATCH + "ENV FOO=/bar\nWORKDIR ${FOO}\nADD f $FOO/\nCOPY \\$FOO /quux\n",
        {"bar/f": "f", "quux": "d"},
        {"WorkingDir": "/bar"},
        context={"f": "f", "$FOO": "d"},
    ),
    Row(
        "Environment replacement, modifiers",
        SCRATCH + "ENV set=v empty=\nLABEL a=${set:-w} b=${empty:-w} c=${no-w} d=${empty-w} "
        "e=${set:+w} f=${no:+w} g=${empty+w}\n",
        config=labels(a="v", b="w", c="w", d="", e="w", f="", g="w"),
    ),
    Row(
        "Environment replacement, patterns",
        SCRATCH
        + "ENV s=foobarbaz\nLABEL a=${s#f*b} b=${s##f*b} c=${s%b*} d=${s%%b*} e=${s/ba/fo} f=${s//ba/fo}\n",
        config=labels(a="arbaz", b="az", c="foobar", d="foo", e="fooforbaz", f="fooforfoz"),
    ),
    Row(
        "Environment replacement, escaped",
        SCRATCH + "ENV f=1\nLABEL a=\\$f b=\\${f}\n",
        config=labels(a="$f", b="${f}"),
    ),
    Row(
        "Environment replacement, one instruction",
        SCRATCH + "ENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n",
        config={"Env": ["PATH=*", "abc=bye", "def=hello", "ghi=bye"]},
    ),
    Row(
        ".dockerignore",
        SCRATCH + "COPY . /\n",
        {"a": "a"},
        context={"a": "a", "b/c": "c", ".dockerignore": "b\n.dockerignore\nDockerfile\n"},
    ),
]

FORMS = [
    Row(
        "Exec form",
        SCRATCH + 'ENTRYPOINT ["/bin/bash", "-c", "echo hello"]\n',
        config={"Entrypoint": ["/bin/bash", "-c", "echo hello"]},
    ),
    Row(
        "Exec form, no variables",
        BUSYBOX + 'ENV HOME=/h\nRUN ["touch", "/$HOME"]\nRUN ["sh", "-c", "touch /x$HOSTTYPE"]\n',
        {"$HOME": "", "x": ""},
    ),
    Row(
        "Exec form, backslashes",
        SCRATCH + 'CMD ["c:\\\\windows\\\\x.exe"]\n',
        config={"Cmd": ["c:\\windows\\x.exe"]},
    ),
    Row(
        "Exec form, not JSON",
        SCRATCH + 'CMD ["c:\\windows"]\n',
        config={"Cmd": ["/bin/sh", "-c", '["c:\\windows"]']},
    ),
    Row(
        "Shell form",
        BUSYBOX + "RUN echo a > /a && \\\necho b > /b\nRUN <<EOF\n  echo c > /c\n  echo d > /d\nEOF\n",
        {name: f"{name}\n" for name in "abcd"},
    ),
    Row(
        "Use a different shell",
        BUSYBOX + 'SHELL ["/bin/sh", "-e", "-c"]\nRUN echo $- > /flags\n',
        {"flags": "ce\n"},
    ),
]

FROM = [
    Row(
        "FROM, stages",
        "FROM scratch AS base\nCOPY f /shared\nFROM scratch AS build\nCOPY f /app\n"
        "FROM base AS prod\nCOPY --from=build /app /app\n",
        {"shared": "f", "app": "f"},
        context={"f": "f"},
    ),
    Row(
        "FROM, platform", "FROM --platform=$BUILDPLATFORM scratch\nCOPY f /\n", {"f": "f"}, context={"f": "f"}
    ),
    Row("FROM, no such tag", "FROM oci-nowhere.invalid/x:1\n", error="oci-nowhere.invalid"),
    Row(
        "ARG and FROM",
        "ARG  NAME=test\nFROM busybox:${NAME}\nCMD  /run\n",
        config={"Cmd": ["/bin/sh", "-c", "/run"]},
    ),
    Row(
        "ARG and FROM, within a stage",
        "ARG VERSION=test\nFROM busybox:$VERSION\nARG VERSION\nRUN echo $VERSION > /v\n",
        {"v": "test\n"},
    ),
]

RUN = [
    Row(
        "RUN --mount=type=bind",
        BUSYBOX + "RUN --mount=target=/src cat /src/f > /g\n",
        {"g": "f"},
        context={"f": "f"},
    ),
    Row(
        "RUN --mount=type=bind, rw",
        BUSYBOX + "RUN --mount=target=/src,rw echo x > /src/f && cp /src/f /g\n",
        {"g": "x\n"},
        context={"f": "f"},
    ),
    Row(
        "RUN --mount=type=bind, from a stage",
        "FROM scratch AS a\nCOPY f /d/f\n" + BUSYBOX + "RUN --mount=from=a,source=/d,target=/m cp /m/f /g\n",
        {"g": "f"},
        context={"f": "f"},
    ),
    Row(
        "RUN --mount=type=cache",
        BUSYBOX + "RUN --mount=type=cache,target=/c echo x > /c/x && cp /c/x /g\n",
        {"g": "x\n"},
    ),
    Row(
        "RUN --mount=type=cache, locked",
        BUSYBOX + "RUN --mount=type=cache,target=/c,sharing=locked \\\n "
        "--mount=type=cache,target=/d,sharing=locked \\\n"
        "  echo x > /c/x && cp /c/x /d && cp /d/x /g\n",
        {"g": "x\n"},
    ),
    Row(
        "RUN --mount=type=tmpfs",
        BUSYBOX + "RUN --mount=type=tmpfs,target=/t echo x > /t/x && cp /t/x /g\n",
        {"g": "x\n"},
    ),
    Row(
        "RUN --mount=type=secret, a file",
        BUSYBOX + "RUN --mount=type=secret,id=aws,target=/root/.aws/credentials "
        "wc -c < /root/.aws/credentials > /n\n",
        {"n": "3\n"},
        secrets=(("aws", b"abc"),),
    ),
    Row(
        "RUN --mount=type=secret, a variable",
        BUSYBOX + "RUN --mount=type=secret,id=API_KEY,env=API_KEY \\\n  echo ${#API_KEY} > /n\n",
        {"n": "4\n"},
        secrets=(("API_KEY", b"abcd"),),
    ),
    Row(
        "RUN --mount=type=secret, required",
        BUSYBOX + "RUN --mount=type=secret,id=no,required true\n",
        error="secret no",
    ),
    Row(
        "RUN --mount=type=ssh, required",
        BUSYBOX + "RUN --mount=type=ssh,required true\n",
        error="SSH agent default",
    ),
    Row(
        "RUN --mount=type=ssh",
        BUSYBOX + "RUN --mount=type=ssh echo ${SSH_AUTH_SOCK:-none} > /n\n",
        {"n": "none\n"},
    ),
    Row("RUN --network=default", BUSYBOX + "RUN --network=default echo x > /n\n", {"n": "x\n"}),
    Row(
        "RUN --network=none",
        BUSYBOX + "ADD f.tar /wheels/\nRUN --network=none cp /wheels/in /n\n",
        {"n": "in", "wheels/in": "in"},
        context={"f.tar": "in"},
    ),
    Row(
        "RUN --network=host, not allowed",
        BUSYBOX + "RUN --network=host true\n",
        error="--network=host is not allowed",
        network="none",
    ),
    Row(
        "RUN --network=host",
        BUSYBOX + "RUN --network=host echo x > /n\n",
        {"n": "x\n"},
        allow=("network.host",),
        network="none",
    ),
    Row(
        "RUN --security=insecure, not allowed",
        BUSYBOX + "RUN --security=insecure true\n",
        error="--security=insecure is not allowed",
    ),
    Row("RUN --security=sandbox", BUSYBOX + "RUN --security=sandbox echo x > /n\n", {"n": "x\n"}),
    Row("RUN --device", BUSYBOX + "RUN --device=vendor1.com/device=foo true\n", error="--device"),
]

METADATA = [
    Row(
        "CMD, exec form",
        SCRATCH + 'CMD ["executable","param1","param2"]\n',
        config={"Cmd": ["executable", "param1", "param2"]},
    ),
    Row("CMD, the last one", SCRATCH + 'CMD ["a"]\nCMD ["b"]\n', config={"Cmd": ["b"]}),
    Row(
        "CMD, shell form", SCRATCH + "CMD command p1 p2\n", config={"Cmd": ["/bin/sh", "-c", "command p1 p2"]}
    ),
    Row(
        "LABEL",
        SCRATCH + 'LABEL "com.example.vendor"="A B"\nLABEL version="1.0"\n'
        'LABEL text="one \\\ntwo"\nLABEL x="1" y="2" \\\n      z="3"\n',
        config={
            "Labels": {
                "com.example.vendor": "A B",
                "version": "1.0",
                "text": "one two",
                "x": "1",
                "y": "2",
                "z": "3",
            }
        },
    ),
    Row("LABEL, quotes", SCRATCH + "ENV V=v\nLABEL a=\"x-$V\" b='x-$V'\n", config=labels(a="x-v", b="x-$V")),
    Row(
        "LABEL, of a stage that is copied from",
        "FROM scratch AS a\nLABEL a=1\nCOPY f /\nFROM scratch\nCOPY --from=a /f /\n",
        {"f": "f"},
        {"Labels": None},
        context={"f": "f"},
    ),
    Row(
        "MAINTAINER",
        SCRATCH + 'MAINTAINER me@example.org\nLABEL org.opencontainers.image.authors="me"\n',
        config={"Labels": {"org.opencontainers.image.authors": "me"}},
    ),
    Row(
        "EXPOSE",
        SCRATCH + "EXPOSE 80/tcp\nEXPOSE 80/udp 8080\n",
        config={"ExposedPorts": {"80/tcp": {}, "80/udp": {}, "8080/tcp": {}}},
    ),
    Row(
        "ENV",
        SCRATCH + 'ENV NAME="John Doe"\nENV DOG=Rex\\ The\\ Dog\nENV CAT=fluffy\n',
        config={"Env": ["PATH=*", "NAME=John Doe", "DOG=Rex The Dog", "CAT=fluffy"]},
    ),
    Row(
        "ENV, several",
        SCRATCH + 'ENV NAME="John Doe" DOG=Rex\\ The\\ Dog \\\n    CAT=fluffy\n',
        config={"Env": ["PATH=*", "NAME=John Doe", "DOG=Rex The Dog", "CAT=fluffy"]},
    ),
    Row(
        "ENV, for one command",
        BUSYBOX + "RUN MODE=quiet env | grep -c ^MODE=quiet > /n\nARG MODE=other\nRUN echo $MODE >> /n\n",
        {"n": "1\nother\n"},
    ),
    Row(
        "ENV, without equals sign",
        SCRATCH + "ENV ONE TWO= THREE=world\n",
        config={"Env": ["PATH=*", "ONE=TWO= THREE=world"]},
    ),
    Row(
        "ENTRYPOINT, exec form",
        SCRATCH + 'ENTRYPOINT ["top", "-b"]\nCMD ["-c"]\n',
        config={"Entrypoint": ["top", "-b"], "Cmd": ["-c"]},
    ),
    Row(
        "ENTRYPOINT, shell form",
        SCRATCH + "ENTRYPOINT exec top -b\n",
        config={"Entrypoint": ["/bin/sh", "-c", "exec top -b"]},
    ),
    Row(
        "CMD and ENTRYPOINT",
        'FROM scratch AS a\nCMD ["x"]\nFROM a\nENTRYPOINT ["y"]\n',
        config={"Entrypoint": ["y"], "Cmd": None},
    ),
    Row(
        "CMD and ENTRYPOINT, empty",
        'FROM scratch AS a\nCMD ["x"]\nENTRYPOINT ["y"]\nFROM a\nENTRYPOINT []\nCMD []\n',
        config={"Entrypoint": None, "Cmd": None},
    ),
    Row("VOLUME, JSON", SCRATCH + 'VOLUME ["/var/log/"]\n', config={"Volumes": {"/var/log/": {}}}),
    Row(
        "VOLUME, plain",
        SCRATCH + "VOLUME /var/log /var/db\n",
        config={"Volumes": {"/var/log": {}, "/var/db": {}}},
    ),
    Row(
        "VOLUME, what is changed in one is kept",
        BUSYBOX + "RUN mkdir /v\nVOLUME /v\nRUN echo hello > /v/greeting\n",
        {"v/greeting": "hello\n"},
    ),
    Row(
        "USER",
        BUSYBOX + "USER user:user\nRUN id -un > /tmp/n; cp /tmp/n /tmp/m\n",
        config={"User": "user:user"},
    ),
    Row("USER, numbers", SCRATCH + "USER 10:11\n", config={"User": "10:11"}),
    Row(
        "WORKDIR",
        BUSYBOX + "WORKDIR /a\nWORKDIR b\nWORKDIR c\nRUN pwd > /n\n",
        {"n": "/a/b/c\n"},
        {"WorkingDir": "/a/b/c"},
    ),
    Row(
        "WORKDIR, variables",
        SCRATCH + "ENV DIRPATH=/path\nWORKDIR $DIRPATH/$DIRNAME\n",
        config={"WorkingDir": "/path"},
    ),
    Row("STOPSIGNAL, name", SCRATCH + "STOPSIGNAL SIGKILL\n", config={"StopSignal": "SIGKILL"}),
    Row("STOPSIGNAL, number", SCRATCH + "STOPSIGNAL 9\n", config={"StopSignal": "9"}),
    Row(
        "HEALTHCHECK",
        SCRATCH + "HEALTHCHECK --interval=5m --timeout=3s \\\n  CMD curl -f http://localhost/ || exit 1\n",
        config={
            "Healthcheck": {
                "Test": ["CMD-SHELL", "curl -f http://localhost/ || exit 1"],
                "Interval": 300_000_000_000,
                "Timeout": 3_000_000_000,
            }
        },
    ),
    Row(
        "HEALTHCHECK, all options",
        SCRATCH + 'HEALTHCHECK --start-period=1s --start-interval=2s --retries=4 CMD ["true"]\n',
        config={
            "Healthcheck": {
                "Test": ["CMD", "true"],
                "StartPeriod": 1_000_000_000,
                "StartInterval": 2_000_000_000,
                "Retries": 4,
            }
        },
    ),
    Row(
        "HEALTHCHECK, the last one",
        SCRATCH + "HEALTHCHECK CMD a\nHEALTHCHECK NONE\n",
        config={"Healthcheck": {"Test": ["NONE"]}},
    ),
    Row(
        "SHELL",
        BUSYBOX + 'SHELL ["/bin/sh", "-x", "-c"]\nCMD one two\nENTRYPOINT three\n',
        config={
            "Shell": ["/bin/sh", "-x", "-c"],
            "Cmd": ["/bin/sh", "-x", "-c", "one two"],
            "Entrypoint": ["/bin/sh", "-x", "-c", "three"],
        },
    ),
]

PICTURES = {
    "a.png": "a",
    "b.png": "b",
    "index.js": "j",
    "index.ts": "t",
    "arr[0].txt": "r",
    "f": "f",
    "d/x": "x",
    "d/y/z": "z",
}

COPIES = [
    row
    for verb in ("ADD", "COPY")
    for row in (
        Row(
            f"{verb}, several files",
            SCRATCH + f"{verb} a.png b.png /usr/things/\n",
            {"usr/things/a.png": "a", "usr/things/b.png": "b"},
            context=PICTURES,
        ),
        Row(
            f"{verb}, JSON",
            SCRATCH + f'{verb} ["a.png", "/with blank"]\n',
            {"with blank": "a"},
            context=PICTURES,
        ),
        Row(
            f"{verb}, out of the context",
            SCRATCH + f"{verb} ../f /g\n{verb} /d/ /h\n",
            {"g": "f", "h/x": "x", "h/y/z": "z"},
            context=PICTURES,
        ),
        Row(
            f"{verb}, all that match",
            SCRATCH + f"{verb} *.png /dest/\n",
            {"dest/a.png": "a", "dest/b.png": "b"},
            context=PICTURES,
        ),
        Row(
            f"{verb}, one character",
            SCRATCH + f"{verb} index.?s /dest/\n",
            {"dest/index.js": "j", "dest/index.ts": "t"},
            context=PICTURES,
        ),
        Row(
            f"{verb}, a bracket",
            SCRATCH + f"{verb} arr[[]0].txt /dest/\n",
            {"dest/arr[0].txt": "r"},
            context=PICTURES,
        ),
        Row(
            f"{verb}, destinations",
            SCRATCH + f"WORKDIR /usr/src/app\n{verb} f /abs/\n{verb} f /file\n{verb} f rel/\n",
            {"abs/f": "f", "file": "f", "usr/src/app/rel/f": "f"},
            context=PICTURES,
        ),
        Row(
            f"{verb} --chmod, octal",
            SCRATCH + f"ARG MODE=440\n{verb} --chmod=755 f /app/\n{verb} --chmod=$MODE d .\n",
            {"app/f": "f", "x": "x", "y/z": "z"},
            context=PICTURES,
            modes={"app/f": "755 0:0", "x": "440 0:0"},
        ),
        Row(
            f"{verb} --chmod, symbols",
            SCRATCH
            + f"{verb} --chmod=+x f /app/\n{verb} --chmod=u=rwX,go=rX d /d/\n{verb} --chmod=g=u f /g/\n",
            {"app/f": "f", "d/x": "x", "d/y/z": "z", "g/f": "f"},
            context=PICTURES,
            modes={"app/f": "755 0:0", "d/y": "755 0:0", "d/x": "644 0:0", "g/f": "664 0:0"},
        ),
        Row(
            f"{verb} --chown",
            BUSYBOX
            + f"{verb} --chown=55:user f /a/\n{verb} --chown=1 f /b/\n{verb} --chown=10:11 f /c/\n"
            + f"{verb} --chown=user:user --chmod=644 f /d/\n",
            {"a/f": "f", "b/f": "f", "c/f": "f", "d/f": "f"},
            context=PICTURES,
            modes={"a/f": "644 55:1000", "b/f": "644 1:1", "c/f": "644 10:11", "d/f": "644 1000:1000"},
        ),
        Row(
            f"{verb} --chown, unknown",
            SCRATCH + f"{verb} --chown=nobody f /\n",
            error="nobody",
            context=PICTURES,
        ),
        Row(f"{verb} --link", BUSYBOX + f"{verb} --link /f /bar\n", {"bar": "f"}, context=PICTURES),
        # as BuildKit does, whatever the reference says: what the source names by itself is not left out
        Row(
            f"{verb} --exclude, of what is named",
            SCRATCH + f"{verb} --exclude=*.txt --exclude=*.md hom* /mydir/\n",
            {"mydir/home": "h", "mydir/home.txt": "t", "mydir/hom.md": "m"},
            context={"home": "h", "home.txt": "t", "hom.md": "m"},
        ),
        Row(
            f"{verb} --exclude",
            SCRATCH + f"{verb} --exclude=*.txt --exclude=*.md d /mydir/\n",
            {"mydir/home": "h"},
            context={"d/home": "h", "d/home.txt": "t", "d/hom.md": "m"},
        ),
    )
]

MORE_COPIES = [
    Row(
        "ADD, a local archive",
        SCRATCH + "ADD f.tar /x/\nADD empty.tar.gz /x/\n",
        {"x/in": "in", "x/empty.tar.gz": ""},
        context={"f.tar": "in", "empty.tar.gz": ""},
    ),
    Row(
        "ADD --unpack=false",
        SCRATCH + "ADD --unpack=false f.tar .\n",
        {"f.tar": "*"},
        context={"f.tar": "in"},
    ),
    Row(
        "COPY --from, a stage",
        BUSYBOX + "WORKDIR /w\nCOPY . .\nRUN cp f /hello\n" + SCRATCH + "COPY --from=0 /hello /\n",
        {"hello": "f"},
        context={"f": "f"},
    ),
    Row("COPY --from, an image", SCRATCH + "COPY --from=busybox:test /etc/passwd /p\n", {"p": "*"}),
    Row(
        "COPY --parents",
        SCRATCH + "COPY ./x/a.txt ./y/a.txt /no_parents/\nCOPY --parents ./x/a.txt ./y/a.txt /parents/\n",
        {"no_parents/a.txt": "y", "parents/x/a.txt": "x", "parents/y/a.txt": "y"},
        context={"x/a.txt": "x", "y/a.txt": "y"},
    ),
    Row(
        "COPY --parents, a pivot",
        SCRATCH + "COPY --parents ./x/./y/*.txt /parents/\n",
        {"parents/y/a.txt": "a", "parents/y/b.txt": "b"},
        context={"x/y/a.txt": "a", "x/y/b.txt": "b"},
    ),
    Row(
        "COPY --parents, any depth",
        SCRATCH + "COPY --parents ./src/**/*.txt /parents/\n",
        {"parents/src/a.txt": "a", "parents/src/x/b.txt": "b", "parents/src/x/y/c.txt": "c"},
        context={"src/a.txt": "a", "src/x/b.txt": "b", "src/x/y/c.txt": "c", "src/no": "n"},
    ),
]

ARGUMENTS = [
    Row(
        "ARG",
        SCRATCH + "ARG user1\nARG buildno=1 more=2\nLABEL a=$user1 b=$buildno c=$more\n",
        config=labels(a="me", b="1", c="2"),
        arguments=(("user1", "me"),),
    ),
    Row(
        "ARG, scope",
        SCRATCH + "LABEL a=${username:-some_user}\nARG username\nLABEL b=$username\n",
        config=labels(a="some_user", b="what"),
        arguments=(("username", "what"),),
    ),
    Row("ARG, inherited by stages", "FROM scratch AS a\nARG x=1\nFROM a\nLABEL x=$x\n", config=labels(x="1")),
    Row(
        "ARG, of another stage", "FROM scratch AS a\nARG x=1\nFROM scratch\nLABEL x=$x\n", config=labels(x="")
    ),
    Row(
        "ARG and ENV",
        BUSYBOX + "ARG V\nENV V=v1\nRUN echo $V > /n\n",
        {"n": "v1\n"},
        arguments=(("V", "v2"),),
    ),
    Row("ARG and ENV, a default", SCRATCH + "ARG V\nENV V=${V:-v1}\n", config={"Env": ["PATH=*", "V=v1"]}),
    Row(
        "Predefined ARGs",
        BUSYBOX + "RUN echo $HTTPS_PROXY > /n\n",
        {"n": "http://p.invalid\n"},
        arguments=(("HTTPS_PROXY", "http://p.invalid"),),
    ),
    Row(
        "Automatic platform ARGs",
        SCRATCH + "ARG TARGETOS\nARG BUILDOS\nLABEL a=$TARGETOS b=$BUILDOS c=$TARGETARCH\n",
        config=labels(a="linux", b="linux", c=""),
    ),
    Row(
        "BuildKit built-in build args",
        BUSYBOX + "RUN hostname > /n\n",
        {"n": "box\n"},
        arguments=(("BUILDKIT_SANDBOX_HOSTNAME", "box"),),
    ),
]

TRIGGERS = [
    Row(
        "ONBUILD",
        "FROM scratch AS a\nONBUILD ADD . /app/src\nFROM a\n",
        {"app/src/f": "f"},
        context={"f": "f", ".dockerignore": "Dockerfile\n.dockerignore\n"},
    ),
    Row(
        "ONBUILD, kept in the image",
        SCRATCH + "ONBUILD RUN /build --dir /app/src\n",
        config={"OnBuild": ["RUN /build --dir /app/src"]},
    ),
    Row(
        "ONBUILD, from a stage",
        "FROM scratch AS build\nCOPY f /app\nFROM scratch AS b\n"
        "ONBUILD COPY --from=build /app /app\nFROM b\n",
        {"app": "f"},
        context={"f": "f"},
    ),
    Row("ONBUILD, chained", SCRATCH + "ONBUILD ONBUILD RUN x\n", error="ONBUILD"),
    Row("ONBUILD, of FROM", SCRATCH + "ONBUILD FROM x\n", error="FROM"),
    Row("ONBUILD, of MAINTAINER", SCRATCH + "ONBUILD MAINTAINER x\n", error="MAINTAINER"),
]

DOCUMENTS = [
    Row("Here-Documents, a shell", BUSYBOX + "RUN <<EOT sh\n  set -e\n  echo x > /n\nEOT\n", {"n": "x\n"}),
    Row(
        "Here-Documents, the default shell",
        BUSYBOX + "RUN <<EOT\n  mkdir -p foo/bar\n  touch foo/bar/x\nEOT\n",
        {"foo/bar/x": ""},
    ),
    Row(
        "Here-Documents, an interpreter",
        BUSYBOX + "RUN <<EOT\n#!/bin/sh -e\necho hello > /n\nEOT\n",
        {"n": "hello\n"},
    ),
    Row(
        "Here-Documents, two",
        BUSYBOX + "RUN <<FILE1 cat > file1 && <<FILE2 cat > file2\nI am\nfirst\nFILE1\nI am\nsecond\nFILE2\n",
        {"file1": "I am\nfirst\n", "file2": "I am\nsecond\n"},
    ),
    Row(
        "Inline files",
        SCRATCH + "COPY <<EOF greeting.txt\nhello world\nEOF\n",
        {"greeting.txt": "hello world\n"},
    ),
    Row(
        "Inline files, expanded",
        SCRATCH + 'ARG FOO=bar\nCOPY <<-EOT /s\n\techo "hello ${FOO}"\nEOT\n',
        {"s": 'echo "hello bar"\n'},
    ),
    Row(
        "Inline files, quoted",
        SCRATCH + 'ARG FOO=bar\nCOPY <<-"EOT" /s\n\techo "hello ${FOO}"\nEOT\n',
        {"s": 'echo "hello ${FOO}"\n'},
    ),
]

ROWS = [
    *DIRECTIVES,
    *VARIABLES,
    *FORMS,
    *FROM,
    *RUN,
    *METADATA,
    *COPIES,
    *MORE_COPIES,
    *ARGUMENTS,
    *TRIGGERS,
    *DOCUMENTS,
]

ELSEWHERE = {
    "escape, SHELL: Windows images": "programs of Windows do not run here; the words are read above",
    "RUN --device: CUDA": "there is no device; a device is refused by name, and the row RUN --device says so",
    "RUN --mount=type=cache: Go, apt": "needs their images and a network; the mounts are rows above",
    "RUN --mount=type=ssh: GitLab": "needs a server; an agent is tried by test_build_run_flags.py",
    "RUN --security: entitlements": "the capabilities are tried by test_build_run_flags.py",
    "ADD: URLs, --checksum, --unpack, secrets": "need a server: tried by test_build_urls.py",
    "ADD: repositories, --keep-git-dir, --checksum": "need a repository: tried by test_build_git.py",
    "HEALTHCHECK, ENTRYPOINT: what docker run does": "tried by tests/containers",
}
"""Examples that are not built here, and why."""
