package browser

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	_ "image/jpeg" // to read the size of what was taken
	_ "image/png"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/chromedp/cdproto/page"

	"github.com/agentflow-go/sandbox"
)

// ScreenshotInput is what browser:screenshot takes.
type ScreenshotInput struct {
	Element
	FullPage bool    `json:"full_page,omitzero" jsonschema:"the whole page and not only what the window shows"`
	Format   string  `json:"format,omitzero" jsonschema:"png (default), jpeg or webp"`
	Quality  int     `json:"quality,omitzero" jsonschema:"1 to 100, of jpeg and webp; default 80"`
	Path     string  `json:"path,omitzero" jsonschema:"workspace file to write it to; default one of screenshots/"`
	Timeout  float64 `json:"timeout,omitzero" jsonschema:"seconds; default 10"`
}

// ScreenshotOutput is what browser:screenshot returns.
type ScreenshotOutput struct {
	Image     string `json:"image" jsonschema:"base64"`
	ImagePath string `json:"image_path" jsonschema:"workspace file"`
	Size      [2]int `json:"size" jsonschema:"width and height"`
	Truncated bool   `json:"truncated,omitzero" jsonschema:"there is more to the right or below: it is cut, at true scale"`
	Whole     [2]int `json:"whole,omitzero" jsonschema:"if truncated: width and height of all of it, in CSS pixels"`
}

// Pictures that would be larger are cut: they take the browser hundreds of
// megabytes, or it cannot draw them at all. A texture of Chromium, and its WebP,
// end at 2^14 and 2^14-1 dots.
const (
	maxPixels      = 40_000_000
	maxPictureSide = 16383
)

func (s *session) screenshot(ctx context.Context, in ScreenshotInput) (out ScreenshotOutput, err error) {
	params := page.CaptureScreenshotParams{OptimizeForSpeed: ptr(true)}
	switch in.Format {
	case "", "png":
		in.Format, params.Format = "png", page.CaptureScreenshotFormatPng
	case "jpeg", "jpg":
		in.Format, params.Format = "jpeg", page.CaptureScreenshotFormatJpeg
	case "webp":
		params.Format = page.CaptureScreenshotFormatWebp
	default:
		return out, invalid("/format: %q; give png, jpeg or webp", clip(in.Format, 40))
	}
	if in.Quality < 0 || in.Quality > 100 {
		return out, invalid("/quality: %d; give 1 to 100", in.Quality)
	}
	if in.Format != "png" {
		q := int64(in.Quality)
		if q == 0 {
			q = 80
		}
		params.Quality = &q
	}
	var data []byte
	err = s.looking(ctx, in.Timeout, func(ctx context.Context, t *tab) error {
		var all struct{ W, H float64 }
		if in.given() || in.FullPage {
			if err := t.jsRetry(ctx, t.mainFrame(), &all, "pageSize"); err != nil {
				return err
			}
		}
		if in.given() {
			p, err := t.elementClip(ctx, in.Element)
			if err != nil {
				return err
			}
			params.Clip = p
		} else if in.FullPage {
			params.Clip = &page.Viewport{Width: all.W, Height: all.H, Scale: 1}
		}
		if c := params.Clip; c != nil {
			if c.Width < 1 || c.Height < 1 {
				return sandbox.Errorf(sandbox.ErrBusinessFailure, "there is nothing to see: it is %v by %v pixels", c.Width, c.Height)
			}
			if w, h := c.Width, c.Height; s.cut(c) {
				out.Truncated, out.Whole = true, [2]int{int(w), int(h)}
			}
			end, err := s.show(ctx, t, c, all.H, &params)
			if err != nil {
				return err
			}
			defer end()
		}
		var res struct {
			Data []byte `json:"data"`
		}
		if err := t.link.Call(ctx, page.CommandCaptureScreenshot, params, &res); err != nil {
			return err
		}
		data = res.Data
		return nil
	})
	if err != nil {
		return out, err
	}
	if size, _, err := image.DecodeConfig(bytes.NewReader(data)); err == nil {
		out.Size = [2]int{size.Width, size.Height}
	} else if c := params.Clip; c != nil {
		dots := s.deviceScale()
		out.Size = [2]int{int(c.Width * dots), int(c.Height * dots)}
	} else {
		s.mu.Lock()
		out.Size = [2]int{s.viewport.Width, s.viewport.Height}
		s.mu.Unlock()
	}
	out.Image = base64.StdEncoding.EncodeToString(data)
	out.ImagePath, err = s.keep(in.Path, "screenshots/screenshot", strings.Replace(in.Format, "jpeg", "jpg", 1), data)
	return out, err
}

