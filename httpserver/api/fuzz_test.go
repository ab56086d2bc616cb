package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

// FuzzBodies sends anything to every endpoint that reads a body. Whatever it
// is, the answer is one JSON object, and no error of the server's own.
func FuzzBodies(f *testing.F) {
	posts := []string{
		"/api/v1/execute", "/api/v1/execute/batch", "/api/v1/session/create", "/api/v1/session/destroy", "/api/v1/session/list",
		"/api/v1/session/refresh", "/api/v1/lifecycle/heartbeat", "/api/v1/lifecycle/status", "/api/v1/worker/disconnect",
		"/api/v1/init/resource", "/api/v1/init/batch", "/api/v1/init/from-config", "/api/v1/warmup", "/api/v1/server/shutdown",
		"/execute", "/execute/batch",
	}
	for _, seed := range []string{
		``, `null`, `[]`, `{}`, `{"a":`, "\xff", `{"worker_id":"w","action":"echo","params":{"a":"\ud800"}}`,
		`{"worker_id":"w","resource_type":"fake","session_config":{"fail":"x"},"ttl":-1e400,"confinement":{"limits":{"memory":"1GiB"}}}`,
		`{"worker_id":1e999,"actions":[{"action":"echo","params":null,"timeout":"9999999999999999999"},{}],"parallel":"yes","limit":1e30}`,
		`{"worker_id":"w","resource_configs":{"fake":{"content":null},"fake":{}},"config_path":"\u0000","override_params":{}}`,
		`{"backends":["rag",1,null],"force":2,"cleanup_sessions":null}`,
		`{"worker_id":"w","action":"tell","params":{"lines":["\r\n"]},"timeout":1e-9,"trace_id":{}}`,
	} {
		f.Add([]byte(seed))
	}
	sb, err := sandbox.New(sandbox.Options{Registry: registry(nil), CallTimeout: time.Second})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = sb.Shutdown(context.Background()) })
	h := newHandler(f, sb, api.Options{
		MaxBatch: 20, ConfigDirs: []string{f.TempDir()},
		Shutdown: func(context.Context, bool) (int, error) { return 0, nil },
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range posts {
			r := httptest.NewRequest("POST", path, bytes.NewReader(body))
			r.Host = "localhost"
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var object map[string]any
			dec := json.NewDecoder(w.Body)
			if err := dec.Decode(&object); err != nil || object == nil {
				t.Fatalf("%s: not an object (%v)", path, err)
			}
			if _, err := dec.Token(); err != io.EOF {
				t.Fatalf("%s: something follows the object", path)
			}
			if w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("%s: %v", path, w.Header())
			}
			if object["message"] == "internal error; the server's log has the details" {
				t.Fatalf("%s: panic", path)
			}
			if w.Code == http.StatusUnprocessableEntity && object["detail"] == nil {
				t.Fatalf("%s: 422 without detail: %v", path, object)
			}
		}
	})
}
