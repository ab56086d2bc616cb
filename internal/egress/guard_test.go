package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// names is a resolver. Each lookup of a name takes the next of its answers,
// the last one for ever.
type names struct {
	mu      sync.Mutex // guards what follows
	answers map[string][][]string
	asked   []string
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, host)
	list := n.answers[host]
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(list) > 1 {
		n.answers[host] = list[1:]
	}
	var addrs []netip.Addr
	for _, s := range list[0] {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	return addrs, nil
}

// always is a resolver with one answer a name.
func always(pairs ...string) *names {
	n := &names{answers: map[string][][]string{}}
	for i := 0; i < len(pairs); i += 2 {
		n.answers[pairs[i]] = [][]string{strings.Split(pairs[i+1], " ")}
	}
	return n
}

// dialer records what is dialled and connects to nothing.
type dialer struct {
	mu     sync.Mutex // guards dialed
	dialed []string
	fail   map[string]error
}

func (d *dialer) connect(_ context.Context, _, address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dialed = append(d.dialed, address)
	if err := d.fail[address]; err != nil {
		return nil, err
	}
	a, b := net.Pipe()
	b.Close()
	return a, nil
}

func noAddrs() ([]net.Addr, error) { return nil, nil }

func TestGuardDials(t *testing.T) {
	t.Parallel()
	own := func() ([]net.Addr, error) {
		return []net.Addr{
			&net.IPNet{IP: net.ParseIP("127.0.0.1"), Mask: net.CIDRMask(8, 32)},
			&net.IPNet{IP: net.ParseIP("93.184.215.1"), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.ParseIP("10.0.0.5"), Mask: net.CIDRMask(8, 32)},
			&net.IPNet{IP: net.ParseIP("2a00::5"), Mask: net.CIDRMask(64, 128)},
		}, nil
	}
	tests := []struct {
		name    string
		allow   string
		answer  string // of every name
		address string
		dialed  []string
		rule    string // "": permitted
		message string
	}{
		{"a public name", "example.com", "93.184.216.34", "example.com:443", []string{"93.184.216.34:443"}, "", ""},
		{"trailing dot and upper case", "example.com", "93.184.216.34", "EXAMPLE.com.:443", []string{"93.184.216.34:443"}, "", ""},
		{"not listed", "example.com", "93.184.216.34", "example.org:443", nil, RuleAllowList,
			"network denied: example.org:443 is not in the allow list"},
		{"empty list", "", "93.184.216.34", "example.org:443", nil, RuleAllowList,
			"network denied: example.org:443 is not in the allow list, which is empty"},
		{"no port", "example.com", "93.184.216.34", "example.com", nil, RuleHostName, "has no port"},
		{"NUL in the name", "example.com", "93.184.216.34", "example.com\x00.evil.org:443", nil, RuleHostName, `"example.com\x00.evil.org:443"`},
		{"listed name, private address", "db.test", "10.1.2.3", "db.test:80", nil, "private (10.0.0.0/8, RFC 1918)",
			"network denied: db.test:80 resolves to 10.1.2.3, which is private (10.0.0.0/8, RFC 1918)"},
		{"listed name, mapped private address", "db.test", "::ffff:10.1.2.3", "db.test:80", nil, "private (10.0.0.0/8, RFC 1918)", "10.1.2.3"},
		{"any name, private address", "*", "10.1.2.3", "db.test:80", nil, "private (10.0.0.0/8, RFC 1918)", ""},
		{"any, private literal", "*", "", "10.1.2.3:80", nil, "private (10.0.0.0/8, RFC 1918)", "listed by itself"},
		{"listed name, loopback", "db.test", "127.0.0.1", "db.test:80", nil, "loopback (127.0.0.0/8, RFC 1122)", ""},
		{"listed name, metadata", "db.test", "169.254.169.254", "db.test:80", nil,
			"a cloud metadata service (169.254.169.254/32, AWS, Google, Azure and others)", ""},
		{"listed name, NAT64", "db.test", "64:ff9b::7f00:1", "db.test:80", nil, "IPv4 behind NAT64 (64:ff9b::/96, RFC 6052)", ""},
		{"listed name, own public address", "db.test", "93.184.215.1", "db.test:80", nil, RuleOwn, "an address of this machine"},
		{"listed name, own IPv6 address", "db.test", "2a00::5", "db.test:80", nil, RuleOwn, ""},
		{"own address listed", "93.184.215.1:80", "", "93.184.215.1:80", []string{"93.184.215.1:80"}, "", ""},
		{"own address within a listed range", "10.0.0.0/8", "", "10.0.0.5:80", nil, RuleOwn, ""},
		{"name unlocked", "db.test=10.0.0.0/8", "10.1.2.3", "db.test:80", []string{"10.1.2.3:80"}, "", ""},
		{"name unlocked for another range", "db.test=10.2.0.0/16", "10.1.2.3", "db.test:80", nil, "private (10.0.0.0/8, RFC 1918)", ""},
		{"name unlocked for another port", "db.test:5432=10.0.0.0/8", "10.1.2.3", "db.test:80", nil, RuleAllowList, ""},
		{"range unlocked for a name is none for literals", "db.test=10.0.0.0/8", "", "10.1.2.3:80", nil, RuleAllowList, ""},
		{"wildcard unlocked", "*.test=10.0.0.0/8", "10.1.2.3", "db.test:80", []string{"10.1.2.3:80"}, "", ""},
		{"name unlocked for the own address", "db.test=10.0.0.5", "10.0.0.5", "db.test:80", []string{"10.0.0.5:80"}, "", ""},
		{"loopback literal", "127.0.0.1:8080", "", "127.0.0.1:8080", []string{"127.0.0.1:8080"}, "", ""},
		{"loopback literal, another port", "127.0.0.1:8080", "", "127.0.0.1:8081", nil, RuleAllowList, ""},
		{"loopback range", "127.0.0.0/8", "", "127.0.0.1:8080", []string{"127.0.0.1:8080"}, "", ""},
		{"IPv6 loopback", "[::1]:80", "", "[::1]:80", []string{"[::1]:80"}, "", ""},
		{"mapped literal", "127.0.0.1:80", "", "[::ffff:127.0.0.1]:80", []string{"127.0.0.1:80"}, "", ""},
		{"all of IPv4 is the public part", "0.0.0.0/0", "", "10.1.2.3:80", nil, "private (10.0.0.0/8, RFC 1918)", ""},
		{"all of IPv4, public", "0.0.0.0/0", "", "8.8.8.8:80", []string{"8.8.8.8:80"}, "", ""},
		{"link-local range, metadata", "169.254.0.0/16", "", "169.254.169.254:80", nil,
			"a cloud metadata service (169.254.169.254/32, AWS, Google, Azure and others)", ""},
		{"unique local range, metadata", "fd00::/8", "", "[fd00:c1::a9fe:a9fe]:80", nil,
			"a cloud metadata service (fd00:c1::a9fe:a9fe/128, Oracle)", ""},
		{"metadata listed by itself", "169.254.169.254:80", "", "169.254.169.254:80", []string{"169.254.169.254:80"}, "", ""},
		{"some addresses pass", "a.test", "10.0.0.1 93.184.216.34 64:ff9b::1", "a.test:80", []string{"93.184.216.34:80"}, "", ""},
		{"an odd notation", "127.0.0.1", "127.0.0.1", "0x7f.1:80", nil, RuleHostName, "unusual notation"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var patterns []string
			if tt.allow != "" {
				patterns = []string{tt.allow}
			}
			res := always()
			if tt.answer != "" {
				res = always("example.com", tt.answer, "example.org", tt.answer, "db.test", tt.answer, "a.test", tt.answer)
			}
			var d dialer
			g := &Guard{Policy: mustPolicy(t, patterns...), Resolver: res, Connect: d.connect, Own: own}
			conn, err := g.DialContext(t.Context(), "tcp", tt.address)
			if err == nil {
				conn.Close()
			}
			rule := ""
			if denied, ok := errors.AsType[*Denied](err); ok {
				rule = denied.Rule
			}
			if rule != tt.rule || err == nil != (tt.rule == "") || err != nil && !strings.Contains(err.Error(), tt.message) {
				t.Errorf("DialContext(%q) = %v (rule %q), want rule %q and %q", tt.address, err, rule, tt.rule, tt.message)
			}
			if diff := cmp.Diff(tt.dialed, d.dialed); diff != "" {
				t.Errorf("dialled (-want +got):\n%s", diff)
			}
			if (rule == RuleAllowList || rule == RuleHostName) && len(res.asked) > 0 {
				t.Errorf("resolved %q before the list permitted it", res.asked)
			}
		})
	}
}

