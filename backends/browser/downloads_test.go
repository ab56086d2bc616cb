package browser

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chromedp/cdproto/browser"
)

func TestDownloadsTogetherAreBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		sizes []float64 // one after the other
		state browser.DownloadProgressState
		want  string // the error of the last one
	}{
		{"one of the largest size", []float64{maxDownload}, browser.DownloadProgressStateInProgress, ""},
		{"one that is larger", []float64{maxDownload + 1}, browser.DownloadProgressStateInProgress, "larger than 256 MiB"},
		{"one that was larger when it was told", []float64{maxDownload + 1}, browser.DownloadProgressStateCompleted, "larger than 256 MiB"},
		{"as many as there may be", []float64{maxDownload, maxDownload, maxDownload, maxDownload}, browser.DownloadProgressStateInProgress, ""},
		{"more", []float64{maxDownload, maxDownload, maxDownload, maxDownload, 1}, browser.DownloadProgressStateInProgress, "larger than 1024 MiB together"},
		{"more, at once", []float64{maxDownload, maxDownload, maxDownload, maxDownload, 1}, browser.DownloadProgressStateCompleted, "larger than 1024 MiB together"},
		{"those that failed count", []float64{maxDownload + 1, maxDownload, maxDownload, maxDownload}, browser.DownloadProgressStateInProgress, "larger than 1024 MiB together"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &session{ended: true} // it spawns nothing
			d := &s.downloads
			d.wake = make(chan struct{})
			for i, size := range tt.sizes {
				guid := fmt.Sprint(i)
				d.all = append(d.all, &download{guid: guid, Download: Download{State: "running"}})
				e := browser.EventDownloadProgress{GUID: guid, ReceivedBytes: size, State: browser.DownloadProgressStateInProgress}
				if i == len(tt.sizes)-1 {
					e.State = tt.state
				}
				if !d.progress(s, e) {
					t.Fatalf("download %d is nobody's", i)
				}
			}
			last := d.all[len(d.all)-1]
			if failed := last.State == "failed"; failed != (tt.want != "") || !strings.Contains(last.Error, tt.want) {
				t.Errorf("after %v the last is %q, error %q, want %q", tt.sizes, last.State, last.Error, tt.want)
			}
		})
	}
}

func TestADownloadTooManyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &downloads{all: slices.Repeat([]*download{{}}, maxDownloads), wake: make(chan struct{})}
		began := time.Now()
		if name, ok := d.started(t.Context(), maxDownloads, gotoTimeout); ok || time.Since(began) > 0 {
			t.Errorf("started = %q, %v after %v, want none at once", name, ok, time.Since(began))
		}
	})
}
