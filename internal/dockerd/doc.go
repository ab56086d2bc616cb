// Package dockerd runs a Docker daemon of the caller's own, for tests: with a
// socket, a data directory and a process number file that nobody else uses, no
// network, and nothing left of it at the end.
package dockerd
