package sandboxtest

import "fmt"

// listed is the allow list that the cases of this file run under: one server of
// the suite's by its address, a name that resolves to this machine's loopback,
// which listing it does not unlock, and a name that nobody has.
func (w *world) listed() []string {
	return []string{fmt.Sprintf("127.0.0.1:%d", w.facts.HTTP), "localhost", listedName}
}

const listedName = "listed.sandboxtest.invalid"

// egressPrelude is what the programs of this file start with.
const egressPrelude = `
LISTED = 'listed.sandboxtest.invalid'
def proxy():
    m = re.match(r'http://([\d.]+):(\d+)', os.environ.get('http_proxy', ''))
    return m and (m.group(1), int(m.group(2)))
def need_proxy():
    if not proxy(): skipped('not tried: there is no proxy')
def answer(s, more=1):  # who answers on a busy machine may take its time, who says no more is not waited for
    out = b''
    try:
        s.settimeout(10)
        while len(out) < 1 << 16:
            b = s.recv(4096)
            if not b: break
            out += b
            s.settimeout(more)
    except OSError: pass
    return out
def ask(*sent):  # to the proxy, byte for byte
    with socket.create_connection(proxy(), 5) as s:
        for b in sent: s.sendall(b if isinstance(b, bytes) else b.encode('utf8', 'surrogateescape'))
        return answer(s)
def said(b):
    return b.split(b'\r\n\r\n')[-1].strip()[:150] or b[:80]
def socks(host, port, command=1, atyp=3, auth=b'\x05\x01\x00'):
    with socket.create_connection(proxy(), 5) as s:
        s.settimeout(10); s.sendall(auth)
        if s.recv(2)[1:] != b'\x00': stopped('the proxy wants to know who asks')
        h = (host if isinstance(host, bytes) else host.encode('utf8', 'surrogateescape'))[-255:]
        s.sendall(bytes([5, command, 0, atyp]) + (bytes([len(h)]) if atyp == 3 else b'') + h + struct.pack('>H', port))
        r = s.recv(4)
        if r[1:2] == b'\x00' and command != 1: escaped('the command was granted: %r' % r)
        return r + answer(s, 10 if r[1:2] == b'\x00' else 1)  # what was granted comes from another connection
def reach(host, port=F['tcp4'], spell=None):  # in every way, as the name or address is written
    spell = spell or host
    if not proxy():
        found(answer(socket.create_connection((host.strip('[]'), port), 2)), 'directly'); stopped('somebody else answered')
    at = '%s:%d' % (spell, port)
    why = []
    for way, got in (('a request', lambda: ask('GET http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' % (at, at))),
                     ('CONNECT', lambda: ask('CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n' % (at, at))),
                     ('SOCKS5', lambda: socks(spell.strip('[]'), port))):
        try: b = got()
        except OSError as e: why.append('%s: %s' % (way, e)); continue
        found(b, way)
        if re.match(rb'HTTP/1.[01] 200', b): escaped('%s was answered with %r' % (way, b[:60]))
        why.append('%s: %s' % (way, said(b)))
    stopped('; '.join(why))
`

