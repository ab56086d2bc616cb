package egress

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// Policy is a compiled allow list. The zero value and nil permit nothing. A
// Policy does not change after [ParsePolicy] made it, so any number of
// goroutines may use it.
type Policy struct {
	rules []rule
}

// rule is one pattern of the list. Exactly one of any, name and net is set.
type rule struct {
	text   string       // as it was written
	any    bool         // "*": every name and every address
	name   string       // a name, or with wild the suffix ".example.com"
	wild   bool         //
	net    netip.Prefix // literal addresses
	unlock netip.Prefix // where name may lead although it is not public
	ports  []uint16     // nil: every port
}

// ParsePolicy compiles patterns, each of the form
//
//	example.com                 that name, on every port
//	example.com:443             on one port
//	example.com:80,443          on several; :* is every port
//	*.example.com               every name below example.com, not itself
//	192.0.2.7, [2001:db8::7]:80 a literal address (brackets only before a port)
//	10.0.0.0/8:5432             the addresses of a range; [fd00::/8]:5432
//	db.example.com=10.0.0.0/8   the name, which may also resolve into the range
//	db.example.com:5432=10.1.2.3  with ports; one address instead of a range
//	*                           every name and address that is public
//
// A name matches requests for that name, an address or range matches requests
// for a literal address: neither speaks for the other. Addresses that are not
// public (see special.go) stay locked behind a listed name. A listed literal or
// range unlocks itself, name=range unlocks the range for that name; but always
// only the special blocks in which it lies wholly: 10.0.0.0/8 unlocks private
// addresses, while 0.0.0.0/0 means the public ones, 169.254.0.0/16 leaves the
// metadata service locked and 10.0.0.0/8 the host's own addresses, each of
// which has to be listed by itself.
//
// All faulty patterns are reported, joined, each as a [*PatternError].
func ParsePolicy(patterns []string) (*Policy, error) {
	p := &Policy{rules: make([]rule, 0, len(patterns))}
	var errs []error
	for _, s := range patterns {
		r, err := parsePattern(s)
		if err != nil {
			errs = append(errs, &PatternError{Pattern: s, Err: err})
			continue
		}
		p.rules = append(p.rules, r)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p, nil
}

// Empty reports whether p permits nothing at all, so that no proxy is needed.
func (p *Policy) Empty() bool { return p == nil || len(p.rules) == 0 }

// Patterns returns the list as it was written.
func (p *Policy) Patterns() []string {
	if p == nil {
		return nil
	}
	texts := make([]string, len(p.rules))
	for i, r := range p.rules {
		texts[i] = r.text
	}
	return texts
}

// Permits reports whether host and port are in the list. The address that a
// name resolves to, and whether a literal address is public, is the Guard's
// question.
func (p *Policy) Permits(h Host, port uint16) bool {
	if p == nil {
		return false
	}
	for i := range p.rules {
		if p.rules[i].matches(h, port) {
			return true
		}
	}
	return false
}

// unlocks reports whether a rule for host and port covers addr and lies within
// the special block that addr belongs to.
func (p *Policy) unlocks(h Host, port uint16, addr netip.Addr, block netip.Prefix) bool {
	if p == nil {
		return false
	}
	for i := range p.rules {
		r := &p.rules[i]
		unlock := r.unlock
		if _, literal := h.Addr(); literal {
			unlock = r.net
		}
		if unlock.IsValid() && unlock.Contains(addr) && within(unlock, block) && r.matches(h, port) {
			return true
		}
	}
	return false
}

// within reports whether every address of inner is in outer.
func within(inner, outer netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

func (r *rule) matches(h Host, port uint16) bool {
	if r.ports != nil && !slices.Contains(r.ports, port) {
		return false
	}
	addr, literal := h.Addr()
	switch {
	case h == Host{}:
		return false
	case r.any:
		return true
	case literal:
		return r.net.IsValid() && r.net.Contains(addr)
	case r.wild:
		// name begins with a dot, so evil-example.com has not this suffix.
		return strings.HasSuffix(h.name, r.name)
	}
	return r.name != "" && r.name == h.name
}
