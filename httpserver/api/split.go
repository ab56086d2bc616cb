package api

import (
	"bytes"
	"encoding/json"

	"github.com/agentflow-go/sandbox/internal/wire"
)

// split takes the members of a JSON object apart, in the order they are
// written and without copying them; of a repeated one the last counts. raw must
// be valid JSON, which lets it look for the ends of values only. It is what
// every request goes through: a decoder would read the body twice more.
func split(raw json.RawMessage) []member {
	members := make([]member, 0, 8)
	var at map[string]int // where each is, once there are many
	i := bytes.IndexByte(raw, '{') + 1
	for {
		i = skipSpace(raw, i)
		if raw[i] == '}' {
			return members
		}
		if raw[i] == ',' {
			i++
			continue
		}
		end := stringEnd(raw, i)
		key := textOf(raw[i:end])
		i = skipSpace(raw, skipSpace(raw, end)+1) // over the colon
		end = valueEnd(raw, i)
		m := member{key, raw[i:end:end]}
		i = end
		if j, repeated := find(members, at, key); repeated {
			members[j] = m
			continue
		}
		if members = append(members, m); len(members) > 16 {
			if at == nil {
				at = map[string]int{}
				for j := range members {
					at[members[j].key] = j
				}
			}
			at[key] = len(members) - 1
		}
	}
}

func find(members []member, at map[string]int, key string) (int, bool) {
	if at != nil {
		i, ok := at[key]
		return i, ok
	}
	for i := range members {
		if members[i].key == key {
			return i, true
		}
	}
	return 0, false
}

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// stringEnd returns the index after the string that begins at i.
func stringEnd(b []byte, i int) int {
	for i++; ; {
		i += bytes.IndexByte(b[i:], '"') + 1
		escapes := 0
		for b[i-2-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 { // an even number escape each other
			return i
		}
	}
}

// valueEnd returns the index after the value that begins at i and is part of an
// object.
func valueEnd(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			if i = stringEnd(b, i); depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of the object around a number or literal
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
}

// textOf returns what a JSON string says.
func textOf(raw []byte) string {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	_ = wire.Unmarshal(raw, &s) // valid JSON
	return s
}