func TestEverySpecialBlockIsRefused(t *testing.T) {
	t.Parallel()
	for _, b := range special {
		last := b.net.Addr().AsSlice()
		for i := b.net.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 1 << (7 - i%8)
		}
		end, _ := netip.AddrFromSlice(last)
		for _, addr := range []netip.Addr{b.net.Addr(), end} {
			g := &Guard{Policy: mustPolicy(t, "*", "0.0.0.0/0", "::/0", "a.test"), Own: noAddrs, Connect: new(dialer).connect,
				Resolver: always("a.test", addr.String())}
			for _, host := range []string{"a.test", addr.String()} {
				h, err := ParseHost(host)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := g.DialContext(t.Context(), "tcp", h.join(80)); err == nil {
					t.Errorf("%v: %s was dialled by %s", b, addr, host)
				}
			}
		}
	}
	// And what the brackets of the table leave out is public.
	for _, s := range []string{"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"172.15.255.255", "172.32.0.0", "192.167.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00::1"} {
		g := &Guard{Policy: mustPolicy(t, "*"), Own: noAddrs, Connect: new(dialer).connect}
		h, _ := ParseHost(s)
		conn, err := g.DialContext(t.Context(), "tcp", h.join(80))
		if err != nil {
			t.Errorf("%s is refused: %v", s, err)
			continue
		}
		conn.Close()
	}
}

