package browser

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
)

// SnapshotInput is what browser:snapshot takes.
type SnapshotInput struct {
	Element
	Mode     string  `json:"mode,omitzero" jsonschema:"interactive (default): what can be acted on, headings and messages; full: the text as well"`
	MaxChars int     `json:"max_chars,omitzero" jsonschema:"default 20000"`
	Timeout  float64 `json:"timeout,omitzero" jsonschema:"seconds; default 10"`
}

// SnapshotOutput is what browser:snapshot returns.
type SnapshotOutput struct {
	Snapshot  string `json:"snapshot" jsonschema:"one line an element, indented by what it is in; ref is what other tools take"`
	URL       string `json:"url"`
	Title     string `json:"title"`
	Truncated bool   `json:"truncated"`
}

const (
	defaultChars = 20000
	mostChars    = 1 << 20
	maxDepth     = 8 // of frames in a snapshot
)

func chars(n, def int) (int, error) {
	if n == 0 {
		return def, nil
	}
	if n < 100 || n > mostChars {
		return 0, invalid("/max_chars: %d; give 100 to %d", n, mostChars)
	}
	return n, nil
}

// looking is the frame of a tool that reads the page.
func (s *session) looking(ctx context.Context, timeout float64, do func(context.Context, *tab) error) error {
	limit, err := s.limit(timeout)
	if err != nil {
		return err
	}
	ctx, cancel := limited(ctx, limit)
	defer cancel()
	t, err := s.tab(ctx)
	if err != nil {
		return problem(ctx, err)
	}
	ctx, done := t.guard(ctx)
	defer done()
	return t.problem(ctx, do(ctx, t))
}

// part finds the element that a reading tool is told to read, if any.
func (t *tab) part(ctx context.Context, e Element) (*frame, int, error) {
	if !e.given() {
		f, err := t.findFrame(e.Frame)
		return f, 0, err
	}
	at, err := t.locate(ctx, e, need{any: true}, "")
	if err != nil {
		return nil, 0, err
	}
	return at.frame, at.n, nil
}

func (s *session) snapshot(ctx context.Context, in SnapshotInput) (out SnapshotOutput, err error) {
	switch in.Mode {
	case "":
		in.Mode = "interactive"
	case "interactive", "full":
	default:
		return out, invalid("/mode: %q; give interactive or full", clip(in.Mode, 40))
	}
	if in.MaxChars, err = chars(in.MaxChars, defaultChars); err != nil {
		return out, err
	}
	err = s.looking(ctx, in.Timeout, func(ctx context.Context, t *tab) error {
		f, n, err := t.part(ctx, in.Element)
		if err != nil {
			return err
		}
		var b strings.Builder
		left := in.MaxChars
		for {
			b.Reset()
			out.Truncated, err = t.draw(ctx, &b, f, n, in.Mode, &left, 0, 0)
			if !errors.Is(err, errContext) {
				break
			}
			if err := t.settle(ctx, f); err != nil {
				return err
			}
			left = in.MaxChars
		}
		if err != nil {
			return err
		}
		if out.Snapshot = b.String(); out.Snapshot == "" {
			out.Snapshot = "(nothing to show)\n"
			switch {
			case t.url() == "about:blank" || t.url() == "":
				out.Snapshot = "(the page is empty: go somewhere with goto)\n"
			case strings.HasPrefix(t.url(), "chrome-error:"):
				out.Snapshot = "(the page could not be loaded: go somewhere with goto)\n"
			case in.Mode == "interactive":
				out.Snapshot = "(nothing to act on: use mode full, or extract)\n"
			}
		}
		if out.Truncated {
			out.Snapshot += "… truncated: give max_chars, or an element to look at\n"
		}
		out.URL, out.Title = t.url(), t.title(ctx)
		return nil
	})
	return out, err
}

// draw writes the snapshot of a frame, and of those in it.
func (t *tab) draw(ctx context.Context, b *strings.Builder, f *frame, n int, mode string, left *int, indent, depth int) (truncated bool, err error) {
	var part struct {
		answer
		Text      string
		Truncated bool
		Frames    int
	}
	if err := t.js(ctx, f, &part, "snapshot", n, mode, max(0, *left), f.prefix(), t.refs(f, 0)); err != nil {
		return false, err
	}
	t.refs(f, part.Last)
	if part.Error != "" {
		return false, part.problem(Element{Ref: f.prefix() + "e" + strconv.Itoa(n)})
	}
	if len(part.Text) > 4*mostChars { // characters may have four bytes
		part.Text, part.Truncated = clip(part.Text, 4*mostChars), true
	}
	truncated = part.Truncated
	*left -= len(part.Text)
	children := t.childFrames(ctx, f, min(part.Frames, 200))
	pad := strings.Repeat("  ", indent)
	for line := range strings.Lines(part.Text) {
		line = strings.TrimSuffix(line, "\n")
		mark, inner, ok := strings.Cut(line, " ")
		if !strings.HasPrefix(line, "\x00") || !ok {
			b.WriteString(pad + line + "\n")
			continue
		}
		k, _ := strconv.Atoi(mark[1:])
		in, _ := strconv.Atoi(inner)
		child := children[k]
		if child == nil {
			continue
		}
		b.WriteString(pad + strings.Repeat("  ", in) + "- frame " + child.prefix() + " [url=" + clip(t.frameURL(child), 200) + "]\n")
		if depth >= maxDepth || *left <= 0 {
			truncated = true
			continue
		}
		cut, err := t.draw(ctx, b, child, 0, mode, left, indent+in+1, depth+1)
		if err != nil && ctx.Err() != nil {
			return truncated, err
		}
		truncated = truncated || cut // a frame that cannot be read is left out
	}
	return truncated, nil
}

