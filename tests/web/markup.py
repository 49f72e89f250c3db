"""Rules that hold for every page of the shell, checked on its HTML."""

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "img", "hr", "path", "rect", "circle", "line", "polyline"}
LABELLED = {"input", "select", "textarea", "iframe", "progress"}
ADDRESSES = {"href", "src", "action", "hx-get", "hx-post", "formaction", "data"}


class Page(HTMLParser):
    """The elements of a page as (name, attributes, names of those around it), and its text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.faults, self.words = [], [], [], []
        self.feed(html)
        self.close()
        if self.open:
            self.faults.append(f"never closed: {self.open}")

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes), tuple(self.open)))
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes), tuple(self.open)))

    def handle_endtag(self, name):
        if name in VOID:
            return
        if not self.open or self.open[-1] != name:
            self.faults.append(f"</{name}> inside {self.open}")
        else:
            self.open.pop()

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, kind, /, **attributes):
        """Return the attributes of the elements of this name that have these attributes."""
        return [
            found
            for name, found, _ in self.elements
            if name == kind and attributes.items() <= found.items()
        ]


def part_faults(page):
    """Return what is wrong in a page or a part of one."""
    faults = list(page.faults)
    ids = [given["id"] for _, given, _ in page.elements if "id" in given]
    faults += [f"id {name!r} twice" for name in ids if ids.count(name) > 1]
    for name, given, around in page.elements:
        shown = f"<{name} {given}>"
        faults += [f"{shown}: script in {key}" for key in given if key.startswith("on")]
        faults += [f"{shown}: htmx script in {key}" for key in given if key.startswith("hx-on")]
        faults += [f"{shown}: style attribute"] * ("style" in given)
        for key in ADDRESSES & set(given):
            if not re.match(r"(/(?!/)|#|\?|data:)", given[key] or ""):
                faults.append(f"{shown}: {key} leads elsewhere")
        hidden = given.get("type") == "hidden"
        told = "aria-label" in given or "title" in given or "label" in around
        if name in LABELLED and not hidden and not told:
            faults.append(f"{shown} has no label")
        if name == "iframe" and "allow-same-origin" in given.get("sandbox", "allow-same-origin"):
            faults.append(f"{shown} is not sandboxed")
        if given.get("target") == "_blank" and "noopener" not in given.get("rel", ""):
            faults.append(f"{shown} without noopener")
    return faults


def page_faults(page, nonce):
    """Return what is wrong in a whole page."""
    faults = part_faults(page)
    faults += [f"script without nonce: {s}" for s in page.all("script") if s["nonce"] != nonce]
    faults += [f"inline script: {s}" for s in page.all("script") if "src" not in s]
    for name, count in (("h1", 1), ("main", 1), ("title", 1), ("style", 0)):
        found = len(page.all(name))
        if found != count:
            faults.append(f"{found} of <{name}>, wanted {count}")
    if not page.all("html", lang="en"):
        faults.append("no language")
    if not page.all("meta", name="viewport"):
        faults.append("no viewport")
    return faults
