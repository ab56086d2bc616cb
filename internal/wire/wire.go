// Package wire owns the JSON of this module: encoding, strict decoding, and
// the schemas that inputs are checked against. encoding/json v2, once it is in
// the standard library, has to change nothing outside.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Marshal encodes v without escaping HTML and without a trailing newline.
func Marshal(v any) (json.RawMessage, error) {
	switch raw := v.(type) {
	case json.RawMessage:
		return checked(raw)
	case *json.RawMessage:
		if raw != nil {
			return checked(*raw)
		}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func checked(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return json.RawMessage("null"), nil
	}
	if !json.Valid(raw) {
		return nil, errors.New("not valid JSON")
	}
	return raw, nil
}

// Unmarshal decodes one JSON value into v; empty input is null. Unknown fields
// are dropped. A *json.RawMessage gets data itself, not a copy.
func Unmarshal(data []byte, v any) error {
	if len(data) == 0 {
		data = []byte("null")
	}
	if raw, ok := v.(*json.RawMessage); ok && json.Valid(data) {
		*raw = data
		return nil
	}
	return explainDecode(json.Unmarshal(data, v))
}

// DecodeStrict decodes one JSON object into v. Empty input and null mean {}.
// Fields that v does not know, and anything after the value, are errors.
func DecodeStrict(data []byte, v any) error {
	if Empty(data) {
		data = []byte("{}")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return explainDecode(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// Empty reports whether data stands for no input: nothing, or null.
func Empty(data []byte) bool {
	data = bytes.TrimSpace(data)
	return len(data) == 0 || string(data) == "null"
}

// explainDecode says in JSON's words what encoding/json says in Go's.
func explainDecode(err error) error {
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		where := "/" + strings.ReplaceAll(te.Field, ".", "/")
		return &FieldError{Pointer: where, Kind: Mismatch, Want: typeName(te.Type), Got: te.Value}
	}
	if err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}
