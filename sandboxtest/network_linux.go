package sandboxtest

import "fmt"

// networkEscapes reach for the host's services, for other machines, and for
// families of sockets that no network namespace holds.
func networkEscapes() []Escape {
	es := []Escape{
		{Name: "network/loopback", Tries: "connect to a server on the host's 127.0.0.1", Seen: seenSecret,
			code: `s = socket.create_connection(('127.0.0.1', F['tcp4']), 10); found(s.recv(200), 'the server'); stopped('somebody else answered')`},
		{Name: "network/loopback-ipv6", Tries: "connect to a server on the host's ::1", Seen: seenSecret,
			code: `
if not F['tcp6']: skipped('the host has no ::1')
s = socket.create_connection(('::1', F['tcp6']), 10); found(s.recv(200), 'the server'); stopped('somebody else answered')`},
		{Name: "network/loopback-mapped", Tries: "connect to the host's loopback as ::ffff:127.0.0.1", Seen: seenSecret,
			code: `s = socket.socket(socket.AF_INET6); s.settimeout(10); s.connect(('::ffff:127.0.0.1', F['tcp4'])); found(s.recv(200), 'the server'); stopped('somebody else answered')`},
		{Name: "network/any-address", Tries: "connect to the host's server as 0.0.0.0", Seen: seenSecret,
			code: `s = socket.create_connection(('0.0.0.0', F['tcp4']), 10); found(s.recv(200), 'the server'); stopped('somebody else answered')`},
		{Name: "network/host-addresses", Tries: "connect to a server on all of the host's addresses", Seen: seenSecret,
			code: `
if not F['addrs']: skipped('the host has no address but loopback')
errors = set()
for a in F['addrs']:
    try: found(socket.create_connection((a, F['tcp_any']), 2).recv(200), a)
    except OSError as e: errors.add(e.strerror or str(e))
stopped(sorted(errors))`},
		{Name: "network/udp", Tries: "ask a UDP server on the host's loopback", Seen: seenSecret,
			code: `s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10); s.connect(('127.0.0.1', F['udp'])); s.send(b'x'); found(s.recv(200), 'the server'); stopped('somebody else answered')`},
		{Name: "network/abstract-socket", Tries: "connect to an abstract Unix socket of the host", Seen: seenSecret,
			code: `s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect('\0' + F['abstract']); found(s.recv(200), 'the server'); stopped('somebody else answered')`},
		{Name: "network/abstract-names", Tries: "read the names of the host's Unix sockets", Seen: "the suite's is among them",
			code: `
b = read('/proc/self/net/unix')
if F['abstract'].encode() in b: escaped('it is')
stopped('%d sockets, none of the host' % max(0, len(b.splitlines()) - 1))`},
		{Name: "network/unix-socket", Tries: "connect to a Unix socket of the host by its path", Seen: seenSecret,
			code: `s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(F['socket']); found(s.recv(200), 'the server'); stopped('somebody else answered')`},
		{Name: "network/unix-socket-link", Tries: "connect to a Unix socket of the host through a link", Seen: seenSecret,
			code: `os.symlink(F['socket'], 'sock-' + F['case']); s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect('sock-' + F['case']); found(s.recv(200), 'the server'); stopped('somebody else answered')`},
		{Name: "network/dns", Tries: "resolve a name by the servers that /etc/resolv.conf names", Seen: "it resolves",
			code: `
os.environ['RES_OPTIONS'] = 'timeout:2 attempts:1'  # servers that never answer must not take all the time there is
try: escaped(socket.getaddrinfo('example.com.', 80)[0][4])
except socket.gaierror as e: stopped(e.strerror)`},
		{Name: "network/resolv-conf", Tries: "learn the host's name servers", Seen: "/etc/resolv.conf names one that is not loopback",
			code: `
b = read('/etc/resolv.conf').decode()
servers = [s for s in re.findall(r'(?m)^nameserver\s+(\S+)', b) if not s.startswith('127.') and s != '::1']
escaped(servers) if servers else stopped('it names none: %r' % b[:60])`},
		{Name: "network/interfaces", Tries: "find an interface besides loopback", Seen: "there is one",
			code: `
names = [n for _, n in socket.if_nameindex() if n != 'lo']
if names: escaped(names)
stopped('there is loopback alone')`},
		{Name: "network/up", Tries: "change the flags of an interface", Seen: "the ioctl succeeds (it sets what is set)",
			code: `
import fcntl
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
r = fcntl.ioctl(s, 0x8913, struct.pack('16sH14x', b'lo', 0))
fcntl.ioctl(s, 0x8914, r); escaped('set them')`},
		{Name: "network/route", Tries: "add a route", Seen: "the kernel looks at its arguments",
			code: `
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
s.send(struct.pack('IHHII', 28, 24, 0x405, 1, 0) + struct.pack('BBBBBBBBI', 2, 32, 0, 0, 254, 4, 0, 1, 0))
code = struct.unpack('i', s.recv(4096)[16:20])[0]
if code == -errno.EPERM: stopped(os.strerror(-code))
escaped('answered %s' % (os.strerror(-code) if code else 'yes'))`},
		{Name: "network/broadcast", Tries: "send to everybody on the network", Seen: "the kernel finds a way",
			code: `s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.connect(('255.255.255.255', 9)); escaped('there is a way')`},
		{Name: "network/firewall", Tries: "read the packet filter", Seen: "getsockopt looks at its arguments",
			code: `
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255); s.getsockopt(0, 64, 84); escaped('read it')`},
		{Name: "network/privileged-option", Tries: "mark its packets for the host's routing (SO_MARK)", Seen: "setsockopt succeeds",
			code: `s = socket.socket(socket.AF_INET); s.setsockopt(socket.SOL_SOCKET, 36, 1); escaped('set it')`},
	}

	// A connected UDP socket sends nothing, but the kernel looks for a way.
	for _, way := range []struct{ name, addr string }{
		{"metadata", "169.254.169.254"}, {"metadata-ipv6", "fd00:ec2::254"}, {"metadata-alibaba", "100.100.100.200"},
		{"azure-wire-server", "168.63.129.16"}, {"link-local", "169.254.1.1"}, {"private", "10.0.0.1"},
		{"docker-bridge", "172.17.0.1"}, {"public", "192.0.2.1"}, {"public-dns", "8.8.8.8"},
		{"public-ipv6", "2001:db8::1"}, {"nat64", "64:ff9b::a9fe:a9fe"}, {"multicast", "224.0.0.251"},
	} {
		es = append(es, Escape{Name: "network/way-to-" + way.name, Tries: "find a way to " + way.addr, Seen: "the kernel has a route; nothing is sent",
			code: fmt.Sprintf(`
a = '%s'
s = socket.socket(socket.AF_INET6 if ':' in a else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((a, 80)); escaped('there is one, from %%s' %% s.getsockname()[0])`, way.addr)})
	}

	// Opening the socket is the escape, whatever it could do next.
	for _, sock := range []struct {
		name             string
		family, typ, prt int
	}{
		{"raw", 2, 3, 1}, {"raw-ipv6", 10, 3, 58}, {"packet", 17, 3, 0}, {"vsock", 40, 1, 0}, {"vsock-datagram", 40, 2, 0},
		{"alg", 38, 5, 0}, {"bluetooth", 31, 3, 1}, {"can", 29, 3, 1}, {"key", 15, 3, 2}, {"xdp", 44, 3, 0}, {"tipc", 30, 2, 0},
		{"rds", 21, 5, 0}, {"kcm", 41, 2, 0}, {"smc", 43, 1, 0}, {"nfc", 39, 3, 0}, {"ax25", 3, 2, 0}, {"appletalk", 5, 2, 0},
		{"netlink-audit", 16, 3, 9}, {"netlink-uevent", 16, 3, 15}, {"netlink-netfilter", 16, 3, 12}, {"netlink-diag", 16, 3, 4},
		{"netlink-generic", 16, 3, 16}, {"netlink-crypto", 16, 3, 21}, {"netlink-xfrm", 16, 3, 6}, {"netlink-connector", 16, 3, 11},
		{"sctp", 2, 1, 132}, {"dccp", 2, 6, 33}, {"l2tp", 2, 2, 115}, {"mptcp", 2, 1, 262}, {"mptcp-ipv6", 10, 1, 262}, {"udp-lite", 2, 2, 136},
	} {
		es = append(es, Escape{Name: "network/socket-" + sock.name, Tries: fmt.Sprintf("open a socket of family %d, type %d, protocol %d", sock.family, sock.typ, sock.prt), Seen: "it opens",
			code: fmt.Sprintf(`escaped('descriptor %%d' %% call('socket', %d, %d, %d))`, sock.family, sock.typ, sock.prt)})
	}
	return append(es,
		Escape{Name: "network/socket-high-bits", Tries: "open sockets of AF_VSOCK, AF_ALG and packets with bits set that the kernel drops", Seen: "one opens",
			code: `
errors = set()
for family in (40, 38, 17):
    for high in (1 << 32, 1 << 63, 0xdead << 40):
        if high >= 1 << 63: high -= 1 << 64
        try: escaped('family %d with %x: descriptor %d' % (family, high, call('socket', high | family, 1, 0)))
        except OSError as e: errors.add(e.strerror)
stopped(sorted(errors))`},
		Escape{Name: "network/vsock-device", Tries: "ask the machine's vsock device for its number", Seen: seenOpen, code: `opens('/dev/vsock', os.O_RDONLY)`},
	)
}
