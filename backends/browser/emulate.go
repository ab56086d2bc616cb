package browser

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	emulate "github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp/device"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/internal/nearest"
)

// ResizeInput is what browser:resize takes.
type ResizeInput struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// EmulateInput is what browser:emulate takes. What is left out stays as it is.
type EmulateInput struct {
	Device      *string           `json:"device,omitempty" jsonschema:"such as iPhone 13 or Pixel 5: size, user agent and touch; empty: none"`
	Media       *string           `json:"media,omitempty" jsonschema:"screen or print; empty: as it is"`
	ColorScheme *string           `json:"color_scheme,omitempty" jsonschema:"light or dark; empty: as it is"`
	Reduced     *bool             `json:"reduced_motion,omitempty"`
	Offline     *bool             `json:"offline,omitempty"`
	Locale      *string           `json:"locale,omitempty" jsonschema:"such as de-DE"`
	Timezone    *string           `json:"timezone,omitempty" jsonschema:"such as Europe/Berlin"`
	UserAgent   *string           `json:"user_agent,omitempty"`
	Headers     map[string]string `json:"headers,omitempty" jsonschema:"sent with every request, instead of those before"`
	Geolocation *Geolocation      `json:"geolocation,omitempty"`
	Permissions []string          `json:"permissions,omitempty" jsonschema:"granted to all pages from now on, such as geolocation, notifications, clipboard-write; instead of those before"`
}

// Geolocation is a place.
type Geolocation struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Accuracy  float64 `json:"accuracy,omitzero" jsonschema:"metres; default 10"`
}

// EmulateOutput is what browser:resize and emulate return.
type EmulateOutput struct {
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Device string `json:"device,omitzero"`
}

// belief is what pages are made to believe.
type belief struct {
	device      *device.Info
	media       string
	colorScheme string
	reduced     bool
	offline     bool
	locale      string
	timezone    string
	userAgent   string
	headers     map[string]string
	geolocation *Geolocation
	anyCert     bool
	touched     bool // something was changed after the session began
}

func (c *SessionConfig) belief() belief {
	return belief{locale: c.Locale, timezone: c.Timezone, userAgent: c.UserAgent, headers: c.Headers, anyCert: c.IgnoreHTTPSErrors}
}

// commands tell a target. What was never changed is left out, since every page
// that opens pays for them.
func (e belief) commands(size Size) []command {
	metrics := emulate.SetDeviceMetricsOverrideParams{Width: int64(size.Width), Height: int64(size.Height), DeviceScaleFactor: 1}
	agent := e.userAgent
	if d := e.device; d != nil {
		metrics.DeviceScaleFactor, metrics.Mobile = d.Scale, d.Mobile
		if agent == "" {
			agent = d.UserAgent
		}
	}
	cmds := []command{cmd(emulate.SetDeviceMetricsOverride, metrics)}
	if e.touched || e.device != nil {
		touch := emulate.SetTouchEmulationEnabledParams{Enabled: e.device != nil && e.device.Touch}
		if touch.Enabled {
			touch.MaxTouchPoints = 5
		}
		cmds = append(cmds, cmd(emulate.SetTouchEmulationEnabled, touch))
	}
	if agent != "" || e.locale != "" || e.touched {
		cmds = append(cmds, cmd(emulate.SetUserAgentOverride, emulate.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: e.locale}))
	}
	if e.locale != "" || e.touched {
		cmds = append(cmds, cmd(emulate.SetLocaleOverride, emulate.SetLocaleOverrideParams{Locale: strings.ReplaceAll(e.locale, "-", "_")}))
	}
	if e.touched { // a second one is not checked unless the first is taken back
		cmds = append(cmds, cmd(emulate.SetTimezoneOverride, emulate.SetTimezoneOverrideParams{}))
	}
	if e.timezone != "" {
		cmds = append(cmds, cmd(emulate.SetTimezoneOverride, emulate.SetTimezoneOverrideParams{TimezoneID: e.timezone}))
	}
	if len(e.headers) > 0 || e.touched {
		h := network.Headers{}
		for k, v := range e.headers {
			h[k] = v
		}
		cmds = append(cmds, cmd(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: h}))
	}
	if e.anyCert {
		cmds = append(cmds, cmd(security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true}))
	}
	if e.touched {
		motion := ""
		if e.reduced {
			motion = "reduce"
		}
		cmds = append(cmds,
			cmd(emulate.SetEmulatedMedia, emulate.SetEmulatedMediaParams{Media: e.media, Features: []*emulate.MediaFeature{
				{Name: "prefers-color-scheme", Value: e.colorScheme}, {Name: "prefers-reduced-motion", Value: motion},
			}}),
			command{"Network.emulateNetworkConditions", struct {
				Offline  bool    `json:"offline"`
				Latency  float64 `json:"latency"`
				Download float64 `json:"downloadThroughput"`
				Upload   float64 `json:"uploadThroughput"`
			}{e.offline, 0, -1, -1}})
	}
	if g := e.geolocation; g != nil {
		cmds = append(cmds, cmd(emulate.SetGeolocationOverride, emulate.SetGeolocationOverrideParams{Latitude: &g.Latitude, Longitude: &g.Longitude, Accuracy: &g.Accuracy}))
	}
	return cmds
}

func (s *session) resize(ctx context.Context, in ResizeInput) (EmulateOutput, error) {
	size := Size(in)
	if err := size.check("/width"); err != nil {
		return EmulateOutput{}, err
	}
	return s.believe(ctx, func(e *belief, view *Size) { *view = size })
}

