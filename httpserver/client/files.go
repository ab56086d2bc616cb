package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/agentflow-go/sandbox"
)

var (
	_ sandbox.FileStore  = (*Client)(nil)
	_ sandbox.StoredFile = (*remoteFile)(nil)
)

// maxFailure is how many bytes of a refusal are read.
const maxFailure = 1 << 20

// OpenFile opens a file of a worker's; see [sandbox.FileStore]. It is read as
// it is asked for, ctx being that of all its reads. A file that changes on the
// way ends with sandbox.ErrConflict once a part of it has to be asked for again
// (after Seek).
func (c *Client) OpenFile(ctx context.Context, worker, path string) (sandbox.StoredFile, error) {
	f := &remoteFile{ctx: ctx, c: c, url: c.fileURL(worker, path)}
	resp, err := f.get()
	if err != nil {
		return nil, err
	}
	h := resp.Header
	f.body, f.version = resp.Body, strings.Trim(h.Get("ETag"), `"`)
	f.info = sandbox.FileInfo{Path: path, Size: resp.ContentLength}
	if p, err := url.PathUnescape(h.Get("X-File-Path")); err == nil && p != "" {
		f.info.Path = p
	}
	if mode, err := strconv.ParseUint(h.Get("X-File-Mode"), 8, 9); err == nil {
		f.info.Mode = fs.FileMode(mode)
	}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		f.info.Modified = t
	}
	return f, nil
}

func (c *Client) fileURL(worker, path string) string {
	elems := strings.Split(path, "/")
	for i, e := range elems {
		elems[i] = url.PathEscape(e)
	}
	return c.base + "/api/v1/files/" + url.PathEscape(worker) + "/" + strings.Join(elems, "/")
}

// StoreFile makes a file of a worker's; see [sandbox.FileStore]. Directories
// that are missing are made, whatever o says. It is not repeated when the
// connection breaks.
func (c *Client) StoreFile(ctx context.Context, worker, path string, src io.Reader, o sandbox.CreateOptions) (sandbox.FileInfo, error) {
	body := &boundedReader{r: src, left: o.MaxBytes, limit: o.MaxBytes}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, c.fileURL(worker, path), body)
	if err != nil {
		return sandbox.FileInfo{}, sandbox.Errorf(sandbox.ErrInvalidInput, "%w", err)
	}
	if l, ok := src.(interface{ Len() int }); ok {
		if r.ContentLength = int64(l.Len()); r.ContentLength == 0 {
			r.Body = http.NoBody
		}
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	if o.Exclusive {
		r.Header.Set("If-None-Match", "*")
	}
	if o.Version != "" {
		r.Header.Set("If-Match", `"`+o.Version+`"`)
	}
	if o.Mode != 0 {
		r.Header.Set("X-File-Mode", fmt.Sprintf("%04o", o.Mode.Perm()))
	}
	resp, err := c.do(r)
	if err != nil {
		if body.err != nil { // not the server's fault
			err = body.err
		}
		return sandbox.FileInfo{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxFailure))
	if err != nil {
		return sandbox.FileInfo{}, c.onTheWay(ctx, err)
	}
	a, err := parse(resp.StatusCode, raw)
	if err != nil {
		return sandbox.FileInfo{}, err
	}
	var view struct {
		Path     string `json:"path"`
		Size     int64  `json:"size"`
		Modified string `json:"modified"`
	}
	if err := a.decodeData(&view); err != nil {
		return sandbox.FileInfo{}, err
	}
	info := sandbox.FileInfo{Path: view.Path, Size: view.Size, Mode: o.Mode.Perm(), Modified: parseTime(view.Modified)}
	return info, nil
}

// do sends a request and returns the answer of one that succeeded.
func (c *Client) do(r *http.Request) (*http.Response, error) {
	if c.o.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.onTheWay(r.Context(), err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxFailure))
	if err != nil {
		return nil, c.onTheWay(r.Context(), err)
	}
	if resp.StatusCode == http.StatusPreconditionFailed && len(raw) == 0 {
		return nil, sandbox.Errorf(sandbox.ErrConflict, "the file has been changed meanwhile")
	}
	_, err = parse(resp.StatusCode, raw)
	if err == nil {
		err = sandbox.Errorf(sandbox.ErrAPIResponse, "the server answers %s without a reason", resp.Status)
	}
	return nil, err
}

// boundedReader remembers why reading failed, and reads only so much.
type boundedReader struct {
	r           io.Reader
	left, limit int64 // limit 0: none
	err         error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.limit > 0 {
		if b.left -= int64(n); b.left < 0 {
			n = 0 // or the server might have all that was announced
			err = sandbox.Errorf(sandbox.ErrTooLarge, "the file would have more than %d bytes", b.limit)
		}
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// remoteFile is a file on the server, read by one request from a place on.
type remoteFile struct {
	ctx     context.Context // of the file: all its reads end with it
	c       *Client
	url     string
	info    sandbox.FileInfo
	version string

	off  int64         // of the next read
	body io.ReadCloser // what follows off; nil: to be asked for
}

// get asks for what follows off.
func (f *remoteFile) get() (*http.Response, error) {
	r, err := http.NewRequestWithContext(f.ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, sandbox.Errorf(sandbox.ErrInvalidInput, "%w", err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	if f.version != "" {
		r.Header.Set("If-Match", `"`+f.version+`"`)
	}
	if f.off > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", f.off))
	}
	resp, err := f.c.do(r)
	if err != nil {
		return nil, err
	}
	if f.off > 0 && resp.StatusCode != http.StatusPartialContent {
		resp.Body.Close()
		return nil, sandbox.Errorf(sandbox.ErrAPIResponse, "the server sends no ranges of files: %s", resp.Status)
	}
	return resp, nil
}

func (f *remoteFile) Info() sandbox.FileInfo   { return f.info }
func (f *remoteFile) Version() (string, error) { return f.version, nil }

func (f *remoteFile) Read(p []byte) (int, error) {
	if f.off >= f.info.Size {
		return 0, io.EOF
	}
	if f.body == nil {
		resp, err := f.get()
		if err != nil {
			return 0, err
		}
		f.body = resp.Body
	}
	n, err := f.body.Read(p)
	f.off += int64(n)
	if err != nil && err != io.EOF {
		err = f.c.onTheWay(f.ctx, err)
	}
	return n, err
}

func (f *remoteFile) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += f.off
	case io.SeekEnd:
		off += f.info.Size
	}
	if off < 0 {
		return 0, errors.New("seek before the beginning of a file")
	}
	if off != f.off {
		f.drop()
		f.off = off
	}
	return off, nil
}

func (f *remoteFile) drop() {
	if f.body != nil {
		f.body.Close()
		f.body = nil
	}
}

// Close ends the transfer.
func (f *remoteFile) Close() error {
	f.drop()
	f.off = f.info.Size
	return nil
}
