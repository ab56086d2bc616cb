package api

import (
	"context"
	"net/http"
	"strings"
)

// endpoint is what one method of one path does.
type endpoint struct {
	method, path string
	short        string // the same under its short path; "": none of its own
	access       access
	body         bodyRule
	tool         string // meta.tool of its replies, unless they name another
	run          func(ctx context.Context, q *request) reply
}

// endpoints is the protocol's list, and ours at its end. {name} and
// {worker} stand for one segment, {path} for any number.
func endpoints() []endpoint {
	const get, post = http.MethodGet, http.MethodPost
	return []endpoint{
		{get, "/health", "", everybody, noBody, "", health},
		{get, "/ready", "", unbound, noBody, "", ready},
		{post, "/api/v1/execute", "/execute", anyToken, wantObject, "", execute},
		{post, "/api/v1/execute/batch", "/execute/batch", anyToken, wantObject, "batch:execute", executeBatch},
		{post, "/api/v1/session/create", "/session/create", anyToken, wantObject, "session:create", createSession},
		{post, "/api/v1/session/destroy", "/session/destroy", anyToken, wantObject, "session:destroy", destroySession},
		{post, "/api/v1/session/list", "/session/list", anyToken, wantObject, "session:list", listSessions},
		{post, "/api/v1/session/refresh", "/session/refresh", anyToken, wantObject, "session:refresh", refreshSession},
		{post, "/api/v1/lifecycle/heartbeat", "/heartbeat", anyToken, wantObject, "session:heartbeat", heartbeat},
		{post, "/api/v1/lifecycle/status", "/status", anyToken, wantObject, "session:status", workerStatus},
		{post, "/api/v1/worker/disconnect", "/worker/disconnect", anyToken, wantObject, "session:disconnect", disconnect},
		{post, "/api/v1/init/resource", "/init/resource", anyToken, wantObject, "init:resource", initResource},
		{post, "/api/v1/init/batch", "/init/batch", anyToken, wantObject, "init:batch", initBatch},
		{post, "/api/v1/init/from-config", "/init/from-config", anyToken, wantObject, "init:from_config", initFromConfig},
		{get, "/api/v1/tools", "/tools", anyToken, noBody, "", listTools},
		{get, "/api/v1/tools/schemas", "/tools/schemas", anyToken, noBody, "", toolSchemas},
		{get, "/api/v1/tools/{name}/schema", "/tools/{name}/schema", anyToken, noBody, "", toolSchema},
		{post, "/api/v1/warmup", "/warmup", unbound, optionalBody, "", warmup},
		{get, "/api/v1/warmup/status", "/warmup/status", anyToken, noBody, "", warmupStatus},
		{post, "/api/v1/server/shutdown", "/shutdown", unbound, optionalBody, "", shutdown},
		{post, "/api/v1/workspace/fork", "/workspace/fork", unbound, wantObject, "workspace:fork", forkWorkspace},
		{get, "/api/v1/status", "/status", unbound, noBody, "server:status", serverStatus},
		{get, "/api/v1/files/{worker}/{path}", "/files/{worker}/{path}", anyToken, noBody, "files:get", getFile},
		{http.MethodHead, "/api/v1/files/{worker}/{path}", "/files/{worker}/{path}", anyToken, noBody, "files:get", getFile},
		{http.MethodPut, "/api/v1/files/{worker}/{path}", "/files/{worker}/{path}", anyToken, noBody, "files:put", putFile},
	}
}

// routes finds endpoints. It is a map and not a ServeMux since every answer has
// to be a JSON object in the protocol's words, the 404, 405 and 307 included.
type routes map[string]*route

// route is a path with what its methods do.
type route struct {
	shape   shape
	methods map[string]endpoint
}

func routeTable() routes {
	t := routes{}
	add := func(path string, s shape, e endpoint) {
		if t[path] == nil {
			t[path] = &route{shape: s, methods: map[string]endpoint{}}
		}
		t[path].methods[e.method] = e
	}
	for _, e := range endpoints() {
		add(e.path, codeShape, e)
		if e.short != "" {
			add(e.short, successShape, e)
		}
	}
	return t
}

// find returns the route of a path and what {name} stands for; nil if there is
// none.
func (t routes) find(path string) (*route, string) {
	if r := t[path]; r != nil {
		return r, ""
	}
	for _, base := range []string{"/api/v1/tools/", "/tools/"} {
		rest, under := strings.CutPrefix(path, base)
		name, schema := strings.CutSuffix(rest, "/schema")
		if under && schema && name != "" && !strings.Contains(name, "/") {
			return t[base+"{name}/schema"], name
		}
	}
	for _, base := range filePaths() {
		if strings.HasPrefix(path, base) {
			return t[base+"{worker}/{path}"], ""
		}
	}
	return nil, ""
}
