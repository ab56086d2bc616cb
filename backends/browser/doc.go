// Package browser gives a worker a web browser: a browser context of its own,
// with cookies, storage, cache and downloads that nobody shares, in a confined
// Chromium that sessions under equal network policy share.
//
//	var reg sandbox.Registry
//	br := browser.Register(&reg, browser.Config{})
//	sb, err := sandbox.New(sandbox.Options{Registry: &reg, Confine: sandbox.Confinement{
//		Egress: sandbox.Egress{Allow: []string{"example.com"}},
//	}})
//	…
//	w := sb.Worker("w1")
//	out, err := br.Goto.Call(ctx, w, browser.GotoInput{URL: "https://example.com"})
//
// Elements are named by the references of a snapshot, by CSS selector, by text or
// by coordinates. Tools wait until an element can take the action, and say what
// is in the way if it cannot. What pages do (dialogs, windows, downloads, crashes,
// endless loops) ends calls with a result or a clear error, never the session of
// somebody else. See docs/browser.md.
package browser
