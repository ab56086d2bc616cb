package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/agentflow-go/sandbox"
)

// filePaths are the beginnings of the paths of files.
func filePaths() []string { return []string{"/api/v1/files/", "/files/"} }

// fileTarget is the worker and the path in its workspace that a request names.
type fileTarget struct{ worker, path string }

// fileTarget splits the request's path. A worker id may be anything, so that a
// slash in it is written %2F.
func (q *request) fileTarget() (fileTarget, *reply) {
	escaped := q.r.URL.EscapedPath()
	for _, base := range filePaths() {
		if rest, ok := strings.CutPrefix(escaped, base); ok {
			escaped = rest
			break
		}
	}
	worker, file, _ := strings.Cut(escaped, "/")
	var t fileTarget
	var errs [2]error
	t.worker, errs[0] = url.PathUnescape(worker)
	t.path, errs[1] = url.PathUnescape(file)
	if err := errors.Join(errs[:]...); err != nil {
		return t, refusal(sandbox.ErrInvalidRequest, "the path is not well escaped: "+err.Error())
	}
	if t.worker == "" || t.path == "" {
		return t, refusal(sandbox.ErrMissingField, "the path names no worker or no file: use /api/v1/files/{worker}/{path in its workspace}")
	}
	return t, q.foreign(t.worker)
}

// files returns the executor as a store of files.
func (q *request) files() (sandbox.FileStore, *reply) {
	store, ok := q.ex.(sandbox.FileStore)
	if !ok {
		r := refusal(sandbox.ErrInvalidRequest, "what this server serves has no files to transfer")
		r.status = http.StatusNotImplemented
		return nil, r
	}
	return store, nil
}

// getFile sends a file, or ranges of it. Its content is an agent's: it is
// never of a type that a browser would run or show.
func getFile(ctx context.Context, q *request) reply {
	// A page may ask for pictures and scripts of other origins without being
	// asked itself; for files it may not.
	asked := q.r.WithContext(ctx)
	asked.Method = http.MethodPost
	if refused := q.origins.check(asked); refused != nil {
		return *refused
	}
	store, refused := q.files()
	if refused != nil {
		return *refused
	}
	t, refused := q.fileTarget()
	if refused != nil {
		return *refused
	}
	f, err := store.OpenFile(ctx, t.worker, t.path)
	if err != nil {
		return fileFailure(err)
	}
	defer f.Close()
	version, err := f.Version()
	if err != nil {
		return fileFailure(err)
	}
	info := f.Info()
	h := q.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Content-Disposition", attachment(info.Path))
	h.Set("ETag", `"`+version+`"`)
	h.Set("X-File-Path", url.PathEscape(info.Path))
	h.Set("X-File-Mode", fmt.Sprintf("%04o", info.Mode.Perm()))
	q.sent = true
	w := &rangeWriter{ResponseWriter: newPatientWriter(q.w)}
	http.ServeContent(w, q.r, "", info.Modified, f)
	if !w.refused {
		return reply{sent: true}
	}
	q.sent = false
	h.Del("Content-Disposition") // what comes is no file
	r := refusal(sandbox.ErrInvalidInput, fmt.Sprintf("no part of the file is in the range %q: it has %d bytes", q.r.Header.Get("Range"), info.Size))
	r.status = http.StatusRequestedRangeNotSatisfiable
	return *r
}

// rangeWriter keeps the answer to a range outside the file, which is plain
// text, from being sent.
type rangeWriter struct {
	http.ResponseWriter
	refused bool
}

func (w *rangeWriter) WriteHeader(status int) {
	if w.refused = status == http.StatusRequestedRangeNotSatisfiable; !w.refused {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *rangeWriter) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *rangeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// attachment names a file for who saves it.
func attachment(p string) string {
	if v := mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(p)}); v != "" {
		return v
	}
	return "attachment" // a name that cannot be written
}

// putFile makes a file of the body. It appears as a whole, or not at all.
func putFile(ctx context.Context, q *request) reply {
	store, refused := q.files()
	if refused != nil {
		return *refused
	}
	t, refused := q.fileTarget()
	if refused != nil {
		return *refused
	}
	if strings.HasSuffix(t.path, "/") {
		return *refusal(sandbox.ErrInvalidRequest, "the path names a directory: put the path of a file")
	}
	o := sandbox.CreateOptions{Parents: true, MaxBytes: q.o.MaxFile}
	if o, refused = q.conditions(o); refused != nil {
		return *refused
	}
	if q.r.ContentLength > q.o.MaxFile {
		q.w.Header().Set("Connection", "close") // or the server would read it all
		return *refusal(sandbox.ErrTooLarge, fmt.Sprintf("the file is larger than %d bytes", q.o.MaxFile))
	}
	if q.r.Header.Get("Content-Range") != "" {
		return *refusal(sandbox.ErrInvalidRequest, "parts of files cannot be put: send the whole")
	}
	src := &patientReader{r: http.MaxBytesReader(q.w, q.r.Body, q.o.MaxFile), deadline: http.NewResponseController(q.w).SetReadDeadline}
	defer src.end()
	info, err := store.StoreFile(ctx, t.worker, t.path, src, o)
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return *refusal(sandbox.ErrTooLarge, fmt.Sprintf("the file is larger than %d bytes", q.o.MaxFile))
		}
		r := fileFailure(err)
		if r.status == http.StatusConflict && (o.Exclusive || o.Version != "") {
			r.status = http.StatusPreconditionFailed
		}
		return r
	}
	return success(fileView{info.Path, info.Size, isoTime(info.Modified)})
}

type fileView struct {
	Path     string `json:"path"`
	Size     int64  `json:"size"`
	Modified string `json:"modified"`
}

// conditions reads the headers that say how a file is put: If-Match with one
// version, If-None-Match with "nothing there", and the file's mode.
func (q *request) conditions(o sandbox.CreateOptions) (sandbox.CreateOptions, *reply) {
	switch none := q.r.Header.Get("If-None-Match"); none {
	case "":
	case "*":
		o.Exclusive = true
	default:
		return o, refusal(sandbox.ErrInvalidRequest, "If-None-Match of a put may only be *: make the file if there is none")
	}
	if match := q.r.Header.Get("If-Match"); match != "" {
		version, ok := strings.CutPrefix(match, `"`)
		version, end := strings.CutSuffix(version, `"`)
		if !ok || !end || version == "" || strings.ContainsAny(version, `",`) {
			return o, refusal(sandbox.ErrInvalidRequest, "If-Match of a put must be one ETag, as a get of the file tells it")
		}
		o.Version = version
	}
	if text := q.r.Header.Get("X-File-Mode"); text != "" {
		mode, err := strconv.ParseUint(text, 8, 32)
		if err != nil || mode == 0 || mode > 0o777 {
			return o, refusal(sandbox.ErrInvalidRequest, "X-File-Mode must be permissions in octal, such as 0755")
		}
		o.Mode = fs.FileMode(mode)
	}
	return o, nil
}

// fileFailure renders an error of a file.
func fileFailure(err error) reply {
	r := failure(err)
	if r.code == sandbox.ErrNoResults {
		r.status = http.StatusNotFound
	}
	return r
}
