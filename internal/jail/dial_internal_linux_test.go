package jail

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNoConnectionToItself(t *testing.T) {
	t.Parallel()
	for _, at := range []unix.Sockaddr{
		&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}},
		&unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()},
	} {
		family, host := unix.AF_INET, netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if _, six := at.(*unix.SockaddrInet6); six {
			family, host = unix.AF_INET6, netip.IPv6Loopback()
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		sock := os.NewFile(uintptr(fd), "socket")
		defer sock.Close()
		if err := unix.Bind(fd, at); errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Logf("NOT TESTED: %v: this machine has no such address", host)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		own, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		var port int
		switch own := own.(type) {
		case *unix.SockaddrInet4:
			port = own.Port
		case *unix.SockaddrInet6:
			port = own.Port
		}
		addr := netip.AddrPortFrom(host, uint16(port))
		if conn, err := connectSocket(t.Context(), sock, addr); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("connecting %v to itself = %v, %v, want connection refused", addr, conn, err)
		}
	}
}
