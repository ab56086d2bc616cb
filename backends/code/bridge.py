# Runs cells in a Jupyter kernel for the host program, in the words of the other
# drivers: requests come on descriptor 3, answers go to descriptor 4, both as
# frames of JSON after their length in four bytes; descriptor 5 brings the number
# of a request to interrupt. The kernel's output goes to descriptors 1 and 2.
# Kernel and bridge talk over sockets in /tmp.
import sys

workspace = sys.path.pop(0)  # files there may have the names of modules
import ast
import json
import os
import queue
import re
import signal
import subprocess
import tempfile
import time

os.environ.pop("MPLBACKEND", None)  # the kernel has one of its own
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # it warns about what nobody debugs
base = tempfile.mkdtemp(prefix=".jupyter-", dir="/tmp")
os.environ["JUPYTER_RUNTIME_DIR"] = base
os.environ.setdefault("IPYTHONDIR", base + "/ipython")

try:
    import zmq
    from jupyter_client import KernelManager
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
except ModuleNotFoundError as e:
    sys.exit(f"{e}: Jupyter kernels need jupyter_client in the interpreter of Python")

MAX_OUTPUTS = 24 << 20  # characters of all rich outputs of a cell
R, W, BREAKER = 3, 4, 5
for fd in (R, W, BREAKER):
    os.set_inheritable(fd, False)


class Interrupts:
    number, count = 0, 0  # of the last request that is to be interrupted, and how often

    @classmethod
    def read(cls):
        numbers = os.read(BREAKER, 1 << 12)
        for i in range(0, len(numbers), 4):
            number = int.from_bytes(numbers[i : i + 4], "big")
            cls.count = cls.count + 1 if number == cls.number else 1
            cls.number = number


def receive():
    data = b""
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
        want = 4 - len(data) if len(data) < 4 else 4 + int.from_bytes(data[:4], "big") - len(data)
        piece = os.read(R, min(want, 1 << 20))
        if not piece:
            leave(0)
        data += piece
    return json.loads(data[4:])


def send(answer):
    frame = json.dumps(answer).encode()
    frame = memoryview(len(frame).to_bytes(4, "big") + frame)
    while frame:
        frame = frame[os.write(W, frame):]


def leave(code):
    try:
        km.shutdown_kernel(now=True)
    except Exception:
        pass
    os._exit(code)


def check_alive():
    """Ends the bridge when the kernel has ended, with its status."""
    process = km.provisioner.process
    code = process.poll() if process is not None else 0
    if code is not None:
        os._exit(code if code >= 0 else 128 - code)


def output(fd, text):
    data = memoryview(text.encode("utf-8", "replace"))
    while data:
        data = data[os.write(fd, data):]


class Cell:
    """What the messages about one request say."""

    def __init__(self, parent):
        self.parent, self.begun, self.idle, self.reply = parent, False, False, None
        self.result, self.cut, self.outputs, self.size, self.error = None, False, [], 0, None

    def add(self, data):
        for mime, value in sorted(data.items(), key=lambda form: form[0] == "text/plain"):
            value = value if isinstance(value, str) else json.dumps(value)
            if self.size + len(value) > MAX_OUTPUTS:
                output(2, "[output of type %s left out: %d characters; at most %d a cell]\n" % (mime, len(value), MAX_OUTPUTS))
                continue
            self.size += len(value)
            self.outputs.append({"mime": mime, "data": value})

    def take(self, msg, limit):
        kind, content = msg["msg_type"], msg["content"]
        if kind == "stream":
            output(2 if content["name"] == "stderr" else 1, content["text"])
        if msg["parent_header"].get("msg_id") != self.parent:
            return
        if kind == "status" and content["execution_state"] == "idle":
            self.idle = True
        elif kind == "execute_input":
            self.begun = True
        elif kind == "display_data":
            self.add(content["data"])
        elif kind == "execute_result":
            text = content["data"].get("text/plain", "")
            if len(text) > limit:
                text = text[: limit // 2] + "\n[… %d of %d characters left out; print it to have all of it in a file …]\n" % (len(text) - limit // 2 * 2, len(text)) + text[-(limit // 2):]
                self.cut = True
            self.result = text
            if len(content["data"]) > 1:
                self.add(content["data"])
        elif kind == "error":
            plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(content["traceback"]))
            self.error = {"name": content["ename"], "value": content["evalue"], "traceback": plain[-(1 << 16):] + "\n"}


