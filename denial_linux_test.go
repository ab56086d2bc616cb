package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/google/go-cmp/cmp"
)

// deniedLog is a logger that sends what it hears of denials on a channel.
func deniedLog() (*slog.Logger, <-chan string) {
	heard := make(chan string, 64)
	return slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "network denied") {
			heard <- string(p)
		}
		return len(p), nil
	}), nil)), heard
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// notListed is what a call is told of hosts that are not in the list.
func notListed(count int, hosts ...string) (ds []sandbox.Denial) {
	for _, h := range hosts {
		ds = append(ds, sandbox.Denial{Host: h, Port: 80, Rule: "allow list", Count: count,
			Text: "network denied: " + h + ":80 is not in the allow list"})
	}
	return ds
}

func runs(command string) sandbox.Request {
	params, _ := json.Marshal(shIn{command})
	return sandbox.Request{Worker: "w", Tool: "sh:sh", Params: params}
}

func TestEgressDenialsAreInTheResultAndEvents(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	addShell(&reg, "sh")
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined("example.com")})
	var events []sandbox.Event
	req := runs("for i in 1 2; do curl -sS http://one.example/; done; curl -sS http://two.example; exit 0")
	req.OnEvent = func(e sandbox.Event) { events = append(events, e) }
	resp := sb.Execute(t.Context(), req)
	if resp.Err != nil {
		t.Fatal(resp.Err)
	}
	want := append(notListed(2, "one.example"), notListed(1, "two.example")...)
	if diff := cmp.Diff(want, resp.Meta.Denied); diff != "" || resp.Meta.DeniedTotal != 3 {
		t.Errorf("Meta.Denied (-want +got), of %d:\n%s", resp.Meta.DeniedTotal, diff)
	}
	wantEvents := []sandbox.Event{
		{Kind: sandbox.EventDenial, Text: want[0].Text, Data: json.RawMessage(`{"host":"one.example","port":80,"rule":"allow list"}`)},
		{Kind: sandbox.EventDenial, Text: want[1].Text, Data: json.RawMessage(`{"host":"two.example","port":80,"rule":"allow list"}`)},
	}
	if diff := cmp.Diff(wantEvents, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	// The next call is not told again.
	if resp := sb.Execute(t.Context(), runs("true")); resp.Err != nil || resp.Meta.Denied != nil || resp.Meta.DeniedTotal != 0 {
		t.Errorf("the next call: %+v", resp)
	}
	if st, err := sb.Status(t.Context()); err != nil || st.Denied != 3 {
		t.Errorf("Status.Denied = %d, %v, want 3", st.Denied, err)
	}
}

func TestEgressDenialsAreBounded(t *testing.T) {
	t.Parallel()
	var reg sandbox.Registry
	addShell(&reg, "sh")
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined("example.com")})
	events := 0
	req := runs(`python3 -c 'import socket
for i in range(40):
    s = socket.create_connection(("127.0.0.1", 3128))
    s.sendall(b"CONNECT h%d.example:443 HTTP/1.1\r\nHost: h%d.example:443\r\n\r\n" % (i % 20, i % 20))
    assert s.recv(1000); s.close()'`)
	req.OnEvent = func(sandbox.Event) { events++ }
	resp := sb.Execute(t.Context(), req)
	if resp.Err != nil || len(resp.Meta.Denied) != 16 || resp.Meta.DeniedTotal != 40 || events != 16 {
		t.Errorf("%d denials of %d, %d events, %v %s; want 16 of 40, 16 events", len(resp.Meta.Denied), resp.Meta.DeniedTotal, events, resp.Err, resp.Data)
	}
	for _, d := range resp.Meta.Denied {
		if d.Count != 2 || len(d.Text) > 512 {
			t.Errorf("%+v, want a count of 2 and at most 512 bytes", d)
		}
	}
	resp = sb.Execute(t.Context(), runs(`python3 -c 'import socket
s = socket.create_connection(("127.0.0.1", 3128)); s.sendall(b"GET http://x\x1b[31m" + b"y" * 5000 + b"/ HTTP/1.1\r\nHost: x\r\n\r\n"); assert s.recv(1000)'`))
	got := fmt.Sprintf("%+v", resp.Meta.Denied)
	if len(resp.Meta.Denied) != 1 || len(got) > 1200 || strings.Contains(resp.Meta.Denied[0].Host+resp.Meta.Denied[0].Text, "\x1b") {
		t.Errorf("a hostile host gives %q", got)
	}
}

