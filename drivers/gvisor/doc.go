// Package gvisor confines what workers run in gVisor, a kernel of its own in user
// space:
//
//	sb, err := sandbox.New(sandbox.Options{
//		Registry: &reg,
//		Drivers:  map[string]sandbox.Driver{"gvisor": gvisor.Driver(gvisor.Config{})},
//		Confine:  sandbox.Confinement{Level: "gvisor"},
//	})
//
// A session is one sandbox of runsc, which runs this very program as its first
// process.
package gvisor
