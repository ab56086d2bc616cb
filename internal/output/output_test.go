package output_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/agentflow-go/sandbox/internal/output"
)

// disk is a workspace that holds one file, and can fail at each step.
type disk struct {
	name                   string
	made                   int
	data                   bytes.Buffer
	committed, closed      bool
	create, write, publish error
}

func (d *disk) Create(name string) (io.WriteCloser, output.Commit, error) {
	d.name = name
	d.made++
	if d.create != nil {
		return nil, nil, d.create
	}
	return d, func() (string, error) { d.committed = true; return "there/" + d.name, d.publish }, nil
}

func (d *disk) Write(p []byte) (int, error) {
	if d.write != nil {
		return 0, d.write
	}
	return d.data.Write(p)
}

func (d *disk) Close() error {
	d.closed = true
	return nil
}

func TestText(t *testing.T) {
	t.Parallel()
	full := errors.New("no space")
	for _, tt := range []struct {
		name   string
		limit  int
		pieces []string
		disk   disk
		want   string
		path   bool
	}{
		{name: "nothing", limit: 4},
		{name: "as much as fits", limit: 6, pieces: []string{"ab", "cdef"}, want: "abcdef"},
		{name: "a byte more", limit: 6, pieces: []string{"ab", "cdefg"}, want: "abc\n[… 1 of 7 bytes left out; the whole output is in PATH …]\nefg", path: true},
		{name: "one piece that jumps over the middle", limit: 4, pieces: []string{"a", "bcdefghi"}, want: "ab\n[… 5 of 9 bytes left out; the whole output is in PATH …]\nhi", path: true},
		{name: "an odd limit", limit: 5, pieces: []string{"abcdef", "gh"}, want: "ab\n[… 3 of 8 bytes left out; the whole output is in PATH …]\nfgh", path: true},
		{name: "a limit of one byte", limit: 1, pieces: []string{"ab"}, want: "\n[… 1 of 2 bytes left out; the whole output is in PATH …]\nb", path: true},
		{name: "no UTF-8", limit: 8, pieces: []string{"a\xff\xc3"}, want: "a\uFFFD"},
		{name: "runes cut in two", limit: 2, pieces: []string{"éé"}, want: "\uFFFD\n[… 2 of 4 bytes left out; the whole output is in PATH …]\n\uFFFD", path: true},
		{name: "no file can be made", limit: 2, pieces: []string{"abc", "d"}, disk: disk{create: full}, want: "a\n[… 2 of 4 bytes left out; it could not be saved: no space …]\nd"},
		{name: "it cannot be written", limit: 2, pieces: []string{"abc", "d"}, disk: disk{write: full}, want: "a\n[… 2 of 4 bytes left out; it could not be saved: no space …]\nd"},
		{name: "it gets no name", limit: 2, pieces: []string{"abc", "d"}, disk: disk{publish: full}, want: "a\n[… 2 of 4 bytes left out; it could not be saved: no space …]\nd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := output.New(tt.limit, output.File{Kind: "k", Ext: ".txt", Create: tt.disk.Create}, nil)
			for _, p := range tt.pieces {
				if n, err := s.Write([]byte(p)); n != len(p) || err != nil {
					t.Errorf("Write(%q) = %d, %v", p, n, err)
				}
			}
			text, path, cut := s.Text()
			want := strings.ReplaceAll(tt.want, "PATH", "there/"+tt.disk.name)
			if diff := cmp.Diff(want, text); diff != "" {
				t.Errorf("text (-want +got)\n%s", diff)
			}
			whole := strings.Join(tt.pieces, "")
			if cut != (len(whole) > tt.limit) || (path != "") != tt.path {
				t.Errorf("cut %v, path %q", cut, path)
			}
			if tt.disk.made > 1 {
				t.Errorf("%d files were made", tt.disk.made)
			}
			if tt.path && (tt.disk.data.String() != whole || !tt.disk.committed) {
				t.Errorf("the file has %q, committed %v; want %q", &tt.disk.data, tt.disk.committed, whole)
			}
			if tt.disk.write != nil && (tt.disk.committed || !tt.disk.closed) {
				t.Errorf("a file that could not be written: committed %v, closed %v", tt.disk.committed, tt.disk.closed)
			}
		})
	}
}

