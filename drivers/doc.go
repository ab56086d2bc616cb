// Package drivers is the directory of confinement drivers beyond those of the root
// package; it holds their common tests. Each driver is a package of its own:
// drivers/docker makes jails of containers, drivers/gvisor of sandboxed kernels.
package drivers
