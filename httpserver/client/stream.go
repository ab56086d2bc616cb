package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/wire"
)

// readStream hands the events of a call to onEvent as they come, and returns
// the answer at their end. The caller's goroutine does it all: nothing is
// buffered, and no event comes after it returned.
func (c *Client) readStream(ctx context.Context, body io.Reader, onEvent func(sandbox.Event)) (*answer, error) {
	r := bufio.NewReader(body)
	var name string
	var data []byte
	for {
		line, err := c.readLine(r)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the stream ended without a result")
			}
			if _, ok := errors.AsType[*sandbox.Error](err); ok {
				return nil, err
			}
			return nil, c.onTheWay(ctx, err)
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0:
			if name == "result" {
				return parse(http.StatusOK, data)
			}
			var e sandbox.Event
			if len(data) > 0 && wire.Unmarshal(data, &e) == nil {
				onEvent(e)
			}
			name, data = "", nil
		case string(field) == "event":
			name = string(value)
		case string(field) == "data":
			if int64(len(data)+len(value)) > c.o.MaxAnswer {
				return nil, c.tooLarge()
			}
			data = append(data, value...)
		}
	}
}

// readLine reads one line of a stream, bounded like a whole answer.
func (c *Client) readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if int64(len(line)+len(part)) > c.o.MaxAnswer {
			return nil, c.tooLarge()
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(line, "\r\n"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