func TestEgressDenialsReachAllRunningCallsOfTheWorker(t *testing.T) {
	t.Parallel()
	log, heard := deniedLog()
	var reg sandbox.Registry
	tool := addShell(&reg, "sh")
	waiting, over := make(chan struct{}), make(chan struct{})
	idle := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "idle"}, sandbox.BackendFuncs[sandbox.Env]{})
	sandbox.AddSessionTool(idle, sandbox.ToolSpec{Name: "wait"}, func(ctx context.Context, call sandbox.Call, _ sandbox.Env, _ struct{}) ([]sandbox.Denial, error) {
		close(waiting)
		<-over
		return call.Denied(), nil
	})
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined("example.com"), Logger: log})
	var meta sandbox.Meta
	var out []sandbox.Denial
	var wg sync.WaitGroup
	wg.Go(func() {
		resp := sb.Execute(t.Context(), sandbox.Request{Worker: "w", Tool: "idle:wait"})
		meta = resp.Meta
		if err := resp.Decode(&out); err != nil {
			t.Error(err)
		}
	})
	<-waiting
	sh(t, tool, sb.Worker("other"), "curl -sS http://theirs.example") // of nobody's concern
	<-heard
	resp := sb.Execute(t.Context(), runs("curl -sS http://ours.example"))
	close(over)
	wg.Wait()
	want := notListed(1, "ours.example")
	for name, got := range map[string][]sandbox.Denial{"the call itself": resp.Meta.Denied, "the other call": meta.Denied, "Call.Denied": out} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEgressDenialsBetweenCallsAreToldToTheNext(t *testing.T) {
	t.Parallel()
	log, heard := deniedLog()
	var reg sandbox.Registry
	envs := make(chan sandbox.Env, 1)
	b := sandbox.AddBackend(&reg, sandbox.BackendSpec{Name: "sh"}, sandbox.BackendFuncs[sandbox.Env]{
		OpenFunc: func(_ context.Context, env sandbox.Env) (sandbox.Env, error) {
			envs <- env
			return env, nil
		},
	})
	tool := sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "sh"}, func(ctx context.Context, call sandbox.Call, env sandbox.Env, in shIn) (shOut, error) {
		out, err := runSh(env, ctx, in)
		for _, d := range call.Denied() {
			out.Out += d.Text + "\n"
		}
		return out, err
	})
	sb := newSandbox(t, &reg, sandbox.Options{Confine: confined("example.com"), Logger: log})
	w := sb.Worker("w")
	if _, err := w.CreateSession(t.Context(), "sh", sandbox.SessionOptions{}); err != nil {
		t.Fatal(err)
	}
	env := <-envs
	background := func(host string) { // a program of the session's, with no call running
		t.Helper()
		if _, err := runSh(env, t.Context(), shIn{"curl -sS http://" + host}); err != nil {
			t.Fatal(err)
		}
		<-heard
	}
	background("first.example")
	background("second.example")
	var events []string
	req := runs("true")
	req.OnEvent = func(e sandbox.Event) { events = append(events, e.Text) }
	resp := sb.Execute(t.Context(), req)
	want := notListed(1, "first.example", "second.example")
	if diff := cmp.Diff(want, resp.Meta.Denied); diff != "" {
		t.Errorf("the next call (-want +got):\n%s", diff)
	}
	if !slices.Equal(events, []string{want[0].Text, want[1].Text}) {
		t.Errorf("events of the next call: %q", events)
	}
	// A typed call has no Meta: its tool tells.
	background("third.example")
	if got, want := sh(t, tool, w, "true"), notListed(1, "third.example")[0].Text; got != want {
		t.Errorf("a typed call is told %q, want %q", got, want)
	}
	if got := sh(t, tool, w, "true"); got != "" {
		t.Errorf("it is told again: %q", got)
	}
}

func TestADeniedCallThatFailsTellsTheModel(t *testing.T) {
	t.Parallel()
	resp := sandbox.Response{Err: sandbox.Errorf(sandbox.ErrUnexpected, "no answer"), Meta: sandbox.Meta{Denied: notListed(1, "a.example")}}
	want := `{"error":{"code":5005,"message":"no answer","denied":["network denied: a.example:80 is not in the allow list"]}}`
	if got := resp.ForModel(); got != want {
		t.Errorf("ForModel = %s, want %s", got, want)
	}
}
