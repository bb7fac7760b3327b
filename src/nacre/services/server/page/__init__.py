"""The page of a registry, for people: looks up, shows, and changes what they may change.

app          one question for each request: which view, and may they see it
  ├─ location, visit, forms, session     paths, who asks, what they send, that they have signed in
  ├─ home, repository, image, files, …   the views: each gives a template its values
  ├─ documents                           manifests and configs, read and never trusted
  └─ render, readme                      templates, Markdown

It is imported when the first page is asked for, and needs no JavaScript: with it, lists grow in place. htmx
does that (2.0.11, static/htmx.min.js as it was released, Zero-Clause BSD).
"""