def pump(cell, limit, seconds):
    """Handles the messages that are there, or that come soon."""
    poller = zmq.Poller()
    for channel in (client.iopub_channel, client.shell_channel):
        poller.register(channel.socket, zmq.POLLIN)
    poller.register(BREAKER, zmq.POLLIN)
    if cell is None:
        poller.register(R, zmq.POLLIN)
    ready = dict(poller.poll(seconds * 1000))
    if BREAKER in ready:
        Interrupts.read()
    while True:
        try:
            (cell or NOBODY).take(client.get_iopub_msg(timeout=0), limit)
        except queue.Empty:
            break
    while True:
        try:
            msg = client.get_shell_msg(timeout=0)
        except queue.Empty:
            break
        if cell is not None and msg["parent_header"].get("msg_id") == cell.parent:
            cell.reply = msg["content"]
    return R in ready


NOBODY = Cell("")


def execute(number, code, limit, **options):
    # Or the kernel would skip what comes soon after an error.
    cell = Cell(client.execute(code, allow_stdin=False, stop_on_error=False, **options))
    passed, idle_since = 0, None
    while not (cell.idle and cell.reply is not None):
        pump(cell, limit, 0.1)
        asked = Interrupts.count if Interrupts.number == number else 0
        # A kernel that has not begun takes no notice. The second one is for what
        # keeps it from beginning.
        if asked > passed and (cell.begun or asked > 1):
            passed = asked
            km.interrupt_kernel()
        if cell.idle and passed:  # interrupted just before or after the code, a kernel may not reply
            idle_since = idle_since or time.monotonic()
            if time.monotonic() > idle_since + 1:
                cell.error = cell.error or {"name": "KeyboardInterrupt", "value": "", "traceback": "KeyboardInterrupt\n"}
                break
        check_alive()
    return cell


def kernel_status(name, write=None):
    path = "/proc/%d/%s" % (km.provisioner.process.pid, name)
    if write is not None:
        with open(path, "wb", buffering=0) as f:
            f.write(write)
        return None
    with open(path, "rb") as f:
        return f.read()


def memory():
    try:
        return int(re.search(rb"VmHWM:\s*(\d+)", kernel_status("status")).group(1)) << 10
    except Exception:
        return 0


def op_run(req):
    try:
        kernel_status("clear_refs", b"5")
    except Exception:
        pass
    cell = execute(req["id"], req["code"], req["max"], store_history=True)
    code = 0
    if cell.error is not None:
        code = 1
        if cell.error["name"] == "SystemExit":
            value = cell.error["value"]
            code = int(value) & 255 if re.fullmatch(r"-?\d+", value) else 0 if value in ("", "None", "True") else 1
        elif cell.error["name"] == "KeyboardInterrupt":
            code = 130
    return {"result": cell.result, "cut": cell.cut, "outputs": cell.outputs, "error": cell.error, "code": code, "memory": memory()}


LIST = (
    "[(n, type(get_ipython().user_ns[n]).__name__, __import__('reprlib').repr(get_ipython().user_ns[n])[:%d])"
    " for n in get_ipython().run_line_magic('who_ls', '')]"
)


def op_variables(req):
    cell = execute(req["id"], "", 0, silent=True, user_expressions={"v": LIST % req["max"]})
    value = (cell.reply or {}).get("user_expressions", {}).get("v", {})
    if value.get("status") != "ok":
        return {"unknown": True}
    found = [{"name": n, "type": t, "preview": p} for n, t, p in ast.literal_eval(value["data"]["text/plain"])]
    return {"variables": found[: req["most"]], "left": max(0, len(found) - req["most"])}


def op_refresh(req):
    if km.kernel_spec.language == "python":
        execute(req["id"], "import importlib; importlib.invalidate_caches(); del importlib", 0, silent=True)
    return {}


km = KernelManager(kernel_name=os.environ["SANDBOX_KERNEL"], transport="ipc", ip=base + "/socket")
try:
    km.kernel_spec
except NoSuchKernel:
    installed = ", ".join(sorted(KernelSpecManager().find_kernel_specs()))
    sys.exit(f"there is no Jupyter kernel {km.kernel_name!r} for /kernels; installed are: {installed}")
home = os.environ.get("SANDBOX_HOME") or os.getcwd()
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [home + "/.packages/python", os.environ.get("PYTHONPATH")]))
# ipykernel reports what is written to its descriptors, and repeats it there.
quiet = subprocess.DEVNULL if km.kernel_spec.language == "python" else None
km.start_kernel(stdout=quiet, stderr=quiet)
client = km.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=25)
signal.signal(signal.SIGINT, lambda *_: None)  # it is the children's
info = client.kernel_info(reply=True, timeout=10)["content"]
send({"version": info.get("language_info", {}).get("version", "")})
ops = {"run": op_run, "variables": op_variables, "refresh": op_refresh}
while True:
    while not pump(None, 0, 1):
        check_alive()
    request = receive()
    answer = ops[request["op"]](request)
    answer["id"] = request["id"]
    send(answer)
