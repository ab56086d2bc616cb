package wire

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/agentflow-go/sandbox/internal/nearest"
	"github.com/google/jsonschema-go/jsonschema"
)

// FieldError says which part of an input does not fit, and what would.
type FieldError struct {
	Pointer string // RFC 6901, "" is the whole input
	Kind    Kind
	Want    string // what was expected, for a reader
	Got     string // what was there; "" if nothing
}

// Kind is the way in which a part of an input does not fit.
type Kind uint8

// The kinds of a [FieldError].
const (
	Mismatch Kind = iota // the wrong type
	Missing              // required and absent
	Unknown              // not a field of the schema
	Invalid              // the right type, but not a permitted value
)

func (e *FieldError) Error() string {
	at := e.Pointer
	if at == "" {
		at = "the input"
	}
	switch e.Kind {
	case Missing:
		return fmt.Sprintf("%s is required: expected %s", at, e.Want)
	case Unknown:
		return fmt.Sprintf("%s is not a known field: expected %s", at, e.Want)
	}
	return fmt.Sprintf("%s: expected %s, got %s", at, e.Want, e.Got)
}

// explain finds the first part of v that does not fit s, or nil if it knows no
// better than the validator's own text. The validator decides; this only puts
// its refusal into words.
func explain(s *jsonschema.Schema, v any, at string) *FieldError {
	if want := typesOf(s); len(want) > 0 && !fits(v, want) {
		return &FieldError{Pointer: at, Kind: Mismatch, Want: strings.Join(want, " or "), Got: jsonType(v)}
	}
	if s.Enum != nil && !inEnum(s.Enum, v) {
		return &FieldError{Pointer: at, Kind: Invalid, Want: "one of " + list(s.Enum), Got: show(v)}
	}
	switch v := v.(type) {
	case float64:
		return explainNumber(s, v, at)
	case string:
		return explainString(s, v, at)
	case []any:
		if s.MinItems != nil && len(v) < *s.MinItems {
			return &FieldError{Pointer: at, Kind: Invalid, Want: fmt.Sprintf("at least %d items", *s.MinItems), Got: strconv.Itoa(len(v))}
		}
		if s.MaxItems != nil && len(v) > *s.MaxItems {
			return &FieldError{Pointer: at, Kind: Invalid, Want: fmt.Sprintf("at most %d items", *s.MaxItems), Got: strconv.Itoa(len(v))}
		}
		if s.Items != nil {
			for i, item := range v {
				if fe := explain(s.Items, item, at+"/"+strconv.Itoa(i)); fe != nil {
					return fe
				}
			}
		}
	case map[string]any:
		return explainObject(s, v, at)
	}
	return nil
}

func explainObject(s *jsonschema.Schema, v map[string]any, at string) *FieldError {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			fe := &FieldError{Pointer: at + "/" + escape(name), Kind: Missing, Want: describe(s.Properties[name])}
			unknown := unknownNames(s, v)
			close := nearest.Names(name, unknown, 1)
			if len(close) == 0 { // one of them was meant, by a name that is nothing like it
				close = unknown[:min(len(unknown), 1)]
			}
			if len(close) > 0 {
				fe.Want += fmt.Sprintf("; %.60q is not a known field", close[0])
			}
			return fe
		}
	}
	known := propertyNames(s)
	for _, name := range sortedKeys(v) {
		where := at + "/" + escape(name)
		p := s.Properties[name]
		if p == nil {
			p = s.AdditionalProperties
			if p != nil && p.Not != nil { // {"not": {}}, which is how the library writes false
				want := "one of " + strings.Join(known, ", ")
				if close := nearest.Names(name, known, 1); len(close) > 0 {
					want = fmt.Sprintf("%s (%s)", close[0], want)
				} else if len(known) == 0 {
					want = "no fields"
				}
				return &FieldError{Pointer: where, Kind: Unknown, Want: want, Got: jsonType(v[name])}
			}
		}
		if p != nil {
			if fe := explain(p, v[name], where); fe != nil {
				return fe
			}
		}
	}
	return nil
}

// unknownNames lists the fields of v that s has no property for.
func unknownNames(s *jsonschema.Schema, v map[string]any) (names []string) {
	for _, name := range sortedKeys(v) {
		if s.Properties[name] == nil {
			names = append(names, name)
		}
	}
	return names
}

func explainNumber(s *jsonschema.Schema, n float64, at string) *FieldError {
	var want string
	switch {
	case s.Minimum != nil && n < *s.Minimum:
		want = fmt.Sprintf("at least %v", *s.Minimum)
	case s.Maximum != nil && n > *s.Maximum:
		want = fmt.Sprintf("at most %v", *s.Maximum)
	case s.ExclusiveMinimum != nil && n <= *s.ExclusiveMinimum:
		want = fmt.Sprintf("more than %v", *s.ExclusiveMinimum)
	case s.ExclusiveMaximum != nil && n >= *s.ExclusiveMaximum:
		want = fmt.Sprintf("less than %v", *s.ExclusiveMaximum)
	default:
		return nil
	}
	return &FieldError{Pointer: at, Kind: Invalid, Want: want, Got: show(n)}
}

func explainString(s *jsonschema.Schema, v, at string) *FieldError {
	n := len([]rune(v))
	var want string
	switch {
	case s.MinLength != nil && n < *s.MinLength:
		want = fmt.Sprintf("at least %d characters", *s.MinLength)
	case s.MaxLength != nil && n > *s.MaxLength:
		want = fmt.Sprintf("at most %d characters", *s.MaxLength)
	default:
		return nil
	}
	return &FieldError{Pointer: at, Kind: Invalid, Want: want, Got: strconv.Itoa(n)}
}

// describe names what a property wants: its type and what it is for.
func describe(s *jsonschema.Schema) string {
	if s == nil {
		return "a value"
	}
	want := strings.Join(typesOf(s), " or ")
	if want == "" {
		want = "a value"
	}
	if s.Description != "" {
		want += " (" + s.Description + ")"
	}
	return want
}

func typesOf(s *jsonschema.Schema) []string {
	if s.Type != "" {
		return []string{s.Type}
	}
	return s.Types
}

func fits(v any, want []string) bool {
	got := jsonType(v)
	for _, w := range want {
		if w == got || w == "number" && got == "integer" {
			return true
		}
	}
	return false
}

func jsonType(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// typeName is the JSON name of a Go type.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer in the range of " + t.Kind().String()
	}
	return t.String()
}
