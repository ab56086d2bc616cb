package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/agentflow-go/sandbox"
)

// bodyRule says what an endpoint expects as its body.
type bodyRule uint8

const (
	noBody       bodyRule = iota // what is sent is not read
	wantObject                   // a JSON object
	optionalBody                 // nothing means {}
)

// readBody reads and splits the body of r.
func (s *server) readBody(w http.ResponseWriter, r *http.Request, rule bodyRule) (*fields, *reply) {
	raw, refused := readAll(w, r, s.o.MaxBody)
	if refused != nil {
		return nil, refused
	}
	if len(raw) == 0 && rule == optionalBody {
		return &fields{}, nil
	}
	if len(raw) > 0 && !isJSON(r) {
		refused := refusal(sandbox.ErrInvalidRequest,
			"the body must be sent as Content-Type: application/json (curl: --json, or -H 'Content-Type: application/json')")
		refused.status = http.StatusUnsupportedMediaType
		return nil, refused
	}
	if most := max(leastValues, s.o.MaxBody/bytesPerValue); int64(len(raw)) > most && commas(raw) > most {
		return nil, refusal(sandbox.ErrTooLarge, fmt.Sprintf(
			"the body holds more than %d values: send large data as strings, or in several requests", most))
	}
	return parseBody(raw)
}

// A small value takes a hundred times its bytes once it is decoded, so that a
// body is limited in values too: one for each bytesPerValue of MaxBody.
const (
	bytesPerValue = 32
	leastValues   = 64 << 10
)

// commas counts the commas of JSON outside of strings, and so its values but
// for a few.
func commas(raw []byte) (n int64) {
	for i, inString := 0, false; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case !inString && c == ',':
			n++
		}
	}
	return n
}

func readAll(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, *reply) {
	tooLarge := func() *reply {
		return refusal(sandbox.ErrTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit))
	}
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close") // or the server would read it all
		return nil, tooLarge()
	}
	// The declared length is believed only so far: memory is given as bytes
	// arrive.
	const trust = 64 << 10
	buf := make([]byte, 0, max(512, min(r.ContentLength+1, trust)))
	body := http.MaxBytesReader(w, r.Body, limit)
	for {
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, tooLarge()
		}
		if err != nil {
			return nil, refusal(sandbox.ErrInvalidRequest, "the body could not be read: "+err.Error())
		}
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), 2*cap(buf))
			copy(grown, buf)
			buf = grown
		}
	}
}

// parseBody splits a body into the members of its object. Names are compared
// as they are written, case included; of a repeated one the last counts.
func parseBody(raw []byte) (*fields, *reply) {
	f := &fields{raw: raw}
	switch {
	case len(raw) == 0:
		f.fault(sandbox.ErrMissingField, "field required", "value_error.missing")
		return nil, f.refused()
	case !utf8.Valid(raw):
		f.fault(sandbox.ErrInvalidRequest, "the body is not UTF-8", "value_error.jsondecode", 0)
		return nil, f.refused()
	}
	if !json.Valid(raw) {
		at := int64(len(raw))
		err := json.Unmarshal(raw, new(json.RawMessage)) // says where and why
		if se, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = max(se.Offset-1, 0)
		}
		f.fault(sandbox.ErrInvalidRequest, fmt.Sprintf("the body is not valid JSON: %v", err), "value_error.jsondecode", at)
		return nil, f.refused()
	}
	if bytes.TrimLeft(raw, " \t\r\n")[0] != '{' {
		f.fault(sandbox.ErrInvalidType, "value is not a valid dict", "type_error.dict")
		return nil, f.refused()
	}
	f.members = split(raw)
	return f, nil
}

// fault is one thing that is wrong with a body, in the words of the framework
// that AgentFlow's server is built on (pydantic 1).
type fault struct {
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
	Type string `json:"type"`

	code sandbox.Code
}

// fault records what is wrong at the place that loc names within the body.
func (f *fields) fault(code sandbox.Code, msg, kind string, loc ...any) {
	f.faults = append(f.faults, fault{Loc: append([]any{"body"}, loc...), Msg: msg, Type: kind, code: code})
}

// refused returns the 422 that lists the faults, nil if there are none. The
// envelope's fields tell the same to those who read message.
func (f *fields) refused() *reply {
	if len(f.faults) == 0 {
		return nil
	}
	var text strings.Builder
	for i, ft := range f.faults {
		if i > 0 {
			text.WriteString("; ")
		}
		for j, part := range ft.Loc {
			if j > 0 {
				text.WriteByte('.')
			}
			fmt.Fprint(&text, part)
		}
		text.WriteString(": " + ft.Msg)
	}
	r := refusal(f.faults[0].code, text.String())
	r.status = http.StatusUnprocessableEntity
	r.detail = encode(f.faults)
	return r
}
