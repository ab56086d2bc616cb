# Runs cells in __main__ for the host program: requests come on descriptor 3,
# answers go to descriptor 4, both as frames of JSON after their length in four
# bytes; descriptor 5 brings the number of a request to interrupt, and SIGINT says
# so. What cells print goes to descriptors 1 and 2 as it is.
#
# Python runs signal handlers between two steps of a program, but never between
# the end of a for loop's step and the assignment to its variable. What must not
# be lost to an exception of a handler is therefore done by a for loop over map.
#
# Its globals have a copy of the builtins, and it keeps what it uses of other
# modules, so that a cell that replaces or deletes parts of them breaks itself
# only. A fault of this program ends the process; the host then starts another.
#
# The text of show.py comes before this one.
#
# Starting is a good part of the cost of a session, so nothing is imported that
# the first cell may not need.
import sys

WORKSPACE = sys.path.pop(0)  # files there may have the names of modules of ours
import _ast
import _json
import _signal
import binascii
import builtins
import io
import os

PATH = list(sys.path)
MAIN = sys.modules["__main__"].__dict__
PID = os.getpid()
HOME = os.environ.get("SANDBOX_HOME") or os.getcwd()
MAX_OUTPUTS = 24 << 20  # bytes of all rich outputs of a cell
MAX_CELLS = 2000  # whose source is kept for tracebacks
ONLY_AST, TOP_LEVEL_AWAIT, COROUTINE = 0x400, 0x2000, 0x80
FUTURES = 0x1FE0000


def own(name):
    """Imports a module for this program, from anywhere but the workspace."""
    if name not in modules:
        path = sys.path
        sys.path = PATH
        try:
            __import__(name)
        finally:
            sys.path = path
    return modules[name]


class Syntax:
    """What json gives its scanner."""

    strict, object_hook, object_pairs_hook = True, None, None
    parse_float, parse_int, parse_constant = float, int, None


# The parts of json that are written in C: without regular expressions, which take
# longer to import than all the rest, and without need of builtins.
scan = _json.make_scanner(Syntax)
encode = _json.make_encoder(None, None, _json.encode_basestring, None, ":", ",", False, False, True)
read, write, close, dup2, fstat, getpid, leave = os.read, os.write, os.close, os.dup2, os.fstat, os.getpid, os._exit
set_blocking = os.set_blocking
set_signal, settrace, setprofile = _signal.signal, sys.settrace, sys.setprofile
SIGINT = _signal.SIGINT
# Signals whose handlers, set by cells, must not run in the middle of this
# program. They wait until the next cell.
SIGNALS = tuple(getattr(_signal, "SIG" + n) for n in "ALRM VTALRM PROF USR1 USR2 CHLD HUP TERM WINCH URG IO".split())
set_mask, BLOCK, UNBLOCK = _signal.pthread_sigmask, _signal.SIG_BLOCK, _signal.SIG_UNBLOCK
modules = sys.modules
name_of = type.__dict__["__qualname__"].__get__  # whatever a metaclass says
code_of = SystemExit.__dict__["code"].__get__


def move(fd, to):
    """Takes a descriptor out of the way of programs that close low numbers."""
    for base in (1000, 200, 50):
        try:
            dup2(fd, base + to, inheritable=False)
            return base + to
        except OSError:
            pass
    raise OSError("no descriptor is free")


R, W, BREAKER, OUT, ERR = move(3, 3), move(4, 4), move(5, 5), move(1, 1), move(2, 2)
for fd in (3, 4, 5):
    close(fd)
set_blocking(BREAKER, False)
PIPES = {1: (OUT, fstat(OUT)), 2: (ERR, fstat(ERR))}


class State:
    running = False  # a cell may be interrupted
    number = 0  # of the request
    patience = 0  # interrupts that are to break what holds up the loop between two cells
    flags = 0  # of __future__
    cell = 0
    cache = {}  # sources of cells as linecache has them; its own, once it is there
    getrusage = None
    outputs = []
    size = 0
    loop = None  # the asyncio loop, once a cell has awaited


def on_interrupt(signum, frame):
    if State.running:
        raise KeyboardInterrupt
    if State.patience:
        State.patience -= 1
        if not State.patience:
            raise KeyboardInterrupt


def was_interrupted():
    """Reports whether the request was to be interrupted before its cell ran, when
    signals go by without effect."""
    last = b""
    try:
        while True:
            came = read(BREAKER, 1 << 12)
            if not came:
                break
            last = came[-4:]
    except OSError:
        pass  # that is all
    return int.from_bytes(last, "big") == State.number


