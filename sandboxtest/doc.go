// Package sandboxtest tests what a sandbox promises, on the host and under the
// policy of whoever embeds it:
//
//	func TestEscapes(t *testing.T) {
//		sandboxtest.RunEscapes(t, sandbox.Options{
//			Confine: sandbox.Confinement{Limits: sandbox.Limits{Memory: 1 << 30}},
//		})
//	}
//
// # The escape suite
//
// [Escapes] is a table of attempts to get out of a jail, or to hurt the host,
// another worker or the jail itself from inside. [RunEscapes] opens a sandbox
// with the given options, makes something to steal and something to hurt outside
// of it, lets a worker's programs try each case, and fails for each that
// succeeds. [TryEscapes] returns the same as values.
//
// Each case says what it tries and how success would be seen, and each result
// what stopped it, by the words of the kernel where there are any. A case that
// cannot be tried here is skipped and says why; nothing passes unseen.
//
// # Harmless where it succeeds
//
// The suite is meant to be run where confinement is broken, and under level none,
// where most of it succeeds. What it steals and destroys it made itself: files
// below a temporary directory, processes, sockets, shared memory. Host devices and
// settings are opened, never written to. What would hurt whoever is around
// (signals to everybody) runs only once the process namespace has proven to be
// another one; what takes memory, processes or disk takes a bounded amount, after
// it has seen the limit that it runs into.
//
// # What it needs
//
// Linux, and python3 in the jail: every case is a short Python program. Without
// it nothing can be said, and the suite fails.
package sandboxtest
