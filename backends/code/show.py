# What values and figures can be shown as: the first part of driver.py, whose
# imports and state it uses.

REPRS = (
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("image/svg+xml", "_repr_svg_"),
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("text/latex", "_repr_latex_"),
    ("application/json", "_repr_json_"),
)


def add_output(mime, data):
    if isinstance(data, tuple):  # with metadata
        data = data[0]
    if data is None:
        return
    if isinstance(data, (bytes, bytearray)):
        data = binascii.b2a_base64(data, newline=False).decode("ascii")
    elif not isinstance(data, str):
        data = own("json").dumps(data)
    if State.size + len(data) > MAX_OUTPUTS:
        sys.stderr.write("[output of type %s left out: %d bytes; at most %d a cell]\n" % (mime, len(data), MAX_OUTPUTS))
        return
    State.size += len(data)
    State.outputs.append({"mime": str(mime), "data": data})


def attempt(what, fn, *args):
    """Calls fn for one form of a value. A fault costs that form only."""
    try:
        return fn(*args)
    except Exception as e:
        sys.stderr.write("[%s left out: %s]\n" % (what, outline(e)["traceback"].rstrip()))
        return None


def rich(value):
    """Returns the forms that value can show itself in."""
    kind = type(value)
    if kind in (int, str, float, bool, bytes, list, dict, tuple, set) or isinstance(value, type):
        return {}
    forms = {}
    bundle = getattr(kind, "_repr_mimebundle_", None)
    if bundle is not None:
        made = attempt("_repr_mimebundle_", bundle, value)
        if isinstance(made, tuple) and made:  # with metadata
            made = made[0]
        if isinstance(made, dict):
            forms.update((k, v) for k, v in made.items() if isinstance(k, str) and k != "text/plain")
    for mime, name in REPRS:
        method = getattr(kind, name, None)
        if method is not None and mime not in forms:
            made = attempt(mime, method, value)
            if made is not None:
                forms[mime] = made
    return forms


def add_forms(value):
    """Adds the forms that value can show itself in; it reports whether there are any."""
    forms = rich(value)
    for mime, data in forms.items():
        attempt(mime, add_output, mime, data)
    return bool(forms)


def show_value(value, limit):
    """Returns the text of a cell's value, and whether it was cut."""
    show_figures()
    if value is None:
        return None, False
    builtins._ = value
    text, was_cut = cut(repr(value), limit, "; print it to have all of it in a file")
    if add_forms(value):
        add_output("text/plain", text)
    return text, was_cut


def cut(text, limit, advice=""):
    if len(text) <= limit:
        return text, False
    half = limit // 2
    note = "[… %d of %d characters left out%s …]" % (len(text) - 2 * half, len(text), advice)
    return "%s\n%s\n%s" % (text[:half], note, text[len(text) - half:]), True


def type_name(kind):
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__", None) else "%s.%s" % (module, kind.__qualname__)


def preview(value, limit):
    short = own("reprlib").Repr()
    short.maxlevel, short.maxstring, short.maxother, short.maxlong = 3, limit, limit, limit
    text = short.repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def display(*values):
    """Shows values in the richest forms that they have."""
    for value in values:
        if isinstance(value, dict) and value and all(isinstance(k, str) and k.count("/") == 1 for k in value):
            for mime, data in value.items():
                add_output(mime, data)
            continue
        figure = modules.get("matplotlib.figure")
        if figure is not None and isinstance(value, figure.Figure):
            show_figure(value)
            continue
        if add_forms(value):
            add_output("text/plain", repr(value))
        else:
            print(repr(value))


def show_figure(figure):
    png = io.BytesIO()
    figure.savefig(png, format="png", bbox_inches="tight")
    add_output("image/png", png.getvalue())


def show_figures(*args, **kwargs):
    """Shows and closes the open figures of matplotlib."""
    helpers = modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return
    managers = helpers.Gcf.get_all_fig_managers()
    try:
        for manager in managers:
            show_figure(manager.canvas.figure)
    finally:
        if managers:
            helpers.Gcf.destroy_all()


def use_linecache(module):
    module.cache.update(State.cache)
    State.cache = module.cache


def use_pyplot(module):
    module.show = show_figures


class Finder:
    """Does something to modules once they are imported."""

    hooks = {"linecache": use_linecache, "matplotlib.pyplot": use_pyplot}

    @staticmethod
    def find_spec(name, path=None, target=None):
        hook = Finder.hooks.get(name)
        if hook is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is Finder else finder.find_spec(name, path, target)
            if spec is not None:
                break
        if spec is not None and hasattr(spec.loader, "exec_module"):
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                hook(module)
                Finder.hooks.pop(name, None)  # not before: it may be interrupted, and tried again

            spec.loader.exec_module = exec_module
        return spec