def take_interrupts():
    """Puts back the handler of interrupts. That of a cell may run, and raise,
    before it is replaced."""
    for _ in range(10):
        try:
            set_signal(SIGINT, on_interrupt)
            return
        except BaseException:
            pass


# ----- streams -----


def open_stream(fd):
    raw = io.FileIO(fd, "w", closefd=False)
    s = io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True, write_through=True)
    s.mode = "w"
    return s


OURS = {}


def repair_streams():
    """Flushes the streams, and replaces what cells have closed."""
    for fd, name in ((1, "stdout"), (2, "stderr")):
        ours, theirs = OURS.get(name), getattr(sys, name, None)
        if theirs is not ours and theirs is not None:
            try:
                theirs.flush()
            except Exception:
                pass
        try:
            ours.flush()
        except Exception:
            pass
        saved, pipe = PIPES[fd]
        try:
            now = fstat(fd)
            whole = now.st_ino == pipe.st_ino and now.st_dev == pipe.st_dev
        except OSError:
            whole = False
        if not whole:
            dup2(saved, fd)
        set_blocking(fd, True)  # a child that was killed may have left it otherwise
        if ours is None or ours.closed:
            broken = theirs is None or theirs is ours
            OURS[name] = ours = open_stream(fd)
            setattr(sys, "__" + name + "__", ours)
            if broken:
                theirs = None
        if theirs is not ours:
            try:
                if theirs is None or theirs.closed:
                    setattr(sys, name, ours)
            except Exception:
                setattr(sys, name, ours)
    try:
        if sys.stdin is None or sys.stdin.closed:
            sys.stdin = sys.__stdin__ = open(os.devnull)
    except Exception:
        pass


# ----- frames -----


def receive_exactly(n):
    data = b""
    while len(data) < n:
        try:
            for piece in map(read, (R,), (min(n - len(data), 1 << 20),)):
                if not piece:
                    leave(0)  # the host is gone
                data += piece
        except BaseException:  # of a signal handler that a cell has set
            if getpid() != PID:
                leave(0)
            try:
                fstat(R)
            except OSError:
                leave(70)
    return data


def receive():
    return scan(receive_exactly(int.from_bytes(receive_exactly(4), "big")).decode("utf-8"), 0)[0]


def send(answer):
    frame = "".join(encode(answer, 0)).encode("utf-8", "replace")
    frame = memoryview(len(frame).to_bytes(4, "big") + frame)
    while frame:
        try:
            for n in map(write, (W,), (frame,)):
                frame = frame[n:]
        except OSError:
            leave(70)


# ----- cells -----


def guard(fn, *args):
    """Calls fn, which a cell is behind, and returns its value and exception."""
    try:
        try:
            State.running = True
            set_mask(UNBLOCK, SIGNALS)
            return fn(*args), None
        finally:
            State.running = False
            set_mask(BLOCK, SIGNALS)
    except BaseException as e:
        State.running = False
        set_mask(BLOCK, SIGNALS)
        return None, e


def settle():
    """Lets handlers run for the signals that came between two cells."""
    for _ in range(3):
        try:
            set_mask(UNBLOCK, SIGNALS)
            set_mask(BLOCK, SIGNALS)
            return
        except BaseException:
            pass


def lines_of(source):
    """Splits where Python does, and nowhere else."""
    return source.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def is_silent(source, node):
    """Reports whether a semicolon follows the last expression."""
    lines = lines_of(source)[node.end_lineno - 1:]
    lines[0] = lines[0].encode()[node.end_col_offset:].decode()
    for line in lines:
        if ";" in line.partition("#")[0]:
            return True
    return False


def compile_cell(source, name):
    tree = compile(source, name, "exec", ONLY_AST | TOP_LEVEL_AWAIT | State.flags, dont_inherit=True)
    last = None
    if tree.body and isinstance(tree.body[-1], _ast.Expr):
        node = tree.body.pop()
        last = _ast.Expression(node.value)
        last.silent = is_silent(source, node)
    parts = []
    if tree.body:
        parts.append(compile(tree, name, "exec", TOP_LEVEL_AWAIT | State.flags, dont_inherit=True))
    if last is not None:
        parts.append(compile(last, name, "eval", TOP_LEVEL_AWAIT | State.flags, dont_inherit=True))
    for code in parts:
        State.flags |= code.co_flags & FUTURES
    return parts, last is not None and not last.silent


