package jail

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// proxyBacklog is how many connections wait until the host accepts them.
const proxyBacklog = 128

// proxyPort is that of [ProxyAddr].
const proxyPort = 3128

// listenProxy opens the listener of [ProxyAddr] in the calling process's network
// namespace. Connections to it are the holder's of the descriptor, wherever that
// is, while the first process and its programs have nothing to do with them. Only
// a jail whose network namespace bwrap made needs it.
func listenProxy() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("proxy: socket: %w", err)
	}
	// Without SO_REUSEPORT no program can share the port.
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: proxyPort})
	if err == nil {
		err = unix.Listen(fd, proxyBacklog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("proxy: listen on %s: %w", ProxyAddr, err)
	}
	return fd, nil
}

// proxyEnv leads programs to the proxy. curl reads http_proxy in lower case only,
// others the upper case only.
func proxyEnv() (env []string) {
	for _, e := range []string{
		"HTTP_PROXY=http://" + ProxyAddr,
		"HTTPS_PROXY=http://" + ProxyAddr,
		"ALL_PROXY=http://" + ProxyAddr,
		"NO_PROXY=localhost,127.0.0.1,::1",
	} {
		name, value, _ := strings.Cut(e, "=")
		env = append(env, e, strings.ToLower(name)+"="+value)
	}
	return env
}

// proxy is a jail's listener with the goroutine that serves it. The zero value
// is none.
type proxy struct {
	ln     net.Listener
	served sync.WaitGroup
}

// take makes a listener of fd, which it closes.
func (p *proxy) take(fd int) error {
	f := os.NewFile(uintptr(fd), "proxy")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	p.ln = ln
	return nil
}

func (p *proxy) start(serve func(net.Listener)) {
	if p.ln != nil {
		p.served.Go(func() { serve(p.ln) })
	}
}

// close makes the proxy end, which stop waits for.
func (p *proxy) close() {
	if p.ln != nil {
		_ = p.ln.Close() // the proxy may have done it
	}
}

func (p *proxy) stop() {
	p.close()
	p.served.Wait()
}
