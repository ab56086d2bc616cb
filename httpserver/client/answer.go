package client

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// answer is what the server said.
type answer struct {
	raw []byte // the whole body
	envelope
}

// envelope is the shape of most answers; others leave it empty.
type envelope struct {
	Code    *sandbox.Code   `json:"code"`
	Message string          `json:"message"`
	Error   string          `json:"error"`
	Detail  json.RawMessage `json:"detail"`
	Data    json.RawMessage `json:"data"`
	Meta    struct {
		Tool       string           `json:"tool"`
		Millis     float64          `json:"execution_time_ms"`
		Resource   string           `json:"resource_type"`
		SessionID  string           `json:"session_id"`
		TraceID    string           `json:"trace_id"`
		Temporary  bool             `json:"temporary"`
		TempMarked bool             `json:"temporary_session"`
		Ran        *bool            `json:"ran"` // nil: a server that does not tell
		Expired    string           `json:"expired_session"`
		DidYouMean []string         `json:"did_you_mean"`
		Denied     []sandbox.Denial `json:"denied"`
		Denials    int              `json:"denied_total"`
		Session    *sessionView     `json:"session"`
		Cause      json.RawMessage  `json:"cause"`
	} `json:"meta"`
}

// parse reads an answer. The error is the failure that it tells of; the answer
// is returned beside it.
func parse(status int, raw []byte) (*answer, error) {
	a := &answer{raw: raw}
	if err := wire.Unmarshal(raw, &a.envelope); err != nil {
		return nil, &sandbox.Error{Code: sandbox.ErrAPIResponse, Ran: true, Err: err,
			Message: "the server's answer (HTTP " + http.StatusText(status) + ") is no JSON object of the protocol: " + err.Error()}
	}
	if a.Code != nil && *a.Code != 0 {
		return a, a.failure()
	}
	if status < 300 {
		return a, nil
	}
	e := &sandbox.Error{Code: codeOf(status), Message: a.Message}
	for _, text := range []string{a.Error, string(a.Detail), http.StatusText(status)} {
		if e.Message == "" {
			e.Message = text
		}
	}
	return a, e
}

// codeOf is the code for an answer that has none.
func codeOf(status int) sandbox.Code {
	switch status {
	case http.StatusUnauthorized:
		return sandbox.ErrUnauthorized
	case http.StatusForbidden:
		return sandbox.ErrForbidden
	case http.StatusRequestEntityTooLarge:
		return sandbox.ErrTooLarge
	}
	if status >= 400 && status < 500 {
		return sandbox.ErrInvalidRequest
	}
	return sandbox.ErrAPIResponse // a redirect too: none is followed
}

// failure is the error that an envelope tells of, in the executor's own words
// where the protocol has others for callers.
func (v *envelope) failure() *sandbox.Error {
	e := &sandbox.Error{Code: *v.Code, Message: v.Message, Session: v.Meta.SessionID, Ran: v.ran()}
	if v.Meta.Resource != "session" { // else it names an endpoint, not a tool
		e.Tool = v.Meta.Tool
	}
	if data := v.detail(v.Data); data != nil {
		e.Data = data
	}
	var cause struct {
		Code    sandbox.Code    `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if len(v.Meta.Cause) > 0 && wire.Unmarshal(v.Meta.Cause, &cause) == nil && cause.Code != 0 {
		e.Code, e.Message, e.Data = cause.Code, cause.Message, nil
		if data := v.detail(cause.Data); data != nil {
			e.Data = data
		}
	}
	return e
}

// detail returns the data of a failure, nil if it is the empty object that
// stands for none.
func (v *envelope) detail(data json.RawMessage) json.RawMessage {
	if s := string(data); s == "" || s == "{}" || s == "null" {
		return nil
	}
	return data
}

// ran reports whether the tool's code began; yes, if the server does not tell.
func (v *envelope) ran() bool { return v.Meta.Ran == nil || *v.Meta.Ran }

// response turns an envelope into what an Executor returns.
func (v *envelope) response() sandbox.Response {
	r := sandbox.Response{Data: v.Data, Meta: sandbox.Meta{
		Tool: v.Meta.Tool, Backend: v.Meta.Resource, SessionID: v.Meta.SessionID, TraceID: v.Meta.TraceID,
		Elapsed:   time.Duration(v.Meta.Millis * float64(time.Millisecond)),
		Temporary: v.Meta.Temporary || v.Meta.TempMarked, Ran: v.ran(),
		Expired: v.Meta.Expired, DidYouMean: v.Meta.DidYouMean,
		Denied: v.Meta.Denied, DeniedTotal: v.Meta.Denials,
	}}
	if v.Code != nil && *v.Code != 0 {
		r.Err, r.Data = v.failure(), v.detail(v.Data)
	}
	return r
}

// decode stores the whole body in v.
func (a *answer) decode(v any) error { return unexpected(wire.Unmarshal(a.raw, v)) }

// decodeData stores the data of an envelope in v.
func (a *answer) decodeData(v any) error {
	if err := a.enveloped(); err != nil {
		return err
	}
	return unexpected(wire.Unmarshal(a.Data, v))
}

// enveloped is the error for an answer without code: whoever gave it, a success
// it is not. The call may have run all the same.
func (a *answer) enveloped() error {
	if a.Code != nil {
		return nil
	}
	return noAnswer("code")
}

// noAnswer is the error for an answer that lacks what makes it one.
func noAnswer(lacks string) *sandbox.Error {
	return &sandbox.Error{Code: sandbox.ErrAPIResponse, Ran: true,
		Message: "the server's answer has no " + lacks + ": whatever answers there is no sandbox server"}
}

func unexpected(err error) error {
	if err == nil {
		return nil
	}
	return sandbox.Errorf(sandbox.ErrAPIResponse, "the server's answer is not as the protocol has it: %w", err)
}
