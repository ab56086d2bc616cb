package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// reply is the outcome of one request, before it takes one of the two shapes.
type reply struct {
	status  int             // HTTP
	code    sandbox.Code    // 0: success
	message string          // of a failure; a success always says "success"
	data    json.RawMessage // nil: {}
	plain   json.RawMessage // the whole body, where an endpoint has no envelope
	detail  json.RawMessage // what is wrong with the body, as FastAPI lists it
	lift    []member        // members that appear at the top level too
	batch   *batchReply     // instead of data
	sent    bool            // the handler has written the answer itself

	meta replyMeta
}

// replyMeta is what a reply tells besides its outcome.
type replyMeta struct {
	tool, resource, session, trace string
	elapsed                        time.Duration
	temporary, ran                 bool
	expired                        string
	didYouMean                     []string
	denied                         []sandbox.Denial
	deniedTotal                    int
	info                           *sessionView // the session that was made, found or ended
	cause                          *causeView   // the executor's own words, where the protocol has others
}

// batchReply is the data of a batch.
type batchReply struct {
	results                []reply
	total, executed, succs int
}

// member is one key of a JSON object with its value.
type member struct {
	key   string
	value json.RawMessage
}

// causeView is an executor's error as it came, in meta.cause.
type causeView struct {
	Code    sandbox.Code    `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func causeOf(err error) *causeView {
	return &causeView{sandbox.CodeOf(err), err.Error(), errorData(err)}
}

// statusOf is the HTTP status that a code travels with, where the endpoint has
// no other rule.
func statusOf(code sandbox.Code) int {
	switch code {
	case 0:
		return http.StatusOK
	case sandbox.ErrUnauthorized:
		return http.StatusUnauthorized
	case sandbox.ErrForbidden:
		return http.StatusForbidden
	case sandbox.ErrConflict:
		return http.StatusConflict
	case sandbox.ErrTooLarge:
		return http.StatusRequestEntityTooLarge
	case sandbox.ErrBusy, sandbox.ErrStopping:
		return http.StatusServiceUnavailable
	}
	if code >= 4000 && code <= 4999 {
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// refusal is a failure without data.
func refusal(code sandbox.Code, message string) *reply {
	return &reply{status: statusOf(code), code: code, message: message}
}

// failure renders an executor's error under the HTTP status of its code.
func failure(err error) reply {
	code := sandbox.CodeOf(err)
	return reply{status: statusOf(code), code: code, message: err.Error(), data: errorData(err),
		meta: replyMeta{ran: errorRan(err)}}
}

// success is a 200 with the given data. What the endpoint does was done.
func success(data any) reply {
	return reply{status: http.StatusOK, data: encode(data), meta: replyMeta{ran: true}}
}

// plain is an answer without envelope.
func plain(status int, body any) reply {
	return reply{status: status, plain: encode(body)}
}

// encode encodes a view of ours, which cannot fail; if it ever did, the reply
// would have no data rather than no answer.
func encode(v any) json.RawMessage {
	raw, err := wire.Marshal(v)
	if err != nil {
		return nil
	}
	return raw
}

// errorData returns the detail of an executor's error as a JSON object, nil if
// it has none that can be encoded.
func errorData(err error) json.RawMessage {
	e, ok := asError(err)
	if !ok || e.Data == nil {
		return nil
	}
	return object(encode(e.Data))
}

// object makes sure that the data of a failure is an object: clients of the
// protocol look into it without asking.
func object(raw json.RawMessage) json.RawMessage {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil
	case raw[0] == '{':
		return raw
	}
	return encode(struct {
		Details json.RawMessage `json:"details"`
	}{raw})
}

func errorRan(err error) bool {
	e, ok := asError(err)
	return ok && e.Ran
}