// egressEscapes try the proxy that the only way to a network leads through, and
// what stands behind it. Without a proxy (no allow list can be enforced) they try
// to go there directly.
func egressEscapes() []Escape {
	var es []Escape
	add := func(name, tries, seen, code string) {
		es = append(es, Escape{Name: "egress/" + name, Tries: tries, Seen: seen, egress: true, code: egressPrelude + code})
	}

	for _, h := range []struct{ name, host string }{
		{"loopback", "127.0.0.1"}, {"loopback-other", "127.9.9.9"}, {"loopback-short", "127.1"},
		{"loopback-hexadecimal", "0x7f000001"}, {"loopback-hexadecimal-part", "0x7f.0.0.1"}, {"loopback-octal", "0177.0.0.1"},
		{"loopback-decimal", "2130706433"}, {"loopback-zeros", "127.000.000.001"}, {"loopback-dot", "127.0.0.1."},
		{"unspecified", "0.0.0.0"}, {"unspecified-short", "0"}, {"loopback-ipv6", "[::1]"}, {"unspecified-ipv6", "[::]"},
		{"mapped", "[::ffff:127.0.0.1]"}, {"mapped-hexadecimal", "[::ffff:7f00:1]"}, {"compatible", "[::127.0.0.1]"},
		{"nat64", "[64:ff9b::7f00:1]"}, {"6to4", "[2002:7f00:1::]"}, {"zone", "[::1%251]"},
		{"listed-name-of-loopback", "localhost"}, {"name-upper-case", "LOCALHOST"}, {"name-dot", "localhost."},
		{"name-below-loopback", "x.localhost"},
	} {
		add(h.name, "reach the host's server on 127.0.0.1 as "+h.host, seenSecret, fmt.Sprintf(`reach(%q)`, h.host))
	}
	for _, h := range []struct{ name, python string }{
		{"name-nul", `'127.0.0.1\0.' + LISTED`}, {"name-nul-behind", `LISTED + '\0127.0.0.1'`},
		{"name-percent", `'127.0.0.1%00.' + LISTED`}, {"name-percent-encoded", `'%31%32%37.0.0.1'`},
		{"name-space", `'127.0.0.1 ' + LISTED`}, {"name-line", `'127.0.0.1\r\nX: ' + LISTED`}, {"name-tab", `'127.0.0.1\t'`},
		{"name-at", `LISTED + '@127.0.0.1'`}, {"name-backslash", `LISTED + '\\@127.0.0.1'`}, {"name-fragment", `'127.0.0.1#@' + LISTED`},
		{"name-question", `'127.0.0.1?.' + LISTED`}, {"name-slash", `'127.0.0.1/.' + LISTED`}, {"name-comma", `LISTED + ',127.0.0.1'`},
		{"name-wide-digits", `'\uff11\uff12\uff17.0.0.1'`}, {"name-wide-dots", `'127\u30020\u30020\u30021'`}, {"name-soft-hyphen", `'local\u00adhost'`},
		{"name-long", `'a' * 250 + '.localhost'`}, {"name-empty", `''`}, {"name-dots", `'localhost..'`}, {"name-wildcard", `'*'`}, {"name-raw-bytes", `'\udcff\udcfe127.0.0.1'`},
	} {
		add(h.name, "reach the host's server on 127.0.0.1 by a name that readers read differently: "+h.python, seenSecret,
			"need_proxy()\nreach("+h.python+")")
	}
	for _, h := range []struct{ name, host string }{
		{"metadata", "169.254.169.254"}, {"metadata-ipv6", "[fd00:ec2::254]"}, {"metadata-alibaba", "100.100.100.200"}, {"azure", "168.63.129.16"},
		{"metadata-decimal", "2852039166"}, {"metadata-mapped", "[::ffff:169.254.169.254]"}, {"private", "10.0.0.1"}, {"docker-bridge", "172.17.0.1"},
		{"shared", "100.64.0.1"}, {"multicast", "224.0.0.1"}, {"unlisted", "192.0.2.1"}, {"unlisted-name", "unlisted.sandboxtest.invalid"},
	} {
		// CONNECT is answered before anything is sent to whoever is there.
		add("way-to-"+h.name, "have the proxy connect to "+h.host, "it does", fmt.Sprintf(`
need_proxy()
b = ask('CONNECT %[1]s:80 HTTP/1.1\r\nHost: %[1]s:80\r\n\r\n')
if re.match(rb'HTTP/1.[01] (2..|502|504)', b): escaped('it tried: %%r' %% b[:80])
stopped(said(b))`, h.host))
	}

	add("host-addresses", "reach a server on the host's own addresses", seenSecret, `
if not F['addrs']: skipped('the host has no address but loopback')
if not proxy():
    for a in F['addrs']: found(answer(socket.create_connection((a, F['tcp_any']), 2)), a)
why = []
for a in F['addrs']:
    at = '%s:%d' % ('[%s]' % a if ':' in a else a, F['tcp_any'])
    b = ask('CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n' % (at, at))
    found(b, at); why.append(said(b))
stopped(why)`)
	add("other-port", "reach another port of a listed address", seenSecret, `need_proxy(); reach('127.0.0.1')`)
	add("host-header", "name a listed server in the request line and another in Host", "the server is told of the other", `
need_proxy()
b = ask('GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: other.sandboxtest.invalid\r\nConnection: close\r\n\r\n' % F['http'])
if b'host=other' in b: escaped('it was told of the other')
stopped(said(b))`)
	add("host-twice", "send two Host headers", "the server is told of the other", `
need_proxy()
b = ask('GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nHost: other.sandboxtest.invalid\r\nConnection: close\r\n\r\n' % (F['http'], F['http']))
if b'host=other' in b: escaped('it was told of the other')
stopped(said(b))`)
	add("origin-form", "name the server in Host alone", seenSecret, `
need_proxy()
b = ask('GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n' % F['tcp4']); found(b, 'the server'); stopped(said(b))`)
	add("second-request", "ask for another server on a connection that was let through", seenSecret, `
need_proxy()
a, b = '127.0.0.1:%d' % F['http'], '127.0.0.1:%d' % F['tcp4']
got = ask('GET http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n' % (a, a), 'GET http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' % (b, b))
if b'host=' not in got: skipped('the listed server did not answer: %r' % got[:80])
found(got, 'the second answer'); stopped(said(got))`)
	for _, smuggled := range []struct{ name, tries, headers string }{
		{"length-and-chunks", "a length and chunks", `Content-Length: 5\r\nTransfer-Encoding: chunked`},
		{"two-lengths", "two lengths", `Content-Length: 5\r\nContent-Length: 500`},
		{"odd-chunks", "chunks by another name", `Transfer-Encoding: xchunked`},
		{"odd-length", "a length with a sign", `Content-Length: +5`},
		{"folded-header", "a header on two lines", `X: 1\r\n Content-Length: 500`},
		{"bare-newline", "lines that end early", `X: 1\nContent-Length: 500`},
	} {
		add("smuggle-"+smuggled.name, "hide a second request from the proxy by "+smuggled.tries, "the server sees /smuggled", fmt.Sprintf(`
need_proxy()
at = '127.0.0.1:%%d' %% F['http']
b = ask('POST http://%%s/ HTTP/1.1\r\nHost: %%s\r\n%s\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: other.sandboxtest.invalid\r\n\r\n' %% (at, at))
if b'path=/smuggled' in b: escaped('it saw it')
stopped(said(b))`, smuggled.headers))
	}
	add("upgrade", "switch a listed connection to a protocol that nobody filters", "the proxy passes the upgrade on", `
need_proxy()
at = '127.0.0.1:%d' % F['http']
b = ask('GET http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n' % (at, at))
if b'upgrade=h2c' in b or b.startswith(b'HTTP/1.1 101'): escaped('it did: %r' % b[:80])
stopped(said(b))`)
	add("http2", "speak HTTP/2 to the proxy", "it answers in it", `
need_proxy()
b = ask(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
escaped('it answers: %r' % b[:20]) if b[3:4] == b'\x04' else stopped(b[:100])`)
	for _, c := range []struct {
		name string
		n    int
	}{{"bind", 2}, {"udp", 3}} {
		add("socks-"+c.name, "have the proxy listen or speak UDP (SOCKS5 command "+c.name+")", "the command is granted",
			fmt.Sprintf("need_proxy(); r = socks('127.0.0.1', F['http'], command=%d); stopped('refused: %%r' %% r[:2])", c.n))
	}
	add("socks-ipv4", "reach the host's server by its address in SOCKS5", seenSecret,
		`need_proxy(); r = socks(bytes([127, 0, 0, 1]), F['tcp4'], atyp=1); found(r, 'SOCKS5'); stopped('refused: %r' % r[:2])`)
	add("socks-ipv6", "reach the host's server by its mapped address in SOCKS5", seenSecret,
		`need_proxy(); r = socks(socket.inet_pton(socket.AF_INET6, '::ffff:127.0.0.1'), F['tcp4'], atyp=4); found(r, 'SOCKS5'); stopped('refused: %r' % r[:2])`)
	add("socks-nul", "hide an address behind a NUL in a SOCKS5 name", seenSecret,
		`need_proxy(); r = socks(b'127.0.0.1\0.' + LISTED.encode(), F['tcp4']); found(r, 'SOCKS5'); stopped('refused: %r' % r[:2])`)
	add("socks4", "reach the host's server by SOCKS4, which the list does not see", seenSecret, `
need_proxy()
b = ask(struct.pack('>BBH4s', 4, 1, F['tcp4'], bytes([127, 0, 0, 1])) + b'x\0'); found(b, 'SOCKS4'); stopped('refused: %r' % b[:20])`)
	add("take-the-port", "take the proxy's place on its port", "a socket of its own listens there", `
need_proxy()
errors = set()
for addr in ('127.0.0.1', '0.0.0.0'):
    for option in (None, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        s = socket.socket()
        if option: s.setsockopt(socket.SOL_SOCKET, option, 1)
        try: s.bind((addr, proxy()[1])); s.listen(); escaped('%s, option %s' % (addr, option))
        except OSError as e: errors.add(e.strerror)
stopped(sorted(errors))`)
	add("take-the-listener", "take the proxy's listening socket from whoever holds it", "a process here has a descriptor of it", `
need_proxy()
inodes = [l.split()[9] for l in read('/proc/net/tcp').decode().splitlines()[1:] if l.split()[1] == '0100007F:%04X' % proxy()[1] and l.split()[3] == '0A']
for p in glob.glob('/proc/[0-9]*/fd/*'):
    try: target = os.readlink(p)
    except OSError: continue
    if any(target == 'socket:[%s]' % i for i in inodes): escaped(p)
stopped('no process here holds it')`)
	return es
}