func TestWithoutFile(t *testing.T) {
	t.Parallel()
	s := output.New(2, output.File{}, nil)
	fmt.Fprint(s, "abcd")
	if text, path, cut := s.Text(); text != "a\n[… 2 of 4 bytes left out …]\nd" || path != "" || !cut {
		t.Errorf("Text = %q, %q, %v", text, path, cut)
	}
}

// sizes counts what is written instead of keeping it.
type sizes struct{ size int }

func (s *sizes) Write(p []byte) (int, error) {
	s.size += len(p)
	return len(p), nil
}

func (s *sizes) Close() error { return nil }

func TestFileIsBounded(t *testing.T) {
	t.Parallel()
	var file sizes
	s := output.New(2, output.File{Create: func(name string) (io.WriteCloser, output.Commit, error) {
		return &file, func() (string, error) { return "the-file", nil }, nil
	}}, nil)
	for range 4 {
		s.Write(make([]byte, 100<<20))
	}
	text, path, _ := s.Text()
	if file.size != 256<<20 || path != "the-file" || !strings.Contains(text, "the output up to a fault (output files are limited to 268435456 bytes) is in the-file") {
		t.Errorf("%d bytes in %q: %q", file.size, path, text)
	}
}

func TestFileByItself(t *testing.T) {
	t.Parallel()
	var d disk
	f := output.File{Kind: "python-image", Ext: ".png", Create: d.Create}
	if path, err := f.Close(); path != "" || err != nil || d.made != 0 {
		t.Errorf("without a write: %q, %v, %d files", path, err, d.made)
	}
	f.Write([]byte("png"))
	if path, err := f.Close(); path != "there/"+d.name || err != nil || d.data.String() != "png" {
		t.Errorf("Close = %q, %v; the file has %q", path, err, &d.data)
	}
	if want := regexp.MustCompile(`^\.outputs/python-image-\d{8}-\d{6}-[A-Z2-7]{6}\.png$`); !want.MatchString(d.name) {
		t.Errorf("its name is %q, want %s", d.name, want)
	}
}

// FuzzStream takes the first byte as the limit, the second as the size of pieces.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x05\x02abcdefgh"))
	f.Add([]byte("\x00\x01ab"))
	f.Add([]byte("\x10\x03\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xff\xc3"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 2 {
			return
		}
		limit, piece, all := int(in[0]), 1+int(in[1]), in[2:]
		var d disk
		var live strings.Builder
		s := output.New(limit, output.File{Create: d.Create}, func(text string) {
			if text == "" || !utf8.ValidString(text) {
				t.Errorf("live: %q", text)
			}
			live.WriteString(text)
		})
		for rest := all; len(rest) > 0; {
			n := min(piece, len(rest))
			s.Write(rest[:n])
			rest = rest[n:]
		}
		head, tail := s.Ends()
		if len(all) <= limit {
			if !bytes.Equal(head, all) || len(tail) > 0 {
				t.Errorf("Ends = %q, %q, want %q", head, tail, all)
			}
		} else if len(head) != limit/2 || len(head)+len(tail) != limit || !bytes.HasPrefix(all, head) || !bytes.HasSuffix(all, tail) {
			t.Errorf("Ends = %q, %q of %q, limit %d", head, tail, all, limit)
		}
		text, path, cut := s.Text()
		if !utf8.ValidString(text) || cut != (len(all) > limit) || cut != (path != "") {
			t.Errorf("Text = %q, %q, %v", text, path, cut)
		}
		if cut && !bytes.Equal(d.data.Bytes(), all) {
			t.Errorf("the file has %q, want %q", &d.data, all)
		}
		// A piece may end in what could have become one fault with the next.
		if got, want := plain(live.String()), plain(strings.ToValidUTF8(string(all), "\uFFFD")); got != want {
			t.Errorf("live %q, want %q", got, want)
		}
	})
}

// plain makes each run of replacement characters one.
func plain(s string) string { return regexp.MustCompile("\uFFFD+").ReplaceAllString(s, "\uFFFD") }
