package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
	"github.com/agentflow-go/sandbox/httpserver/client"
)

// transport answers requests in place of a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, contentType, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

const ok = `{"code":0,"message":"success","data":{"n":1},"meta":{"tool":"t","execution_time_ms":1.5,"resource_type":null,"session_id":null,"trace_id":"x","ran":true}}`

func newClient(t *testing.T, o client.Options, f transport) *client.Client {
	t.Helper()
	o.HTTPClient = &http.Client{Transport: f}
	c, err := client.New("http://127.0.0.1:1", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestOnlyWhatHadNoEffectIsRetried(t *testing.T) {
	t.Parallel()
	refused := func() (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	broken := func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
	failure := func(status int, code, ran string) func() (*http.Response, error) {
		return func() (*http.Response, error) {
			return answer(status, "application/json", `{"code":`+code+`,"message":"m","data":{},"meta":{"ran":`+ran+`}}`)
		}
	}
	silent := func() (*http.Response, error) {
		return answer(503, "application/json", `{"code":5014,"message":"m","data":{},"meta":{}}`)
	}
	good := func() (*http.Response, error) { return answer(200, "application/json", ok) }
	cases := []struct {
		name    string
		o       client.Options
		answers []func() (*http.Response, error)
		tries   int
		code    sandbox.Code
		ran     bool
	}{
		{"refused, then there", client.Options{}, []func() (*http.Response, error){refused, refused, good}, 3, 0, true},
		{"refused for ever", client.Options{}, []func() (*http.Response, error){refused, refused, refused, good}, 3, sandbox.ErrDependency, false},
		{"no retries wanted", client.Options{Retries: -1}, []func() (*http.Response, error){refused, good}, 1, sandbox.ErrDependency, false},
		{"busy, did not run", client.Options{}, []func() (*http.Response, error){failure(503, "5014", "false"), good}, 2, 0, true},
		{"stopping, did not run", client.Options{}, []func() (*http.Response, error){failure(503, "5015", "false"), good}, 2, 0, true},
		{"busy by the tool's own account", client.Options{}, []func() (*http.Response, error){failure(503, "5014", "true"), good}, 1, sandbox.ErrBusy, true},
		{"busy, from a server that does not tell", client.Options{}, []func() (*http.Response, error){silent, good}, 1, sandbox.ErrBusy, true},
		{"time limit of the server", client.Options{}, []func() (*http.Response, error){failure(500, "5006", "true"), good}, 1, sandbox.ErrTimeout, true},
		{"bad input", client.Options{}, []func() (*http.Response, error){failure(400, "4003", "false"), good}, 1, sandbox.ErrMissingField, false},
		{"connection broke", client.Options{}, []func() (*http.Response, error){broken, good}, 1, sandbox.ErrDependency, true},
		{"connection broke, with a key", client.Options{IdempotencyKeys: true}, []func() (*http.Response, error){broken, good}, 2, 0, true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var keys []string
				c := newClient(t, tc.o, func(r *http.Request) (*http.Response, error) {
					keys = append(keys, r.Header.Get("Idempotency-Key"))
					return tc.answers[len(keys)-1]()
				})
				r := c.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "t"})
				if len(keys) != tc.tries || sandbox.CodeOf(r.Err) != tc.code || r.Meta.Ran != tc.ran {
					t.Errorf("%d tries, code %d, ran %v; want %d, %d, %v (%v)", len(keys), sandbox.CodeOf(r.Err), r.Meta.Ran, tc.tries, tc.code, tc.ran, r.Err)
				}
				for _, key := range keys {
					if key != keys[0] || (key != "") != tc.o.IdempotencyKeys {
						t.Errorf("keys %q", keys)
					}
				}
			})
		})
	}
}