def run_cell(source, name):
    if was_interrupted():
        raise KeyboardInterrupt
    parts, wanted = compile_cell(source, name)
    value = None
    if any(code.co_flags & COROUTINE for code in parts):
        value = wait_for(in_loop(parts))
    else:
        for code in parts:
            value = eval(code, MAIN)
    return value if wanted else None


async def in_loop(parts):
    """Runs a cell that awaits somewhere: all of it may make tasks."""
    value = None
    for code in parts:
        value = eval(code, MAIN)
        if code.co_flags & COROUTINE:
            value = await value
    return value


def wait_for(coroutine):
    import asyncio

    if State.loop is None or State.loop.is_closed():
        State.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(State.loop)
    task = None
    try:
        task = State.loop.create_task(coroutine)
        return State.loop.run_until_complete(task)
    except BaseException as e:
        if task is None:  # interrupted while it was made; or it would run between two cells
            task = next((t for t in asyncio.all_tasks(State.loop) if t.get_coro() is coroutine), None)
        if task is None or task.done():
            raise
        interruption, where = e, e.__traceback__
    task.cancel()
    try:
        State.loop.run_until_complete(task)
    except BaseException as e:
        where = e.__traceback__  # in the cell, not in the loop
    raise interruption.with_traceback(where)


def keep_loop():
    """Puts back the loop, which asyncio.run takes away."""
    if State.loop is not None and not State.loop.is_closed():
        modules["asyncio"].set_event_loop(State.loop)


def describe(e):
    """Returns an exception as data, without the frames of this program."""
    traceback = own("traceback")
    tb = e.__traceback__
    while tb is not None and not tb.tb_frame.f_code.co_filename.startswith("<cell "):
        tb = tb.tb_next
    if tb is None and not isinstance(e, SyntaxError):
        tb = e.__traceback__
        while tb is not None and tb.tb_frame.f_globals is GLOBALS:
            tb = tb.tb_next
    known = traceback.TracebackException(type(e), e, tb, compact=True)
    hide_driver(known, 0)
    lines = list(known.format())
    only = "".join(known.format_exception_only()).strip()
    if isinstance(e, SyntaxError):
        value = str(e)
    else:
        try:
            value = str(e)
        except Exception:
            value = only
    return {"value": cut(value, 1 << 14)[0], "traceback": cut("".join(lines), 1 << 16)[0]}


def hide_driver(known, depth):
    known.stack[:] = [f for f in known.stack if f.filename != "<driver>"]
    for other in (known.__cause__, known.__context__):
        if other is not None and depth < 20:
            hide_driver(other, depth + 1)


def outline(e):
    """Describes an exception that describe fails with."""
    name, value = name_of(type(e)), cut(str(e), 1 << 14)[0]
    return {"value": value, "traceback": name + (": " + value if value else "") + "\n"}


def described(e):
    """Returns an exception as data, with the exit code that it stands for. Name and
    code are right whatever interrupts come meanwhile, and the rest is unless it
    takes long."""
    name = name_of(type(e))
    try:
        own("traceback")  # with its imports, which an interrupt would leave half done
    except BaseException:
        pass
    made, failed = guard(describe, e)
    if failed is not None:
        made, failed = guard(outline, e)
    if failed is not None:
        made = {"value": "", "traceback": name + " (that cannot be shown)\n"}
    made["name"] = name
    return made, exit_code(e)


def exit_code(e):
    kind = type(e)
    if not issubclass(kind, SystemExit):
        return 130 if issubclass(kind, KeyboardInterrupt) else 1
    code = code_of(e)
    if kind is not SystemExit:  # it may have a code of its own
        theirs, failed = guard(getattr, e, "code")
        if failed is None:
            code = theirs
        elif type(failed) is not KeyboardInterrupt:
            return 1
    if code is None:
        return 0
    return int.__and__(code, 255) if issubclass(type(code), int) else 1


def forget_orphans():
    """Forgets the parts of packages whose import was interrupted, without which
    they could never be imported again."""
    try:
        for name in sorted(modules):
            parent = name.rpartition(".")[0]
            if parent and parent not in modules:
                del modules[name]
    except Exception:
        pass  # a cell has put something else there


