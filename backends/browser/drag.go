package browser

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strconv"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"

	"github.com/agentflow-go/sandbox"
)

// jsonDrag is what a page drags, as the browser tells it and wants it back.
type jsonDrag jsonv2.Value

// DragInput is what browser:drag takes.
type DragInput struct {
	From    Element `json:"from"`
	To      Element `json:"to"`
	Timeout float64 `json:"timeout,omitzero" jsonschema:"seconds to wait for the elements; default 10"`
}

func (s *session) dragTool(ctx context.Context, call sandbox.Call, in DragInput) (ActOutput, error) {
	return s.acting(ctx, call, in.Timeout, func(ctx context.Context, t *tab, out *ActOutput) error {
		if err := in.To.check("/to"); err != nil {
			return err
		}
		from, err := t.locate(ctx, in.From, forHover, "/from")
		if err != nil {
			return err
		}
		out.Ref = from.ref
		if err := t.link.Call(ctx, input.CommandSetInterceptDrags, input.SetInterceptDragsParams{Enabled: true}, nil); err != nil {
			return err
		}
		defer t.link.send(context.WithoutCancel(ctx), input.CommandSetInterceptDrags, input.SetInterceptDragsParams{})
		t.locked(func() { t.drag = nil })
		if err := t.js(ctx, from.frame, nil, "watchDrag"); err != nil {
			return err
		}
		mouse := func(kind input.DispatchMouseEventType, x, y float64, bits, count int64) command {
			b := input.MouseButtonLeft
			if kind == input.DispatchMouseEventTypeMouseMoved && bits == 0 {
				b = input.MouseButtonNone
			}
			return cmd(input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: x, Y: y, Button: b, Buttons: bits, ClickCount: count})
		}
		const moved, pressed, released = input.DispatchMouseEventTypeMouseMoved, input.DispatchMouseEventTypeMousePressed, input.DispatchMouseEventTypeMouseReleased
		// Away a little, for what begins a drag only after some pixels.
		if err := t.link.all(ctx, mouse(moved, from.x, from.y, 0, 0), mouse(pressed, from.x, from.y, 1, 1),
			mouse(moved, from.x+3, from.y+3, 1, 0), mouse(moved, from.x+8, from.y+8, 1, 0)); err != nil {
			return err
		}
		var native bool
		if err := t.js(ctx, from.frame, &native, "dragBegan"); err != nil {
			return err
		}
		// Only now, for the target may come to be by the drag.
		nd := forHover
		nd.Hit = false
		to, err := t.locateIn(ctx, in.To, nd, "/to")
		if err != nil {
			t.link.all(ctx, mouse(released, from.x, from.y, 0, 1))
			return err
		}
		if !native {
			half := [2]float64{(from.x + to.x) / 2, (from.y + to.y) / 2}
			return t.link.all(ctx, mouse(moved, half[0], half[1], 1, 0), mouse(moved, to.x, to.y, 1, 0),
				mouse(moved, to.x, to.y, 1, 0), mouse(released, to.x, to.y, 0, 1))
		}
		if err := t.until(ctx, func() bool { return t.drag != nil }); err != nil {
			return err
		}
		t.mu.Lock()
		data := jsonv2.Value(t.drag)
		t.mu.Unlock()
		drop := func(kind input.DispatchDragEventType) command {
			return command{input.CommandDispatchDragEvent, struct {
				Type input.DispatchDragEventType `json:"type"`
				X    float64                     `json:"x"`
				Y    float64                     `json:"y"`
				Data jsonv2.Value                `json:"data"`
			}{kind, to.x, to.y, data}}
		}
		return t.link.all(ctx, drop(input.DispatchDragEventTypeDragEnter), drop(input.DispatchDragEventTypeDragOver),
			drop(input.DispatchDragEventTypeDrop), mouse(released, to.x, to.y, 0, 1))
	})
}

// locateIn is locate with the point in the window, for what need not be hit.
func (t *tab) locateIn(ctx context.Context, e Element, nd need, where string) (*found, error) {
	if e.X != nil {
		nd.Hit = true // a point is all that is asked for
	}
	at, err := t.locate(ctx, e, nd, where)
	if err == nil && at.frame.n != 0 && at.n != 0 {
		at.x, at.y, _, err = t.toWindow(ctx, at.frame, at.x, at.y)
	}
	return at, err
}

// ScrollInput is what browser:scroll takes.
type ScrollInput struct {
	Element
	DX      float64 `json:"dx,omitzero" jsonschema:"pixels to the right, as by a mouse wheel over the element or the middle of the window"`
	DY      float64 `json:"dy,omitzero" jsonschema:"pixels down. Without dx and dy the element is brought into view"`
	Timeout float64 `json:"timeout,omitzero" jsonschema:"seconds to wait for the element; default 10"`
}