func (t *tab) frameURL(f *frame) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.url
}

// childFrames returns the frames that the elements of the last snapshot hold.
func (t *tab) childFrames(ctx context.Context, f *frame, n int) map[int]*frame {
	children := map[int]*frame{}
	for i := range n {
		id, err := t.jsOn(ctx, f, "", nil, "frameElement", i)
		if err != nil || id == "" {
			continue
		}
		t.mu.Lock()
		l := f.link
		t.mu.Unlock()
		node, err := cdp.Call(ctx, l, dom.DescribeNode, dom.DescribeNodeParams{ObjectID: id})
		if err != nil || node.Node == nil {
			continue
		}
		t.mu.Lock()
		children[i] = t.frames[node.Node.FrameID]
		t.mu.Unlock()
	}
	return children
}

// ExtractInput is what browser:extract takes.
type ExtractInput struct {
	Element
	Format   string  `json:"format,omitzero" jsonschema:"markdown (default), text or html"`
	Readable bool    `json:"readable,omitzero" jsonschema:"only the main part of the page"`
	MaxChars int     `json:"max_chars,omitzero" jsonschema:"default 20000"`
	Timeout  float64 `json:"timeout,omitzero" jsonschema:"seconds; default 10"`
}

// ExtractOutput is what browser:extract returns.
type ExtractOutput struct {
	Text      string `json:"text"`
	HTML      string `json:"html,omitzero"`
	URL       string `json:"url"`
	Title     string `json:"title"`
	Truncated bool   `json:"truncated"`
}

func (s *session) extract(ctx context.Context, in ExtractInput) (out ExtractOutput, err error) {
	switch in.Format {
	case "":
		in.Format = "markdown"
	case "markdown", "text", "html":
	default:
		return out, invalid("/format: %q; give markdown, text or html", clip(in.Format, 40))
	}
	if in.MaxChars, err = chars(in.MaxChars, defaultChars); err != nil {
		return out, err
	}
	err = s.looking(ctx, in.Timeout, func(ctx context.Context, t *tab) error {
		f, n, err := t.part(ctx, in.Element)
		if err != nil {
			return err
		}
		var a struct {
			answer
			Text      string
			Truncated bool
		}
		if err := t.jsRetry(ctx, f, &a, "extract", n, in.Format, in.Readable, in.MaxChars); err != nil {
			return err
		}
		if a.Error != "" {
			return a.problem(in.Element)
		}
		if out.Truncated = a.Truncated; in.Format == "html" {
			out.HTML = a.Text
		} else {
			out.Text = a.Text
		}
		out.URL, out.Title = t.url(), t.title(ctx)
		return nil
	})
	return out, err
}

// EvaluateInput is what browser:evaluate takes.
type EvaluateInput struct {
	Element
	Expression string  `json:"expression" jsonschema:"JavaScript, run as the page's own: an expression or statements, of which the last value counts; promises are awaited. With an element: a function of it, such as el => el.value"`
	Timeout    float64 `json:"timeout,omitzero" jsonschema:"seconds; default 10"`
}

// EvaluateOutput is what browser:evaluate returns.
type EvaluateOutput struct {
	Result    any      `json:"result" jsonschema:"as JSON; null for what JSON cannot say"`
	Truncated bool     `json:"truncated,omitzero" jsonschema:"the result was too large: its beginning is there as text"`
	Dialog    *Dialog  `json:"dialog,omitempty" jsonschema:"that the page shows now and waits for: answer it with dialogs"`
	Denied    []string `json:"denied,omitempty" jsonschema:"what policy refused to the page meanwhile"`
}

// maxResult bounds an evaluated result, in bytes of JSON.
const maxResult = 1 << 20

// WaitInput is what browser:wait_for takes.
type WaitInput struct {
	Text     string  `json:"text,omitzero" jsonschema:"until the page shows this"`
	Selector string  `json:"selector,omitzero" jsonschema:"until an element that matches is visible"`
	URL      string  `json:"url,omitzero" jsonschema:"until the address contains this"`
	Gone     string  `json:"gone,omitzero" jsonschema:"until nothing shows this text, nor is visible and matches it as a CSS selector"`
	Seconds  float64 `json:"seconds,omitzero" jsonschema:"for this long"`
	Frame    string  `json:"frame,omitzero" jsonschema:"in this frame: its reference (f1), name, or part of its address; default any for text, the main one otherwise"`
	Timeout  float64 `json:"timeout,omitzero" jsonschema:"seconds; default 10"`
}

// WaitOutput is what browser:wait_for returns.
type WaitOutput struct {
	WaitedMS int64    `json:"waited_ms"`
	URL      string   `json:"url"`
	Denied   []string `json:"denied,omitempty" jsonschema:"what policy refused to the page meanwhile"`
}
