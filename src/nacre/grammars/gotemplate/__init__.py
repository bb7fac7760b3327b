"""Go templates as `docker --format` has them: text/template with docker's functions, over JSON-like data.

    Template(source).render(value)

`lex` makes tokens, `parse` makes `nodes`, `evaluate` walks them; `functions` and `printf` are the functions,
`values` and `shapes` what Go's types do that JSON has no word for. Sources: Go's text/template and fmt;
docker/cli templates/templates.go.
"""

from .encode import to_json
from .evaluate import Template
from .shapes import Shapes
from .values import GoList, GoMap, GoString, Nil, Struct, plain

__all__ = ["GoList", "GoMap", "GoString", "Nil", "Shapes", "Struct", "Template", "plain", "to_json"]
