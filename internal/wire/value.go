package wire

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// escape encodes a property's name as a token of a JSON pointer.
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// propertyNames lists a schema's properties in their order of declaration.
func propertyNames(s *jsonschema.Schema) []string {
	names := slices.Clone(s.PropertyOrder)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func inEnum(enum []any, v any) bool {
	return slices.ContainsFunc(enum, func(e any) bool { return reflect.DeepEqual(e, v) })
}

// show renders a value for an error, cut to what a reader can use.
func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return jsonType(v)
	}
	const most = 80
	if r := []rune(string(b)); len(r) > most {
		return string(r[:most]) + "…"
	}
	return string(b)
}

func list(values []any) string {
	var parts []string
	for _, v := range values {
		parts = append(parts, show(v))
	}
	return strings.Join(parts, ", ")
}

// dropNulls removes from v the optional properties that are null although the
// schema has no null for them: callers, models above all, write null for
// "not given". It reports whether it removed any.
func dropNulls(s *jsonschema.Schema, v any) bool {
	dropped := false
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			p := s.Properties[name]
			if p == nil {
				continue
			}
			if value == nil && !slices.Contains(s.Required, name) && !fits(nil, typesOf(p)) {
				delete(v, name)
				dropped = true
			} else if dropNulls(p, value) {
				dropped = true
			}
		}
	case []any:
		for _, item := range v {
			if s.Items != nil && dropNulls(s.Items, item) {
				dropped = true
			}
		}
	}
	return dropped
}
