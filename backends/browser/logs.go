package browser

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// ConsoleEntry is a message of a page.
type ConsoleEntry struct {
	Seq  int    `json:"seq"`
	Type string `json:"type" jsonschema:"log, info, warning, error, debug, exception"`
	Text string `json:"text"`
	URL  string `json:"url,omitzero"`
	Line int64  `json:"line,omitzero"`
	Time string `json:"time"`
}

// NetworkEntry is a request of a page.
type NetworkEntry struct {
	Seq    int     `json:"seq"`
	Method string  `json:"method"`
	URL    string  `json:"url"`
	Type   string  `json:"type" jsonschema:"Document, Script, Image, XHR, Fetch, WebSocket …"`
	Status int     `json:"status" jsonschema:"0: no answer yet, or none"`
	Error  string  `json:"error,omitzero"`
	Size   float64 `json:"size,omitzero" jsonschema:"bytes on the wire"`
	MS     float64 `json:"ms,omitzero" jsonschema:"from request to end"`

	id    string
	begun time.Time
}

// LogInput is what browser:console and network take.
type LogInput struct {
	Since  int    `json:"since,omitzero" jsonschema:"only what came after this number; pass the returned next to go on"`
	Filter string `json:"filter,omitzero" jsonschema:"only entries whose type, text or address contains this"`
	Max    int    `json:"max,omitzero" jsonschema:"default 100"`
}

// ConsoleOutput is what browser:console returns.
type ConsoleOutput struct {
	Messages []ConsoleEntry `json:"messages"`
	Next     int            `json:"next"`
	Dropped  int            `json:"dropped,omitzero" jsonschema:"older ones that are no longer kept"`
}

// NetworkOutput is what browser:network returns.
type NetworkOutput struct {
	Requests []NetworkEntry `json:"requests"`
	Next     int            `json:"next"`
	Dropped  int            `json:"dropped,omitzero" jsonschema:"older ones that are no longer kept"`
}

const maxText = 2000 // bytes of a message that are kept

// check refuses what makes no sense and returns how many entries are wanted.
func (in LogInput) check() (int, error) {
	if err := checkSince(in.Since); err != nil {
		return 0, err
	}
	if in.Max < 0 || in.Max > 1000 {
		return 0, invalid("/max: %d; give 1 to 1000", in.Max)
	}
	if in.Max == 0 {
		return 100, nil
	}
	return in.Max, nil
}

func (s *session) consoleTool(_ context.Context, in LogInput) (out ConsoleOutput, err error) {
	n, err := in.check()
	if err != nil {
		return out, err
	}
	out.Messages, out.Next, out.Dropped = s.console.since(in.Since, n, func(e ConsoleEntry) bool {
		return in.Filter == "" || strings.Contains(e.Type, in.Filter) || strings.Contains(e.Text, in.Filter) || strings.Contains(e.URL, in.Filter)
	})
	return out, nil
}

func (s *session) networkTool(_ context.Context, in LogInput) (out NetworkOutput, err error) {
	n, err := in.check()
	if err != nil {
		return out, err
	}
	out.Requests, out.Next, out.Dropped = s.network.since(in.Since, n, func(e NetworkEntry) bool {
		return in.Filter == "" || strings.EqualFold(e.Type, in.Filter) || strings.Contains(e.URL, in.Filter) || strings.Contains(e.Error, in.Filter) || strconv.Itoa(e.Status) == in.Filter
	})
	return out, nil
}

func (s *session) say(e ConsoleEntry) {
	e.Text, e.URL, e.Time = clip(e.Text, maxText), clip(e.URL, 500), now()
	s.console.add(func(seq int) ConsoleEntry { e.Seq = seq; return e })
}

func (s *session) consoleCalled(e runtime.EventConsoleAPICalled) {
	var parts []string
	for i, a := range e.Args {
		if i == 20 {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, remoteText(a))
	}
	entry := ConsoleEntry{Type: string(e.Type), Text: strings.Join(parts, " ")}
	if e.StackTrace != nil && len(e.StackTrace.CallFrames) > 0 {
		entry.URL, entry.Line = e.StackTrace.CallFrames[0].URL, e.StackTrace.CallFrames[0].LineNumber+1
	}
	s.say(entry)
}

// remoteText is what the console shows of a value.
func remoteText(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	if len(o.Value) > 0 {
		var text string
		if jsonv2.Unmarshal(o.Value, &text) == nil {
			return clip(text, maxText)
		}
		return clip(string(o.Value), maxText)
	}
	if o.UnserializableValue != "" {
		return clip(string(o.UnserializableValue), maxText)
	}
	if o.Preview != nil {
		var b strings.Builder
		for i, p := range o.Preview.Properties {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(p.Name + ": " + p.Value)
		}
		return clip("{"+b.String()+"}", maxText)
	}
	return clip(o.Description, maxText)
}

func (s *session) thrown(e *runtime.ExceptionDetails) {
	s.say(ConsoleEntry{Type: "exception", Text: exceptionText(e), URL: e.URL, Line: e.LineNumber + 1})
}

func (s *session) logged(e *log.Entry) {
	s.say(ConsoleEntry{Type: string(e.Level), Text: string(e.Source) + ": " + e.Text, URL: e.URL, Line: e.LineNumber})
}

// requests finds the entry of a request that runs.
type requests struct {
	open map[string]int // number by id
}

const maxOpen = 1000 // requests of a page that are followed at once