func TestGuardIgnoresARebindingResolver(t *testing.T) {
	t.Parallel()
	res := &names{answers: map[string][][]string{"a.test": {{"93.184.216.34"}, {"127.0.0.1"}}}}
	var d dialer
	g := &Guard{Policy: mustPolicy(t, "a.test"), Resolver: res, Connect: d.connect, Own: noAddrs}
	conn, err := g.DialContext(t.Context(), "tcp", "a.test:80")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if diff := cmp.Diff([]string{"93.184.216.34:80"}, d.dialed); diff != "" || len(res.asked) != 1 {
		t.Errorf("asked %q, dialled (-want +got):\n%s", res.asked, diff)
	}
	if _, err := g.DialContext(t.Context(), "tcp", "a.test:80"); !isDeniedBy(err, "loopback (127.0.0.0/8, RFC 1122)") {
		t.Errorf("second DialContext = %v, want the loopback rule", err)
	}
}

func TestGuardAsksCheckLast(t *testing.T) {
	t.Parallel()
	var asked []Dial
	no := errors.New("not on Sundays")
	var d dialer
	g := &Guard{
		Policy: mustPolicy(t, "a.test", "b.test"), Worker: "w1", Own: noAddrs, Connect: d.connect,
		Resolver: always("a.test", "10.0.0.1 93.184.216.34", "b.test", "10.0.0.1"),
		Check: func(_ context.Context, d Dial) error {
			asked = append(asked, d)
			return no
		},
	}
	_, err := g.DialContext(t.Context(), "tcp", "A.test:80")
	if !errors.Is(err, no) || !isDeniedBy(err, RuleCheck) ||
		err.Error() != "network denied: a.test:80 was refused: not on Sundays" {
		t.Errorf("DialContext = %v", err)
	}
	// Neither an unlisted name nor one without a permitted address gets so far.
	g.DialContext(t.Context(), "tcp", "b.test:80")
	g.DialContext(t.Context(), "tcp", "c.test:80")
	want := []Dial{{"w1", "a.test", netip.MustParseAddrPort("93.184.216.34:80")}}
	if diff := cmp.Diff(want, asked, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if d.dialed != nil {
		t.Errorf("dialled %q", d.dialed)
	}
}

func TestAPanickingCheckRefuses(t *testing.T) {
	t.Parallel()
	var d dialer
	g := &Guard{Policy: mustPolicy(t, "*"), Own: noAddrs, Connect: d.connect,
		Check: func(context.Context, Dial) error { panic("oops") }}
	if _, err := g.DialContext(t.Context(), "tcp", "8.8.8.8:80"); !isDeniedBy(err, RuleCheck) || d.dialed != nil {
		t.Errorf("DialContext = %v, dialled %q", err, d.dialed)
	}
}

func TestResolverErrorsDoNotNameTheServer(t *testing.T) {
	t.Parallel()
	g := &Guard{Policy: mustPolicy(t, "*"), Own: noAddrs, Resolver: failingResolver{}}
	_, err := g.DialContext(t.Context(), "tcp", "a.test:80")
	if d, ok := errors.AsType[*net.DNSError](err); !ok || !d.IsNotFound || strings.Contains(err.Error(), "10.0.0.2") {
		t.Errorf("DialContext = %v", err)
	}
}

type failingResolver struct{}

func (failingResolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, Server: "10.0.0.2:53", IsNotFound: true}
}

func TestGuardTriesEveryPermittedAddress(t *testing.T) {
	t.Parallel()
	d := dialer{fail: map[string]error{"[2a00::1]:80": errors.New("unreachable")}}
	g := &Guard{Policy: mustPolicy(t, "a.test"), Resolver: always("a.test", "2a00::1 10.0.0.1 93.184.216.34"), Connect: d.connect, Own: noAddrs}
	conn, err := g.DialContext(t.Context(), "tcp", "a.test:80")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if want := []string{"[2a00::1]:80", "93.184.216.34:80"}; !slices.Equal(d.dialed, want) {
		t.Errorf("dialled %q, want %q", d.dialed, want)
	}
}

func TestGuardFailsClosed(t *testing.T) {
	t.Parallel()
	var d dialer
	broken := errors.New("netlink is gone")
	g := &Guard{Policy: mustPolicy(t, "*"), Connect: d.connect, Own: func() ([]net.Addr, error) { return nil, broken }}
	if _, err := g.DialContext(t.Context(), "tcp", "8.8.8.8:80"); !errors.Is(err, broken) {
		t.Errorf("without own addresses: %v", err)
	}
	g = &Guard{Policy: mustPolicy(t, "*"), Connect: d.connect, Own: noAddrs}
	for _, network := range []string{"udp", "unix", "ip4:icmp"} {
		if _, err := g.DialContext(t.Context(), network, "8.8.8.8:53"); !isDeniedBy(err, RuleNetwork) {
			t.Errorf("over %s: %v", network, err)
		}
	}
	if _, err := new(Guard).DialContext(t.Context(), "tcp", "8.8.8.8:53"); !isDeniedBy(err, RuleAllowList) {
		t.Errorf("zero Guard: %v", err)
	}
	if d.dialed != nil {
		t.Errorf("dialled %q", d.dialed)
	}
}

func TestGuardKnowsTheMachinesAddresses(t *testing.T) {
	t.Parallel()
	addrs, err := new(Guard).own()
	if err != nil || !slices.Contains(addrs, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("own() = %v, %v, want 127.0.0.1 among them", addrs, err)
	}
}
