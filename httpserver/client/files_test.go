package client_test

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
	"github.com/agentflow-go/sandbox/httpserver/client"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A client is the same store of files as the sandbox behind it.
func TestFileStores(t *testing.T) {
	t.Parallel()
	sb, err := sandbox.New(sandbox.Options{Registry: new(sandbox.Registry)})
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Shutdown(context.Background())
	h, err := api.New(sb, api.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, store := range map[string]sandbox.FileStore{"sandbox": sb, "client": c} {
		t.Run(name, func(t *testing.T) { fileStore(t, store, "worker/of "+name) })
	}
}

func fileStore(t *testing.T, store sandbox.FileStore, worker string) {
	ctx := t.Context()
	put := func(path, text string, o sandbox.CreateOptions) (sandbox.FileInfo, error) {
		return store.StoreFile(ctx, worker, path, strings.NewReader(text), o)
	}
	if _, err := store.OpenFile(ctx, worker, "x"); !errors.Is(err, sandbox.ErrNoResults) {
		t.Errorf("OpenFile before there is anything = %v, want ErrNoResults", err)
	}
	const path = "dir/50% ü?#&+.txt"
	info, err := put(path, "0123456789", sandbox.CreateOptions{Parents: true, Mode: 0o700})
	if err != nil || info.Path != path || info.Size != 10 || info.Modified.IsZero() {
		t.Fatalf("StoreFile = %+v, %v", info, err)
	}
	if _, err := put("empty", "", sandbox.CreateOptions{}); err != nil {
		t.Error(err)
	}
	f, err := store.OpenFile(ctx, worker, "/workspace/"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := sandbox.FileInfo{Path: path, Size: 10, Mode: 0o700}
	if diff := cmp.Diff(want, f.Info(), cmpopts.IgnoreFields(sandbox.FileInfo{}, "Modified")); diff != "" {
		t.Errorf("Info (-want +got):\n%s", diff)
	}
	for _, s := range []struct {
		off    int64
		whence int
		want   string
	}{{0, io.SeekStart, "0123456789"}, {4, io.SeekStart, "456789"}, {-3, io.SeekEnd, "789"}, {0, io.SeekEnd, ""}, {-10, io.SeekCurrent, "0123456789"}} {
		if _, err := f.Seek(s.off, s.whence); err != nil {
			t.Errorf("Seek(%d, %d) = %v", s.off, s.whence, err)
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != s.want {
			t.Errorf("after Seek(%d, %d) there is %q, %v, want %q", s.off, s.whence, got, err, s.want)
		}
	}
	version, err := f.Version()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(path, "new", sandbox.CreateOptions{Version: version}); err != nil {
		t.Errorf("StoreFile over the version that was read = %v", err)
	}
	for name, c := range map[string]struct {
		o    sandbox.CreateOptions
		path string
		code sandbox.Code
	}{
		"a version that is gone": {sandbox.CreateOptions{Version: version}, path, sandbox.ErrConflict},
		"something is there":     {sandbox.CreateOptions{Exclusive: true}, path, sandbox.ErrConflict},
		"too large":              {sandbox.CreateOptions{MaxBytes: 3}, path, sandbox.ErrTooLarge},
		"outside":                {sandbox.CreateOptions{}, "../x", sandbox.ErrInvalidInput},
		"a directory":            {sandbox.CreateOptions{}, "dir", sandbox.ErrInvalidInput},
	} {
		if _, err := put(c.path, "text", c.o); !errors.Is(err, c.code) {
			t.Errorf("%s: StoreFile = %v (%d), want %d", name, err, sandbox.CodeOf(err), c.code)
		}
	}
	broken := errors.New("the source broke")
	_, err = store.StoreFile(ctx, worker, path, io.MultiReader(strings.NewReader("ne"), iotestErr{broken}), sandbox.CreateOptions{})
	if !errors.Is(err, broken) {
		t.Errorf("StoreFile of a source that breaks = %v", err)
	}
	g, err := store.OpenFile(ctx, worker, path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if got, err := io.ReadAll(g); err != nil || string(got) != "new" {
		t.Errorf("after failures the file has %q, %v, want new", got, err)
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }
