package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/agentflow-go/sandbox/internal/expand"
)

// parseTree decodes the one JSON object that a configuration is. Beside it
// come the keys of its objects in their order, by path. A key that is there
// twice is refused: one of the two would be lost.
func parseTree(data []byte) (map[string]any, map[string][]string, *Problem) {
	var whole any
	if err := json.Unmarshal(data, &whole); err != nil {
		if se, ok := errors.AsType[*json.SyntaxError](err); ok {
			// The offset is behind the character that is wrong; at the end of
			// the file there is none.
			at := int(se.Offset)
			if at > 0 && !strings.Contains(se.Error(), "unexpected end") {
				at--
			}
			return nil, nil, &Problem{Text: fmt.Sprintf("%s: not valid JSON: %s", position(data, at), se.Error()),
				Remedy: "a comment is a key that begins with _"}
		}
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // the one thing in JSON that has no Go value
			return nil, nil, &Problem{Text: te.Value + " is out of range", Remedy: "write a number that a float64 can hold"}
		}
		return nil, nil, &Problem{Text: "not valid JSON: " + err.Error()}
	}
	if _, ok := whole.(map[string]any); !ok {
		return nil, nil, &Problem{Text: "the file holds no JSON object", Remedy: `the least configuration is {"resources": {"bash": {}}}`}
	}
	p := treeParser{data: data, dec: json.NewDecoder(bytes.NewReader(data)), order: map[string][]string{}}
	p.dec.UseNumber()
	v, problem := p.value(nil)
	if problem != nil {
		return nil, nil, problem
	}
	tree, _ := v.(map[string]any)
	return tree, p.order, nil
}

// treeParser goes through JSON that is known to be valid.
type treeParser struct {
	data  []byte
	dec   *json.Decoder
	order map[string][]string
}

func (p *treeParser) value(path []string) (any, *Problem) {
	t, err := p.dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, &Problem{Text: fmt.Sprintf("%s: not valid JSON: %v", position(p.data, int(p.dec.InputOffset())), err)}
	}
	switch t {
	case json.Delim('{'):
		return p.object(path)
	case json.Delim('['):
		list := []any{}
		for p.dec.More() {
			v, problem := p.value(append(path[:len(path):len(path)], fmt.Sprint(len(list))))
			if problem != nil {
				return nil, problem
			}
			list = append(list, v)
		}
		return list, p.end()
	}
	return t, nil
}

func (p *treeParser) object(path []string) (any, *Problem) {
	object := map[string]any{}
	key := expand.Key(path...)
	for p.dec.More() {
		t, err := p.dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, &Problem{Text: fmt.Sprintf("%s: expected a key", position(p.data, int(p.dec.InputOffset())))}
		}
		at := append(path[:len(path):len(path)], name)
		if _, twice := object[name]; twice && !isComment(name) {
			return nil, &Problem{Key: expand.Key(at...),
				Text:   fmt.Sprintf("%s: the key is there twice", position(p.data, int(p.dec.InputOffset()))),
				Remedy: "remove one of the two"}
		}
		v, problem := p.value(at)
		if problem != nil {
			return nil, problem
		}
		object[name] = v
		if len(path) < 2 { // deeper down nobody asks
			p.order[key] = append(p.order[key], name)
		}
	}
	return object, p.end()
}

func (p *treeParser) end() *Problem {
	if _, err := p.dec.Token(); err != nil {
		return &Problem{Text: fmt.Sprintf("%s: not valid JSON: %v", position(p.data, int(p.dec.InputOffset())), err)}
	}
	return nil
}

// position tells a reader where an offset is.
func position(data []byte, at int) string {
	before := data[:min(max(at, 0), len(data))]
	line := bytes.Count(before, []byte("\n"))
	column := len([]rune(string(before[bytes.LastIndexByte(before, '\n')+1:])))
	return fmt.Sprintf("line %d, column %d", line+1, column+1)
}

func isComment(key string) bool { return strings.HasPrefix(key, "_") }
