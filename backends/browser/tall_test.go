package browser_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image/color"
	"image/png"
	"net/http"
	"testing"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/browser"
)

func init() {
	handlers = append(handlers, func(m *http.ServeMux) {
		m.HandleFunc("/tall", func(w http.ResponseWriter, r *http.Request) { // 300,000 pixels
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<title>Tall</title><body style='margin:0'><div id=all>")
			for i := range 300 {
				fmt.Fprintf(w, "<div id=b%d style='height:1000px;background:rgb(%d,%d,7)'></div>", i, i/16, i%16)
			}
			fmt.Fprint(w, "</div>")
		})
		m.HandleFunc("/printing", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<title>Printing</title><p>still here<script>addEventListener('beforeprint', () => { for (;;); })</script>")
		})
	})
}

func TestPicturesOfTallPages(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/tall")
	u.eval("scrollTo(0, 290000), 1")
	for _, tt := range []struct {
		name  string
		in    browser.ScreenshotInput
		size  [2]int
		whole [2]int
		bands map[int]int // number of the band by row
	}{
		{"the page", browser.ScreenshotInput{FullPage: true}, [2]int{1280, 16383}, [2]int{1280, 300000}, map[int]int{0: 0, 5500: 5, 16382: 16}},
		{"a far element", browser.ScreenshotInput{Element: el("#b200")}, [2]int{1280, 1000}, [2]int{}, map[int]int{0: 200, 999: 200}},
		{"the window", browser.ScreenshotInput{}, [2]int{1280, 720}, [2]int{}, nil},
	} {
		tt.in.Timeout = 50
		out := do(u, u.bt.Screenshot, tt.in)
		if out.Size != tt.size || out.Whole != tt.whole || out.Truncated != (tt.whole != [2]int{}) {
			t.Errorf("a picture of %s has %v of %v pixels, truncated %v; want %v of %v", tt.name, out.Size, out.Whole, out.Truncated, tt.size, tt.whole)
		}
		raw, err := base64.StdEncoding.DecodeString(out.Image)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		for row, band := range tt.bands {
			want := color.RGBA{uint8(band / 16), uint8(band % 16), 7, 255}
			if got := color.RGBAModel.Convert(img.At(600, row)); got != want {
				t.Errorf("row %d of the picture of %s is %v, want %v", row, tt.name, got, want)
			}
		}
		if tt.in.FullPage {
			if got := u.eval("[scrollY, innerHeight]"); fmt.Sprint(got) != "[290000 720]" {
				t.Errorf("afterwards the page is at %v", got)
			}
		}
	}
}

func TestPrintingThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	u := newUser(t, "")
	u.open("/printing")
	refused(u, u.bt.PDF, browser.PDFInput{Timeout: 15}, sandbox.ErrTimeout, "its tab was replaced by one that loads the page again")
	do(u, u.bt.WaitFor, browser.WaitInput{Text: "still here", Timeout: 50})
	if got := do(u, u.bt.Tabs, browser.TabsInput{}).Tabs; len(got) != 1 || got[0].Title != "Printing" {
		t.Errorf("tabs = %+v", got)
	}
}
