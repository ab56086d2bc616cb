package browser

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/chromedp/cdproto/page"

	"github.com/agentflow-go/sandbox"
)

// DialogPolicy is what happens to the dialogs of pages.
type DialogPolicy string

// The policies. Questions whether to leave a page are always answered with yes.
const (
	AcceptDialogs  DialogPolicy = "accept"
	DismissDialogs DialogPolicy = "dismiss"
	AskDialogs     DialogPolicy = "ask" // the page waits for browser:dialogs
)

func (p DialogPolicy) check(where string) error {
	switch p {
	case AcceptDialogs, DismissDialogs, AskDialogs:
		return nil
	}
	return invalid("%s: %q; give accept, dismiss or ask", where, clip(string(p), 40))
}

// Dialog is an alert, confirm, prompt or beforeunload of a page.
type Dialog struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	URL     string `json:"url"`
	Answer  string `json:"answer" jsonschema:"accepted, dismissed, or open: the page waits"`
	Text    string `json:"text,omitzero" jsonschema:"that a prompt was answered with"`
	Time    string `json:"time"`
}

// openDialog is one that waits for an answer.
type openDialog struct {
	Dialog
	link *link
	seq  int
}

// dialogError says that a dialog keeps the page from going on. After an action
// it is a result.
type dialogError struct {
	dialog Dialog
	during bool // it opened while the tool ran
}

func (e *dialogError) Error() string {
	return "a dialog is open: " + e.dialog.Type + " " + quoted(e.dialog.Message, 200) + "; answer it with dialogs"
}

func (e *dialogError) Unwrap() error { return sandbox.ErrBusinessFailure }

// dialogs are those of a session.
type dialogs struct {
	log ring[Dialog]

	mu     sync.Mutex // guards the rest
	policy DialogPolicy
	answer string // of prompts
}

// maxDialogs is how many dialogs of one page are answered before it is left
// waiting for good: a page that opens them without end does nothing else.
const maxDialogs = 100

// dialogOpened answers a dialog, or makes it wait for the caller. It runs on the
// connection's reader.
func (t *tab) dialogOpened(l *link, e page.EventJavascriptDialogOpening) {
	ds := &t.s.dialogs
	ds.mu.Lock()
	policy, text := ds.policy, ds.answer
	ds.mu.Unlock()
	d := Dialog{Type: string(e.Type), Message: clip(e.Message, 2000), URL: clip(e.URL, 500), Time: now()}
	accept := policy == AcceptDialogs
	if e.Type == page.DialogTypeBeforeunload {
		accept, policy = true, AcceptDialogs
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.notify()
	t.dialogRun++
	if t.dialogRun > maxDialogs {
		d.Answer = "open"
		if t.dialog == nil {
			d.Message = fmt.Sprintf("(the page has opened more than %d dialogs and is left waiting) %s", maxDialogs, d.Message)
			t.dialog = &openDialog{d, l, ds.add(d)}
		}
		t.interruptAll(&dialogError{d, true})
		return
	}
	if policy == AskDialogs {
		d.Answer = "open"
		t.dialog = &openDialog{d, l, ds.add(d)}
		t.interruptAll(&dialogError{d, true})
		return
	}
	d.Answer = "dismissed"
	if accept {
		d.Answer = "accepted"
		if d.Type == "prompt" {
			d.Text = text
		}
	}
	seq := ds.add(d)
	t.s.spawn(func() { t.answerDialog(t.s.base, &openDialog{d, l, seq}, accept, d.Text) })
}

func (ds *dialogs) add(d Dialog) int {
	return ds.log.add(func(int) Dialog { return d })
}

// answerDialog answers a dialog.
func (t *tab) answerDialog(ctx context.Context, d *openDialog, accept bool, text string) error {
	err := d.link.Call(ctx, page.CommandHandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: accept, PromptText: text}, nil)
	t.mu.Lock()
	if t.dialog == d {
		t.dialog = nil
	}
	t.notify()
	t.mu.Unlock()
	if err == nil && d.Answer == "open" {
		t.s.dialogs.log.edit(d.seq, func(e *Dialog) {
			if e.Answer = "dismissed"; accept {
				e.Answer, e.Text = "accepted", text
			}
		})
	}
	return err
}

// DialogsInput is what browser:dialogs takes.
type DialogsInput struct {
	Policy DialogPolicy `json:"policy,omitzero" jsonschema:"what happens to dialogs from now on, and to one that is open: accept, dismiss, or ask (the page waits until this tool is called)"`
	Answer string       `json:"answer,omitzero" jsonschema:"text for prompts that are accepted"`
	Since  int          `json:"since,omitzero" jsonschema:"leave out this many of the first dialogs; pass the returned next"`
}

// DialogsOutput is what browser:dialogs returns.
type DialogsOutput struct {
	Dialogs []Dialog     `json:"dialogs"`
	Next    int          `json:"next"`
	Policy  DialogPolicy `json:"policy"`
}

func (s *session) dialogsTool(ctx context.Context, in DialogsInput) (out DialogsOutput, err error) {
	if err := checkSince(in.Since); err != nil {
		return out, err
	}
	if in.Policy != "" {
		if err := in.Policy.check("/policy"); err != nil {
			return out, err
		}
	}
	ds := &s.dialogs
	ds.mu.Lock()
	if in.Policy != "" {
		ds.policy = in.Policy
	}
	if in.Answer != "" || in.Policy != "" {
		ds.answer = in.Answer
	}
	out.Policy = ds.policy
	ds.mu.Unlock()
	if in.Policy == AcceptDialogs || in.Policy == DismissDialogs {
		ctx, cancel := limited(ctx, 5*time.Second)
		defer cancel()
		for _, t := range s.list() {
			t.mu.Lock()
			d := t.dialog
			t.dialogRun = 0
			t.mu.Unlock()
			if d == nil {
				continue
			}
			if err := t.answerDialog(ctx, d, in.Policy == AcceptDialogs, in.Answer); err != nil {
				return out, problem(ctx, err)
			}
		}
	}
	out.Dialogs, out.Next, _ = ds.log.since(in.Since, 100, func(Dialog) bool { return true })
	return out, nil
}
