package egress

import (
	"errors"
	"strings"
	"testing"
)

func mustPolicy(t testing.TB, patterns ...string) *Policy {
	t.Helper()
	p, err := ParsePolicy(patterns)
	if err != nil {
		t.Fatalf("ParsePolicy(%q) = %v", patterns, err)
	}
	return p
}

func TestPolicyPermits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		allow   []string
		permits []string
		denies  []string
	}{
		{"empty list permits nothing", nil, nil,
			[]string{"example.com:443", "127.0.0.1:80", "[::1]:80", "8.8.8.8:53"}},
		{"a name is only itself", []string{"example.com"},
			[]string{"example.com:443", "example.com:1", "EXAMPLE.com:443", "example.com.:443"},
			[]string{"www.example.com:443", "evil-example.com:443", "example.com.evil.org:443", "example.comm:443",
				"xample.com:443", "com:443", "8.8.8.8:443"}},
		{"a wildcard is every name below", []string{"*.example.com"},
			[]string{"a.example.com:443", "a.b.example.com:443", "A.Example.COM.:443"},
			[]string{"example.com:443", "evil-example.com:443", "a.example.com.evil.org:443", "aexample.com:443"}},
		{"patterns are put in normal form", []string{"Example.COM.:443"},
			[]string{"example.com:443"}, []string{"example.com:80"}},
		{"ports", []string{"a.test:80,443", "b.test:*"},
			[]string{"a.test:80", "a.test:443", "b.test:1", "b.test:65535"}, []string{"a.test:8080", "a.test:4430"}},
		{"a literal address", []string{"192.0.2.7:80", "[2001:db8::7]:80", "2001:db8::8"},
			[]string{"192.0.2.7:80", "[::ffff:192.0.2.7]:80", "[2001:db8::7]:80", "[2001:DB8:0::7]:80", "[2001:db8::8]:1"},
			[]string{"192.0.2.7:81", "192.0.2.8:80", "[2001:db8::7]:81", "[2001:db8::9]:80", "name.test:80"}},
		{"a mapped pattern is its IPv4 address", []string{"[::ffff:192.0.2.7]:80"},
			[]string{"192.0.2.7:80"}, []string{"192.0.2.7:81"}},
		{"a range", []string{"10.0.0.0/8:5432", "[fd00::/8]:80", "fc00::/16"},
			[]string{"10.255.0.1:5432", "[::ffff:10.0.0.1]:5432", "[fd12::1]:80", "[fc00::1]:9"},
			[]string{"10.0.0.1:80", "11.0.0.1:5432", "[fe00::1]:80", "db.test:5432"}},
		{"a name with a range is a name", []string{"db.test:5432=10.0.0.0/8"},
			[]string{"db.test:5432"}, []string{"db.test:80", "10.0.0.1:5432"}},
		{"a star is everything", []string{"*:443"},
			[]string{"example.com:443", "8.8.8.8:443"}, []string{"example.com:80"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := mustPolicy(t, tt.allow...)
			check := func(authority string, want bool) {
				h, port, err := ParseAuthority(authority, 0)
				if err != nil {
					t.Fatalf("ParseAuthority(%q) = %v", authority, err)
				}
				if got := p.Permits(h, port); got != want {
					t.Errorf("Permits(%q) = %v, want %v", authority, got, want)
				}
			}
			for _, a := range tt.permits {
				check(a, true)
			}
			for _, a := range tt.denies {
				check(a, false)
			}
		})
	}
}

func TestNilPolicyPermitsNothing(t *testing.T) {
	t.Parallel()
	var p *Policy
	h, _ := ParseHost("example.com")
	if p.Permits(h, 443) || !p.Empty() || mustPolicy(t, "*").Permits(Host{}, 443) {
		t.Error("a nil policy or a zero host passes")
	}
}

func TestPatternErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ pattern, want string }{
		{"", "empty host, expected a name such as example.com"},
		{"https://example.com", "a URL, expected host[:port] such as example.com:443"},
		{"example.com:", "empty port"},
		{"example.com:0", `port "0", expected a number from 1 to 65535`},
		{"example.com:65536", "expected a number from 1 to 65535"},
		{"example.com:080", "expected a number from 1 to 65535"},
		{"example.com:+80", "expected a number from 1 to 65535"},
		{"example.com:80,", "an empty port"},
		{"example.com:http", "expected a number from 1 to 65535, a list such as 80,443, or *"},
		{"exa mple.com", "control byte or space 0x20"},
		{"example.com\x00", "control byte or space 0x00"},
		{"münchen.de", "xn--"},
		{"example..com", "empty label"},
		{"example.com..", "empty label"},
		{".example.com", "empty label"},
		{"-a.com", "hyphen"},
		{"a/b.com", "not a range"},
		{"user@example.com", `unexpected '@'`},
		{"a.*.com", "* inside a name"},
		{"*example.com", "* inside a name"},
		{"*.", "empty host"},
		{"*.10.0.0.1", "* before an address"},
		{"127.1", "unusual notation"},
		{"0x7f.1", "unusual notation"},
		{"0x7f000001", "unusual notation"},
		{"0177.0.0.1", "unusual notation"},
		{"2130706433", "unusual notation"},
		{"127.0.0.1.", "unusual notation"},
		{"1.2.3.256", "unusual notation"},
		{"fe80::1%eth0", "zone"},
		{"[fe80::1%25eth0]:80", "zone"},
		{"[127.0.0.1]:80", "IPv6 address in brackets"},
		{"[::1", "closing bracket"},
		{"[::1]80", "expected [address]:port"},
		{"10.0.0.1/8", "expected the range 10.0.0.0/8 or the address 10.0.0.1"},
		{"10.0.0.0/33", "not a range"},
		{"[10.0.0.0/8]:80", "brackets around what is not IPv6"},
		{"::ffff:10.0.0.0/104", "IPv4-mapped range"},
		{"0.0.0.0", "can never be reached"},
		{"[::]:80", "can never be reached"},
		{"224.0.0.1", "multicast"},
		{"255.255.255.255", "broadcast"},
		{"10.0.0.1=10.0.0.0/8", "expected name=range"},
		{"*.example.com=0.0.0.0/0", "would unlock nothing"},
		{"db.test=", "empty host"},
		{"db.test=other.test", "expected an address or range such as 10.0.0.0/8"},
		{"db.test=10.0.0.1/8", "expected the range"},
		{"db.test=10.0.0.0/8:80", "not a range"},
		{"*=10.0.0.0/8", "not a name"},
	}
	for _, tt := range tests {
		t.Run(tt.pattern, func(t *testing.T) {
			t.Parallel()
			_, err := ParsePolicy([]string{"fine.test", tt.pattern})
			pe, ok := errors.AsType[*PatternError](err)
			if !ok || pe.Pattern != tt.pattern || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParsePolicy(%q) = %v, want it to say %q", tt.pattern, err, tt.want)
			}
		})
	}
}

func TestParsePolicyReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := ParsePolicy([]string{"a b", "fine.test", "127.1"})
	if err == nil || strings.Count(err.Error(), "egress pattern") != 2 {
		t.Errorf("ParsePolicy = %v, want two faults", err)
	}
}

func TestParseAuthorityRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", ":80", "example.com", "example.com:", "example.com:80:80", "::1:80", "[::1]", "[::1]:",
		"[::1]:80:80", "a@b:80", "a:80@b:90", "a/b:80", `a\b:80`, "a\x00.b:80", "a%2eb:80", "a:8 0", "a:٣", "a\r\n:80",
		"0300.0.0.1:80", "0x7f.0.0.1:80", "1.0x7f:80", "017700000001:80", "１２７.0.0.1:80", "ⓔxample.com:80",
		strings.Repeat("a.", 127) + "com:80", strings.Repeat("a", 64) + ".com:80"} {
		if h, port, err := ParseAuthority(s, 0); err == nil {
			t.Errorf("ParseAuthority(%q) = %v, %d, want an error", s, h, port)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, s := range []string{"example.com:80,443", "*.a.test", "[::1]:80", "10.0.0.0/8:5432", "db.a:1=10.0.0.0/8", "*:*", "fd00::/8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePolicy([]string{s})
		if err != nil {
			return
		}
		r := p.rules[0]
		kinds := 0
		for _, is := range []bool{r.any, r.name != "", r.net.IsValid()} {
			if is {
				kinds++
			}
		}
		if kinds != 1 || r.net.IsValid() && r.net != r.net.Masked() || r.wild && !strings.HasPrefix(r.name, ".") {
			t.Errorf("ParsePolicy(%q) compiled to %+v", s, r)
		}
		if r.name != "" && !r.wild {
			if h, err := ParseHost(r.name); err != nil || !p.Permits(h, 443) && r.ports == nil {
				t.Errorf("pattern %q does not permit its own name: %v, %v", s, h, err)
			}
		}
	})
}

func FuzzParseAuthority(f *testing.F) {
	for _, s := range []string{"example.com:443", "[::1]:80", "127.0.0.1:1", "a\x00b:1", "0x7f.1:80", "[::ffff:1.2.3.4]:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, port, err := ParseAuthority(s, 0)
		if err != nil {
			return
		}
		again, port2, err := ParseAuthority(h.join(port), 0)
		if err != nil || again != h || port2 != port {
			t.Errorf("ParseAuthority(%q) = %v:%d, which reads back as %v:%d, %v", s, h, port, again, port2, err)
		}
		if strings.ContainsFunc(h.String(), func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '%' || r == '@' || r == '/' }) {
			t.Errorf("ParseAuthority(%q) let %q pass", s, h)
		}
		if a, literal := h.Addr(); literal && (a.Is4In6() || a.Zone() != "") {
			t.Errorf("ParseAuthority(%q) = the address %v", s, a)
		}
	})
}
