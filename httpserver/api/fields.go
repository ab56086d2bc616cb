package api

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// fields are the members of a body. Its methods read one each, convert as
// pydantic 1 does (a number becomes a string, "1" becomes 1), and record what
// is wrong; refused then returns the answer that lists it all. Members that
// nobody asks for are ignored.
type fields struct {
	raw     []byte
	members []member
	faults  []fault
}

// get returns a member, nil if it is absent or null.
func (f *fields) get(name string) json.RawMessage {
	raw, _ := f.member(name)
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// member returns a member as it is written.
func (f *fields) member(name string) (json.RawMessage, bool) {
	if i, ok := find(f.members, nil, name); ok {
		return f.members[i].value, true
	}
	return nil, false
}

// text returns a string or a number as a string. The result is nil if there is
// none, or (a fault) something else.
func (f *fields) text(name string) *string {
	raw := f.get(name)
	if raw == nil {
		return nil
	}
	if s, ok := asText(raw); ok {
		return &s
	}
	f.fault(sandbox.ErrInvalidType, "str type expected", "type_error.str", name)
	return nil
}

// required is as text, and records a missing member too.
func (f *fields) required(name string) string {
	if s := f.text(name); s != nil {
		return *s
	}
	f.missing(name)
	return ""
}

// missing records that a required member is absent or null, unless a fault
// says already what is wrong with it.
func (f *fields) missing(name string) {
	raw, there := f.member(name)
	switch {
	case !there:
		f.fault(sandbox.ErrMissingField, "field required", "value_error.missing", name)
	case string(raw) == "null":
		f.fault(sandbox.ErrMissingField, "none is not an allowed value", "type_error.none.not_allowed", name)
	}
}

// object returns an object, {} if it is absent. nullable lets null stand for {}.
func (f *fields) object(name string, nullable bool) json.RawMessage {
	raw, there := f.member(name)
	if !there || nullable && string(raw) == "null" {
		return json.RawMessage("{}")
	}
	if raw[0] == '{' {
		return raw
	}
	f.notAllowed(raw, "value is not a valid dict", "type_error.dict", name)
	return nil
}

// list returns the items of a required array.
func (f *fields) list(name string) []json.RawMessage {
	raw := f.get(name)
	if raw == nil {
		f.missing(name)
		return nil
	}
	var items []json.RawMessage
	if raw[0] != '[' || wire.Unmarshal(raw, &items) != nil {
		f.fault(sandbox.ErrInvalidType, "value is not a valid list", "type_error.list", name)
		return nil
	}
	return items
}

// flag returns a boolean; the protocol takes 1, "yes" and their like for one.
func (f *fields) flag(name string, absent bool) bool {
	raw, there := f.member(name)
	if !there {
		return absent
	}
	if s, ok := asText(raw); ok {
		if v, ok := parseFlag(s); ok {
			return v
		}
	} else if v := string(raw); v == "true" || v == "false" {
		return v == "true"
	}
	f.notAllowed(raw, "value could not be parsed to a boolean", "type_error.bool", name)
	return false
}

// seconds returns a number of whole seconds as a duration, 0 if it is absent.
// Fractions are cut, as pydantic 1 does, but never to 0, which means no limit.
func (f *fields) seconds(name string) time.Duration { return f.whole(name, time.Second) }

// milliseconds is as seconds, in the unit that our own client adds.
func (f *fields) milliseconds(name string) time.Duration { return f.whole(name, time.Millisecond) }

func (f *fields) whole(name string, unit time.Duration) time.Duration {
	raw := f.get(name)
	if raw == nil {
		return 0
	}
	v, ok := asNumber(raw)
	switch {
	case !ok:
		f.fault(sandbox.ErrInvalidType, "value is not a valid integer", "type_error.integer", name)
		return 0
	case v < 0:
		f.fault(sandbox.ErrInvalidInput, "ensure this value is greater than or equal to 0", "value_error.number.not_ge", name)
		return 0
	case v == 0:
		return 0
	}
	const most = 100 * 365 * 24 * time.Hour // what exceeds a Duration is as good as 100 years
	return time.Duration(min(max(math.Floor(v), 1), float64(most/unit))) * unit
}

// notAllowed records a wrong type, null by its own text.
func (f *fields) notAllowed(raw json.RawMessage, msg, kind, name string) {
	if string(raw) == "null" {
		msg, kind = "none is not an allowed value", "type_error.none.not_allowed"
	}
	f.fault(sandbox.ErrInvalidType, msg, kind, name)
}

// asText returns a JSON string, or the digits of a number.
func asText(raw json.RawMessage) (string, bool) {
	switch {
	case raw[0] == '"':
		return textOf(raw), true
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		return string(raw), true
	}
	return "", false
}

// asNumber returns a JSON number, or that which a string holds as an integer.
func asNumber(raw json.RawMessage) (float64, bool) {
	s, ok := asText(raw)
	if !ok {
		return 0, false
	}
	if raw[0] == '"' {
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		return float64(n), err == nil
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && !math.IsInf(v, 0)
}

// parseFlag reads a boolean in any of the forms that FastAPI takes.
func parseFlag(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true", "1", "on", "t", "yes", "y":
		return true, true
	case "false", "0", "off", "f", "no", "n":
		return false, true
	}
	return false, false
}
