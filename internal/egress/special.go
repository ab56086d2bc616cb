package egress

import (
	"fmt"
	"net/netip"
)

// block is a range of addresses that are not simply public.
type block struct {
	net    netip.Prefix
	what   string // completes "X is …"
	source string
	never  bool // no rule unlocks it
}

func (b block) String() string {
	return fmt.Sprintf("%s (%v, %s)", b.what, b.net, b.source)
}

// special lists what a Guard refuses unless a rule unlocks it. Sources: the IANA
// IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates),
// the IPv4 and IPv6 multicast and address space registries, and the documents of
// the cloud providers for their metadata services. Blocks that the registries
// call globally reachable (AS112, AMT) are left out, but for those inside
// 2001::/23, which nobody serves the web from. IPv6 outside 2000::/3 is not
// allocated for global unicast, hence the three catch-all blocks at the end.
//
// Ranges that carry an IPv4 address inside IPv6 are refused whole instead of
// being unpacked: a relay or translator nearby would reach private addresses
// through them, and nothing that is public is reachable only there.
//
// Read only.
var special = []block{
	ipv4("0.0.0.0/8", "\"this network\", which reaches the host itself", "RFC 791").always(),
	ipv4("10.0.0.0/8", "private", "RFC 1918"),
	ipv4("100.64.0.0/10", "carrier-grade NAT", "RFC 6598"),
	ipv4("127.0.0.0/8", "loopback", "RFC 1122"),
	ipv4("169.254.0.0/16", "link-local", "RFC 3927"),
	ipv4("172.16.0.0/12", "private", "RFC 1918"),
	ipv4("192.0.0.0/24", "reserved for IETF protocols", "RFC 6890"),
	ipv4("192.0.2.0/24", "for documentation", "RFC 5737"),
	ipv4("192.88.99.0/24", "the 6to4 relay anycast", "RFC 7526"),
	ipv4("192.168.0.0/16", "private", "RFC 1918"),
	ipv4("198.18.0.0/15", "for benchmarks", "RFC 2544"),
	ipv4("198.51.100.0/24", "for documentation", "RFC 5737"),
	ipv4("203.0.113.0/24", "for documentation", "RFC 5737"),
	ipv4("224.0.0.0/4", "multicast", "RFC 5771").always(),
	ipv4("240.0.0.0/4", "reserved", "RFC 1112"),
	ipv4("255.255.255.255/32", "broadcast", "RFC 919").always(),

	// Metadata services hand out credentials to whoever can connect.
	ipv4("169.254.169.254/32", "a cloud metadata service", "AWS, Google, Azure and others"),
	ipv4("169.254.0.23/32", "a cloud metadata service", "Tencent"),
	ipv4("169.254.42.42/32", "a cloud metadata service", "Scaleway"),
	ipv4("169.254.170.2/32", "a cloud metadata service", "AWS ECS"),
	ipv4("169.254.170.23/32", "a cloud metadata service", "AWS EKS"),
	ipv4("168.63.129.16/32", "a cloud metadata service", "Azure"),
	ipv4("192.0.0.192/32", "a cloud metadata service", "Oracle"),
	ipv4("100.100.100.200/32", "a cloud metadata service", "Alibaba"),
	ipv6("fd00:ec2::254/128", "a cloud metadata service", "AWS"),
	ipv6("fd00:ec2::23/128", "a cloud metadata service", "AWS EKS"),
	ipv6("fd00:c1::a9fe:a9fe/128", "a cloud metadata service", "Oracle"),
	ipv6("fd00:42::42/128", "a cloud metadata service", "Scaleway"),
	ipv6("fd20:ce::254/128", "a cloud metadata service", "Google"),

	ipv6("::/128", "unspecified, which reaches the host itself", "RFC 4291").always(),
	ipv6("::1/128", "loopback", "RFC 4291"),
	ipv6("::/96", "IPv4-compatible", "RFC 4291"),
	ipv6("::ffff:0:0:0/96", "IPv4-translated", "RFC 2765"),
	ipv6("64:ff9b::/96", "IPv4 behind NAT64", "RFC 6052"),
	ipv6("64:ff9b:1::/48", "IPv4 behind a local NAT64", "RFC 8215"),
	ipv6("100::/64", "discard-only", "RFC 6666"),
	ipv6("100:0:0:1::/64", "a dummy prefix", "RFC 9780"),
	ipv6("2001::/32", "IPv4 behind Teredo", "RFC 4380"),
	ipv6("2001::/23", "reserved for IETF protocols", "RFC 2928"),
	ipv6("2001:db8::/32", "for documentation", "RFC 3849"),
	ipv6("2002::/16", "IPv4 behind 6to4", "RFC 3056"),
	ipv6("3fff::/20", "for documentation", "RFC 9637"),
	ipv6("5f00::/16", "for segment routing", "RFC 9602"),
	ipv6("fc00::/7", "unique local", "RFC 4193"),
	ipv6("fe80::/10", "link-local", "RFC 4291"),
	ipv6("fec0::/10", "site-local", "RFC 3879"),
	ipv6("ff00::/8", "multicast", "RFC 4291").always(),
	ipv6("::/3", "outside global unicast", "RFC 4291"),
	ipv6("4000::/2", "outside global unicast", "RFC 4291"),
	ipv6("8000::/1", "outside global unicast", "RFC 4291"),
}

func ipv4(net, what, source string) block {
	return block{net: netip.MustParsePrefix(net), what: what, source: source}
}

func ipv6(net, what, source string) block { return ipv4(net, what, source) }

func (b block) always() block {
	b.never = true
	return b
}