// onNetwork follows the requests of a page. It runs on the connection's reader.
func (t *tab) onNetwork(msg *cdproto.Message) {
	read := func(v any) bool {
		return jsonv2.Unmarshal(msg.Params, v, chromedp.DefaultUnmarshalOptions) == nil
	}
	type response struct {
		URL        string            `json:"url"`
		Status     int               `json:"status"`
		StatusText string            `json:"statusText"`
		MimeType   string            `json:"mimeType"`
		Size       float64           `json:"encodedDataLength"`
		FromWorker bool              `json:"fromServiceWorker"`
		Headers    map[string]string `json:"headers"`
	}
	switch string(msg.Method) {
	case network.RequestWillBeSent.Method:
		var e struct {
			ID       string       `json:"requestId"`
			LoaderID cdp.LoaderID `json:"loaderId"`
			FrameID  cdp.FrameID  `json:"frameId"`
			Type     string       `json:"type"`
			Request  struct {
				URL    string `json:"url"`
				Method string `json:"method"`
			} `json:"request"`
			Redirect *response `json:"redirectResponse"`
		}
		if read(&e) {
			if e.Redirect != nil {
				t.finish(e.ID, func(n *NetworkEntry) { n.Status = e.Redirect.Status })
			}
			t.asked(e.ID, e.Type, e.Request.URL, e.FrameID == t.main)
			t.request(e.ID, NetworkEntry{Method: clip(e.Request.Method, 40), URL: clip(e.Request.URL, 2000), Type: clip(e.Type, 40)})
			if e.Type == "Document" && e.FrameID == t.main && e.ID == string(e.LoaderID) {
				t.locked(func() { t.document(e.LoaderID).asked = clip(e.Request.URL, maxURL) })
			}
		}
	case network.ResponseReceived.Method:
		var e struct {
			ID       string       `json:"requestId"`
			LoaderID cdp.LoaderID `json:"loaderId"`
			Type     string       `json:"type"`
			FrameID  cdp.FrameID  `json:"frameId"`
			Response response     `json:"response"`
		}
		if !read(&e) {
			return
		}
		t.answering(e.ID)
		own := t.s.fromProxy(e.Response.URL, e.Response.FromWorker, e.Response.Headers)
		t.edit(e.ID, func(n *NetworkEntry) {
			if n.Status = e.Response.Status; own {
				n.Error = clip(e.Response.StatusText, 500)
			}
		})
		if e.Type == "Document" && e.FrameID == t.main {
			t.locked(func() {
				d := t.document(e.LoaderID)
				d.own = own
				d.status, d.text, d.mime = e.Response.Status, clip(e.Response.StatusText, 500), clip(e.Response.MimeType, 100)
			})
		}
	case network.LoadingFinished.Method:
		var e struct {
			ID   string  `json:"requestId"`
			Size float64 `json:"encodedDataLength"`
		}
		if read(&e) {
			t.finish(e.ID, func(n *NetworkEntry) { n.Size = e.Size })
			t.answered(e.ID)
		}
	case network.LoadingFailed.Method:
		var e struct {
			ID        string `json:"requestId"`
			ErrorText string `json:"errorText"`
			Blocked   string `json:"blockedReason"`
			Type      string `json:"type"`
		}
		if read(&e) {
			text := e.ErrorText
			if e.Blocked != "" {
				text += " (" + e.Blocked + ")"
			}
			t.finish(e.ID, func(n *NetworkEntry) {
				if n.Error != "" { // the proxy said why
					return
				}
				if n.Error = clip(text, 200); text == noTunnel {
					n.Error = cmp.Or(t.s.unreached.why(n.URL), n.Error)
				}
			})
			t.answered(e.ID)
			if e.Type == "Document" {
				t.locked(func() {
					for _, d := range t.documents {
						if string(d.loader) == e.ID {
							d.failed = clip(e.ErrorText, 200)
						}
					}
				})
			}
		}
	case network.WebSocketCreated.Method:
		var e struct {
			ID  string `json:"requestId"`
			URL string `json:"url"`
		}
		if read(&e) {
			t.request(e.ID, NetworkEntry{Method: "GET", URL: clip(e.URL, 2000), Type: "WebSocket"})
		}
	case network.WebSocketHandshakeResponseReceived.Method:
		var e struct {
			ID       string   `json:"requestId"`
			Response response `json:"response"`
		}
		if read(&e) {
			t.edit(e.ID, func(n *NetworkEntry) { n.Status = e.Response.Status })
		}
	case network.WebSocketFrameError.Method:
		var e struct {
			ID    string `json:"requestId"`
			Error string `json:"errorMessage"`
		}
		if read(&e) {
			t.edit(e.ID, func(n *NetworkEntry) { n.Error = clip(e.Error, 200) })
		}
	case network.WebSocketClosed.Method:
		var e struct {
			ID string `json:"requestId"`
		}
		if read(&e) {
			t.finish(e.ID, func(*NetworkEntry) {})
		}
	}
}

// request notes a request that began.
func (t *tab) request(id string, e NetworkEntry) {
	e.id, e.begun = id, time.Now()
	seq := t.s.network.add(func(seq int) NetworkEntry { e.Seq = seq; return e })
	if t.requests.open == nil {
		t.requests.open = map[string]int{}
	}
	if len(t.requests.open) >= maxOpen {
		clear(t.requests.open) // a page that asks and asks: the entries stay as they are
	}
	t.requests.open[id] = seq
}

func (t *tab) edit(id string, change func(*NetworkEntry)) {
	if seq, ok := t.requests.open[id]; ok {
		t.s.network.edit(seq, func(n *NetworkEntry) {
			if n.id == id {
				change(n)
			}
		})
	}
}

func (t *tab) finish(id string, change func(*NetworkEntry)) {
	t.edit(id, func(n *NetworkEntry) {
		change(n)
		n.MS = float64(time.Since(n.begun).Microseconds()) / 1000
	})
	delete(t.requests.open, id)
}
