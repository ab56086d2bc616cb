package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// PatternError is a pattern of an allow list that [ParsePolicy] refused.
type PatternError struct {
	Pattern string
	Err     error // what is wrong, what was expected and an example
}

func (e *PatternError) Error() string {
	return fmt.Sprintf("egress pattern %q: %v", clip(e.Pattern), e.Err)
}

func (e *PatternError) Unwrap() error { return e.Err }

func parsePattern(s string) (rule, error) {
	r := rule{text: s}
	if strings.Contains(s, "://") {
		return rule{}, errors.New("a URL, expected host[:port] such as example.com:443")
	}
	left, right, unlocked := strings.Cut(s, "=")
	host, ports, err := splitPattern(left)
	if err != nil {
		return rule{}, err
	}
	if r.ports, err = parsePorts(ports); err != nil {
		return rule{}, err
	}
	if err := r.setHost(host); err != nil {
		return rule{}, err
	}
	if unlocked {
		if r.name == "" {
			return rule{}, errors.New("= after something that is not a name, expected name=range such as db.example.com=10.0.0.0/8")
		}
		if r.unlock, err = parseUnlock(right); err != nil {
			return rule{}, err
		}
	}
	return r, nil
}

// splitPattern takes the ports off. Unlike an authority a pattern may be an IPv6
// address or range without brackets, which then has no ports.
func splitPattern(s string) (host, ports string, err error) {
	if strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "[") {
		return s, "", nil
	}
	host, ports, err = splitAuthority(s)
	if err != nil {
		return "", "", err
	}
	// A range in brackets, [fd00::/8]:443, is no Host: unwrap it here.
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.Contains(inner, "/") {
		host = strings.TrimSuffix(inner, "]")
		if !strings.Contains(host, ":") {
			return "", "", errors.New("brackets around what is not IPv6, expected 10.0.0.0/8:5432 or [fd00::/8]:5432")
		}
	}
	return host, ports, nil
}

func parsePorts(s string) ([]uint16, error) {
	if s == "" || s == "*" {
		return nil, nil
	}
	var ports []uint16
	for f := range strings.SplitSeq(s, ",") {
		if f == "" {
			return nil, errors.New("an empty port, expected a list such as 80,443")
		}
		p, err := parsePort(f)
		if err != nil {
			return nil, fmt.Errorf("%w, a list such as 80,443, or *", err)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

func (r *rule) setHost(host string) error {
	if host == "*" {
		r.any = true
		return nil
	}
	if strings.Contains(host, "/") {
		net, err := parseRange(host)
		if err != nil {
			return err
		}
		r.net = net
		return refuseNever(net)
	}
	base, wild := strings.CutPrefix(host, "*.")
	if strings.Contains(base, "*") {
		return errors.New("* inside a name, expected it as the whole first label such as *.example.com")
	}
	h, err := ParseHost(base)
	if err != nil {
		return err
	}
	addr, literal := h.Addr()
	switch {
	case wild && literal:
		return errors.New("* before an address, expected a range such as 10.0.0.0/8")
	case literal:
		r.net = netip.PrefixFrom(addr, addr.BitLen())
		return refuseNever(r.net)
	case wild:
		r.wild, r.name = true, "."+h.name
	default:
		r.name = h.name
	}
	return nil
}

func parseRange(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not a range of addresses, expected one such as 10.0.0.0/8 or fd00::/8", s)
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is an IPv4-mapped range, expected the IPv4 one such as 10.0.0.0/8", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits set past the prefix, expected the range %v or the address %v", s, p.Masked(), p.Addr())
	}
	return p, nil
}

// parseUnlock reads the range after =. One that no special block contains would
// unlock nothing, which its author cannot have meant.
func parseUnlock(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		h, err := ParseHost(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr, literal := h.Addr()
		if !literal {
			return netip.Prefix{}, fmt.Errorf("%q after =, expected an address or range such as 10.0.0.0/8", s)
		}
		p := netip.PrefixFrom(addr, addr.BitLen())
		return p, refuseNever(p)
	}
	p, err := parseRange(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	inside := slices.ContainsFunc(special, func(b block) bool { return within(p, b.net) })
	if !inside && !p.IsSingleIP() {
		return netip.Prefix{}, fmt.Errorf("%q lies in no special block and would unlock nothing, expected a range inside one such as 10.0.0.0/8", s)
	}
	return p, refuseNever(p)
}

// refuseNever refuses what no rule can unlock, while its author can still hear it.
func refuseNever(p netip.Prefix) error {
	for _, b := range special {
		if b.never && within(p, b.net) {
			return fmt.Errorf("%v is %s and can never be reached, expected a unicast address such as 127.0.0.1", p, b)
		}
	}
	return nil
}
