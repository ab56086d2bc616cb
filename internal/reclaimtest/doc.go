// Package reclaimtest has only tests: that nothing is left of a host program
// that was killed in the middle of its work, and that programs which share a
// data directory leave each other alone.
//
// The test binary, executed again, is the host program. It runs sessions with
// everything that holds on: background jobs, fork loops, daemons, terminals,
// the network proxy.
package reclaimtest
