package browser

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sort"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"

	"github.com/agentflow-go/sandbox"
)

// Cookie is one of a session's cookies.
type Cookie struct {
	Name     string  `json:"name"`
	Value    string  `json:"value"`
	URL      string  `json:"url,omitzero" jsonschema:"to set it for, instead of domain and path"`
	Domain   string  `json:"domain,omitzero"`
	Path     string  `json:"path,omitzero"`
	Expires  float64 `json:"expires,omitzero" jsonschema:"seconds since 1970; 0 or -1: with the session"`
	HTTPOnly bool    `json:"httpOnly,omitzero"`
	Secure   bool    `json:"secure,omitzero"`
	SameSite string  `json:"sameSite,omitzero" jsonschema:"Strict, Lax or None"`
}

// StorageState is what pages have stored, in the form that Playwright uses.
type StorageState struct {
	Cookies []Cookie        `json:"cookies,omitzero"`
	Origins []OriginStorage `json:"origins,omitzero"`
}

// OriginStorage is the local storage of one origin.
type OriginStorage struct {
	Origin       string `json:"origin"`
	LocalStorage []Item `json:"localStorage,omitzero"`
}

// Item is an entry of local storage.
type Item struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CookiesInput is what browser:cookies takes.
type CookiesInput struct {
	Action  string   `json:"action,omitzero" jsonschema:"get (default), set or clear"`
	Cookies []Cookie `json:"cookies,omitempty" jsonschema:"to set"`
	Filter  string   `json:"filter,omitzero" jsonschema:"get: only those whose name or domain contains this"`
}

// CookiesOutput is what browser:cookies returns.
type CookiesOutput struct {
	Cookies []Cookie `json:"cookies"`
}

// StorageStateInput is what browser:storage_state takes.
type StorageStateInput struct {
	Action string        `json:"action,omitzero" jsonschema:"get (default), set (adds to what is there) or clear"`
	State  *StorageState `json:"state,omitempty" jsonschema:"to set"`
}

const (
	maxCookies = 3000
	maxOrigins = 50
	maxStorage = 16 << 20 // bytes of local storage that are returned
)

func (st *StorageState) check(where string) error {
	if st == nil {
		return nil
	}
	if err := checkCookies(where+"/cookies", st.Cookies); err != nil {
		return err
	}
	if len(st.Origins) > maxOrigins {
		return invalid("%s/origins: %d; give at most %d", where, len(st.Origins), maxOrigins)
	}
	for i, o := range st.Origins {
		u, err := url.Parse(o.Origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return invalid("%s/origins/%d/origin: %q; give an origin such as https://example.com", where, i, clip(o.Origin, 100))
		}
	}
	return nil
}

func checkCookies(where string, list []Cookie) error {
	if len(list) > maxCookies {
		return invalid("%s: %d; give at most %d", where, len(list), maxCookies)
	}
	for i, c := range list {
		switch {
		case c.Name == "" && c.Value == "":
			return invalid("%s/%d/name: a cookie needs a name", where, i)
		case c.URL == "" && c.Domain == "":
			return invalid("%s/%d/domain: give domain, or url", where, i)
		case c.SameSite != "" && c.SameSite != "Strict" && c.SameSite != "Lax" && c.SameSite != "None":
			return invalid("%s/%d/sameSite: %q; give Strict, Lax or None", where, i, clip(c.SameSite, 20))
		}
	}
	return nil
}

func (s *session) cookiesTool(ctx context.Context, in CookiesInput) (out CookiesOutput, err error) {
	ctx, cancel := limited(ctx, defaultTimeout)
	defer cancel()
	root := s.chrome.conn.root
	switch in.Action {
	case "", "get":
	case "set":
		if err := checkCookies("/cookies", in.Cookies); err != nil {
			return out, err
		}
		if err := s.setCookies(ctx, in.Cookies); err != nil {
			return out, problem(ctx, err)
		}
	case "clear":
		if _, err := cdp.Call(ctx, root, storage.ClearCookies, storage.ClearCookiesParams{BrowserContextID: s.context}); err != nil {
			return out, problem(ctx, err)
		}
	default:
		return out, invalid("/action: %q; give get, set or clear", clip(in.Action, 40))
	}
	all, err := s.getCookies(ctx)
	if err != nil {
		return out, problem(ctx, err)
	}
	out.Cookies = []Cookie{}
	for _, c := range all {
		if in.Filter == "" || strings.Contains(c.Name, in.Filter) || strings.Contains(c.Domain, in.Filter) {
			out.Cookies = append(out.Cookies, c)
		}
	}
	return out, nil
}

func (s *session) getCookies(ctx context.Context) ([]Cookie, error) {
	res, err := cdp.Call(ctx, s.chrome.conn.root, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: s.context})
	if err != nil {
		return nil, err
	}
	list := make([]Cookie, 0, len(res.Cookies))
	for _, c := range res.Cookies {
		list = append(list, Cookie{
			Name: c.Name, Value: c.Value, Domain: c.Domain, Path: c.Path, Expires: c.Expires,
			HTTPOnly: c.HTTPOnly, Secure: c.Secure, SameSite: string(c.SameSite),
		})
	}
	return list, nil
}

