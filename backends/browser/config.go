package browser

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/agentflow-go/sandbox"
)

// Config configures the backend. The zero value is useful.
type Config struct {
	Name        string // of the backend; "": browser
	Description string // "": a standard text
	Pool        int    // sessions kept open ahead of demand; 0: none
	MaxSessions int    // open at once; 0: no limit

	Executable string   // of Chromium, a path or a name in PATH; "": the first found of the usual ones
	Args       []string // added to its command line
	// Remote is the address of a browser that runs already, such as
	// http://127.0.0.1:9222, to use instead of starting one. It is confined, and its
	// network limited, by whoever started it: [sandbox.Confinement] does not reach it,
	// so RemoteUnconfined must say that this is meant, and a session that narrows the
	// network policy is refused.
	Remote           string
	RemoteUnconfined bool

	Isolation Isolation // which sessions share a Chromium; "": Shared

	// Defaults of the sessions; a session's own configuration overlays them.
	Defaults SessionConfig
}

// Isolation says which sessions share a Chromium.
type Isolation string

// The kinds of isolation. In both every session has a browser context of its own.
const (
	Shared    Isolation = "shared" // sessions under equal network policy, up to 16 of them
	PerWorker Isolation = "worker" // none: each starts one, in its worker's jail
)

// SessionConfig is a session's configuration, of which every field may be left
// out.
type SessionConfig struct {
	Viewport          *Size             `json:"viewport,omitempty" jsonschema:"of its pages, in CSS pixels; default 1280 by 720"`
	Locale            string            `json:"locale,omitzero" jsonschema:"such as de-DE; default: en-US"`
	Timezone          string            `json:"timezone,omitzero" jsonschema:"such as Europe/Berlin; default: the machine's"`
	UserAgent         string            `json:"user_agent,omitzero"`
	Headers           map[string]string `json:"headers,omitempty" jsonschema:"sent with every request"`
	StorageState      *StorageState     `json:"storage_state,omitempty" jsonschema:"cookies and local storage to start with, as browser:storage_state returns them"`
	IgnoreHTTPSErrors bool              `json:"ignore_https_errors,omitzero" jsonschema:"take any certificate"`
	Dialogs           DialogPolicy      `json:"dialogs,omitzero" jsonschema:"what happens to alert, confirm, prompt: accept, dismiss or ask; default dismiss"`
	Timeout           float64           `json:"timeout,omitzero" jsonschema:"seconds that an action waits for its element; default 10"`
}

// Size is in CSS pixels.
type Size struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

const (
	defaultTimeout = 10 * time.Second
	gotoTimeout    = 30 * time.Second
	maxTimeout     = 10 * time.Minute
	startTimeout   = time.Minute      // of a browser
	answerTimeout  = 30 * time.Second // of a browser that seems to hang
	maxSide        = 10000            // of a viewport
	maxTabs        = 20               // of a session
	titleTimeout   = 2 * time.Second  // of a page that is only listed
	maxContexts    = 16               // of a shared Chromium
)

var (
	localeForm   = regexp.MustCompile(`^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$`)
	timezoneForm = regexp.MustCompile(`^[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*$`)
)

// check fills in defaults and refuses what makes no sense.
func (c *SessionConfig) check() error {
	if c.Viewport == nil {
		c.Viewport = &Size{1280, 720}
	}
	if err := c.Viewport.check("/viewport"); err != nil {
		return err
	}
	if c.Locale != "" && !localeForm.MatchString(c.Locale) {
		return invalid("/locale: %q; give a language tag such as de-DE", c.Locale)
	}
	if c.Timezone != "" && !timezoneForm.MatchString(c.Timezone) {
		return invalid("/timezone: %q; give a name of the IANA database such as Europe/Berlin", c.Timezone)
	}
	for k, v := range c.Headers {
		if http.CanonicalHeaderKey(k) == "Host" || !sendable(k, v) {
			return invalid("/headers: %q: %q is no header that can be sent; Host follows from the address", clip(k, 100), clip(v, 100))
		}
	}
	if c.Dialogs == "" {
		c.Dialogs = DismissDialogs
	}
	if err := c.Dialogs.check("/dialogs"); err != nil {
		return err
	}
	if _, err := seconds("/timeout", c.Timeout, 0); err != nil {
		return err
	}
	return c.StorageState.check("/storage_state")
}

// sendable reports whether a header cannot be read as something else.
func sendable(name, value string) bool {
	return name != "" && !strings.ContainsAny(name, " :\r\n\x00") && !strings.ContainsAny(value, "\r\n\x00")
}

func (s *Size) check(name string) error {
	if s.Width < 1 || s.Height < 1 || s.Width > maxSide || s.Height > maxSide {
		return invalid("%s: %d by %d; give 1 to %d pixels", name, s.Width, s.Height, maxSide)
	}
	return nil
}

// seconds checks a time limit; 0 stands for def.
func seconds(name string, s float64, def time.Duration) (time.Duration, error) {
	if s == 0 {
		return def, nil
	}
	if !(s > 0 && s <= maxTimeout.Seconds()) {
		return 0, invalid("%s: %v seconds; give more than 0 and at most %v", name, s, maxTimeout.Seconds())
	}
	return time.Duration(s * float64(time.Second)), nil
}

func invalid(format string, args ...any) error {
	return sandbox.Errorf(sandbox.ErrInvalidInput, format, args...)
}

// encode returns the defaults of a session as JSON.
func (c SessionConfig) encode() json.RawMessage {
	raw, err := json.Marshal(c)
	if err != nil {
		panic("browser: encode the configuration: " + err.Error()) // strings and numbers: cannot happen
	}
	return raw
}
