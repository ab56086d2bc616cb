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
        import json

        data = json.dumps(data)
    if State.size + len(data) > MAX_OUTPUTS:
        sys.stderr.write("[output of type %s left out: %d bytes; at most %d a cell]\n" % (mime, len(data), MAX_OUTPUTS))
        return
    State.size += len(data)
    State.outputs.append({"mime": str(mime), "data": data})


def rich(value):
    """Returns the forms that value can show itself in."""
    kind = type(value)
    if kind in (int, str, float, bool, bytes, list, dict, tuple, set) or isinstance(value, type):
        return {}
    forms = {}
    bundle = getattr(kind, "_repr_mimebundle_", None)
    if bundle is not None:
        made = bundle(value)
        if isinstance(made, tuple):
            made = made[0]
        forms.update((k, v) for k, v in (made or {}).items() if k != "text/plain")
    for mime, name in REPRS:
        method = getattr(kind, name, None)
        if method is not None and mime not in forms:
            made = method(value)
            if made is not None:
                forms[mime] = made
    return forms


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
        forms = rich(value)
        for mime, data in forms.items():
            add_output(mime, data)
        if forms:
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
        hook = Finder.hooks.pop(name, None)
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

            spec.loader.exec_module = exec_module
        return spec