func (s *session) setCookies(ctx context.Context, list []Cookie) error {
	params := storage.SetCookiesParams{BrowserContextID: s.context, Cookies: []*network.CookieParam{}}
	for _, c := range list {
		p := &network.CookieParam{
			Name: c.Name, Value: c.Value, URL: c.URL, Domain: c.Domain, Path: c.Path, Secure: c.Secure,
			HTTPOnly: c.HTTPOnly, SameSite: network.CookieSameSite(c.SameSite),
		}
		if c.Expires > 0 {
			p.Expires = cdp.TimeSinceEpoch(c.Expires)
		}
		params.Cookies = append(params.Cookies, p)
	}
	err := s.chrome.conn.root.Call(ctx, storage.CommandSetCookies, params, nil)
	if e, ok := errors.AsType[*protocolError](err); ok {
		return invalid("/cookies: the browser refuses one of them: %s", clip(e.text, 200))
	}
	return err
}

func (s *session) storageTool(ctx context.Context, in StorageStateInput) (out StorageState, err error) {
	ctx, cancel := limited(ctx, gotoTimeout)
	defer cancel()
	switch in.Action {
	case "", "get":
	case "set":
		if in.State == nil {
			return out, sandbox.Errorf(sandbox.ErrMissingField, "/state: what to set is missing")
		}
		if err := in.State.check("/state"); err != nil {
			return out, err
		}
		if err := s.restore(ctx, in.State); err != nil {
			return out, problem(ctx, err)
		}
	case "clear":
		if err := s.clearStorage(ctx); err != nil {
			return out, problem(ctx, err)
		}
	default:
		return out, invalid("/action: %q; give get, set or clear", clip(in.Action, 40))
	}
	if out.Cookies, err = s.getCookies(ctx); err != nil {
		return out, problem(ctx, err)
	}
	out.Origins = []OriginStorage{}
	size := 0
	err = s.visit(ctx, s.knownOrigins(), func(ctx context.Context, t *tab, origin string) error {
		var items []Item
		if err := t.js(ctx, t.mainFrame(), &items, "storage"); err != nil {
			return err
		}
		for _, i := range items {
			size += len(i.Name) + len(i.Value)
		}
		if size > maxStorage {
			return sandbox.Errorf(sandbox.ErrTooLarge, "local storage has more than %d bytes", maxStorage)
		}
		if len(items) > 0 {
			out.Origins = append(out.Origins, OriginStorage{origin, items})
		}
		return nil
	})
	return out, problem(ctx, err)
}

// knownOrigins are those that pages of the session have been at.
func (s *session) knownOrigins() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for o := range s.origins {
		list = append(list, o)
	}
	sort.Strings(list)
	return list[:min(len(list), maxOrigins)]
}

func (s *session) clearStorage(ctx context.Context) error {
	for _, o := range s.knownOrigins() {
		for _, t := range s.list() { // one page reaches the storage of all
			if err := t.link.Call(ctx, storage.CommandClearDataForOrigin, storage.ClearDataForOriginParams{Origin: o, StorageTypes: "all"}, nil); err == nil {
				break
			} else if ctx.Err() != nil {
				return err
			}
		}
	}
	_, err := cdp.Call(ctx, s.chrome.conn.root, storage.ClearCookies, storage.ClearCookiesParams{BrowserContextID: s.context})
	return err
}

// restore adds cookies and local storage.
func (s *session) restore(ctx context.Context, st *StorageState) error {
	if err := s.setCookies(ctx, st.Cookies); err != nil {
		return err
	}
	items := map[string][]Item{}
	var origins []string
	for _, o := range st.Origins {
		origin := strings.TrimSuffix(o.Origin, "/")
		items[origin] = append(items[origin], o.LocalStorage...)
		origins = append(origins, origin)
		s.visited(origin)
	}
	return s.visit(ctx, origins, func(ctx context.Context, t *tab, origin string) error {
		var a answer
		return t.js(ctx, t.mainFrame(), &a, "setStorage", items[origin])
	})
}

// visit opens an empty page of each origin, which nothing is fetched for, and
// calls do with it.
func (s *session) visit(ctx context.Context, origins []string, do func(context.Context, *tab, string) error) (err error) {
	if len(origins) == 0 {
		return nil
	}
	t, err := s.newTab(ctx)
	if err != nil {
		return err
	}
	t.hide()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if e := t.close(end); e == nil {
			select {
			case <-t.link.gone:
			case <-end.Done():
			}
		}
		s.departed(t)
	}()
	if err := t.link.all(ctx, cmd(fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "*"}}})); err != nil {
		return err
	}
	for _, origin := range origins {
		res, err := t.navigate(ctx, origin+"/")
		if err == nil && res.ErrorText != "" {
			err = fmt.Errorf("storage of %s: %s", origin, res.ErrorText)
		}
		if err != nil {
			return err
		}
		if err := t.until(ctx, func() bool { return t.document(res.LoaderID).committed }); err != nil {
			return err
		}
		if err := do(ctx, t, origin); err != nil {
			return err
		}
	}
	return nil
}

// hide makes the page one that answers all requests with nothing.
func (t *tab) hide() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hidden = true
}

// empty answers a request of a hidden page.
func (t *tab) empty(l *link, id fetch.RequestID) {
	t.s.spawn(func() {
		l.Call(t.s.base, fetch.CommandFulfillRequest, fetch.FulfillRequestParams{
			RequestID: id, ResponseCode: 200, Body: []byte("<!doctype html>"),
			ResponseHeaders: []*fetch.HeaderEntry{{Name: "Content-Type", Value: "text/html"}},
		}, nil)
	})
}
