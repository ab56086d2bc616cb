package code

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/output"
)

// RunInput is what code:run takes.
type RunInput struct {
	Code     string  `json:"code" jsonschema:"the code, with as many lines as needed"`
	Language string  `json:"language,omitzero" jsonschema:"python, javascript or bash; default python"`
	Timeout  float64 `json:"timeout,omitzero" jsonschema:"seconds after which the code is interrupted; default 60"`
}

// RunOutput is what code:run returns.
type RunOutput struct {
	Language string     `json:"language"`
	Stdout   string     `json:"stdout"`
	Stderr   string     `json:"stderr" jsonschema:"what was written to it, and the traceback of the error if there is one"`
	Result   *Text      `json:"result" jsonschema:"text of the last expression's value; null if there is none"`
	Outputs  []Output   `json:"outputs" jsonschema:"figures and other rich forms of values"`
	Error    *CellError `json:"error" jsonschema:"what ended the code early; null if nothing did"`

	Denied []string `json:"denied,omitempty" jsonschema:"what policy refused to the session's programs meanwhile, such as a host that is not in the allow list; trying again does not help"`

	ReturnCode      int     `json:"return_code" jsonschema:"0, or 1 after an error, or what the code asked for by exiting; -1 after a time-out"`
	ExecutionTimeMS float64 `json:"execution_time_ms"`
	MemoryUsedMB    float64 `json:"memory_used_mb" jsonschema:"most memory of the interpreter during the call; 0 if it died"`
	TimedOut        bool    `json:"timed_out"`

	Truncated  bool   `json:"truncated" jsonschema:"the middle of an output or of the result was left out"`
	OutputPath string `json:"output_path,omitzero" jsonschema:"workspace file with the whole stdout, if it was truncated"`
	StderrPath string `json:"stderr_path,omitzero" jsonschema:"the same for stderr"`

	Restarted     bool   `json:"restarted" jsonschema:"the interpreter died: variables of earlier calls are gone"`
	RestartReason string `json:"restart_reason,omitzero"`
}

// Output is a value in a form that can be shown.
type Output struct {
	MIME string `json:"mime"`
	Data string `json:"data,omitzero" jsonschema:"the text, or base64 of an image; absent if it is only in the file"`
	Path string `json:"path,omitzero" jsonschema:"workspace file that has it too"`
}

// CellError is an exception as data.
type CellError struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Traceback string `json:"traceback"`
}

// JSONSchema lets it be null.
func (CellError) JSONSchema() json.RawMessage {
	return json.RawMessage(`{"type": ["object", "null"], "properties": {"name": {"type": "string"}, "value": {"type": "string"}, "traceback": {"type": "string"}}}`)
}

// Text is the text of a value, as its language shows it.
type Text string

// JSONSchema lets it be null.
func (Text) JSONSchema() json.RawMessage { return json.RawMessage(`{"type": ["string", "null"]}`) }

const (
	maxOutputs  = 256
	maxDataSize = 4 << 20 // of one rich output in a result; a larger image is only in its file
)

// Run runs code in the session's interpreter of its language; see [RunOutput].
//
// An exception is no error. Nor is a time-out: the code is interrupted, which
// leaves the interpreter as it was, and killed only if it goes on. When ctx ends
// the same happens, and ctx's error is returned beside the output.
func (s *Session) Run(ctx context.Context, in RunInput) (RunOutput, error) {
	return s.run(ctx, sandbox.Call{}, in)
}

func (s *Session) run(ctx context.Context, call sandbox.Call, in RunInput) (RunOutput, error) {
	it, err := s.interp(in.Language)
	if err != nil {
		return RunOutput{}, err
	}
	if len(in.Code) > maxCode {
		return RunOutput{}, sandbox.Errorf(sandbox.ErrTooLarge, "/code: %d bytes; give at most %d, and put data into files", len(in.Code), maxCode)
	}
	c := cell{code: in.Code, timeout: time.Duration(s.set.Timeout * float64(time.Second)), maxOutput: s.set.MaxOutput}
	if in.Timeout != 0 {
		if c.timeout, err = seconds("timeout", in.Timeout); err != nil {
			return RunOutput{}, err
		}
	}
	if limit := s.env.Load().Limits().Output; limit > 0 {
		c.maxOutput = int(min(int64(c.maxOutput), limit))
	}
	release, err := it.take(ctx)
	if err != nil {
		return RunOutput{}, err
	}
	defer release()
	out, err := it.run(ctx, call, c)
	out.Denied = denials(call)
	return out, err
}

// denials says what policy has refused since the call began.
func denials(call sandbox.Call) (texts []string) {
	for _, d := range call.Denied() {
		texts = append(texts, d.Text)
	}
	return texts
}

// streams take what a call prints to stdout and stderr.
func (s *Session) streams(call sandbox.Call, language string, limit int) (streams [2]*output.Stream) {
	for i, name := range [2]string{"stdout", "stderr"} {
		var live func(string)
		if call.Listening() {
			live = func(text string) {
				call.Emit(sandbox.Event{Kind: sandbox.EventOutput, Stream: name, Text: text})
			}
		}
		streams[i] = output.New(limit, output.File{Kind: language + "-" + name, Ext: ".txt", Create: s.create}, live)
	}
	return streams
}

// create is the [output.Create] of the session's workspace.
func (s *Session) create(name string) (io.WriteCloser, output.Commit, error) {
	files, err := s.env.Load().Files()
	if err != nil {
		return nil, nil, err
	}
	w, err := files.Create(name, sandbox.CreateOptions{Exclusive: true, Parents: true})
	if err != nil {
		return nil, nil, err
	}
	return w, func() (string, error) { info, err := w.Commit(); return info.Path, err }, nil
}

// take moves what was printed into the result.
func (out *RunOutput) take(streams [2]*output.Stream) {
	var cut [2]bool
	out.Stdout, out.OutputPath, cut[0] = streams[0].Text()
	out.Stderr, out.StderrPath, cut[1] = streams[1].Text()
	out.Truncated = out.Truncated || cut[0] || cut[1]
}

// extensions are those of the images that are saved.
var extensions = [...][2]string{{"image/png", ".png"}, {"image/jpeg", ".jpg"}, {"image/svg+xml", ".svg"}, {"image/gif", ".gif"}, {"image/webp", ".webp"}}

// keepOutputs moves rich outputs into the result, and images into files too. It
// returns what is to be said about those that it left out.
func (d *driven) keepOutputs(out *RunOutput, outputs []Output) (notes []string) {
	if len(outputs) > maxOutputs {
		notes = append(notes, fmt.Sprintf("[outputs after the first %d were left out]\n", maxOutputs))
		outputs, out.Truncated = outputs[:maxOutputs], true
	}
	for _, o := range outputs {
		o.Path = ""
		for _, e := range extensions {
			if o.MIME != e[0] {
				continue
			}
			data := []byte(o.Data)
			if e[1] != ".svg" {
				raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(o.Data), ""))
				if err != nil {
					break // no image, whatever it says
				}
				data = raw
			}
			f := output.File{Kind: d.language + "-image", Ext: e[1], Create: d.s.create}
			f.Write(data)
			if path, err := f.Close(); err == nil {
				o.Path = path
			}
		}
		if len(o.Data) > maxDataSize {
			if out.Truncated = true; o.Path == "" {
				notes = append(notes, fmt.Sprintf("[output of type %s left out: %d bytes; at most %d]\n", o.MIME, len(o.Data), maxDataSize))
				continue
			}
			o.Data = ""
		}
		out.Outputs = append(out.Outputs, o)
	}
	return notes
}