func (s *session) emulate(ctx context.Context, in EmulateInput) (out EmulateOutput, err error) {
	var dev *device.Info
	if in.Device != nil && *in.Device != "" {
		if dev, err = findDevice(*in.Device); err != nil {
			return out, err
		}
	}
	check := SessionConfig{Headers: in.Headers}
	for to, from := range map[*string]*string{&check.Locale: in.Locale, &check.Timezone: in.Timezone} {
		if from != nil {
			*to = *from
		}
	}
	if err := check.check(); err != nil {
		return out, err
	}
	switch {
	case in.Media != nil && *in.Media != "" && *in.Media != "screen" && *in.Media != "print":
		return out, invalid("/media: %q; give screen or print", clip(*in.Media, 40))
	case in.ColorScheme != nil && *in.ColorScheme != "" && *in.ColorScheme != "light" && *in.ColorScheme != "dark":
		return out, invalid("/color_scheme: %q; give light or dark", clip(*in.ColorScheme, 40))
	}
	if in.Geolocation != nil {
		g := *in.Geolocation // a typed call's input is the caller's
		in.Geolocation = &g
		if g.Latitude < -90 || g.Latitude > 90 || g.Longitude < -180 || g.Longitude > 180 {
			return out, invalid("/geolocation: %v,%v is no place", g.Latitude, g.Longitude)
		}
		if g.Accuracy == 0 {
			g.Accuracy = 10
		}
	}
	if in.Permissions != nil {
		if err := s.grant(ctx, in.Permissions); err != nil {
			return out, err
		}
	}
	return s.believe(ctx, func(e *belief, view *Size) {
		e.touched = true
		if in.Device != nil {
			if e.device = dev; dev != nil {
				*view = Size{int(dev.Width), int(dev.Height)}
			} else {
				*view = *s.cfg.Viewport
			}
		}
		for to, from := range map[*string]*string{
			&e.media: in.Media, &e.colorScheme: in.ColorScheme, &e.locale: in.Locale, &e.timezone: in.Timezone, &e.userAgent: in.UserAgent,
		} {
			if from != nil {
				*to = *from
			}
		}
		for to, from := range map[*bool]*bool{&e.reduced: in.Reduced, &e.offline: in.Offline} {
			if from != nil {
				*to = *from
			}
		}
		if in.Headers != nil {
			e.headers = in.Headers
		}
		if in.Geolocation != nil {
			e.geolocation = in.Geolocation
		}
	})
}

// disbelief explains why the browser does not take a belief.
func disbelief(err error) error {
	e, ok := errors.AsType[*protocolError](err)
	switch {
	case !ok:
		return err
	case e.method == emulate.CommandSetTimezoneOverride:
		return invalid("/timezone: the browser knows no such time zone; give a name of the IANA database such as Europe/Berlin")
	case e.method == emulate.CommandSetLocaleOverride:
		return invalid("/locale: the browser knows no such language; give a tag such as de-DE")
	}
	return invalid("%w", err)
}

// believe changes what pages believe, those that are open and those to come.
func (s *session) believe(ctx context.Context, change func(*belief, *Size)) (out EmulateOutput, err error) {
	s.mu.Lock()
	before, size := s.emulated, s.viewport
	change(&s.emulated, &s.viewport)
	now, view := s.emulated, s.viewport
	s.mu.Unlock()
	if err := s.everywhere(ctx, now.commands(view)...); err != nil {
		s.mu.Lock()
		s.emulated, s.viewport = before, size
		s.mu.Unlock()
		return out, err
	}
	out.Width, out.Height = view.Width, view.Height
	if now.device != nil {
		out.Device = now.device.Name
	}
	return out, nil
}

// grant replaces the permissions of the session's pages.
func (s *session) grant(ctx context.Context, names []string) error {
	ctx, cancel := limited(ctx, defaultTimeout)
	defer cancel()
	if slices.Contains(names, "clipboard-read") && !s.own {
		return sandbox.Errorf(sandbox.ErrDenied, "/permissions: clipboard-read is not granted where sessions share a browser, and with it the clipboard; rule: isolation (worker grants it)")
	}
	root := s.chrome.conn.root
	if _, err := cdp.Call(ctx, root, browser.ResetPermissions, browser.ResetPermissionsParams{BrowserContextID: s.context}); err != nil {
		return problem(ctx, err)
	}
	for _, n := range names {
		err := root.Call(ctx, browser.CommandSetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: n}, Setting: browser.PermissionSettingGranted, BrowserContextID: s.context,
		}, nil)
		if _, refused := err.(*protocolError); refused {
			return invalid("/permissions: %q: %w", clip(n, 60), err)
		}
		if err != nil {
			return problem(ctx, err)
		}
	}
	return nil
}

// findDevice knows the devices that chromedp describes.
func findDevice(name string) (*device.Info, error) {
	var names []string
	for d := device.Reset + 1; d <= device.MotoG4landscape; d++ {
		info := d.Device()
		if strings.EqualFold(info.Name, name) {
			return &info, nil
		}
		names = append(names, info.Name)
	}
	sort.Strings(names)
	near := nearest.Names(name, names, 5)
	if len(near) == 0 {
		near = []string{"iPhone 13", "Pixel 5", "iPad Pro"}
	}
	return nil, invalid("/device: %q is not known; known are %s and %d others", clip(name, 60), strings.Join(near, ", "), len(names)-len(near))
}
