package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"
)

// Schema is a JSON schema ready to check inputs. It is immutable and may be
// used concurrently.
type Schema struct {
	root     *jsonschema.Schema
	resolved *jsonschema.Resolved
	json     json.RawMessage
	exact    bool // names that differ from a property in case only are refused
}

// JSON returns the schema's own JSON. The caller must not change it.
func (s *Schema) JSON() json.RawMessage { return s.json }

// ParseSchema reads a JSON schema of draft 2020-12.
func ParseSchema(data json.RawMessage) (*Schema, error) {
	root := new(jsonschema.Schema)
	if err := json.Unmarshal(data, root); err != nil {
		return nil, fmt.Errorf("not a JSON schema: %w", err)
	}
	s, err := resolve(root)
	if err != nil {
		return nil, err
	}
	s.json = data // as it was written, with keywords the library does not know
	return s, nil
}

// InferSchema makes the schema of a Go type. Fields with omitempty or omitzero
// are optional, the jsonschema tag is the description, []byte is a base64
// string, and a type with a method JSONSchema() json.RawMessage brings its own.
// json.RawMessage and any become an object of anything at the top, and anything
// below it.
func InferSchema(t reflect.Type) (*Schema, error) {
	if t == reflect.TypeFor[json.RawMessage]() || t.Kind() == reflect.Interface {
		return resolve(&jsonschema.Schema{Type: "object"})
	}
	known := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[json.RawMessage](): {},
		reflect.TypeFor[[]byte]():          {Type: "string", ContentEncoding: "base64"},
	}
	if err := ownSchemas(t, known, map[reflect.Type]bool{}); err != nil {
		return nil, err
	}
	root, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: known})
	if err != nil {
		return nil, err
	}
	withoutNull(root)
	return resolve(root)
}

func resolve(root *jsonschema.Schema) (*Schema, error) {
	resolved, err := root.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		return nil, fmt.Errorf("not a usable JSON schema: %w", err)
	}
	data, err := json.Marshal(root)
	if err != nil {
		return nil, err
	}
	return &Schema{root: root, resolved: resolved, json: data}, nil
}

// IsObject reports whether the schema admits objects and nothing else.
func (s *Schema) IsObject() bool { return slices.Equal(typesOf(s.root), []string{"object"}) }

// withoutNull removes the null that the library adds for slices, maps and
// pointers: an optional property may be null anyway, see dropNulls.
func withoutNull(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	for _, p := range s.Properties {
		withoutNull(p)
	}
	withoutNull(s.Items)
	if s.AdditionalProperties != nil && s.AdditionalProperties.Not == nil {
		withoutNull(s.AdditionalProperties)
	}
}

type schemer interface{ JSONSchema() json.RawMessage }

// ownSchemas collects the schemas that types below t bring themselves.
func ownSchemas(t reflect.Type, known map[reflect.Type]*jsonschema.Schema, seen map[reflect.Type]bool) error {
	if seen[t] {
		return nil
	}
	seen[t] = true
	if own, ok := reflect.New(t).Interface().(schemer); ok && t.Kind() != reflect.Pointer {
		s := new(jsonschema.Schema)
		if err := json.Unmarshal(own.JSONSchema(), s); err != nil {
			return fmt.Errorf("method JSONSchema of %s: %w", t, err)
		}
		known[t] = s
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return ownSchemas(t.Elem(), known, seen)
	case reflect.Struct:
		for f := range t.Fields() {
			if f.IsExported() || f.Anonymous {
				if err := ownSchemas(f.Type, known, seen); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// DecodedInto returns the schema for inputs that are decoded into t. Where t
// has fields, and the schema permits unknown ones, a name that is a property's
// but for its case is refused: decoding would take one for the other.
func (s *Schema) DecodedInto(t reflect.Type) *Schema {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	own := *s
	own.exact = t.Kind() == reflect.Struct && open(s.root)
	return &own
}

// open reports whether objects may have members that the schema does not name
// beside some that it does.
func open(s *jsonschema.Schema) bool {
	if s == nil {
		return false
	}
	if len(s.Properties) > 0 && (s.AdditionalProperties == nil || s.AdditionalProperties.Not == nil) {
		return true
	}
	for _, p := range s.Properties {
		if open(p) {
			return true
		}
	}
	return open(s.Items)
}

// Check checks an input and returns what to decode: the input, but of a member
// that is there twice only the last, for that is what was checked. Empty input
// and null mean {}. The error is a *FieldError wherever the fault has a place.
func (s *Schema) Check(data []byte) (json.RawMessage, error) { return s.check(data) }

// CheckKnown is as Check, but drops the unknown fields of the input's top
// level.
func (s *Schema) CheckKnown(data []byte) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if !Empty(data) {
		if err := json.Unmarshal(data, &fields); err != nil {
			return nil, notAnObject(data, err)
		}
	}
	dropped := false
	for name := range fields {
		if _, ok := s.root.Properties[name]; !ok && (s.root.AdditionalProperties != nil || s.exact && folded(s.root, name) != "") {
			delete(fields, name)
			dropped = true
		}
	}
	if dropped {
		var err error
		if data, err = Marshal(fields); err != nil {
			return nil, err
		}
	}
	return s.check(data)
}

func (s *Schema) check(data []byte) (json.RawMessage, error) {
	if Empty(data) {
		data = []byte("{}")
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, notAnObject(data, err)
	}
	once := members(v) == colons(data) // counted before dropNulls
	err := s.resolved.Validate(v)
	if err != nil && dropNulls(s.root, v) {
		err = s.resolved.Validate(v)
	}
	if err != nil {
		if fe := explain(s.root, v, ""); fe != nil {
			return nil, fe
		}
		return nil, &FieldError{Kind: Invalid, Want: "what the schema says", Got: lastLine(err)}
	}
	if s.exact {
		if fe := misspelt(s.root, v, ""); fe != nil {
			return nil, fe
		}
	}
	if once {
		return data, nil
	}
	again, err := reread(data)
	if err != nil {
		return nil, err
	}
	return Marshal(again)
}

func notAnObject(data []byte, err error) error {
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if te.Type.Kind() == reflect.Float64 { // the one thing in JSON that has no Go value
			return &FieldError{Kind: Invalid, Want: "numbers in the range of a float64", Got: te.Value}
		}
		return &FieldError{Kind: Mismatch, Want: "object", Got: te.Value}
	}
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		at := data[:min(int(se.Offset), len(data))]
		line := 1 + bytes.Count(at, []byte("\n"))
		column := len(at) - (1 + bytes.LastIndexByte(at, '\n'))
		return &SyntaxError{Line: line, Column: max(column, 1), Err: err}
	}
	return err
}

// SyntaxError says where a text stops being JSON.
type SyntaxError struct {
	Line, Column int // from 1
	Err          error
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not valid JSON at line %d, column %d: %v", e.Line, e.Column, e.Err)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// lastLine is the innermost of the validator's nested messages.
func lastLine(err error) string {
	text := err.Error()
	if i := bytes.LastIndexByte([]byte(text), '\n'); i >= 0 && i+1 < len(text) {
		return text[i+1:]
	}
	return text
}