// cut makes what is to be seen as small as a picture may be, and reports whether it
// had to.
func (s *session) cut(c *page.Viewport) bool {
	dots := s.deviceScale()
	side := math.Floor(maxPictureSide / dots)
	w := min(c.Width, side)
	h := min(c.Height, side, math.Floor(maxPixels/(dots*dots*w)))
	cut := w < c.Width || h < c.Height
	c.Width, c.Height = w, h
	return cut
}

// show has the browser draw what the clip is of, where the window does not show it;
// end takes that back. Chromium has a way for that, which records the whole page: of
// a page higher than any picture that takes it minutes, in which the page answers
// nothing. There the window is made as high as the picture meanwhile.
func (s *session) show(ctx context.Context, t *tab, c *page.Viewport, height float64, params *page.CaptureScreenshotParams) (end func(), err error) {
	s.mu.Lock()
	emulated, size := s.emulated, s.viewport
	s.mu.Unlock()
	if height*s.deviceScale() <= maxPictureSide || c.Width > float64(size.Width) {
		params.CaptureBeyondViewport = ptr(true)
		return func() {}, nil
	}
	var scroll struct{ X, Y float64 }
	if err := t.js(ctx, t.mainFrame(), &scroll, "scrolled", 0); err != nil {
		return nil, err
	}
	measures := func(size Size) command { return emulated.commands(size)[0] }
	end = func() { // also when the time is over
		cm := measures(size)
		t.link.send(s.base, cm.method, cm.params)
		t.js(ctx, t.mainFrame(), nil, "scrollPage", scroll.X, scroll.Y)
	}
	high := measures(Size{size.Width, max(size.Height, int(math.Ceil(c.Height)))})
	err = t.link.Call(ctx, high.method, high.params, nil)
	if err == nil {
		err = t.js(ctx, t.mainFrame(), nil, "scrollPage", c.X, c.Y) // what is far from the window is not drawn
	}
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// deviceScale is how many dots of a picture make a CSS pixel.
func (s *session) deviceScale() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.emulated.device; d != nil && d.Scale > 0 {
		return d.Scale
	}
	return 1
}

// elementClip is where an element is in its page.
func (t *tab) elementClip(ctx context.Context, e Element) (*page.Viewport, error) {
	at, err := t.locate(ctx, e, forSight, "")
	if err != nil {
		return nil, err
	}
	var b struct{ X, Y, W, H float64 }
	if err := t.js(ctx, at.frame, &b, "box", at.n); err != nil {
		return nil, err
	}
	if at.frame.n != 0 {
		var scroll struct{ X, Y float64 }
		if err := t.js(ctx, at.frame, &scroll, "scrolled", 0); err != nil {
			return nil, err
		}
		// To the window, and from there to the page.
		if b.X, b.Y, _, err = t.toWindow(ctx, at.frame, b.X-scroll.X, b.Y-scroll.Y); err != nil {
			return nil, err
		}
		if err := t.js(ctx, t.mainFrame(), &scroll, "scrolled", 0); err != nil {
			return nil, err
		}
		b.X, b.Y = b.X+scroll.X, b.Y+scroll.Y
	}
	return &page.Viewport{X: b.X, Y: b.Y, Width: b.W, Height: b.H, Scale: 1}, nil
}

// keep writes a file into the workspace, under the path that the caller gives or
// one of its own.
func (s *session) keep(path, stem, suffix string, data []byte) (string, error) {
	files, err := s.env.Load().Files()
	if err != nil {
		return "", err
	}
	if path == "" {
		path = fmt.Sprintf("%s-%s-%d.%s", stem, time.Now().UTC().Format("20060102-150405"), s.files.Add(1), suffix)
	}
	info, err := files.WriteFile(path, bytes.NewReader(data), sandbox.CreateOptions{Parents: true})
	return info.Path, err
}

