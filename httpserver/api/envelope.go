package api

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/agentflow-go/sandbox"
)

// shape is the form that a reply takes on the wire.
type shape uint8

const (
	codeShape    shape = iota // code, message, data, meta: /api/v1
	successShape              // success, data, tool, …: the short paths
)

// appendReply appends the body of r. The data of a success passes as the bytes
// that the executor gave, so that a large result is not encoded twice.
func appendReply(b []byte, r *reply, s shape) []byte {
	if r.plain != nil {
		return append(b, r.plain...)
	}
	if s == successShape {
		return appendSuccessShape(b, r)
	}
	b = append(b, `{"code":`...)
	b = strconv.AppendInt(b, int64(r.code), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, r.text())
	b = append(b, `,"data":`...)
	b = appendData(b, r, s)
	b = append(b, `,"meta":{"tool":`...)
	b = appendString(b, r.meta.tool)
	b = append(b, `,"execution_time_ms":`...)
	b = appendMillis(b, &r.meta)
	b = append(b, `,"resource_type":`...)
	b = appendNullable(b, r.meta.resource)
	b = append(b, `,"session_id":`...)
	b = appendNullable(b, r.meta.session)
	b = append(b, `,"trace_id":`...)
	b = appendString(b, r.meta.trace)
	if r.temporary() {
		b = append(b, `,"temporary_session":true`...)
	}
	b = appendExtras(b, r)
	b = append(b, '}')
	for _, m := range r.lift {
		b = appendMember(b, m)
	}
	return appendDetail(b, r)
}

// appendSuccessShape is the older shape. It names the tool by its simple name,
// and carries the members of the newer one that it has no other word for.
func appendSuccessShape(b []byte, r *reply) []byte {
	b = append(b, `{"success":`...)
	b = strconv.AppendBool(b, r.code == 0)
	b = append(b, `,"data":`...)
	b = appendData(b, r, successShape)
	b = append(b, `,"tool":`...)
	b = appendString(b, simpleName(r.meta.tool))
	b = append(b, `,"resource_type":`...)
	b = appendNullable(b, r.meta.resource)
	b = append(b, `,"session_id":`...)
	b = appendNullable(b, r.meta.session)
	b = append(b, `,"execution_time_ms":`...)
	b = appendMillis(b, &r.meta)
	b = append(b, `,"temporary_session":`...)
	b = strconv.AppendBool(b, r.meta.temporary)
	b = append(b, `,"code":`...)
	b = strconv.AppendInt(b, int64(r.code), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, r.text())
	b = append(b, `,"trace_id":`...)
	b = appendString(b, r.meta.trace)
	if r.code != 0 {
		b = append(b, `,"error":`...)
		b = appendString(b, r.text())
	}
	b = appendExtras(b, r)
	for _, m := range r.lift {
		if m.key != "session_id" { // has its place above
			b = appendMember(b, m)
		}
	}
	return appendDetail(b, r)
}

// appendExtras appends what this library tells beyond the protocol.
func appendExtras(b []byte, r *reply) []byte {
	m := &r.meta
	b = append(b, `,"ran":`...)
	b = strconv.AppendBool(b, m.ran)
	if m.temporary && !r.temporary() {
		b = append(b, `,"temporary":true`...)
	}
	if m.expired != "" {
		b = append(b, `,"expired_session":`...)
		b = appendString(b, m.expired)
	}
	if len(m.didYouMean) > 0 {
		b = appendMember(b, member{"did_you_mean", encode(m.didYouMean)})
	}
	if len(m.denied) > 0 {
		b = appendMember(b, member{"denied", encode(m.denied)})
		b = append(b, `,"denied_total":`...)
		b = strconv.AppendInt(b, int64(m.deniedTotal), 10)
	}
	if m.info != nil {
		b = appendMember(b, member{"session", encode(m.info)})
	}
	if m.cause != nil {
		b = appendMember(b, member{"cause", encode(m.cause)})
	}
	return b
}

// appendDetail ends the body.
func appendDetail(b []byte, r *reply) []byte {
	if r.detail != nil {
		b = appendMember(b, member{"detail", r.detail})
	}
	return append(b, '}')
}

func appendData(b []byte, r *reply, s shape) []byte {
	if r.batch != nil {
		return appendBatch(b, r.batch, s)
	}
	data := r.data
	if r.code != 0 {
		data = object(data)
	}
	if len(data) == 0 {
		return append(b, "{}"...)
	}
	return append(b, data...)
}

func appendBatch(b []byte, batch *batchReply, s shape) []byte {
	b = append(b, `{"results":[`...)
	for i := range batch.results {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendReply(b, &batch.results[i], s)
	}
	b = append(b, `],"total":`...)
	b = strconv.AppendInt(b, int64(batch.total), 10)
	b = append(b, `,"executed":`...)
	b = strconv.AppendInt(b, int64(batch.executed), 10)
	b = append(b, `,"success_count":`...)
	b = strconv.AppendInt(b, int64(batch.succs), 10)
	return append(b, '}')
}

// text is the message that travels.
func (r *reply) text() string {
	switch {
	case r.code == 0:
		return "success"
	case r.message != "":
		return r.message
	}
	return r.code.Error()
}

// temporary reports whether meta.temporary_session is due: in the protocol only
// results that came from the tool carry it, not those of the executor.
func (r *reply) temporary() bool {
	if !r.meta.temporary || !r.meta.ran {
		return false
	}
	switch r.code {
	case sandbox.ErrNotInitialized, sandbox.ErrUnexpected, sandbox.ErrTimeout:
		return false
	}
	return true
}

func appendMember(b []byte, m member) []byte {
	b = append(b, ',')
	b = appendString(b, m.key)
	b = append(b, ':')
	if len(m.value) == 0 {
		return append(b, "null"...)
	}
	return append(b, m.value...)
}

// appendMillis appends a number of milliseconds as a float.
func appendMillis(b []byte, m *replyMeta) []byte {
	return strconv.AppendFloat(b, float64(m.elapsed.Microseconds())/1000, 'f', 3, 64)
}

func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendString appends s as a JSON string; invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			b = append(b, s[start:i]...)
			b = append(b, "\ufffd"...)
			i++
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// simpleName is what follows the last colon of a tool's name.
func simpleName(full string) string {
	return full[strings.LastIndexByte(full, ':')+1:]
}

// quoted returns s as a JSON value, null if it is empty.
func quoted(s string) json.RawMessage { return appendNullable(nil, s) }
