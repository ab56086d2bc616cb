package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// members counts the members of all objects in a decoded value.
func members(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		n = len(v)
		for _, item := range v {
			n += members(item)
		}
	case []any:
		for _, item := range v {
			n += members(item)
		}
	}
	return n
}

// colons counts the members that valid JSON writes down: each has one colon
// outside of strings.
func colons(data []byte) int {
	n := 0
	for i, inString := 0, false; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case !inString && c == ':':
			n++
		}
	}
	return n
}

// reread decodes valid JSON, numbers as they are written. Of a repeated member
// the last counts.
func reread(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

// PlainIntegers returns JSON with its whole numbers written without
// fraction or exponent: 2.0, an integer to a schema and to other languages, is
// none to encoding/json.
func PlainIntegers(data []byte) (json.RawMessage, error) {
	if !json.Valid(data) {
		return nil, errors.New("not valid JSON")
	}
	v, err := reread(data)
	if err != nil {
		return nil, err
	}
	return Marshal(plainIntegers(v))
}

func plainIntegers(v any) any {
	switch v := v.(type) {
	case json.Number:
		const exact = 1 << 53 // beyond, a float64 is not what was written
		f, err := v.Float64()
		if err == nil && strings.ContainsAny(v.String(), ".eE") && f == math.Trunc(f) && math.Abs(f) < exact {
			return json.Number(strconv.FormatInt(int64(f), 10))
		}
	case map[string]any:
		for name, item := range v {
			v[name] = plainIntegers(item)
		}
	case []any:
		for i, item := range v {
			v[i] = plainIntegers(item)
		}
	}
	return v
}

// misspelt finds a member of v that s has no property for, but one that differs
// from it only in case: encoding/json would store it there, unchecked.
func misspelt(s *jsonschema.Schema, v any, at string) *FieldError {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range sortedKeys(v) {
			where := at + "/" + escape(name)
			if p := s.Properties[name]; p != nil {
				if fe := misspelt(p, v[name], where); fe != nil {
					return fe
				}
			} else if p := folded(s, name); p != "" {
				return &FieldError{Pointer: where, Kind: Unknown, Want: p, Got: jsonType(v[name])}
			}
		}
	case []any:
		for i, item := range v {
			if s.Items != nil {
				if fe := misspelt(s.Items, item, at+"/"+strconv.Itoa(i)); fe != nil {
					return fe
				}
			}
		}
	}
	return nil
}

// folded returns the property that name is but for its case.
func folded(s *jsonschema.Schema, name string) string {
	for p := range s.Properties {
		if strings.EqualFold(p, name) {
			return p
		}
	}
	return ""
}
