"""Drives a server the way AgentFlow's Python client and facade do.

Usage: client.py BASE_URL. Only the standard library is used. The rules that
the functions below follow are those of the protocol document, section 2.3: the
body is decoded first and must be an object, a status of 400 or more raises with
the body's message, and the facade reads ids from the top level.
"""

import datetime
import json
import sys
import urllib.error
import urllib.request

BASE = sys.argv[1]
WORKER = "sandbox_0123abcd"


class ClientError(Exception):
    def __init__(self, status, body):
        text = body.get("message") or body.get("error") or str(body)
        super().__init__("Request failed: " + text)
        self.status_code = status
        self.response = body


def request(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    req = urllib.request.Request(BASE + path, data=data, method=method, headers={
        "Content-Type": "application/json", "X-Worker-ID": WORKER})
    try:
        with urllib.request.urlopen(req, timeout=60) as resp:
            status, raw = resp.status, resp.read()
    except urllib.error.HTTPError as err:
        status, raw = err.code, err.read()
    answer = json.loads(raw)
    answer.get("code")  # an array would raise here
    if status >= 400:
        raise ClientError(status, answer)
    return answer


def execute(action, params=None, timeout=None):
    return request("POST", "/api/v1/execute", {
        "worker_id": WORKER, "action": action, "params": params or {}, "timeout": timeout})


def create_session(kind, config=None, custom_name=None):
    return request("POST", "/api/v1/session/create", {
        "worker_id": WORKER, "resource_type": kind, "session_config": config or {}, "custom_name": custom_name})


def facade_create_sessions(kinds):
    """create_session of the facade, given a dict."""
    sessions = {}
    for kind, config in kinds.items():
        config = dict(config or {})
        custom_name = config.pop("custom_name", None)
        try:
            answer = create_session(kind, config, custom_name)
            data = answer["data"]
            ok = answer["code"] == 0 and data.get("session_status") == "active"
        except ClientError as err:
            data, ok = err.response.get("data", {}), False
        sessions[kind] = {**data, "status": "success" if ok else "error"}
    good = sum(s["status"] == "success" for s in sessions.values())
    status = "success" if good == len(sessions) else "partial" if good else "error"
    return {"status": status, "sessions": sessions}


def raises(status, code, call):
    try:
        call()
    except ClientError as err:
        assert err.status_code == status, (status, err.status_code, err.response)
        assert err.response["code"] == code, err.response
        assert isinstance(err.response["data"], dict), err.response
        return str(err)
    raise AssertionError("no error")


# connect
health = request("GET", "/health")
assert health["status"] == "healthy"
datetime.datetime.fromisoformat(health["timestamp"])
assert request("GET", "/ready")["status"] == "ready"

# warm up
warm = request("POST", "/api/v1/warmup", {"backends": ["rag"]})
assert warm["status"] == "success" and warm["results"] == {"rag": True}, warm
assert request("POST", "/api/v1/warmup")["status"] == "partial_error"
assert request("GET", "/api/v1/warmup/status")["backends"]["rag"]["warmed_up"] is True

# create sessions from a dict
made = facade_create_sessions({"fake": {"custom_name": "my vm", "start": 41}, "web": {}})
assert made["status"] == "success", made
assert made["sessions"]["fake"]["session_name"] == "fake_sandbox_0123abcd_001_my-vm", made
assert made["sessions"]["web"]["compatibility_mode"] is True, made
again = facade_create_sessions({"fake": None})
assert again["status"] == "success", again
assert facade_create_sessions({"fake": {}, "no:such": {}})["status"] == "partial"

# execute under the name that schemas use
answer = execute("fake-incr", {})
assert answer["code"] == 0 and answer["data"] == {"n": 42}, answer
assert answer["meta"]["tool"] == "fake:incr" and "temporary_session" not in answer["meta"], answer
for key in ("tool", "execution_time_ms", "resource_type", "session_id", "trace_id"):
    assert key in answer["meta"], answer
assert execute("calc-add", {"a": 1, "b": 2}, timeout=30)["data"]["n"] == 3
text = raises(400, 4002, lambda: execute("nope"))
assert text == "Request failed: Tool not found: nope", text
raises(400, 4002, lambda: execute("search"))
raises(500, 5006, lambda: execute("wait", timeout=1))
raises(500, 5005, lambda: execute("crash"))
text = raises(422, 4004, lambda: request("POST", "/api/v1/execute", {"worker_id": WORKER, "action": "echo", "params": 3}))
assert "params" in text, text

# batch
batch = request("POST", "/api/v1/execute/batch", {"worker_id": WORKER, "parallel": False, "stop_on_error": True, "actions": [
    {"action": "fake:incr", "params": {}}, {"action": "calc:add", "params": {"a": 1, "b": 1}}]})
assert batch["code"] == 0 and batch["data"]["success_count"] == 2, batch
assert [r["data"]["n"] for r in batch["data"]["results"]] == [43, 2], batch
batch = request("POST", "/api/v1/execute/batch", {"worker_id": WORKER, "parallel": True, "actions": [
    {"action": "nope"}, {"action": "fake:incr"}]})
assert batch["code"] == 5010 and batch["message"] == "1 out of 2 actions failed", batch

# refresh, heartbeat, status, list
refreshed = request("POST", "/api/v1/session/refresh", {"worker_id": WORKER, "resource_type": "fake"})
datetime.datetime.fromisoformat(refreshed["expires_at"])
assert request("POST", "/api/v1/session/refresh", {"worker_id": WORKER})["refreshed_count"] == 2
beat = request("POST", "/api/v1/lifecycle/heartbeat", {"worker_id": WORKER})
assert sorted(beat["data"]["active_sessions"]) == ["fake", "web"], beat
assert request("POST", "/api/v1/lifecycle/status", {"worker_id": WORKER})["data"]["tools_available"] > 0
listed = request("POST", "/api/v1/session/list", {"worker_id": WORKER})["data"]["sessions"]
assert {s["resource_type"] for s in listed} == {"fake", "web"}, listed
for session in listed:
    assert session["status"] == "active" and session["auto_created"] is False
    for key in ("created_at", "last_activity", "expires_at"):
        datetime.datetime.fromisoformat(session[key])

# tools
assert any(t["full_name"] == "fake:incr" for t in request("GET", "/api/v1/tools?include_hidden=False")["tools"])
assert any(t["name"] == "secret" for t in request("GET", "/api/v1/tools?include_hidden=True")["tools"])
assert request("GET", "/api/v1/tools/fake:incr/schema")["full_name"] == "fake:incr"

# reinitialize: destroy and create; the facade reads the ids from the top level
old = request("POST", "/api/v1/session/destroy", {"worker_id": WORKER, "resource_type": "fake"})
new = create_session("fake", {"start": 7})
assert old["session_id"] and new["session_id"] and new["session_name"], (old, new)
assert old["session_id"] != new["session_id"]
assert execute("fake.incr")["data"]["n"] == 8
text = raises(404, 4007, lambda: request("POST", "/api/v1/session/destroy", {"worker_id": WORKER, "resource_type": "vm"}))
assert text == "Request failed: No session found for vm", text
text = raises(500, 4007, lambda: request("POST", "/api/v1/init/resource", {
    "worker_id": "other", "resource_type": "fake", "init_config": {"fail": "no disk"}}))
assert text == "Request failed: Resource initialization failed", text

# shut down
down = request("POST", "/api/v1/server/shutdown", {"force": False, "cleanup_sessions": True})
assert down["status"] == "success" and down["message"] == "Server shutdown initiated", down
assert down["sessions_cleaned"] == 2, down
print("ok")
