// Package gate hands a first process that runs in a container its program and its
// socket. Nothing can be inherited there, so both lie in a directory that the
// container sees, made for it alone, and are taken out of it again as soon as the
// first process has them: what a worker's programs find is an empty directory.
package gate
