package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

// BenchmarkEcho compares calls over HTTP, of echo and of a tool in a session, with a bare handler that
// decodes the same request and encodes the same answer, both over a real
// listener and one kept-alive connection.
func BenchmarkEcho(b *testing.B) {
	type bareRequest struct {
		WorkerID string         `json:"worker_id"`
		Action   string         `json:"action"`
		Params   map[string]any `json:"params"`
		Timeout  *int           `json:"timeout"`
	}
	type bareMeta struct {
		Tool      string  `json:"tool"`
		Millis    float64 `json:"execution_time_ms"`
		Resource  *string `json:"resource_type"`
		SessionID *string `json:"session_id"`
		TraceID   string  `json:"trace_id"`
		Ran       bool    `json:"ran"`
	}
	type bareAnswer struct {
		Code    int            `json:"code"`
		Message string         `json:"message"`
		Data    map[string]any `json:"data"`
		Meta    bareMeta       `json:"meta"`
	}
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req bareRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(bareAnswer{Message: "success", Data: req.Params,
			Meta: bareMeta{Tool: req.Action, TraceID: "00000000-0000-4000-8000-000000000000", Ran: true}})
	})
	sb := newSandbox(b, nil)
	if _, err := sb.CreateSession(b.Context(), "w", "fake", sandbox.SessionOptions{TTL: -1}); err != nil {
		b.Fatal(err)
	}
	served := newHandler(b, sb, api.Options{})
	large, err := json.Marshal(map[string]any{"worker_id": "w", "action": "echo", "params": map[string]any{"text": string(bytes.Repeat([]byte("lorem ipsum "), 1<<12))}})
	if err != nil {
		b.Fatal(err)
	}
	for _, body := range []struct {
		name string
		text []byte
	}{
		{"small", []byte(`{"worker_id":"w","action":"echo","params":{"text":"hello","n":[1,2,3]},"timeout":null}`)},
		{"session", []byte(`{"worker_id":"w","action":"fake:incr","params":{"by":1},"timeout":null}`)}, // strict input
		{"48KiB", large},
	} {
		call := func(b *testing.B, srv *httptest.Server) time.Duration {
			begin := time.Now()
			resp, err := srv.Client().Post(srv.URL+"/api/v1/execute", "application/json", bytes.NewReader(body.text))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				b.Fatal(resp.Status, err)
			}
			resp.Body.Close()
			return time.Since(begin)
		}
		for _, h := range []struct {
			name    string
			handler http.Handler
		}{{"bare", bare}, {"api", served}} {
			b.Run(body.name+"/"+h.name, func(b *testing.B) {
				srv := httptest.NewServer(h.handler)
				defer srv.Close()
				b.ReportAllocs()
				for b.Loop() {
					call(b, srv)
				}
			})
		}
		// Calls of both in turn, so that what else the machine does meets both.
		b.Run(body.name+"/ratio", func(b *testing.B) {
			bareSrv, apiSrv := httptest.NewServer(bare), httptest.NewServer(served)
			defer bareSrv.Close()
			defer apiSrv.Close()
			var bareTook, apiTook []time.Duration
			for b.Loop() {
				bareTook = append(bareTook, call(b, bareSrv))
				apiTook = append(apiTook, call(b, apiSrv))
			}
			slices.Sort(bareTook)
			slices.Sort(apiTook)
			mid := len(bareTook) / 2
			b.ReportMetric(bareTook[mid].Seconds()/apiTook[mid].Seconds(), "of-bare")
		})
	}
}