def op_run(req):
    State.cell += 1
    name = "<cell %d>" % State.cell
    source = req["code"].removeprefix("\ufeff")
    State.cache[name] = (len(source), None, [line + "\n" for line in lines_of(source)], name)
    if State.cell > MAX_CELLS:
        State.cache.pop("<cell %d>" % (State.cell - MAX_CELLS), None)
    State.outputs, State.size = [], 0
    take_interrupts()
    keep_loop()
    reset_peak()
    settle()
    text, was_cut = None, False
    value, failed = guard(run_cell, source, name)
    settrace(None)
    setprofile(None)
    take_interrupts()  # the cell may have set a handler of its own
    if getpid() != PID:  # a child that a cell has forked came here
        end_child(failed)
    if failed is not None and type(failed) is KeyboardInterrupt:
        forget_orphans()
    if failed is None:
        made, failed = guard(show_value, value, req["max"])
        if failed is None:
            text, was_cut = made
    else:
        guard(show_figures)
    del value
    answer = {"result": text, "cut": was_cut, "outputs": State.outputs, "code": 0, "error": None}
    if failed is not None:
        answer["error"], answer["code"] = described(failed)
    State.outputs = []
    for _ in range(3):  # an interrupt is not to leave the next cell without output
        if type(guard(repair_streams)[1]) is not KeyboardInterrupt:
            break
    answer["memory"] = memory()
    return answer


def end_child(failed):
    code = 0
    if failed is not None:
        error, code = described(failed)
        if not issubclass(type(failed), SystemExit):
            guard(sys.stderr.write, error["traceback"])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    leave(code)


# ----- memory -----


def reset_peak():
    if State.getrusage is None:
        State.getrusage = own("resource").getrusage
    try:
        fd = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            write(fd, b"5")
        finally:
            close(fd)
    except Exception:
        pass


def memory():
    """Returns the most memory resident during the cell, in bytes."""
    return State.getrusage(0).ru_maxrss << 10


# ----- variables -----


def op_variables(req):
    names = [n for n in list(MAIN) if isinstance(n, str) and not n.startswith("_") and n not in GIVEN]
    found, late = [], False
    for name in sorted(names)[: req["most"]]:
        value = MAIN.get(name)
        kind, failed = guard(type_name, type(value))
        text = ""
        if not late:
            text, failed = guard(preview, value, req["max"])
            if failed is not None:
                late = issubclass(type(failed), KeyboardInterrupt)
                text = "<its repr took too long>" if late else "<its repr failed>"
        found.append({"name": name, "type": kind or "object", "preview": text})
    return {"variables": found, "left": max(0, len(names) - req["most"])}


def op_refresh(req):
    own("importlib").invalidate_caches()
    sys.path_importer_cache.clear()
    return {}


# ----- the loop -----


def idle():
    """Runs pending tasks of the asyncio loop until there is a request."""
    loop = State.loop
    if loop is None or loop.is_closed() or loop.is_running():
        return
    try:
        asyncio = modules["asyncio"]
        if not asyncio.all_tasks(loop):
            return
        came = loop.create_future()
        loop.add_reader(R, lambda: came.done() or came.set_result(None))
        try:
            State.patience = 2  # the first one is for the cell that is to come
            set_mask(UNBLOCK, SIGNALS)
            loop.run_until_complete(came)
        finally:
            State.patience = 0
            set_mask(BLOCK, SIGNALS)
            loop.remove_reader(R)
    except BaseException:
        State.patience = 0
        set_mask(BLOCK, SIGNALS)


def after_fork():
    for fd in (R, W, BREAKER):
        try:
            close(fd)
        except OSError:
            pass


def serve():
    ops = {"run": op_run, "variables": op_variables, "refresh": op_refresh}
    take_interrupts()
    send({"version": "%d.%d.%d" % sys.version_info[:3]})
    while True:
        idle()
        req = receive()
        State.number = req["id"]
        try:
            answer = ops[req["op"]](req)
        except KeyboardInterrupt as e:  # of a handler of the cell's, just when it had ended
            if getpid() != PID:
                leave(130)
            answer = {"result": None, "cut": False, "outputs": [], "memory": memory()}
            answer["error"], answer["code"] = described(e)
        answer["id"] = req["id"]
        send(answer)


GLOBALS = globals()
sys.argv = [""]
sys.path[:0] = [WORKSPACE, HOME + "/.packages/python"]
sys.meta_path.insert(0, Finder)
if "linecache" in modules:
    use_linecache(modules["linecache"])
builtins.display = display
sys.stdout = sys.stderr = None
repair_streams()
os.register_at_fork(after_in_child=after_fork)
GIVEN = set(MAIN)
serve()
