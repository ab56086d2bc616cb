package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"

	"github.com/agentflow-go/sandbox"
)

// access says which callers an endpoint serves.
type access uint8

const (
	anyToken  access = iota // whoever has a token; workers are checked against its prefix
	everybody               // also without a token
	unbound                 // only tokens that are not bound to a prefix
)

// caller is who sent a request.
type caller struct {
	token  int    // index of the token; -1: none
	prefix string // of the worker ids that it may name
	known  bool   // it presented a good token, or none is asked for
	wrong  bool   // it presented another
}

// owns reports whether the caller may act for the worker.
func (c caller) owns(worker string) bool { return strings.HasPrefix(worker, c.prefix) }

// auth recognises callers by the hashes of their tokens.
type auth struct {
	hashes   [][sha256.Size]byte
	prefixes []string
}

func newAuth(tokens []Token) (*auth, error) {
	a := &auth{}
	for i, t := range tokens {
		if t.Secret == "" {
			return nil, fmt.Errorf("api: Tokens[%d]: Secret is empty", i)
		}
		h := sha256.Sum256([]byte(t.Secret))
		for j := range a.hashes {
			if a.hashes[j] == h {
				return nil, fmt.Errorf("api: Tokens[%d]: the same secret as Tokens[%d]", i, j)
			}
		}
		a.hashes = append(a.hashes, h)
		a.prefixes = append(a.prefixes, t.WorkerPrefix)
	}
	return a, nil
}

// enabled reports whether callers must present a token.
func (a *auth) enabled() bool { return len(a.hashes) > 0 }

// caller tells who sent r. All hashes are compared, each in constant time, so
// that time tells nothing about how near a guess came.
func (a *auth) caller(r *http.Request) caller {
	if !a.enabled() {
		return caller{token: -1, known: true}
	}
	c := caller{token: -1}
	secret := presented(r)
	if secret == "" {
		return c
	}
	h := sha256.Sum256([]byte(secret))
	for i := range a.hashes {
		if subtle.ConstantTimeCompare(a.hashes[i][:], h[:]) == 1 {
			c = caller{token: i, prefix: a.prefixes[i], known: true}
		}
	}
	c.wrong = !c.known
	return c
}

// presented returns the token that r carries, if any.
func presented(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return r.Header.Get("X-API-Key")
}

// admit returns the refusal for a caller that the endpoint does not serve.
func admit(c caller, a access) *reply {
	switch {
	case a == everybody:
		return nil
	case c.wrong:
		return refusal(sandbox.ErrUnauthorized, "the token is not one of this server's")
	case !c.known:
		return refusal(sandbox.ErrUnauthorized,
			"a token is required: send it as Authorization: Bearer <token> or X-API-Key: <token>")
	case a == unbound && c.prefix != "":
		return refusal(sandbox.ErrForbidden, "this token is bound to workers and may not do this")
	}
	return nil
}