// ScrollOutput is what browser:scroll returns.
type ScrollOutput struct {
	ActOutput
	X      float64 `json:"x" jsonschema:"how far the page is scrolled now"`
	Y      float64 `json:"y"`
	Height float64 `json:"height" jsonschema:"of the whole page"`
}

func (s *session) scroll(ctx context.Context, call sandbox.Call, in ScrollInput) (out ScrollOutput, err error) {
	if in.DX == 0 && in.DY == 0 && !in.given() {
		return out, invalid("/dy: give dx or dy, or an element to bring into view")
	}
	out.ActOutput, err = s.acting(ctx, call, in.Timeout, func(ctx context.Context, t *tab, act *ActOutput) error {
		s.mu.Lock()
		x, y := float64(s.viewport.Width)/2, float64(s.viewport.Height)/2
		s.mu.Unlock()
		if in.given() {
			nd := forHover
			nd.Hit = false
			at, err := t.locateIn(ctx, in.Element, nd, "")
			if err != nil {
				return err
			}
			act.Ref, x, y = at.ref, at.x, at.y
			if in.DX == 0 && in.DY == 0 && at.n != 0 {
				var a answer
				if err := t.js(ctx, at.frame, &a, "scrollTo", at.n); err != nil {
					return err
				}
			}
		}
		if in.DX != 0 || in.DY != 0 {
			if err := t.link.Call(ctx, input.CommandDispatchMouseEvent, struct {
				Type   string  `json:"type"`
				X      float64 `json:"x"`
				Y      float64 `json:"y"`
				DeltaX float64 `json:"deltaX"` // both are required
				DeltaY float64 `json:"deltaY"`
			}{"mouseWheel", x, y, in.DX, in.DY}, nil); err != nil {
				return err
			}
		}
		var at struct{ X, Y, Height float64 }
		if err := t.js(ctx, t.mainFrame(), &at, "scrolled", 0); err != nil && !errors.Is(err, errContext) {
			return err
		}
		out.X, out.Y, out.Height = at.X, at.Y, at.Height
		return nil
	})
	return out, err
}

// UploadInput is what browser:upload takes.
type UploadInput struct {
	Element
	Paths   []string `json:"paths" jsonschema:"workspace files"`
	Timeout float64  `json:"timeout,omitzero" jsonschema:"seconds to wait for the element; default 10"`
}

// UploadOutput is what browser:upload returns.
type UploadOutput struct {
	ActOutput
	Files []string `json:"files" jsonschema:"names that the page got"`
}

const (
	maxUpload  = 256 << 20 // bytes of one file
	maxUploads = 50        // files at once
)

func (s *session) upload(ctx context.Context, call sandbox.Call, in UploadInput) (out UploadOutput, err error) {
	if len(in.Paths) == 0 || len(in.Paths) > maxUploads {
		return out, invalid("/paths: give 1 to %d workspace files", maxUploads)
	}
	if !s.hasFiles() {
		return out, sandbox.Errorf(sandbox.ErrInvalidRequest, "this browser runs elsewhere and cannot be given files")
	}
	inside, names, err := s.bringIn(ctx, in.Paths)
	if err != nil {
		return out, err
	}
	out.Files = names
	out.ActOutput, err = s.acting(ctx, call, in.Timeout, func(ctx context.Context, t *tab, act *ActOutput) error {
		nd := forFiles
		if in.X != nil {
			nd.Hit = true
		}
		at, err := t.locate(ctx, in.Element, nd, "")
		if err != nil {
			return err
		}
		act.Ref = at.ref
		var a struct {
			answer
			Multiple bool
		}
		if at.n != 0 {
			if err := t.js(ctx, at.frame, &a, "fileInput", at.n); err != nil {
				return err
			}
		}
		switch {
		case a.Error != "":
			a.Desc = at.desc
			return a.problem(in.Element)
		case a.Ref == "":
			return t.choose(ctx, at, inside)
		case len(inside) > 1 && !a.Multiple:
			return sandbox.Errorf(sandbox.ErrInvalidInput, "/paths: this input takes one file, not %d", len(inside))
		}
		n, _ := strconv.Atoi(a.Ref[1:])
		id, err := t.jsOn(ctx, at.frame, "", nil, "element", n)
		if err != nil {
			return err
		}
		return at.frame.link.Call(ctx, dom.CommandSetFileInputFiles, dom.SetFileInputFilesParams{Files: inside, ObjectID: id}, nil)
	})
	return out, err
}

// choose clicks what opens a file chooser, and chooses.
func (t *tab) choose(ctx context.Context, at *found, files []string) error {
	l := at.frame.link
	if err := l.Call(ctx, page.CommandSetInterceptFileChooserDialog, page.SetInterceptFileChooserDialogParams{Enabled: true}, nil); err != nil {
		return err
	}
	defer l.send(context.WithoutCancel(ctx), page.CommandSetInterceptFileChooserDialog, page.SetInterceptFileChooserDialogParams{})
	t.locked(func() { t.chooser = nil })
	x, y := at.x, at.y
	if at.n != 0 {
		spot, err := t.locate(ctx, Element{Ref: at.ref}, forClick, "")
		if err != nil {
			return err
		}
		x, y = spot.x, spot.y
	}
	if err := t.clickAt(ctx, x, y, input.MouseButtonLeft, 1, 0, 1); err != nil {
		return err
	}
	var e *page.EventFileChooserOpened
	opened := func() bool { e = t.chooser; return e != nil }
	asked, cancel := context.WithTimeout(ctx, chooserTimeout)
	defer cancel()
	err := t.until(asked, opened)
	if err != nil && ctx.Err() == nil { // perhaps a place to drop files
		var taken bool
		if taken, err = t.drop(ctx, at.frame, x, y, files); taken {
			return err
		}
		if err == nil {
			err = t.until(ctx, opened)
		}
	}
	if isLate(ctx) {
		return sandbox.Errorf(sandbox.ErrBusinessFailure, "%s is no file input, clicking it opened no file chooser, and it takes no files that are dropped on it", at.desc)
	}
	if err != nil {
		return err
	}
	if len(files) > 1 && e.Mode != page.FileChooserOpenedModeSelectMultiple {
		return sandbox.Errorf(sandbox.ErrInvalidInput, "/paths: this chooser takes one file, not %d", len(files))
	}
	return l.Call(ctx, dom.CommandSetFileInputFiles, dom.SetFileInputFilesParams{Files: files, BackendNodeID: cdp.BackendNodeID(e.BackendNodeID)}, nil)
}

// chooserTimeout is how long a click may take to open a file chooser.
const chooserTimeout = 2 * time.Second

// drop drags files from outside of the window to a point and drops them there, if the
// page takes them.
func (t *tab) drop(ctx context.Context, f *frame, x, y float64, files []string) (taken bool, err error) {
	event := func(kind input.DispatchDragEventType) command {
		return cmd(input.DispatchDragEvent, input.DispatchDragEventParams{Type: kind, X: x, Y: y, Data: &input.DragData{
			Items: []*input.DragDataItem{}, Files: files, DragOperationsMask: 1, // a copy
		}})
	}
	if err := t.js(ctx, f, nil, "watchDrop"); err != nil {
		return false, err
	}
	if err := t.link.all(ctx, event(input.DispatchDragEventTypeDragEnter), event(input.DispatchDragEventTypeDragOver)); err != nil {
		return false, err
	}
	if err := t.js(ctx, f, &taken, "dropTaken"); err != nil || !taken {
		t.link.send(context.WithoutCancel(ctx), input.CommandDispatchDragEvent, event(input.DispatchDragEventTypeDragCancel).params)
		return false, err
	}
	return true, t.link.all(ctx, event(input.DispatchDragEventTypeDrop))
}

// bringIn makes workspace files visible to the browser, under their own names.
func (s *session) bringIn(ctx context.Context, paths []string) (inside, names []string, err error) {
	files, err := s.env.Load().Files()
	if err != nil {
		return nil, nil, err
	}
	for i, p := range paths {
		f, err := files.Open(p)
		if err != nil {
			return nil, nil, err
		}
		info := f.Info()
		if info.Size > maxUpload {
			f.Close()
			return nil, nil, sandbox.Errorf(sandbox.ErrTooLarge, "/paths/%d: %s has %d bytes; at most %d can be uploaded", i, info.Path, info.Size, maxUpload)
		}
		to := path.Join(s.inside, info.Path)
		if !s.own {
			s.downloads.mu.Lock()
			s.uploads++
			dir := path.Join(s.downloads.dir, "up"+strconv.Itoa(s.uploads))
			s.downloads.mu.Unlock()
			to = path.Join(dir, path.Base(info.Path))
			err = s.inJail(ctx, io.LimitReader(f, maxUpload), &bytes.Buffer{}, "/bin/sh", "-c", `mkdir -p -- "$1" && exec cat > "$2"`, "sh", dir, to)
		}
		f.Close()
		if err != nil {
			return nil, nil, err
		}
		inside, names = append(inside, to), append(names, path.Base(info.Path))
	}
	return inside, names, nil
}
