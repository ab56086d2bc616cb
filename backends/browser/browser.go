package browser

import (
	"context"

	"github.com/agentflow-go/sandbox"
)

// Tools are the typed handles of the tools. They may be called concurrently; calls
// in one session run one after the other.
type Tools struct {
	Goto         *sandbox.Tool[GotoInput, GotoOutput]
	Back         *sandbox.Tool[TimeoutInput, PageOutput]
	Forward      *sandbox.Tool[TimeoutInput, PageOutput]
	Reload       *sandbox.Tool[TimeoutInput, PageOutput]
	Snapshot     *sandbox.Tool[SnapshotInput, SnapshotOutput]
	Click        *sandbox.Tool[ClickInput, ActOutput]
	DoubleClick  *sandbox.Tool[ClickInput, ActOutput]
	Hover        *sandbox.Tool[ClickInput, ActOutput]
	Fill         *sandbox.Tool[FillInput, ValueOutput]
	Type         *sandbox.Tool[TypeInput, ValueOutput]
	Select       *sandbox.Tool[SelectInput, SelectOutput]
	Check        *sandbox.Tool[CheckInput, CheckOutput]
	Press        *sandbox.Tool[PressInput, ActOutput]
	Drag         *sandbox.Tool[DragInput, ActOutput]
	Scroll       *sandbox.Tool[ScrollInput, ScrollOutput]
	Upload       *sandbox.Tool[UploadInput, UploadOutput]
	WaitFor      *sandbox.Tool[WaitInput, WaitOutput]
	Evaluate     *sandbox.Tool[EvaluateInput, EvaluateOutput]
	Extract      *sandbox.Tool[ExtractInput, ExtractOutput]
	Screenshot   *sandbox.Tool[ScreenshotInput, ScreenshotOutput]
	PDF          *sandbox.Tool[PDFInput, PDFOutput]
	Tabs         *sandbox.Tool[TabsInput, TabsOutput]
	Dialogs      *sandbox.Tool[DialogsInput, DialogsOutput]
	Downloads    *sandbox.Tool[DownloadsInput, DownloadsOutput]
	Console      *sandbox.Tool[LogInput, ConsoleOutput]
	Network      *sandbox.Tool[LogInput, NetworkOutput]
	Cookies      *sandbox.Tool[CookiesInput, CookiesOutput]
	StorageState *sandbox.Tool[StorageStateInput, StorageState]
	Block        *sandbox.Tool[BlockInput, RoutesOutput]
	Route        *sandbox.Tool[RouteInput, RoutesOutput]
	Resize       *sandbox.Tool[ResizeInput, EmulateOutput]
	Emulate      *sandbox.Tool[EmulateInput, EmulateOutput]
}

// Register adds the backend and its tools to r. Faults of the registration are
// recorded in r; those of cfg are errors of the warmup, which is also when the
// first browser starts. Browsers end with the sandbox's Shutdown.
func Register(r *sandbox.Registry, cfg Config) Tools {
	tools, _ := register(r, cfg)
	return tools
}

func register(r *sandbox.Registry, cfg Config) (Tools, *sandbox.Binding[*session]) {
	if cfg.Name == "" {
		cfg.Name = "browser"
	}
	if cfg.Description == "" {
		cfg.Description = "A web browser: pages to open, read, click and fill in, with cookies and storage of the session's own."
	}
	b := sandbox.AddBackend(r, sandbox.BackendSpec{
		Name: cfg.Name, Description: cfg.Description, Config: cfg.Defaults.encode(), Serial: true,
		Pool: cfg.Pool, MaxSessions: cfg.MaxSessions,
	}, &backend{cfg: cfg})
	return Tools{
		Goto:     called(b, "goto", gotoText, (*session).goTo),
		Back:     called(b, "back", backText, (*session).back),
		Forward:  called(b, "forward", forwardText, (*session).forward),
		Reload:   called(b, "reload", reloadText, (*session).reload),
		Snapshot: plain(b, "snapshot", snapshotText, readOnly, (*session).snapshot),
		Click: called(b, "click", clickText, func(s *session, ctx context.Context, call sandbox.Call, in ClickInput) (ActOutput, error) {
			return s.click(ctx, call, in, 1)
		}),
		DoubleClick: called(b, "double_click", doubleText, func(s *session, ctx context.Context, call sandbox.Call, in ClickInput) (ActOutput, error) {
			return s.click(ctx, call, in, 2)
		}),
		Hover:        called(b, "hover", hoverText, (*session).hover),
		Fill:         called(b, "fill", fillText, (*session).fill),
		Type:         called(b, "type", typeText, (*session).typeText),
		Select:       called(b, "select", selectText, (*session).selectOption),
		Check:        called(b, "check", checkText, (*session).check),
		Press:        called(b, "press", pressText, (*session).pressTool),
		Drag:         called(b, "drag", dragText, (*session).dragTool),
		Scroll:       called(b, "scroll", scrollText, (*session).scroll),
		Upload:       called(b, "upload", uploadText, (*session).upload),
		WaitFor:      called(b, "wait_for", waitText, (*session).waitFor),
		Evaluate:     called(b, "evaluate", evaluateText, (*session).evaluate),
		Extract:      plain(b, "extract", extractText, readOnly, (*session).extract),
		Screenshot:   plain(b, "screenshot", screenshotText, 0, (*session).screenshot),
		PDF:          plain(b, "pdf", pdfText, 0, (*session).pdf),
		Tabs:         called(b, "tabs", tabsText, (*session).tabsTool),
		Dialogs:      plain(b, "dialogs", dialogsText, concurrent, (*session).dialogsTool),
		Downloads:    plain(b, "downloads", downloadsText, concurrent|readOnly, (*session).downloadsTool),
		Console:      plain(b, "console", consoleText, concurrent|readOnly, (*session).consoleTool),
		Network:      plain(b, "network", networkText, concurrent|readOnly, (*session).networkTool),
		Cookies:      plain(b, "cookies", cookiesText, 0, (*session).cookiesTool),
		StorageState: plain(b, "storage_state", storageText, 0, (*session).storageTool),
		Block:        plain(b, "block", blockText, 0, (*session).block),
		Route:        plain(b, "route", routeText, 0, (*session).route),
		Resize:       plain(b, "resize", resizeText, 0, (*session).resize),
		Emulate:      plain(b, "emulate", emulateText, 0, (*session).emulate),
	}, b
}

