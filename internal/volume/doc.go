// Package volume gives a worker a file system of its own size: an ext4 file
// system in an image file, on a loop device, mounted nowhere.
//
// The mount is detached: it belongs to no mount namespace and lives as long as
// the descriptor that holds it, so that nothing is left of it when the program
// dies, however it dies. The kernel then gives the loop device back as well.
// What is in the file system stays in the image, which is a sparse file.
//
// Full is full by the file system's own means: what was unlinked and is still
// open counts, and so do directories and empty files. Only files made through
// the mount are ever in it, never an image that somebody else wrote.
//
// It needs Linux 5.8, the rights of root over mounts and loop devices in the
// machine's own user namespace, and mkfs.ext4.
package volume

import "errors"

// ErrUnsupported is wrapped by errors that say why there can be no volumes here.
var ErrUnsupported = errors.New("volumes are not possible here")

// Dir is the directory of the file system that is for the worker. Its root stays
// the host program's, so that a path to it that somebody resolves by mistake
// (links of /proc lead to "/" by name) leads nowhere.
const Dir = "workspace"

// MinSize is the smallest size in bytes: less has no room for the file system's
// own tables.
const MinSize = 1 << 20
