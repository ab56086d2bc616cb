package api

import (
	"io"
	"net/http"
	"time"
)

// patience is how long a transfer of a file may stand still. A transfer as such
// may take any time.
const patience = time.Minute

// patientReader reads a body whose sender may pause for so long.
type patientReader struct {
	r        io.Reader
	deadline func(time.Time) error
}

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.deadline(time.Now().Add(patience)) // who cannot set one waits
	return p.r.Read(b)
}

// end takes the deadline away again: the connection may serve other requests.
func (p *patientReader) end() { _ = p.deadline(time.Time{}) }

// patientWriter writes to a reader that may pause for so long.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func newPatientWriter(w http.ResponseWriter) *patientWriter {
	return &patientWriter{w, http.NewResponseController(w)}
}

func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(patience)) // who cannot set one waits
	defer func() { _ = p.control.SetWriteDeadline(time.Time{}) }()
	return p.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (p *patientWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }
