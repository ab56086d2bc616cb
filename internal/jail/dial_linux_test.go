package jail_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agentflow-go/sandbox/internal/jail"
)

// greetInside starts a server that tells whoever connects its greeting. It listens
// at addr, with port 0 on any that is free, and accepts unless deaf. It says where
// that is.
func greetInside(t *testing.T, j *jail.Jail, addr, greeting string, deaf bool) netip.AddrPort {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at := netip.MustParseAddrPort(addr)
	_, err = j.Start(t.Context(), jail.Cmd{Path: "python3", Stdout: w, Args: []string{"-c", `
import socket, sys
host, port, greeting, deaf = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
s.bind((host, int(port))); s.listen(0 if deaf else 128)
full = []
if deaf:
    # Its queue is full when a connection stays half open.
    while True:
        c = socket.socket(s.family); c.settimeout(0.5); full.append(c)
        try: c.connect(s.getsockname())
        except TimeoutError: break
print(s.getsockname()[1], flush=True)
while True:
    if deaf: sys.stdin.read(); import time; time.sleep(1000)
    c, _ = s.accept()
    c.sendall(greeting.encode()); c.close()`, at.Addr().String(), fmt.Sprint(at.Port()), greeting, map[bool]string{true: "deaf"}[deaf]}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var port uint16
	if _, err := fmt.Fscan(r, &port); err != nil {
		t.Fatalf("the server in the jail says no port: %v", err)
	}
	return netip.AddrPortFrom(at.Addr(), port)
}

// greeted returns what the server at addr says to the identity.
func greeted(ctx context.Context, id *jail.Identity, addr netip.AddrPort) (string, error) {
	conn, err := id.Dial(ctx, addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	b, err := io.ReadAll(conn)
	return string(b), err
}

func TestDialReachesTheWorkersLoopbackOnly(t *testing.T) {
	eachConfined(t, testDialReachesTheWorkersLoopbackOnly)
}

func testDialReachesTheWorkersLoopbackOnly(t *testing.T, h *jail.Host) {
	p, other, away := policy(t, h), policy(t, h), policy(t, h)
	one, two := newJailOf(t, h, p), newJailOf(t, h, p)
	newJailOf(t, h, other)
	private := p
	private.PrivateNet = true
	apart := newJailOf(t, h, private)
	away.PrivateNet = true
	lone := newJailOf(t, h, away)

	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	// Each at a port of its own, in whichever network: what is not to be reached is
	// no other server.
	ports := 8000
	if host.Addr().(*net.TCPAddr).Port/1000 == 8 {
		ports = 9000
	}
	inside := func(j *jail.Jail, host, greeting string) netip.AddrPort {
		ports++
		return greetInside(t, j, net.JoinHostPort(host, fmt.Sprint(ports)), greeting, false)
	}
	four, six, any4 := inside(one, "127.0.0.1", "four"), inside(two, "::1", "six"), inside(one, "0.0.0.0", "any")
	hidden, away1 := inside(apart, "127.0.0.1", "apart"), inside(lone, "127.0.0.1", "away")
	nobody := netip.MustParseAddrPort("127.0.0.1:1")
	at := func(a netip.AddrPort, host string) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(host), a.Port())
	}
	for _, tt := range []struct {
		name string
		id   *jail.Identity
		addr netip.AddrPort
		want string
		err  error
	}{
		{"a server of one jail", p.Identity, four, "four", nil},
		{"of another jail, IPv6", p.Identity, six, "six", nil},
		{"one on all addresses", p.Identity, at(any4, "127.0.0.1"), "any", nil},
		{"the same at another address of the block", p.Identity, at(any4, "127.1.2.3"), "any", nil},
		{"nobody listens", p.Identity, nobody, "", syscall.ECONNREFUSED},
		{"another worker's server", other.Identity, four, "", syscall.ECONNREFUSED},
		{"another worker's server, IPv6", other.Identity, six, "", syscall.ECONNREFUSED},
		{"a server of the host", p.Identity, netip.MustParseAddrPort(host.Addr().String()), "", syscall.ECONNREFUSED},
		{"of a jail with a network of its own", p.Identity, hidden, "", syscall.ECONNREFUSED},
		{"of a worker with such jails only", away.Identity, away1, "", syscall.ECONNREFUSED},
		{"an address elsewhere", p.Identity, netip.MustParseAddrPort("192.0.2.1:80"), "", syscall.EADDRNOTAVAIL},
		{"no address", p.Identity, at(any4, "0.0.0.0"), "", syscall.EADDRNOTAVAIL},
	} {
		got, err := greeted(t.Context(), tt.id, tt.addr)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: Dial(%v) says %q, %v, want %q, %v", tt.name, tt.addr, got, err, tt.want, tt.err)
		}
	}
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Error(err)
	}
	if _, err := greeted(t.Context(), p.Identity, four); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the last jail: %v, want connection refused", err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) { eachConfined(t, testDialEndsWithItsContext) }

func testDialEndsWithItsContext(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	addr := greetInside(t, newJailOf(t, h, p), "127.0.0.1:0", "", true)
	late, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if conn, err := p.Identity.Dial(late, addr); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial to a server that accepts nothing = %v, %v, want the end of its time", conn, err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if conn, err := p.Identity.Dial(gone, addr); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a context that has ended = %v, %v", conn, err)
	}
}

func TestDialNeverLeadsToTheHost(t *testing.T) {
	t.Parallel()
	h := open(t, jail.Options{Level: "none"})
	p := policy(t, h)
	addr := greetInside(t, newJailOf(t, h, p), "127.0.0.1:0", "the host's", false)
	if got, err := greeted(t.Context(), p.Identity, addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("under level none Dial says %q, %v, want connection refused", got, err)
	}
}

func TestManyDialAtOnce(t *testing.T) { eachConfined(t, testManyDialAtOnce) }

func testManyDialAtOnce(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	j := newJailOf(t, h, p)
	addr := greetInside(t, j, "127.0.0.1:0", "hello", false)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := greeted(t.Context(), p.Identity, addr); got != "hello" {
				t.Errorf("Dial says %q, %v", got, err)
			}
		})
	}
	// The jail may close meanwhile.
	second := newJailOf(t, h, p)
	all.Go(func() {
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	})
	all.Wait()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Identity.Dial(t.Context(), addr); err == nil || !strings.Contains(err.Error(), addr.String()) {
		t.Errorf("Dial without a jail = %v, want an error that names %v", err, addr)
	}
}

// A proxy that led to itself would be a chain of as many as a program asks for.
func TestDialDoesNotLeadBackToThisProgram(t *testing.T) {
	eachConfined(t, testDialDoesNotLeadBackToThisProgram)
}

func testDialDoesNotLeadBackToThisProgram(t *testing.T, h *jail.Host) {
	p := policy(t, h)
	p.Proxy = func(net.Listener) {}
	j := newJailOf(t, h, p)
	ln, at, err := j.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(at)
	mapped := netip.AddrPortFrom(netip.AddrFrom16(addr.Addr().As16()), addr.Port())
	for _, a := range []netip.AddrPort{addr, mapped, netip.MustParseAddrPort(jail.ProxyAddr)} {
		if conn, err := p.Identity.Dial(t.Context(), a); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial(%v) = %v, %v, want connection refused", a, conn, err)
		}
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	// Who listens there later is a program of the worker's.
	_, err = j.Start(t.Context(), jail.Cmd{Path: "true"})
	if err != nil {
		t.Fatal(err)
	}
	got := sh(t, j, fmt.Sprintf(`python3 -c '
import os, socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", %d)); s.listen()
print("ready", flush=True); os.close(1); os.close(2)
if os.fork(): os._exit(0)
c, _ = s.accept(); c.sendall(b"mine")'`, addr.Port()))
	if got != "ready\n" {
		t.Fatalf("the server says %q", got)
	}
	if got, err := greeted(t.Context(), p.Identity, addr); got != "mine" {
		t.Errorf("at the port that was given back: %q, %v", got, err)
	}
}