// PDFInput is what browser:pdf takes.
type PDFInput struct {
	Path       string  `json:"path,omitzero" jsonschema:"workspace file; default one of pdfs/"`
	Format     string  `json:"format,omitzero" jsonschema:"of the paper: A4 (default), A3, A5, Letter, Legal, Tabloid"`
	Landscape  bool    `json:"landscape,omitzero"`
	Background bool    `json:"background,omitzero" jsonschema:"print background colours and pictures"`
	Scale      float64 `json:"scale,omitzero" jsonschema:"0.1 to 2; default 1"`
	Margin     float64 `json:"margin,omitzero" jsonschema:"inches on every side; default 0.4"`
	Pages      string  `json:"pages,omitzero" jsonschema:"such as 1-5, 8; default all"`
	Timeout    float64 `json:"timeout,omitzero" jsonschema:"seconds; default 30"`
}

// PDFOutput is what browser:pdf returns.
type PDFOutput struct {
	Path  string `json:"path"`
	Pages int    `json:"pages"`
	Size  int    `json:"size" jsonschema:"bytes"`
}

// papers in inches.
var papers = map[string][2]float64{
	"a3": {11.69, 16.54}, "a4": {8.27, 11.69}, "a5": {5.83, 8.27},
	"letter": {8.5, 11}, "legal": {8.5, 14}, "tabloid": {11, 17},
}

var pdfPage = regexp.MustCompile(`/Type\s*/Page[^s]`)

func (s *session) pdf(ctx context.Context, in PDFInput) (out PDFOutput, err error) {
	if in.Format == "" {
		in.Format = "A4"
	}
	paper, ok := papers[strings.ToLower(in.Format)]
	switch {
	case !ok:
		return out, invalid("/format: %q; give A3, A4, A5, Letter, Legal or Tabloid", clip(in.Format, 40))
	case in.Scale != 0 && (in.Scale < 0.1 || in.Scale > 2):
		return out, invalid("/scale: %v; give 0.1 to 2", in.Scale)
	case in.Margin < 0 || in.Margin > 4:
		return out, invalid("/margin: %v; give 0 to 4 inches", in.Margin)
	}
	params := page.PrintToPDFParams{
		Landscape: &in.Landscape, PrintBackground: &in.Background, Scale: in.Scale, PageRanges: in.Pages,
		PaperWidth: paper[0], PaperHeight: paper[1],
	}
	if in.Margin > 0 {
		params.MarginTop, params.MarginBottom, params.MarginLeft, params.MarginRight = &in.Margin, &in.Margin, &in.Margin, &in.Margin
	}
	if in.Timeout == 0 {
		in.Timeout = gotoTimeout.Seconds()
	}
	var data []byte
	err = s.looking(ctx, in.Timeout, func(ctx context.Context, t *tab) error {
		var res struct {
			Data []byte `json:"data"`
		}
		var title string
		if err := t.jsRetry(ctx, t.mainFrame(), &title, "title"); err != nil {
			return err // it is not the printing that keeps the page
		}
		if err := t.link.Call(ctx, page.CommandPrintToPDF, params, &res); err != nil {
			if isLate(ctx) {
				return s.stopPrinting(ctx, t)
			}
			if strings.Contains(err.Error(), "Page range") {
				return invalid("/pages: %q: %v", clip(in.Pages, 100), err)
			}
			return err
		}
		data = res.Data
		return nil
	})
	if err != nil {
		return out, err
	}
	out.Size, out.Pages = len(data), len(pdfPage.FindAllIndex(data, -1))
	out.Path, err = s.keep(in.Path, "pdfs/page", "pdf", data)
	return out, err
}

// stopPrinting is for a page that is still being printed when the time is over.
// Nothing stops that, and meanwhile the page answers nothing: it gets another tab.
func (s *session) stopPrinting(ctx context.Context, t *tab) error {
	limit := context.Cause(ctx).(*lateError).limit
	ctx, cancel := context.WithTimeout(s.base, freeTime)
	defer cancel()
	address, what := t.url(), ""
	if !t.ping(ctx, pingTime) {
		fresh, err := s.newTab(ctx)
		if err != nil {
			return fmt.Errorf("print: not done within %v, and the page is busy with it: %w", limit, err)
		}
		s.replace(t, fresh)
		s.spawn(func() { t.close(s.base) })
		what = "; nothing stops that, so its tab was replaced"
		if checked, err := checkAddress(address); err == nil {
			fresh.link.send(ctx, page.CommandNavigate, page.NavigateParams{URL: checked})
			what += " by one that loads the page again"
		}
	}
	return sandbox.Errorf(sandbox.ErrTimeout, "the page was not printed within %v%s. Give a longer timeout, or read it with extract", limit, what)
}

// freeTime is how long it may take to give a page that is stuck another tab.
const freeTime = 20 * time.Second
