package browser

import (
	"io"
	"strings"
	"testing"

	"github.com/chromedp/cdproto"
)

func TestMessagesThatAreNotRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxEventMessage)
	longer := strings.Repeat("y", maxAnswerMessage)
	r, w := io.Pipe()
	p := newPipe(r, nil)
	go func() {
		for _, m := range []string{
			`{"method":"Runtime.consoleAPICalled","params":{"a":"` + long + `\"sessionId\":\"A\""},"sessionId":"B"}`,
			`{"id":7,"result":{"a":"` + long + `"},"sessionId":"B"}`,
			`{"id":8,"result":{"a":"` + longer + `"},"sessionId":"B"}`,
			`{"method":"Page.frameDetached","params":{"a":},"sessionId":"C"}`,
			`what is this`, ``,
			`{"id":9,"result":{}}`,
		} {
			io.WriteString(w, m+"\x00")
		}
		w.Close()
	}()
	for _, want := range []struct {
		id      int64
		method  string
		session string
		stub    bool
	}{
		{0, "Runtime.consoleAPICalled", "B", true},
		{7, "", "B", false},
		{8, "", "B", true},
		{0, "Page.frameDetached", "C", true},
		{9, "", "", false},
	} {
		var got cdproto.Message
		if err := p.Read(t.Context(), &got); err != nil {
			t.Fatal(err)
		}
		if got.ID != want.id || string(got.Method) != want.method || string(got.SessionID) != want.session || (got.Error != nil) != want.stub {
			t.Errorf("message %d %q of %q, error %v; want %+v", got.ID, got.Method, got.SessionID, got.Error, want)
		}
	}
	var end cdproto.Message
	if err := p.Read(t.Context(), &end); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}
