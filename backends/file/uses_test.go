package file_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
)

// What agents do with the tools, by name and with JSON. Each line works on what
// those before it left.
func TestUses(t *testing.T) {
	t.Parallel()
	h := open(t)
	for i, c := range []struct{ tool, params, want string }{
		{"file:write", `{"path":"src/a.py","content":"import os\n\ndef f():\n    return 1\n"}`, `{"path":"src/a.py","size":33}`},
		{"file:write", `{"path":"src/b.py","content":"import sys\n","mkdirs":false}`, `{"path":"src/b.py","size":11}`},
		{"file:write", `{"path":"no/such/dir","content":"","mkdirs":false}`, `4006: no such file`},
		{"file:write", `{"path":"data/x.bin","content":"AAEC/w==","encoding":"base64"}`, `{"path":"data/x.bin","size":4}`},
		{"file:write", `{"path":"data/x.bin","content":"%%","encoding":"base64"}`, `4000: base64`},
		{"file:write", `{"path":"src","content":""}`, `4000: directory`},
		{"file:write", `{"path":"src/","content":""}`, `4000: directory`},
		{"file:write", `{"path":".","content":""}`, `4000: directory`},
		{"file:append", `{"path":"log.txt","content":"one\n"}`, `{"path":"log.txt","size":4}`},
		{"file:append", `{"path":"/workspace/log.txt","content":"two\n"}`, `{"path":"log.txt","size":8}`},
		{"file:read", `{"path":"log.txt"}`, `"content":"one\ntwo\n"`},
		{"file:read", `{"path":"data/x.bin","encoding":"base64"}`, `"content":"AAEC/w=="`},
		{"file:edit", `{"path":"src/a.py","edits":[{"old":"return 1","new":"return 2"}]}`, `-    return 1\n+    return 2\n`},
		{"file:list", `{}`, `"path":"data","type":"directory"`},
		{"file:list", `{"path":"src"}`, `"path":"src/b.py","type":"file","size":11`},
		{"file:list", `{"path":"src/a.py"}`, `4000: not a directory`},
		{"file:list", `{"max":1}`, `"truncated":true`},
		{"file:tree", `{}`, `"path":"src/a.py"`},
		{"file:tree", `{"depth":1}`, `"truncated":false`},
		{"file:stat", `{"path":"src/a.py"}`, `"mode":"0644"`},
		{"file:stat", `{"path":"src/c.py"}`, `4006: a.py`},
		{"file:mkdir", `{"path":"x/y/z"}`, `{"path":"x/y/z"}`},
		{"file:mkdir", `{"path":"x/y/z"}`, `{"path":"x/y/z"}`},
		{"file:mkdir", `{"path":"src/a.py"}`, `4012: is a file`},
		{"file:copy", `{"from":"src","to":"x/copy"}`, `{"path":"x/copy","type":"directory"}`},
		{"file:copy", `{"from":"src","to":"x/copy"}`, `4012: is a directory`},
		{"file:copy", `{"from":"src","to":"src/in/itself"}`, `4000: itself`},
		{"file:copy", `{"from":"src/a.py","to":"x/copy/b.py"}`, `4012: overwrite`},
		{"file:copy", `{"from":"src/a.py","to":"x/copy/b.py","overwrite":true}`, `{"path":"x/copy/b.py","type":"file"}`},
		{"file:read", `{"path":"x/copy/b.py","start_line":4}`, `"content":"    return 2\n"`},
		{"file:move", `{"from":"x/copy","to":"new/place"}`, `{"path":"new/place","type":"directory"}`},
		{"file:move", `{"from":"x/copy","to":"y"}`, `4006: no such file`},
		{"file:move", `{"from":"new","to":"new/place/deeper"}`, `4000: itself`},
		{"file:move", `{"from":"src/a.py","to":"src/b.py"}`, `4012: overwrite`},
		{"file:move", `{"from":"src/a.py","to":"src"}`, `4012: src/name`},
		{"file:move", `{"from":"src/a.py","to":"src/b.py","overwrite":true}`, `{"path":"src/b.py","type":"file"}`},
		{"file:glob", `{"pattern":"**/*.py"}`, `{"paths":["new/place/a.py","new/place/b.py","src/b.py"],"truncated":false}`},
		{"file:glob", `{"pattern":"*.py","path":"src"}`, `{"paths":["src/b.py"],"truncated":false}`},
		{"file:glob", `{"pattern":"{log,data}*","max":1}`, `{"paths":["data"],"truncated":true}`},
		{"file:glob", `{"pattern":"../*"}`, `4000: ..`},
		{"file:glob", `{"pattern":"[a"}`, `4000: ]`},
		{"file:grep", `{"pattern":"^import"}`, `{"path":"src/b.py","line":1,"text":"import os"}`},
		{"file:grep", `{"pattern":"RETURN \\d","ignore_case":true,"glob":"src/**","context":1}`, `"before":["def f():"]`},
		{"file:grep", `{"pattern":"return","max":1}`, `"truncated":true`},
		{"file:grep", `{"pattern":"a(?=b)"}`, `4000: RE2`},
		{"file:grep", `{"pattern":"import os\\n"}`, `4000: one by one`},
		{"file:grep", `{"pattern":"import[ \\n]os|\\n"}`, `"text":"import os"`},
		{"file:grep", `{"pattern":"x","path":"data/x.bin"}`, `4000: not text`},
		{"file:delete", `{"path":"new"}`, `4012: delete "new": the directory is not empty; delete it with recursive true`},
		{"file:delete", `{"path":"new","recursive":true}`, `{"path":"new"}`},
		{"file:delete", `{"path":"new"}`, `4006: no such file`},
		{"file:delete", `{"path":".","recursive":true}`, `4000: workspace itself`},
		{"file:write", `{"path":"日本語/ñ.txt","content":"ü"}`, `{"path":"日本語/ñ.txt","size":2}`},
		{"file:list", `{"path":"日本語"}`, `"path":"日本語/ñ.txt"`},
		{"file:read", `{"content":"x"}`, `4003: path`},
		{"read", `{"path":"日本語/ñ.txt"}`, `"content":"ü"`},
	} {
		resp := h.w.Execute(t.Context(), c.tool, json.RawMessage(c.params))
		code, words, fails := strings.Cut(c.want, ": ")
		if fails = fails && len(code) == 4; fails {
			if got := sandbox.CodeOf(resp.Err); resp.Err == nil || code != strconv.Itoa(int(got)) || !strings.Contains(resp.Err.Error(), words) {
				t.Errorf("%d: %s %s = %s, %v, want error %s", i, c.tool, c.params, resp.Data, resp.Err, c.want)
			}
			continue
		}
		data, err := json.Marshal(resp.Data)
		if resp.Err != nil || err != nil || !strings.Contains(string(data), c.want) {
			t.Errorf("%d: %s %s = %s, %v, want %s", i, c.tool, c.params, data, resp.Err, c.want)
		}
	}
	if got := h.run("cat src/b.py; ls -A; stat -c %u src"); !strings.Contains(got, "return 2") || strings.Contains(got, ".~") || !strings.HasSuffix(got, "1000\n") {
		t.Errorf("the worker sees %q", got)
	}
}