func TestTimeLimitOnTheWireAndHere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var body map[string]any
		c := newClient(t, client.Options{Grace: 3 * time.Second}, func(r *http.Request) (*http.Response, error) {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			<-r.Context().Done() // a server that never answers
			return nil, r.Context().Err()
		})
		begin := time.Now()
		r := c.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "t", Timeout: 1500 * time.Millisecond})
		if took := time.Since(begin); took != 4500*time.Millisecond {
			t.Errorf("waited %v, want Timeout and Grace", took)
		}
		if want := map[string]any{"worker_id": "w", "action": "t", "timeout": 2.0, "timeout_ms": 1500.0}; !cmp.Equal(want, body) {
			t.Errorf("body (-want +got):\n%s", cmp.Diff(want, body))
		}
		if !errors.Is(r.Err, sandbox.ErrTimeout) || !r.Meta.Ran || r.Err.Error() != "Tool execution timed out after 1.5s" {
			t.Errorf("%v, ran %v", r.Err, r.Meta.Ran)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r := c.Execute(ctx, sandbox.Request{Worker: "w", Tool: "t"}); !errors.Is(r.Err, sandbox.ErrCancelled) || !errors.Is(r.Err, context.Canceled) {
			t.Errorf("cancelled: %v", r.Err)
		}
	})
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	long := `{"code":0,"data":{"x":"` + strings.Repeat("x", 2000) + `"}}`
	cases := []struct {
		name, contentType, body string
		status                  int
		events                  bool
		code                    sandbox.Code
	}{
		{"page of a proxy", "text/html", "<html>", 502, false, sandbox.ErrAPIResponse},
		{"list", "application/json", "[]", 200, false, sandbox.ErrAPIResponse},
		{"object without code", "application/json", "{}", 200, false, sandbox.ErrAPIResponse},
		{"unknown path", "application/json", `{"detail":"Not Found"}`, 404, false, sandbox.ErrInvalidRequest},
		{"refused by a proxy", "application/json", `{}`, 403, false, sandbox.ErrForbidden},
		{"redirect", "text/html", ``, 307, false, sandbox.ErrAPIResponse},
		{"too long", "application/json", long, 200, false, sandbox.ErrTooLarge},
		{"event too long", "text/event-stream", "event: result\ndata: " + long + "\n\n", 200, true, sandbox.ErrTooLarge},
		{"event of many lines", "text/event-stream", "event: result\n" + strings.Repeat("data: "+strings.Repeat("y", 500)+"\n", 4) + "\n", 200, true, sandbox.ErrTooLarge},
		{"stream that breaks off", "text/event-stream", ": hello\n\nevent: output\ndata: {\"kind\":\"output\"}\n\n", 200, true, sandbox.ErrDependency},
		{"no stream where one was asked for", "application/json", `{"code":4003,"message":"m","data":{},"meta":{"ran":false}}`, 422, true, sandbox.ErrMissingField},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, client.Options{MaxAnswer: 1000}, func(*http.Request) (*http.Response, error) {
				return answer(tc.status, tc.contentType, tc.body)
			})
			req := sandbox.Request{Worker: "w", Tool: "t"}
			if tc.events {
				req.OnEvent = func(sandbox.Event) {}
			}
			if r := c.Execute(t.Context(), req); sandbox.CodeOf(r.Err) != tc.code {
				t.Errorf("code %d, want %d: %v", sandbox.CodeOf(r.Err), tc.code, r.Err)
			}
			b := c.ExecuteBatch(t.Context(), []sandbox.Request{{Worker: "w", Tool: "t"}}, sandbox.BatchOptions{})
			if !errors.Is(b.Err(), sandbox.ErrAllFailed) || len(b.Results) != 1 {
				t.Errorf("batch: %v, %d results", b.Err(), len(b.Results))
			}
		})
	}
}

// TestNoAnswerIsNoSuccess: something else listens there and answers 200.
func TestNoAnswerIsNoSuccess(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", "null"} {
		c := newClient(t, client.Options{}, func(*http.Request) (*http.Response, error) {
			return answer(200, "application/json", body)
		})
		ctx := t.Context()
		for name, call := range map[string]func() error{
			"Execute": func() error { return c.Execute(ctx, sandbox.Request{Worker: "w", Tool: "t"}).Err },
			"ExecuteBatch": func() error {
				return c.ExecuteBatch(ctx, []sandbox.Request{{Worker: "w", Tool: "t"}}, sandbox.BatchOptions{}).Results[0].Err
			},
			"CreateSession":  func() error { _, err := c.CreateSession(ctx, "w", "b", sandbox.SessionOptions{}); return err },
			"DestroySession": func() error { _, err := c.DestroySession(ctx, "w", "b"); return err },
			"RefreshSession": func() error { _, err := c.RefreshSession(ctx, "w", "b"); return err },
			"Sessions":       func() error { _, err := c.Sessions(ctx, "w"); return err },
			"CloseWorker":    func() error { _, err := c.CloseWorker(ctx, "w"); return err },
			"Tools":          func() error { _, err := c.Tools(ctx, sandbox.ToolFilter{}); return err },
			"Warmup":         func() error { _, err := c.Warmup(ctx, "b"); return err },
			"Status":         func() error { _, err := c.Status(ctx); return err },
		} {
			err := call()
			if e, ok := errors.AsType[*sandbox.Error](err); !ok || e.Code != sandbox.ErrAPIResponse || !e.Ran {
				t.Errorf("%s, answered %q: %v, want ErrAPIResponse that may have run", name, body, err)
			}
		}
	}
}

func TestHeartbeatOfWorkersWithSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		beats := map[string]int{}
		c := newClient(t, client.Options{Heartbeat: 30 * time.Second}, func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/heartbeat") {
				var body struct {
					WorkerID string `json:"worker_id"`
				}
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
					t.Error(err)
				}
				beats[body.WorkerID]++
			}
			return answer(200, "application/json", ok)
		})
		for _, w := range []string{"a", "b"} {
			if _, err := c.CreateSession(t.Context(), w, "bash", sandbox.SessionOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(61 * time.Second)
		if _, err := c.DestroySession(t.Context(), "a", "bash"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Second)
		if _, err := c.CloseWorker(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Second)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"a": 2, "b": 4}; !cmp.Equal(want, beats) {
			t.Errorf("beats %v, want %v", beats, want)
		}
	})
}

func TestTokenAndBoundWorkers(t *testing.T) {
	t.Parallel()
	url := serve(t, newSandbox(t), api.Options{Tokens: []api.Token{{Secret: "root"}, {Secret: "team", WorkerPrefix: "team-"}}})
	team := connect(t, url, client.Options{Token: "team"})
	if r := team.Execute(t.Context(), sandbox.Request{Worker: "team-1", Tool: "echo"}); r.Err != nil {
		t.Error(r.Err)
	}
	if r := team.Execute(t.Context(), sandbox.Request{Worker: "boss", Tool: "echo"}); !errors.Is(r.Err, sandbox.ErrForbidden) || r.Meta.Ran {
		t.Errorf("another's worker: %v, ran %v", r.Err, r.Meta.Ran)
	}
	if _, err := team.Status(t.Context()); !errors.Is(err, sandbox.ErrForbidden) {
		t.Errorf("Status: %v", err)
	}
	stranger := connect(t, url, client.Options{})
	if r := stranger.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "echo"}); !errors.Is(r.Err, sandbox.ErrUnauthorized) {
		t.Errorf("no token: %v", r.Err)
	}
	if _, err := connect(t, url, client.Options{Token: "root"}).Status(t.Context()); err != nil {
		t.Errorf("Status: %v", err)
	}
}

func TestIdempotencyKeyOutlivesTheCaller(t *testing.T) {
	t.Parallel()
	sb := newSandbox(t)
	c := connect(t, serve(t, sb, api.Options{}), client.Options{IdempotencyKeys: true})
	if r := c.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "echo", Params: json.RawMessage(`{"a":1}`)}); r.Err != nil || string(r.Data) != `{"a":1}` {
		t.Errorf("%s, %v", r.Data, r.Err)
	}
	var events int
	r := c.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "tell", Params: json.RawMessage(`{"lines":["x"]}`), OnEvent: func(sandbox.Event) { events++ }})
	if r.Err != nil || events != 1 {
		t.Errorf("%v, %d events", r.Err, events)
	}
}

func TestBaseURLsThatAreRefused(t *testing.T) {
	t.Parallel()
	local := &client.LocalServer{Command: []string{"true"}}
	for url, o := range map[string]client.Options{
		"":                          {},
		"localhost:18890":           {},
		"ftp://localhost":           {},
		"http://u:p@localhost":      {},
		"http://localhost?x=1":      {},
		"http://sandbox.example":    {Local: local},
		"http://192.168.1.5:18890":  {Local: local},
		"http://localhost.evil.com": {Local: local},
		"http://localhost:18890":    {Local: &client.LocalServer{}},
	} {
		if _, err := client.New(url, o); err == nil {
			t.Errorf("New(%q): no error", url)
		}
	}
	for _, url := range []string{"http://localhost:1", "http://127.0.0.1:1/", "http://[::1]:1"} {
		if _, err := client.New(url, client.Options{Local: local}); err != nil {
			t.Errorf("New(%q): %v", url, err)
		}
	}
}