// traits of a tool.
type traits uint8

const (
	readOnly   traits = 1 << iota // changes nothing
	concurrent                    // may run beside the session's running call
)

// plain registers a method that needs no Call.
func plain[In, Out any](b *sandbox.Binding[*session], name, text string, has traits, do func(*session, context.Context, In) (Out, error)) *sandbox.Tool[In, Out] {
	return sandbox.AddSessionTool(b, sandbox.ToolSpec{
		Name: name, Description: text, ReadOnly: has&readOnly != 0, Concurrent: has&concurrent != 0,
	}, func(ctx context.Context, _ sandbox.Call, s *session, in In) (Out, error) {
		out, err := do(s, ctx, in)
		return out, s.explain(ctx, err)
	})
}

// called registers a method that tells of its call.
func called[In, Out any](b *sandbox.Binding[*session], name, text string, do func(*session, context.Context, sandbox.Call, In) (Out, error)) *sandbox.Tool[In, Out] {
	return sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: name, Description: text}, func(ctx context.Context, call sandbox.Call, s *session, in In) (Out, error) {
		out, err := do(s, ctx, call, in)
		return out, s.explain(ctx, err)
	})
}

// What models read.
const (
	gotoText    = "Open an address in the current tab and wait for the page. url and title say where it ended up, status is the HTTP status. A server that you started in a shell or in code is at http://localhost:PORT. Look at the page with snapshot or extract afterwards. Denied addresses say which rule denied them: trying again does not help."
	backText    = "Go back in the tab's history and wait for the page."
	forwardText = "Go forward in the tab's history and wait for the page."
	reloadText  = "Load the page again; also brings a crashed tab back."

	snapshotText = "Show the page as a tree of elements, one a line: role, name, state, and the ref by which other tools take it (e12; in a frame f1e3). A ref stays the element's as long as that is on the page. mode interactive shows what can be acted on, headings and messages; full shows the text too. Long pages are cut at max_chars: look at one element, or use extract."
	clickText    = "Click an element: by ref from a snapshot, by CSS selector, by the text that it shows, or at x and y. Waits until it is there, visible, enabled, stands still and is not covered, and says what is in the way if it is. Then waits for a page that the click leads to, and up to a second for what the page asks its server for. new_tab says that a tab was opened; dialog that the page asks something."
	doubleText   = "Click an element twice in a row; otherwise as click."
	hoverText    = "Move the mouse over an element, for menus and hints that show only then."
	fillText     = "Put text into a field at once, replacing what it holds: inputs, text areas, editable elements; also dates and the like. Name the field by ref, selector or label. With submit, press Enter afterwards."
	typeText     = "Type text key by key behind what a field holds, for fields that react to keys; without a field, to where the focus is. fill is faster."
	selectText   = "Select an option of a select element, by value or label; several with values."
	checkText    = "Check or uncheck a checkbox, radio button or switch; nothing happens if it already is."
	pressText    = "Press a key or combination, such as Enter, Escape, ArrowDown, Control+A, at an element or where the focus is."
	dragText     = "Drag from one element (or point) and drop on another."
	scrollText   = "Scroll by dx and dy pixels, over the page or an element, or bring an element into view. Pages that load more as they are scrolled then do."
	uploadText   = "Give workspace files to a file input, to a button that asks for files, or to a place where files are dropped."
	waitText     = "Wait until the page shows a text or element, until a text or element is gone, until the address contains something, or for some seconds."

	evaluateText   = "Run JavaScript in the page and return the value as JSON. With an element, the expression is a function that gets it."
	extractText    = "Return the page, or one element, as Markdown, plain text or HTML: what it shows now, after scripts ran. readable leaves out navigation and the like."
	screenshotText = "Take a picture of the window, the full page or one element. image is base64, image_path the same in the workspace. truncated says that it is cut below or to the right."
	pdfText        = "Print the page to a PDF file in the workspace."

	tabsText      = "List the open tabs, open one (new, with url), switch to one, or close one. Other tools act on the active tab."
	dialogsText   = "Say what happens to alert, confirm and prompt from now on: dismiss (default), accept, or ask, where the page waits for this tool. With accept or dismiss an open dialog is answered; answer is a prompt's text. Lists what there was."
	downloadsText = "List the files that pages gave, with their paths in the workspace; with wait, once they are complete."
	consoleText   = "Read what pages wrote to the console, uncaught exceptions included."
	networkText   = "List the requests of pages with status, size and errors."
	cookiesText   = "Get, set or clear the session's cookies."
	storageText   = "Get cookies and local storage of all sites visited, to begin another session with; set them, or clear all that sites have stored."
	blockText     = "Give pages nothing from addresses that match patterns, such as *.png or *://ads.example.com/*."
	routeText     = "Answer requests to addresses that match patterns yourself, instead of the network."
	resizeText    = "Set the size of the window in pixels."
	emulateText   = "Make pages believe in a device, print media, dark mode, a locale, a time zone, a place, permissions, other headers, or that there is no network."
)
