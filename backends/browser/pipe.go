package browser

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// A message longer than this is not read but for what it is. Pages choose how long
// some are: what they log, throw or ask for can have half a gigabyte. The largest
// honest answers are pictures.
const (
	maxAnswerMessage = 128 << 20
	maxEventMessage  = 8 << 20
	messageHead      = 512 // bytes that tell what a message is; as many at its end
)

// pipe is chromedp's transport, read with bounds: a message that is too long, or
// cannot be read, costs who it is for, and not everybody their browser.
type pipe struct {
	*chromedp.PipeConn // writes and closes
	br                 *bufio.Reader
}

func newPipe(r io.ReadCloser, w io.WriteCloser) *pipe {
	return &pipe{chromedp.NewPipeConn(r, w), bufio.NewReaderSize(r, 64<<10)}
}

// Read reads the next message; see [chromedp.Transport].
func (p *pipe) Read(_ context.Context, msg *cdproto.Message) error {
	for {
		*msg = cdproto.Message{}
		raw, whole, err := p.next()
		if err != nil {
			return err
		}
		if whole && jsonv2.Unmarshal(raw, msg, chromedp.DefaultUnmarshalOptions) == nil {
			return nil
		}
		if *msg = stub(raw); msg.ID != 0 || msg.Method != "" {
			return nil
		}
	}
}

// next returns the bytes of a message, or only the first and last of one that is
// too long.
func (p *pipe) next() (raw []byte, whole bool, err error) {
	limit := maxEventMessage
	var end []byte // the last bytes of what is too long
	for {
		part, err := p.br.ReadSlice(0)
		done := err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, false, err
		}
		if done {
			part = part[:len(part)-1]
		}
		switch {
		case end != nil:
			end = append(end, part...)
			end = append(end[:0], end[max(0, len(end)-messageHead):]...)
		case len(raw)+len(part) > limit:
			end = append(append([]byte{}, raw...), part...)
			raw = bytes.Clone(end[:messageHead])
			end = bytes.Clone(end[len(end)-messageHead:])
		default:
			if raw == nil && bytes.HasPrefix(part, []byte(`{"id":`)) {
				limit = maxAnswerMessage
			}
			raw = append(raw, part...)
		}
		if done {
			return append(raw, end...), end == nil, nil
		}
	}
}

// tooLong is the code of the error in a message that stands for one that was not
// read.
const tooLong = -1

// stub stands for a message that was not read: an answer is an error, an event has
// no parameters. A message of neither kind is empty.
func stub(raw []byte) (msg cdproto.Message) {
	msg.Error = &cdproto.Error{Code: tooLong, Message: "the browser's message is too long, or cannot be read"}
	if i := bytes.LastIndex(raw, []byte(`"sessionId":"`)); i >= 0 {
		id, _, _ := bytes.Cut(raw[i+len(`"sessionId":"`):], []byte{'"'})
		msg.SessionID = target.SessionID(id)
	}
	if rest, ok := bytes.CutPrefix(raw, []byte(`{"id":`)); ok {
		end := bytes.IndexAny(rest, ",}")
		msg.ID, _ = strconv.ParseInt(string(rest[:max(0, end)]), 10, 64)
	} else if rest, ok := bytes.CutPrefix(raw, []byte(`{"method":"`)); ok {
		name, _, _ := bytes.Cut(rest, []byte{'"'})
		msg.Method, msg.Params = cdproto.MethodType(name), jsonv2.Value("{}")
	}
	return msg
}
